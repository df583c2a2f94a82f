"""`tslg prove --out`, `tslg verify FILE.tlog-proof` and `tslg export tiles`, checked by readers that share no code."""

from __future__ import annotations

import base64
import hashlib
import shutil
import struct
from pathlib import Path

import pytest

from tslg.node import tiling
from tslg.node.home import Home
from tslg.node.witness.key import WitnessKey
from tslg.protocol import checkpoint, tlogproof
from tslg.protocol.checkpoint import Signed
from tslg.protocol.note import COSIGNATURE, COSIGNATURE_ML_DSA_44

WITNESSES = [
    WitnessKey("w.example/a", COSIGNATURE, b"a" * 32),
    WitnessKey("w.example/b", COSIGNATURE_ML_DSA_44, b"b" * 32),
    WitnessKey("w.example/c", COSIGNATURE, b"c" * 32),
]
NOW = 1_700_000_000


@pytest.fixture
def proof(made, cli, tmp_path):
    told = cli.json("prove", made.target, "--out", tmp_path / "p.tlog-proof", "--data", made.data)
    assert told["record"] == made.target
    return tmp_path / "p.tlog-proof"


def cosigned(path: Path, *keys: WitnessKey, time: int = NOW) -> Path:
    read = tlogproof.parse(path.read_bytes())
    head = read.signed.checkpoint
    lines = (*read.signed.signatures, *(key.cosign(head, time) for key in keys))
    path.write_bytes(read._replace(signed=Signed(head, lines)).to_bytes())
    return path


def asking(*keys: WitnessKey) -> list[str]:
    return [part for key in keys for part in ("--witness", key.public.text)]


@pytest.mark.spec("CHK-12", "CHK-13")
def test_a_stranger_checks_a_proof_with_the_file_alone(made, cli, proof):
    told = cli.json("verify", proof)
    assert (told["verdict"], told["record"], told["log"]) == ("valid", made.target, f"tslg/{made.alpha}")
    assert cli.json("prove", "--check", proof) == told
    assert "no witness was asked for" in cli.text("verify", proof)


@pytest.mark.spec("CHK-13")
def test_the_quorum_is_counted(cli, proof):
    cosigned(proof, *WITNESSES[:2])
    told = cli.json("verify", proof, *asking(*WITNESSES), "--quorum", 2)
    assert told["verdict"] == "valid" and set(told["witnesses"]) == {"w.example/a", "w.example/b"}
    short = cli.json("verify", proof, *asking(*WITNESSES), code=1)
    assert short["detail"].startswith("2 of the 3")
    assert cli.json("verify", proof, *asking(WITNESSES[2]), code=1)["witnesses"] == {}
    assert "TSLG-K-KEY" in cli.error("verify", proof, *asking(WITNESSES[0], WITNESSES[0]))
    assert "TSLG-K-KEY" in cli.error("verify", proof, *asking(WITNESSES[0]), "--quorum", 2)
    assert "TSLG-K-KEY" in cli.error("verify", proof, "--witness", "nonsense")


def test_what_is_forged_is_invalid(made, cli, proof, tmp_path):
    read = tlogproof.parse(proof.read_bytes())
    other = cli.json("prove", made.observation, "--out", tmp_path / "other.tlog-proof", "--data", made.data)
    elsewhere = tlogproof.parse((tmp_path / "other.tlog-proof").read_bytes())
    meant = tlogproof.subject(read)
    head = read.signed.checkpoint
    forged = {
        "position": read._replace(position=read.position - 1),
        "record": read._replace(extra=meant._replace(record=tlogproof.subject(elsewhere).record).to_bytes()),
        "genesis": read._replace(extra=meant._replace(genesis=tlogproof.subject(elsewhere).genesis).to_bytes()),
        "root": read._replace(signed=read.signed._replace(checkpoint=head._replace(root=bytes(32)))),
        "log": read._replace(signed=elsewhere.signed),
    }
    assert other["record"] == made.observation
    for name, value in forged.items():
        (tmp_path / name).write_bytes(value.to_bytes())
        assert cli.json("verify", tmp_path / name, code=1)["verdict"] == "invalid", name


def test_cosignatures_from_the_future_and_of_other_checkpoints_do_not_count(made, cli, proof, tmp_path):
    cosigned(proof, WITNESSES[0], time=2**40)
    assert cli.json("verify", proof, *asking(WITNESSES[0]), code=1)["detail"].startswith("0 of the 1")
    cli.text("prove", made.observation, "--out", tmp_path / "other.tlog-proof", "--data", made.data)
    read = tlogproof.parse(proof.read_bytes())
    elsewhere = tlogproof.parse((tmp_path / "other.tlog-proof").read_bytes()).signed.checkpoint
    lines = (read.signed.signatures[0], WITNESSES[0].cosign(elsewhere, NOW))
    proof.write_bytes(read._replace(signed=Signed(read.signed.checkpoint, lines)).to_bytes())
    assert "claims to be" in cli.json("verify", proof, *asking(WITNESSES[0]), code=1)["detail"]


def test_a_log_key_can_be_given(made, cli, proof):
    told = cli.run("verify", proof, "--log-key", "x").stderr
    assert "TSLG-K-KEY" in told
    read = tlogproof.parse(proof.read_bytes())
    (public,) = tlogproof.own_keys(read.signed.checkpoint.origin, tlogproof.subject(read).genesis)
    own = checkpoint.log_key(read.signed.checkpoint.origin, public).text
    assert cli.json("verify", proof, "--log-key", own)["verdict"] == "valid"
    other = WITNESSES[0].public._replace(name=read.signed.checkpoint.origin, type=1).text
    assert cli.json("verify", proof, "--log-key", other, code=1)["verdict"] == "invalid"


