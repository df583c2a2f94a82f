"""Keys that hardware holds: prepared, attested, registered, whatever a crash or somebody else comes between."""

from __future__ import annotations

import pytest
from enclave import HOUR, PCRS, document, entry, fields, toml
from homes import anchor, opened, sealed_by_anchors, verdict
from world import NOW

from tslg.manifests import genesis as geneses
from tslg.manifests import signing, text, versions
from tslg.node.keyring import Binding
from tslg.protocol.attestation import key_digest
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.seal import parse

pytestmark = pytest.mark.spec("ATS-3", "ATS-4", "ATS-5")

HELD, NEEDED = toml(), toml(required=True)
"""Manifests under which keys may, and must, be bound to hardware."""


def attesting(digest: bytes, **changes) -> bytes:
    return document(fields(digest, **changes))


def in_hardware(home, name="a"):
    """Make an agent whose first key is attested."""
    digest = key_digest(home.prepare_agent(name).fields())
    return home.create_agent(name, binding=Binding("hardware", attesting(digest)))


def test_a_rotation_into_hardware(tmp_path):
    with opened(tmp_path, HELD) as home:
        agent = home.agent("a")
        public, digest = agent.prepare_key()
        assert agent.prepare_key() == (public, digest)
    with opened(tmp_path, seed="after a crash") as home:
        agent = home.agent("a")
        assert agent.prepare_key() == (public, digest)
        made = agent.rotate(binding="hardware", attestation=attesting(digest))
        assert made.body["key"] == public
        last = agent.state({})
        assert last.key == made.id and [one.key.hardware for one in agent.keys] == [False, True]
        for log in ("visited", "full"):
            assert verdict(home, last, log=log) == "valid"


def test_a_prepared_key_survives_bad_evidence(tmp_path):
    with opened(tmp_path, HELD) as home:
        agent = home.agent("a")
        _, digest = agent.prepare_key()
        with pytest.raises(UsageError, match="no key that is prepared here"):
            agent.rotate(binding="hardware", attestation=attesting(bytes(32)))
        with pytest.raises(Refusal, match="within the hour") as caught:
            agent.rotate(binding="hardware", attestation=attesting(digest, timestamp=NOW - 2 * HOUR))
        assert caught.value.code == "TSLG-A-ATTESTATION"
        with pytest.raises(Refusal, match="claims no hardware"):
            agent.rotate(attestation=attesting(digest))
        with pytest.raises(Refusal, match="comes with an attestation"):
            agent.rotate(binding="hardware")
        assert agent.prepare_key()[1] == digest and len(agent.keys) == 1
        agent.rotate(binding="hardware", attestation=attesting(digest))
        with pytest.raises(UsageError, match="no key that is prepared here"):
            agent.rotate(binding="hardware", attestation=attesting(digest))
        assert agent.rotate(binding="platform").body["binding"] == "platform"


def test_an_agent_is_born_in_hardware(tmp_path):
    with opened(tmp_path, NEEDED) as home:
        for attempt in (lambda: home.agent("a"), lambda: home.create_agent("a", binding=Binding("hardware"))):
            with pytest.raises(Refusal) as caught:
                attempt()
            assert caught.value.code == "TSLG-A-ATTESTATION"
        digest = key_digest(home.prepare_agent("a").fields())
        assert key_digest(home.prepare_agent("b").fields()) != digest
        bad = Binding("hardware", attesting(digest, pcrs=dict(PCRS) | {0: b"\x01" * 47 + b"\x02"}))
        with pytest.raises(Refusal, match="register 0"):
            home.create_agent("a", binding=bad)
    with opened(tmp_path, seed="after a crash") as home:
        assert home.agents == [] and key_digest(home.prepare_agent("a").fields()) == digest
        with pytest.raises(UsageError, match="no key that is prepared here"):
            home.create_agent("b", binding=Binding("hardware", attesting(digest)))
        agent = home.create_agent("a", binding=Binding("hardware", attesting(digest)))
        assert agent.keys[0].key.hardware and verdict(home, agent.state({})) == "valid"
        with pytest.raises(UsageError, match="already"):
            home.prepare_agent("a")
    with opened(tmp_path, seed="once more") as home:
        assert verdict(home, home.agent("a").state({}), log="full") == "valid"


def test_a_federation_goes_over_to_hardware(tmp_path):
    with opened(tmp_path, HELD) as home:
        home.agent("a").state({})
        manifests = home.federation_log()
        wanted = text.parse(HELD)
        wanted.envelope["rotation"] = entry(required=True)
        keys = text.AnchorKeys(home.manifest.anchors.members, None)
        amended = versions.amendment(manifests, wanted.body(keys, b"2" * 16, 2), time_ms=NOW)
        home.ledger.admit(amended.data, geneses.sign_and_combine(signing.propose(amended, manifests), anchor(HELD)))
    with opened(tmp_path, seed="again") as home:
        agent = home.agent("a")
        assert [one.fits for one in agent.keys] == [False], "a key in hardware does not come about by itself"
        with pytest.raises(Refusal) as caught:
            agent.state({})
        assert caught.value.code == "TSLG-A-SUITE"
        _, digest = agent.prepare_key()
        agent.rotate(binding="hardware", attestation=attesting(digest))
        assert verdict(home, agent.state({}), log="full") == "valid"


def test_anchors_seal_a_rotation_into_hardware_and_a_recovery(tmp_path):
    manifest = toml(required=True, anchors="anchors = true\nrecovery = true")
    with opened(tmp_path, manifest) as home:
        agent = in_hardware(home)
        digest = key_digest(home.keyring.prepare(agent.id).fields())
        request = home.keyring.request_rotation(agent.id, binding=Binding("hardware", attesting(digest)))
        home.join_record(*sealed_by_anchors(request, manifest))
        assert agent.state({}).key == request.record.id
    for path in (tmp_path / "keys").glob("b*"):
        path.unlink()
    with opened(tmp_path, seed="again") as home:
        digest = key_digest(home.keyring.prepare(agent.id).fields())
        with pytest.raises(Refusal, match="asks for keys bound to hardware"):
            sealed_by_anchors(home.keyring.request_recovery(agent.id), manifest)
        held = Binding("hardware", attesting(digest))
        home.join_record(*sealed_by_anchors(home.keyring.request_recovery(agent.id, binding=held), manifest))
    with opened(tmp_path, seed="third") as home:
        (again,) = home.agents
        assert again.id == agent.id and verdict(home, again.state({}), log="full") == "valid"


def test_both_halves_are_attested_where_there_are_two(tmp_path):
    quantum = NEEDED.replace("[envelope]\n", "[envelope]\npost_quantum = true\n")
    with opened(tmp_path, quantum) as home:
        agent = in_hardware(home)
        last = agent.state({})
        assert [entry.alg for entry in parse(home.store.get(last.id).seal).signatures] == [-19, -49]
        assert verdict(home, last) == "valid"
