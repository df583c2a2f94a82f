"""`tslg joint`: requests and signatures as files between data directories, by agents and by groups."""

from __future__ import annotations

import pytest
from breaches_joint import shares

from tslg.manifests import bls
from tslg.manifests.keys import AnchorKey, encode_anchors, write_key
from tslg.manifests.text import AnchorKeys
from tslg.protocol.manifest import Member
from tslg.protocol.signatures import Alg


@pytest.fixture
def data(cli, tmp_path):
    for name in ("board", "alice", "bob"):
        cli.text("agent", "new", name, "--data", tmp_path / "home")
    return tmp_path / "home"


def test_agents_sign_one_by_one(cli, data, tmp_path):
    def by(agent, *arguments):
        return cli.json("joint", *arguments, "--agent", agent, "--data", data)

    request = tmp_path / "r"
    told = by("board", "propose", "open", "room=4", "--signer", "alice", "--signer", "bob", "--threshold", "2",
              "--expires", "1d", "--out", request)  # fmt: skip
    assert told["threshold"] == 2 and told["authorises"]["data"] == {"room": "4"} and not told["group"]
    assert cli.json("joint", "show", request)["record"] == told["record"]
    for name in ("alice", "bob"):
        assert by(name, "sign", request, "--out", tmp_path / name)["signer"] == name
    error = cli.error("joint", "sign", request, "--agent", "board", "--data", data, "--out", tmp_path / "x")
    assert "not among the signers" in error
    error = cli.error("joint", "combine", request, tmp_path / "bob", "--agent", "board", "--data", data)
    assert "TSLG-A-SEAL" in error
    made = by("board", "combine", request, tmp_path / "alice", tmp_path / "bob")
    assert made["record"] == told["record"] and made["kind"] == "joint-authorization"
    policy = cli.json("record", "policy", "p", "--joint", made["record"], "--agent", "alice", "--data", data)["record"]
    bob = cli.json("log", "bob", "--data", data)["records"][0]["record"]
    handed = cli.json("record", "delegate", bob, "--grant", policy, "--joint", made["record"], "--agent", "alice",
                      "--data", data)  # fmt: skip
    assert cli.json("verify", handed["record"], "--data", data)["verdict"] == "valid"


def test_a_group_signs_as_one(cli, data, tmp_path):
    secrets, group_key = shares(2, 2, Alg.BLS_THRESHOLD)
    keys = [AnchorKey("group", name, -70001, one) for name, one in zip(("alice", "bob"), secrets, strict=True)]
    members = tuple(Member(key.member, key.public, bls.prove_possession(key.secret)) for key in keys)
    group = tmp_path / "group.cbor"
    group.write_bytes(encode_anchors(-70001, 2, AnchorKeys(members, group_key), bytes(32)))
    files = []
    for key in keys:
        write_key(tmp_path / f"{key.member}.key", key)
        out = tmp_path / f"{key.member}.member"
        cli.json("joint", "consent", "--group", group, "--key", tmp_path / f"{key.member}.key", "--agent", key.member,
                 "--data", data, "--out", out)  # fmt: skip
        files += ["--member", out]
    request = tmp_path / "r"
    told = cli.json("joint", "propose", "open", "--group", group, *files, "--agent", "board", "--data", data,
                    "--out", request)  # fmt: skip
    assert told["group"] and told["threshold"] == 2
    signed = []
    for key in keys:
        signed.append(tmp_path / f"{key.member}.signature")
        cli.json("joint", "sign", request, "--key", tmp_path / f"{key.member}.key", "--agent", key.member, "--data",
                 data, "--out", signed[-1])  # fmt: skip
    made = cli.json("joint", "combine", request, *signed, "--agent", "board", "--data", data)
    assert cli.json("verify", made["record"], "--signatures", "heads", "--data", data)["verdict"] == "valid"


def test_a_file_that_is_none_is_named(cli, data, tmp_path):
    wrong = tmp_path / "wrong"
    wrong.write_bytes(b"hello")
    assert f"{wrong}" in cli.error("joint", "show", wrong)
    assert "TSLG-M-ABSENT" in cli.error("joint", "show", tmp_path / "nothing")