def test_what_is_no_proof_file_is_one_line(cli, tmp_path):
    (tmp_path / "p").write_bytes(b"c2sp.org/tlog-proof@v1\nindex 0\n")
    assert "TSLG-K-PROOF" in cli.error("verify", tmp_path / "p")


# --- tiles, by a reader of its own ---------------------------------------------------------------------------------


def parts(number: int) -> str:
    text = f"{number:03}" if number < 1000 else f"{number:0{-(-len(str(number)) // 3) * 3}}"
    groups = [text[i : i + 3] for i in range(0, len(text), 3)]
    return "/".join([*("x" + group for group in groups[:-1]), groups[-1]])


def node(*children: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + b"".join(children)).digest()


def fold(hashes: list[bytes]) -> bytes:
    """MTH over hashes that are nodes of one level, read straight from RFC 6962."""
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node(fold(hashes[:k]), fold(hashes[k:]))


def read_tiles(folder: Path) -> tuple[str, int, list[bytes]]:
    """Return origin, size and entries of a tlog-tiles directory whose every hash was recomputed."""
    origin, size_text, root, *_ = (folder / "checkpoint").read_text().split("\n")
    size, entries, level = int(size_text), [], 0
    for number in range(-(-size // 256)):
        width = min(256, size - number * 256)
        data = (folder / "tile" / "entries" / (parts(number) + (f".p/{width}" if width < 256 else ""))).read_bytes()
        while data:
            (length,) = struct.unpack(">H", data[:2])
            entries.append(data[2 : 2 + length])
            data = data[2 + length :]
    expected = [hashlib.sha256(b"\x00" + entry).digest() for entry in entries]
    leaves = expected
    while expected:
        found = b""
        for number in range(-(-len(expected) // 256)):
            width = min(256, len(expected) - number * 256)
            suffix = f".p/{width}" if width < 256 else ""
            found += (folder / "tile" / str(level) / (parts(number) + suffix)).read_bytes()
        assert found == b"".join(expected)
        expected = [fold(expected[i : i + 256]) for i in range(0, len(expected) // 256 * 256, 256)]
        level += 1
    assert base64.b64decode(root) == (fold(leaves) if leaves else hashlib.sha256(b"").digest())
    return origin, size, entries


@pytest.fixture(scope="module")
def grown(made, tmp_path_factory) -> tuple[Path, Path]:
    """Two states of one log, the larger one spanning several tiles."""
    small, large = tmp_path_factory.mktemp("small"), tmp_path_factory.mktemp("large")
    shutil.copytree(made.data, small / "d")
    with Home.open(small / "d") as home, home.agent("alpha").batch():
        for step in range(300):
            home.agent("alpha").state({"step": step})
    shutil.copytree(small / "d", large / "d")
    with Home.open(large / "d") as home, home.agent("alpha").batch():
        for step in range(300):
            home.agent("alpha").state({"step": step})
    return small / "d", large / "d"


@pytest.mark.spec("CHK-14", "CHK-15")
def test_tiles_are_what_an_independent_reader_expects_also_when_the_log_grew(made, cli, grown, tmp_path):
    small, large = grown
    folder = tmp_path / "tiles"
    first = cli.json("export", "tiles", "alpha", folder, "--data", small)
    origin, size, entries = read_tiles(folder)
    assert (origin, size) == (f"tslg/{made.alpha}", first["size"]) and len(entries) == size > 256
    second = cli.json("export", "tiles", "alpha", folder, "--data", large)
    assert second["old_size"] == size and read_tiles(folder)[2][:size] == entries
    whole = tmp_path / "whole"
    at_once = cli.json("export", "tiles", "alpha", whole, "--data", large)
    assert second["files"] < at_once["files"] and read_tiles(whole)[2] == read_tiles(folder)[2]
    assert not list((folder / "tile" / "0").glob("001.p/*")), "the full tile takes the place of partial ones"
    again = cli.json("export", "tiles", "alpha", folder, "--data", large)
    assert (again["files"], again["old_size"]) == (0, again["size"])


@pytest.mark.spec("CHK-15")
def test_an_export_that_was_broken_off_is_gone_on_with(cli, grown, tmp_path, monkeypatch):
    small, large = grown
    folder = tmp_path / "tiles"
    cli.text("export", "tiles", "alpha", folder, "--data", small)
    before = read_tiles(folder)
    write, count = tiling._write, [0]

    def breaking(path, data):
        count[0] += 1
        if count[0] == 4:
            raise KeyboardInterrupt
        write(path, data)

    monkeypatch.setattr(tiling, "_write", breaking)
    assert cli.run("export", "tiles", "alpha", folder, "--data", large).exit_code == 130
    assert read_tiles(folder) == before
    monkeypatch.undo()
    cli.text("export", "tiles", "alpha", folder, "--data", large)
    assert read_tiles(folder)[1] == before[1] + 300


@pytest.mark.spec("CHK-15")
def test_a_directory_of_another_log_is_left_alone(cli, grown, made, tmp_path):
    small, large = grown
    cli.text("export", "tiles", "alpha", tmp_path / "tiles", "--data", large)
    before = read_tiles(tmp_path / "tiles")
    assert "TSLG-K-TILES" in cli.error("export", "tiles", "beta", tmp_path / "tiles", "--data", small)
    assert "TSLG-K-TILES" in cli.error("export", "tiles", "alpha", tmp_path / "tiles", "--data", small)
    assert read_tiles(tmp_path / "tiles") == before


def test_a_policy_of_witnesses_is_for_proof_files(made, cli):
    for option in (asking(WITNESSES[0]), ["--quorum", "1"], ["--log-key", "x"]):
        assert "are for proof files" in cli.error("verify", made.car, *option)
