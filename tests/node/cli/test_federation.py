"""Founding, signing and amending federations through the command line, file by file."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tslg.manifests import genesis, signing
from tslg.manifests.keys import read_key
from tslg.node.cli.federation import federation
from tslg.protocol.cid import to_text
from tslg.protocol.manifest import Manifest
from tslg.protocol.rules.seals import rule_seal
from tslg.protocol.seal import parse, to_be_signed

MEMBERS = ("alice", "bob", "carol")
TEXT = """\
[federation]
name = "North Sea"

[anchors]
scheme = "SCHEME"
threshold = 2
members = ["alice", "bob", "carol"]

[envelope]
verify_depth = 50
"""


class Desk:
    """A folder with files, and the commands run in it."""

    def __init__(self, folder: Path, scheme: str) -> None:
        self.folder = folder
        self.scheme = scheme
        self.text = folder / "f.toml"
        self.text.write_text(TEXT.replace("SCHEME", scheme))
        self.shared = folder / "shared"

    def fails(self, *arguments: object) -> list[str]:
        """Run a command that must fail, and return its errors."""
        result = CliRunner().invoke(federation, list(map(str, arguments)))
        assert result.exit_code == 3, result.output
        assert result.stdout == ""
        lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
        assert lines
        return lines

    def run(self, *arguments: object) -> Any:
        """Run a command that must succeed, and return its JSON."""
        result = CliRunner().invoke(federation, [*map(str, arguments), "--json"])
        assert result.exit_code == 0, result.stderr
        assert len(result.stdout.splitlines()) == 1
        return json.loads(result.stdout)

    def member(self, group: str, step: str, name: str, *more: object) -> Any:
        return self.run(group, step, self.shared, "--private", self.folder / name, "--member", name, *more)

    def key_files(self) -> list[Path]:
        return [next((self.folder / name).glob("*.key.json")) for name in MEMBERS]

    def ceremony(self) -> Path:
        """Make the anchors' keys, every step twice."""
        if self.scheme == "multisig":
            for name in MEMBERS * 2:
                self.member("multisig", "join", name)
            done = self.run("multisig", "close", self.shared, "--manifest", self.text)
        else:
            for _ in range(2):
                self.run("dkg", "start", self.shared, "--manifest", self.text)
            for name in MEMBERS * 2:
                transcript = self.member("dkg", "commit", name)["transcript"]
            for name in MEMBERS * 2:
                self.member("dkg", "share", name, "--transcript", transcript)
            for name in MEMBERS * 2:
                done = self.member("dkg", "finish", name)
        assert done["anchors"] == str(self.shared / "anchors.cbor")
        return Path(done["anchors"])

    def seal(self, request: object, keys: Sequence[Path]) -> Path:
        """Have the holders of keys sign, and combine."""
        partials = [self.run("sign", request, "--key", key)["partial"] for key in keys]
        return Path(self.run("combine", request, *partials)["sealed"])

    def files(self) -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@pytest.fixture(params=["threshold", "multisig"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Desk:
    return Desk(tmp_path, request.param)


def verified_root(path: Path) -> tuple[Manifest, Any]:
    """Read a sealed root manifest as a stranger would, and verify its seal."""
    record, sealed = signing.read_sealed(path)
    manifest = Manifest.from_record(record)
    (entry,) = parse(sealed).signatures
    assert manifest.proofs_hold()
    assert entry.kid == manifest.id
    assert manifest.anchors.verify(to_be_signed(record.data, entry.alg), entry.value, entry.bitmap)
    return manifest, record


def test_three_anchors_found_a_federation_two_sign_and_amend_it(desk: Desk) -> None:
    anchors = desk.ceremony()
    request = desk.run("new", desk.text, "--anchors", anchors)
    assert (request["kind"], request["name"], request["version"]) == ("manifest", "North Sea", 1)
    assert desk.run("new", desk.text, "--anchors", anchors) == request
    root = desk.seal(request["request"], desk.key_files()[1:])
    manifest, record = verified_root(root)
    assert to_text(manifest.id) == request["id"]
    assert manifest.envelope.verify_depth == 50

    born = genesis.build_genesis(
        manifest, name="worker", public_key=genesis.public_key(b"s" * 32), nonce=bytes(16), time_ms=record.time
    )
    (desk.folder / "worker.request").write_bytes(
        signing.encode_request(genesis.propose_genesis(born, b"s" * 32, record))
    )
    attested = desk.seal(desk.folder / "worker.request", desk.key_files()[:2])
    read, sealed = signing.read_sealed(attested)
    assert read.id == born.id
    assert rule_seal(read, sealed, signing_context(record, read)) is None

    second = desk.folder / "second.toml"
    text = desk.run("show", root, "--toml")["text"]
    assert "verify_depth = 50" in text
    second.write_text(text.replace("verify_depth = 50", "verify_depth = 60"))
    request = desk.run("amend", second, "--log", root)
    assert (request["kind"], request["version"], len(request["anchors"])) == ("manifest-amendment", 2, 2)
    assert desk.run("amend", second, "--log", root) == request
    amended = desk.seal(request["request"], desk.key_files()[:2])
    shown = desk.run("show", amended)
    assert (shown["version"], shown["envelope"]["verify_depth"], shown["owner"]) == (2, 60, to_text(manifest.id))
    assert len(shown["signatures"]) == 2
    assert desk.fails("show", attested, "--toml")[0].endswith("holds a genesis (give a sealed manifest or amendment)")
    third = desk.folder / "third.toml"
    third.write_text(second.read_text())
    assert desk.run("amend", third, "--log", root, "--log", amended)["version"] == 3


def signing_context(manifest_record: Any, item: Any) -> Any:
    from tslg.manifests.request import Context, Request

    return Context(Request(item, (manifest_record,), None))


def test_every_file_can_be_shown_and_no_secret_is(desk: Desk) -> None:
    anchors = desk.ceremony()
    request = desk.run("new", desk.text, "--anchors", anchors)["request"]
    desk.seal(request, desk.key_files()[:2])
    secrets = [read_key(path).secret.hex() for path in desk.key_files()]
    shown = 0
    for path in desk.files():
        if path.suffix in (".toml", ".request", ".partial", ".sealed", ".json") or path == anchors:
            for flags in ([], ["--json"]):
                result = CliRunner().invoke(federation, ["show", str(path), *flags])
                assert result.exit_code == 0, (path, result.stderr)
                assert not any(secret in result.output for secret in secrets)
            shown += 1
    assert shown == 9
    assert desk.run("show", desk.folder / "f.sealed")["seal_verifies"] is True
    assert desk.run("show", anchors)["threshold"] == 2


def test_a_step_killed_and_run_again_leaves_the_same_files(desk: Desk) -> None:
    anchors = desk.ceremony()
    request = desk.run("new", desk.text, "--anchors", anchors)["request"]
    desk.seal(request, desk.key_files())
    whole = desk.files()
    for path in (request, *desk.folder.glob("*.partial"), *desk.folder.glob("*.sealed"), anchors):
        if path == request:
            continue
        Path(path).unlink()
        desk.ceremony()
        desk.run("new", desk.text, "--anchors", anchors)
        desk.seal(request, desk.key_files())
        assert desk.files() == whole


def test_too_few_damaged_and_foreign_partials_are_named(desk: Desk) -> None:
    anchors = desk.ceremony()
    request = desk.run("new", desk.text, "--anchors", anchors)["request"]
    one, two = (Path(desk.run("sign", request, "--key", key)["partial"]) for key in desk.key_files()[:2])
    (line,) = desk.fails("combine", request, one)
    assert line.startswith("error: TSLG-M-QUORUM: 1 of 2 signatures") and "have 1 more of bob, carol sign" in line
    good = two.read_bytes()
    two.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    (line,) = desk.fails("combine", request, one, two)
    assert line.startswith(f"error: TSLG-M-PARTIAL: {two}, the signature of bob, does not verify (leave it out")
    two.write_bytes(good[:40])
    (line,) = desk.fails("combine", request, one, two)
    assert line.startswith(f"error: TSLG-M-FILE: {two} is damaged")
    (line,) = desk.fails("combine", request, one, request)
    assert "is not a tslg partial signature file" in line
    assert not list(desk.folder.glob("*.sealed"))
    two.write_bytes(good)
    verified_root(Path(desk.run("combine", request, one, two)["sealed"]))


def test_anchors_of_another_threshold_are_refused(desk: Desk) -> None:
    anchors = desk.ceremony()
    desk.text.write_text(desk.text.read_text().replace("threshold = 2", "threshold = 3"))
    (line,) = desk.fails("new", desk.text, "--anchors", anchors)
    assert line.startswith("error: TSLG-M-KEYS") and "2 of 3" in line
    assert not (desk.folder / "f.request").exists()


def test_a_changed_text_does_not_replace_a_request(desk: Desk) -> None:
    anchors = desk.ceremony()
    desk.run("new", desk.text, "--anchors", anchors)
    before = desk.files()
    desk.text.write_text(desk.text.read_text().replace("50", "51"))
    (line,) = desk.fails("new", desk.text, "--anchors", anchors)
    assert line.startswith("error: TSLG-M-EXISTS")
    assert desk.files() | {desk.text: b""} == before | {desk.text: b""}


def test_a_malformed_text_names_every_line(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "threshold")
    desk.text.write_text(desk.text.read_text().replace("= 2", "= 7").replace("50", '"far"\nfan_im = 3'))
    lines = desk.fails("new", desk.text)
    assert [line.split(":")[1] for line in lines] == [" TSLG-M-TEXT"] * 3
    assert [line.split(".toml:")[1].split(":")[0] for line in lines] == ["6", "10", "11"]
    assert "did you mean fan_in?" in lines[2]
    desk.text.write_bytes(b"\xff\xfe")
    (line,) = desk.fails("new", desk.text)
    assert "TSLG-M-TOML" in line


def test_new_says_what_is_missing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "threshold")
    assert desk.fails("new", desk.text)[0].endswith("(run the key ceremony first)")
    assert desk.fails("new")[0].startswith("error: TSLG-U-USAGE: no manifest given")
    assert desk.fails("new", tmp_path / "none.toml")[0].startswith("error: TSLG-M-ABSENT")
    assert desk.fails("dkg", "start", desk.shared)[0].startswith("error: TSLG-U-USAGE: who takes part?")
    assert desk.fails("dkg", "start", desk.shared, "--restart", tmp_path)[0].startswith("error: TSLG-U-USAGE")


def test_a_single_organisation_takes_one_step(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "multisig")
    sealed, key = tmp_path / "me.sealed", tmp_path / "me.key.json"
    made = desk.run("new", "--single", "--name", "Me", "--key", key, "--out", sealed)
    manifest, _ = verified_root(sealed)
    assert made["federation"] == to_text(manifest.id)
    assert (manifest.name, manifest.anchors.threshold, len(manifest.anchors.members)) == ("Me", 1, 1)
    assert key.stat().st_mode & 0o777 == 0o600
    before = desk.files()
    (line,) = desk.fails("new", "--single", "--name", "Me", "--key", key, "--out", tmp_path / "other.sealed")
    assert "is there already" in line
    assert desk.files() == before
    (line,) = desk.fails("new", "--single", desk.text, "--key", tmp_path / "k", "--out", tmp_path / "o")
    assert "names 3 anchors" in line
    text = tmp_path / "one.toml"
    text.write_text(desk.run("new", "--example", "single-organisation")["text"])
    desk.run("new", "--single", text, "--key", tmp_path / "k.json")
    assert verified_root(tmp_path / "one.sealed")[0].name == "Example Organisation"


def test_examples_are_printed(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "multisig")
    names = desk.run("new", "--example", "list")["examples"]
    assert "three-organisations" in names
    result = CliRunner().invoke(federation, ["new", "--example", "three-organisations"])
    assert result.output.startswith("# Three organisations")
    assert "TSLG-U-EXAMPLE" in desk.fails("new", "--example", "no-such")[0]


def test_a_ceremony_restarts_without_a_culprit(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "threshold")
    desk.run("dkg", "start", desk.shared, "--manifest", desk.text)
    again = tmp_path / "again"
    step = desk.run("dkg", "start", again, "--restart", desk.shared, "--without", "bob")
    assert step["waiting"] == ["alice", "carol"]
    (line,) = desk.fails("dkg", "share", again, "--private", tmp_path / "alice", "--member", "alice")
    assert "TSLG-M-ABSENT" in line


def test_what_is_signed_is_shown_and_cannot_steer_the_terminal(tmp_path: Path) -> None:
    desk = Desk(tmp_path, "multisig")
    desk.text.write_text(desk.text.read_text().replace("North Sea", "North\\u001b[2JSea\\nkind     genesis"))
    request = desk.run("new", desk.text, "--anchors", desk.ceremony())["request"]
    result = CliRunner().invoke(federation, ["sign", request, "--key", str(desk.key_files()[0])])
    assert result.exit_code == 0
    assert "kind     manifest\n" in result.stderr
    assert "\nkind     genesis" not in result.stderr
    assert "\x1b" not in result.output


def test_help_is_light() -> None:
    script = (
        "import sys; from tslg.node.cli.federation import federation; federation(['--help'], standalone_mode=False);"
        "print(sorted({'trio', 'libp2p', 'tomlkit', 'nacl', 'cbor2', 'rich', 'cbrrr'} & set(sys.modules)))"
    )
    root = Path(__file__).resolve().parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(root)}
    )
    assert done.stdout.splitlines()[-1] == "[]"
