"""A node's own keys: rotated, revoked, restored, co-signed and recovered, whatever a crash interrupts."""

from __future__ import annotations

import stat
from dataclasses import replace

import pytest
from homes import anchor, opened, sealed_by_anchors, verdict
from world import NOW, ONE

from tslg.manifests import genesis as geneses
from tslg.manifests import signing, text, versions
from tslg.node import keyfile
from tslg.protocol import seal
from tslg.protocol.errors import ManifestError, Refusal, StoreError, UsageError

OPEN = ONE.format(attested=0)


def with_envelope(line: str) -> str:
    return OPEN.replace("[envelope]\n", f"[envelope]\n{line}\n")


def test_a_rotated_agent_seals_with_the_new_key_and_goes_on_with_it(tmp_path):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        before = agent.state({"step": 1})
        registration = agent.rotate()
        assert agent.state({"step": 2}).key == registration.id and before.key == agent.id
        assert [(one.alive, one.used) for one in agent.keys] == [(True, False), (True, True)]
    with opened(tmp_path, seed="again") as home:
        last = home.agent("a").state({"step": 3})
        assert last.key == registration.id
        for log in ("visited", "full"):
            assert verdict(home, last, log=log) == "valid"
    assert home.store is not None


def test_key_files_are_for_their_owner_alone(tmp_path):
    with opened(tmp_path) as home:
        home.agent("a").rotate()
    files = sorted((tmp_path / "keys").glob("b*"))
    assert [path.suffix for path in files] == [".key", ".json"] or len(files) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_revoked_key_seals_nothing_more(tmp_path):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        first = agent.id
        second = agent.rotate()
        end = agent.revoke(first, "stolen")
        assert end.key == second.id and end.body["from_seq"] == end.seq + 1
        assert verdict(home, agent.state({})) == "valid"
        with pytest.raises(UsageError, match="no key in force"):
            agent.revoke(first, "again")
        assert [one.revoked_from for one in agent.keys] == [end.seq + 1, None]


def test_the_key_in_use_steps_aside_before_it_is_ended(tmp_path):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        second = agent.rotate()
        end = agent.revoke(second, "stolen")
        assert end.key == agent.id and agent.state({}).key == agent.id


def test_the_last_key_ends_only_when_that_is_meant(tmp_path):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        with pytest.raises(UsageError, match="the only key"):
            agent.revoke(agent.id, "enough")
        agent.revoke(agent.id, "enough", last=True)
        with pytest.raises(Refusal) as caught:
            agent.state({})
        assert caught.value.code == "TSLG-A-REVOKED"
    with opened(tmp_path, seed="again") as home, pytest.raises(Refusal):
        home.agent("a").state({})


