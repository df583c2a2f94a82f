"""`tslg agent rotate|revoke|recover|keys`: alone, with anchors elsewhere, and with other algorithms."""

from __future__ import annotations

import enclave
import pytest
from world import ONE, source

from tslg.manifests import genesis as geneses
from tslg.manifests import text
from tslg.manifests.files import write_once
from tslg.manifests.keys import write_key
from tslg.manifests.signing import encode_sealed
from tslg.node.home import wall_clock

OPEN = ONE.format(attested=0)
RECOVERED = OPEN + "[envelope.rotation]\nanchors = true\nrecovery = true\n"


@pytest.fixture
def found(tmp_path):
    """Found the federation of a text; return the sealed manifest's file and the anchor's key file."""

    def make(toml: str):
        founded = geneses.found_federation(text.parse(toml), random_bytes=source("cli"), time_ms=wall_clock())
        sealed, key = tmp_path / "root.sealed", tmp_path / "anchor.key.json"
        write_once(sealed, encode_sealed(founded.manifest_record.data, founded.seal))
        write_key(key, founded.anchor_keys[0])
        return sealed, key

    return make


def test_rotation_and_revocation(cli, tmp_path):
    data = tmp_path / "node"
    agent = cli.json("agent", "new", "a", "--data", data)["agent"]
    made = cli.json("agent", "rotate", "a", "--data", data)
    assert made["in_use"] == made["record"] and made["agent"] == agent
    keys = cli.json("agent", "keys", "a", "--data", data)["keys"]
    assert [(key["key"], key["state"]) for key in keys] == [(agent, "in force"), (made["record"], "in use")]
    ended = cli.json("agent", "revoke", "a", agent, "--reason", "stolen", "--data", data)
    assert ended["in_use"] == made["record"]
    assert cli.json("agent", "keys", agent, "--data", data)["keys"][0]["revoked_from"] == 4
    shown = cli.json("agent", "show", "a", "--data", data)
    assert [key["state"] for key in shown["keys"]] == ["revoked from 4", "in use"]
    assert cli.json("agent", "list", "--data", data)["agents"][0]["keys"] == 1
    seen = cli.json("record", "observe", "sensor", "--data", data)["record"]
    assert cli.json("verify", seen, "--data", data, "--log", "full")["verdict"] == "valid"
    assert "no key in force" in cli.error("agent", "revoke", "a", agent, "--reason", "x", "--data", data)
    only = cli.error("agent", "revoke", "a", made["record"], "--reason", "x", "--data", data)
    assert "the only key" in only
    assert cli.json("agent", "revoke", "a", made["record"], "--reason", "x", "--last", "--data", data)
    assert "TSLG-A-REVOKED" in cli.error("record", "observe", "sensor", "--data", data)


def test_another_scheme(cli, found, tmp_path):
    sealed, _ = found(OPEN.replace("[envelope]\n", '[envelope]\nsignatures = ["Ed25519", "ES256K"]\n'))
    data = tmp_path / "node"
    cli.json("agent", "new", "a", "--data", data, "--federation", sealed, "--alg", "ES256K")
    cli.json("agent", "rotate", "a", "--data", data, "--alg", "Ed25519")
    keys = cli.json("agent", "keys", "a", "--data", data)["keys"]
    assert [key["scheme"] for key in keys] == ["ES256K", "Ed25519"]
    assert "allows no keys of ES256K" in cli.error("agent", "new", "b", "--data", tmp_path / "b", "--alg", "ES256K")


def test_anchors_elsewhere_seal_a_rotation_and_a_recovery(cli, found, tmp_path):
    sealed, key = found(RECOVERED)
    data = tmp_path / "node"
    agent = cli.json("agent", "new", "a", "--data", data, "--federation", sealed)["agent"]
    assert "--out FILE" in cli.error("agent", "rotate", "a", "--data", data)

    def seal(request):
        partial, whole = tmp_path / f"{request.name}.partial", tmp_path / f"{request.name}.sealed"
        cli.json("federation", "sign", request, "--key", key, "--out", partial)
        cli.json("federation", "combine", request, partial, "--out", whole)
        return whole

    asked = cli.json("agent", "rotate", "a", "--data", data, "--out", tmp_path / "rotate")
    joined = cli.json("agent", "join", seal(tmp_path / "rotate"), "--data", data)
    assert joined == {"agent": agent, "record": asked["record"]}
    cli.json("agent", "revoke", "a", agent, "--reason", "old", "--data", data, "--out", tmp_path / "revoke")
    cli.json("agent", "join", seal(tmp_path / "revoke"), "--data", data)
    for path in (data / "keys").glob("b*"):
        path.unlink()
    cli.json("agent", "recover", agent, "--data", data, "--out", tmp_path / "recover")
    cli.json("agent", "join", seal(tmp_path / "recover"), "--data", data)
    states = [key["state"] for key in cli.json("agent", "keys", agent, "--data", data)["keys"]]
    assert states[0].startswith("revoked") and states[1:] == ["in force, its secret elsewhere", "in use"]
    seen = cli.json("record", "observe", "sensor", "--data", data, "--agent", "a")["record"]
    assert cli.json("verify", seen, "--data", data, "--log", "full")["verdict"] == "valid"


@pytest.mark.spec("ATS-3", "ATS-4")
def test_keys_that_hardware_holds(cli, found, tmp_path):
    sealed, _ = found(enclave.toml(required=True))
    data, evidence = tmp_path / "node", tmp_path / "evidence"
    new = ("agent", "new", "a", "--data", data, "--federation", sealed)

    def attest(prepared):
        at = wall_clock() // 60_000 * 60_000
        evidence.write_bytes(enclave.document(enclave.fields(bytes.fromhex(prepared["user_data"]), at=at)))

    assert "TSLG-A-ATTESTATION" in cli.error(*new)
    prepared = cli.json(*new, "--prepare")
    assert cli.json(*new, "--prepare") == prepared
    attest({"user_data": "00" * 32})
    assert "no key that is prepared here" in cli.error(*new, "--attestation", evidence)
    attest(prepared)
    assert "TSLG-A-ATTESTATION" in cli.error(*new, "--attestation", evidence, "--binding", "platform")
    agent = cli.json(*new, "--attestation", evidence)["agent"]
    rotate = ("agent", "rotate", "a", "--data", data)
    attest(cli.json(*rotate, "--prepare"))
    made = cli.json(*rotate, "--binding", "hardware", "--attestation", evidence)["record"]
    keys = cli.json("agent", "keys", "a", "--data", data)["keys"]
    assert [(key["key"], key["hardware"]) for key in keys] == [(agent, True), (made, True)]
    assert keys[0]["public_key"] == prepared["public_key"]
    seen = cli.json("record", "observe", "sensor", "--data", data)["record"]
    assert cli.json("verify", seen, "--data", data, "--log", "full")["verdict"] == "valid"
    evidence.write_bytes(bytes(20_000))
    assert "TSLG" in cli.error(*rotate, "--attestation", evidence)


def test_insisting_on_post_quantum_signatures(cli, tmp_path):
    data = tmp_path / "node"
    cli.json("agent", "new", "a", "--data", data)
    seen = cli.json("record", "observe", "sensor", "--data", data)["record"]
    report = cli.json("verify", seen, "--data", data, "--require-post-quantum", code=1)
    assert {finding["code"] for finding in report["findings"]} == {"TSLG-V-POST-QUANTUM"}