def test_a_crash_between_the_secret_and_its_registration_loses_nothing(tmp_path, monkeypatch):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        with monkeypatch.context() as patch:
            patch.setattr(home.ledger, "append", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                agent.rotate()
    (left,) = (tmp_path / "keys").glob("*.key")
    with opened(tmp_path, seed="again") as home:
        agent = home.agent("a")
        assert agent.state({}).key == agent.id
        registration = agent.rotate()
        assert list((tmp_path / "keys").glob("*.key")) == [left], "the secret that was left is taken up"
        assert agent.state({}).key == registration.id


def test_a_crash_after_the_registration_loses_nothing(tmp_path, monkeypatch):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        monkeypatch.setattr(home.keyring, "open", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            agent.rotate()
    with opened(tmp_path, seed="again") as home:
        agent = home.agent("a")
        used = [one.key for one in agent.keys if one.used]
        assert agent.state({}).key == used[0].record != agent.id


def test_a_key_whose_file_is_gone_is_not_used(tmp_path):
    with opened(tmp_path) as home:
        home.agent("a").rotate()
    for path in (tmp_path / "keys").glob("*.key"):
        path.unlink()
    with opened(tmp_path, seed="again") as home:
        agent = home.agent("a")
        assert [(one.here, one.used) for one in agent.keys] == [(True, True), (False, False)]
        assert agent.state({}).key == agent.id


def test_keys_do_not_change_inside_a_batch(tmp_path):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        with agent.batch(), pytest.raises(UsageError, match="outside a batch"):
            agent.rotate()
        with agent.batch(), pytest.raises(UsageError, match="outside a batch"):
            agent.revoke(agent.id, "x", last=True)


def test_damaged_files_and_secrets_are_not_quoted(tmp_path):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        agent.rotate()
        key = home.agent_key(agent.id)
        assert key.seed.hex() not in repr(key) + repr(home.ledger._logs) + repr(key.key)
    (path,) = (tmp_path / "keys").glob("*.key")
    good = path.read_text()
    for bad in ("", "[]", "{}", good.replace('"alg": -19', '"alg": "x"'), good[: len(good) // 2], "[" * 10_000):
        path.write_text(bad)
        with pytest.raises(StoreError) as caught:
            opened(tmp_path)
        assert caught.value.code == "TSLG-D-KEY" and key.seed.hex() not in str(caught.value)


# --- other algorithms ------------------------------------------------------------------------------------------------


def test_an_agent_with_an_es256k_key(tmp_path):
    toml = with_envelope('signatures = ["Ed25519", "ES256K"]')
    with opened(tmp_path, toml) as home:
        agent = home.create_agent("a", alg=-47)
        state = agent.state({})
        assert seal.parse(home.store.get(state.id).seal).signatures[0].alg == -47
        assert agent.rotate().body["alg"] == -47
        agent.rotate(-19)
        assert verdict(home, agent.state({})) == "valid"
        with pytest.raises(UsageError, match="allows no keys of"):
            home.create_agent("b", alg=-8)
    with opened(tmp_path, seed="again") as home:
        assert verdict(home, home.agent("a").state({})) == "valid"


def test_a_post_quantum_federation_needs_nothing_said(tmp_path):
    with opened(tmp_path, with_envelope("post_quantum = true")) as home:
        agent = home.agent("a")
        state = agent.act("x")
        assert [entry.alg for entry in seal.parse(home.store.get(state.id).seal).signatures] == [-19, -49]
        agent.rotate()
    with opened(tmp_path, seed="again") as home:
        last = home.agent("a").state({})
        for how in ({"log": "full"}, {"signatures": "heads"}, {"workers": 2}, {"post_quantum": True}):
            assert verdict(home, last, **how) == "valid"


def test_agents_go_over_to_post_quantum_keys_when_the_manifest_does(tmp_path):
    with opened(tmp_path, OPEN) as home:
        agent = home.agent("a")
        before = agent.state({})
        manifests = [home.manifest_record]
        wanted = replace(text.parse(text.to_toml(dict(manifests[0].body))), compiled=None)
        wanted.envelope["post_quantum"] = True
        keys = text.AnchorKeys(home.manifest.anchors.members, None)
        amended = versions.amendment(manifests, wanted.body(keys, b"2" * 16, 2), time_ms=NOW)
        sealed = geneses.sign_and_combine(signing.propose(amended, manifests), anchor(OPEN))
        home.ledger.admit(amended.data, sealed)
    with opened(tmp_path, seed="again") as home:
        agent = home.agent("a")
        assert [one.fits for one in agent.keys] == [False, True]
        after = agent.act("x", evidence=[before])
        assert [entry.alg for entry in seal.parse(home.store.get(after.id).seal).signatures] == [-19, -49]
        assert verdict(home, after, log="full") == "valid"


# --- with the anchors ------------------------------------------------------------------------------------------------

ROTATED = OPEN + "[envelope.rotation]\nanchors = true\n"
RECOVERED = ROTATED + "recovery = true\n"


def test_anchors_elsewhere_seal_a_rotation_and_a_revocation(tmp_path):
    with opened(tmp_path, ROTATED) as home:
        agent = home.agent("a")
        with pytest.raises(UsageError, match="seal what concerns keys"):
            agent.rotate()
        request = home.keyring.request_rotation(agent.id)
        home.join_record(*sealed_by_anchors(request, ROTATED))
        assert agent.state({}).key == request.record.id
        ending = home.keyring.request_revocation(agent.id, agent.id, "stolen")
        home.join_record(*sealed_by_anchors(ending, ROTATED))
        last = agent.state({})
        assert last.key == request.record.id and verdict(home, last, log="full") == "valid"


def test_a_request_is_void_once_the_log_has_grown(tmp_path):
    with opened(tmp_path, ROTATED) as home:
        agent = home.agent("a")
        request = home.keyring.request_rotation(agent.id)
        agent.state({})
        sealed = sealed_by_anchors(request, ROTATED)
        with pytest.raises(UsageError, match="has grown"):
            home.join_record(*sealed)
        assert [entry.alg for entry in seal.parse(sealed[1]).signatures] == [home.manifest.anchors.scheme], (
            "what is void is not signed by the agent: it is no second record for one place"
        )
        again = home.keyring.request_rotation(agent.id)
        assert again.record.body["key"] == request.record.body["key"]
        home.join_record(*sealed_by_anchors(again, ROTATED))


def test_anchors_refuse_what_the_agent_signed_first_or_may_do_alone(tmp_path):
    with opened(tmp_path, ROTATED) as home:
        agent = home.agent("a")
        request = home.keyring.request_rotation(agent.id)
        assert request.own == ()
        with pytest.raises(ManifestError, match="after the anchors"):
            signing.propose(request.record, request.support, [seal.Signature(-19, agent.id, bytes(64))])
        with pytest.raises(Refusal, match="fetch the registration"):
            signing.propose(request.record, [home.manifest_record])
        record, sealed = sealed_by_anchors(request, ROTATED)
        (entry,) = seal.parse(sealed).signatures
        with pytest.raises(Refusal, match="not sealed by 1 of the 1 anchors"):
            home.join_record(record, seal.encode([entry._replace(value=bytes(96))], many=True))
    with opened(tmp_path / "alone", OPEN) as home:
        agent = home.agent("a")
        with pytest.raises(ManifestError, match="change their keys alone"):
            home.keyring.request_rotation(agent.id)


def test_an_agent_that_lost_its_keys_is_recovered(tmp_path):
    with opened(tmp_path, RECOVERED) as home:
        agent = home.agent("a")
        agent.state({"before": True})
        id = agent.id
    (tmp_path / "keys" / next(path.name for path in (tmp_path / "keys").glob("b*.json"))).unlink()
    with opened(tmp_path, seed="again") as home:
        assert home.agents == []
        request = home.keyring.request_recovery(id)
        home.join_record(*sealed_by_anchors(request, RECOVERED))
    with opened(tmp_path, seed="third") as home:
        (agent,) = home.agents
        ending = home.keyring.request_revocation(id, id, "lost")
        home.join_record(*sealed_by_anchors(ending, RECOVERED))
        last = agent.state({"after": True})
        assert agent.id == id and last.key == request.record.id
        assert verdict(home, last, log="full") == "valid"


def test_there_is_no_recovery_where_the_manifest_allows_none(tmp_path):
    with opened(tmp_path, ROTATED) as home, pytest.raises(UsageError, match="allows no recovery"):
        home.keyring.request_recovery(home.agent("a").id)


def test_another_agents_key_file_is_refused(tmp_path):
    with opened(tmp_path) as home:
        a, b = home.agent("a"), home.agent("b")
        a.rotate()
        folder = tmp_path / "keys"
        (path,) = folder.glob("*.key")
        stolen = folder / path.name.replace(path.name.split(".")[0], keyfile.to_text(b.id))
        stolen.write_bytes(path.read_bytes())
        with pytest.raises(StoreError):
            keyfile.read_further(folder, b.id)
