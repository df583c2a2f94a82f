"""Authorising together over files: agents on other nodes, one by one or as a group that signs by BLS."""

from __future__ import annotations

import io
from itertools import count

import pytest
from breaches_joint import shares
from world import NOW, ONE, founded, source

from tslg.manifests import bls
from tslg.manifests.keys import AnchorKey
from tslg.node.home import Home
from tslg.node.joining import JointRequest, read_member
from tslg.node.sources import StoreSource
from tslg.node.standing import considered, operative
from tslg.node.verifying import verify
from tslg.protocol import codec, seal
from tslg.protocol.errors import ManifestError, Refusal, UsageError
from tslg.protocol.manifest import Anchors, Member
from tslg.protocol.signatures import Alg


@pytest.fixture
def homes(tmp_path):
    """Three nodes of one federation, the first of which holds the geneses of the others' agents."""
    federation = founded(ONE.format(attested=0), "joining")
    sealed = (federation.manifest_record, federation.seal)
    ticks = count(NOW)
    opened = [
        Home.open(tmp_path / name, federation=sealed, clock=lambda: next(ticks), random_bytes=source(name))
        for name in ("office", "lab", "yard")
    ]
    for home, name in zip(opened, ("board", "bob", "carol"), strict=True):
        home.agent(name)
    for home in opened[1:]:
        genesis = home.agents[0].id
        opened[0].ledger.admit(*home.store.get(genesis)[:2])
    yield opened
    for home in opened:
        home.close()


def agents(homes):
    return [home.agents[0] for home in homes]


def valid(home, record):
    return verify(StoreSource(home.store), record.id, home.federation, now_ms=NOW + 10**6).verdict == "valid"


def test_signers_on_other_nodes_sign_one_by_one(homes):
    board, bob, carol = agents(homes)
    request = board.propose_joint("launch", [bob.id, carol.id], 2, {"at": "noon"}, expires=NOW + 10**6)
    sent = JointRequest.from_bytes(request.to_bytes())
    assert sent == request and sent.group is None
    signed = [("bob", bob.sign_joint(sent)), ("carol", carol.sign_joint(sent))]
    with pytest.raises(Refusal, match="1 of 2 signers signed"):
        board.record_joint(request, signed[:1])
    made = board.record_joint(request, reversed(signed))
    done = board.act("launch", joint=made)
    assert valid(homes[0], done) and made.body["data"] == {"at": "noon"}
    assert board.record_joint(request, signed).id == made.id, "recording it again finds it there"


def test_an_author_who_is_a_signer_signs_once(homes):
    board, bob, _ = agents(homes)
    request = board.propose_joint("launch", [board.id, bob.id], 2)
    signed = [("board", board.sign_joint(request)), ("bob", bob.sign_joint(request))]
    assert valid(homes[0], board.record_joint(request, signed))


def test_a_log_that_grew_meanwhile_wants_a_new_proposal(homes):
    board, bob, _ = agents(homes)
    request = board.propose_joint("launch", [bob.id], 1)
    board.observe("x")
    with pytest.raises(UsageError, match="has grown"):
        board.record_joint(request, [("bob", bob.sign_joint(request))])
    again = board.propose_joint("launch", [bob.id], 1)
    assert valid(homes[0], board.record_joint(again, [("bob", bob.sign_joint(again))])), "no fork came of it"


def test_what_is_not_a_signers_signature_is_named(homes):
    board, bob, carol = agents(homes)
    request = board.propose_joint("launch", [bob.id], 1)
    other = board.propose_joint("scrub", [bob.id], 1)
    with pytest.raises(UsageError, match="carol is not among the signers"):
        carol.sign_joint(request)
    signed = bob.sign_joint(request)
    with pytest.raises(ManifestError, match="bob-signature signs another record"):
        board.record_joint(request, [("bob-signature", bob.sign_joint(other))])
    fields = codec.decode(signed)
    for change, said in (
        ({"signature": bytes(64)}, "does not verify"),
        ({"agent": carol.id}, "nobody among the signers"),
        ({"kid": carol.id}, "does not verify"),
        ({"alg": -1}, "alg"),
    ):
        with pytest.raises(ManifestError, match=said):
            board.record_joint(request, [("x", codec.encode(fields | change))])
    with pytest.raises(UsageError, match="neither an agent nor a key"):
        board.propose_joint("launch", [board.observe("x")], 1)
    with pytest.raises(UsageError, match="how many must sign"):
        board.propose_joint("launch", [bob.id])
    with pytest.raises(Refusal, match="TSLG-A-JOINT"):
        board.propose_joint("launch", [bob.id], 2)


def test_a_damaged_request_is_refused(homes):
    board, bob, _ = agents(homes)
    request = board.propose_joint("launch", [bob.id], 1)
    fields = codec.decode(request.to_bytes())
    other = board.observe("x")
    for change in ({"record": other.data}, {"id": other.id}, {"record": other.data, "id": other.id}):
        with pytest.raises(ManifestError, match="TSLG-M-REQUEST"):
            JointRequest.from_bytes(codec.encode(fields | change))
    with pytest.raises(ManifestError, match="TSLG-M-FILE"):
        JointRequest.from_bytes(codec.encode(fields | {"record": None}))


@pytest.mark.parametrize("scheme", [Alg.BLS_THRESHOLD, Alg.BLS_MULTISIG])
def test_a_group_signs_as_one(homes, scheme):
    board, *members = all_agents = agents(homes)
    secrets, group_key = shares(3, 2, scheme)
    keys = [AnchorKey("ceremony", f"m{i}", int(scheme), secret) for i, secret in enumerate(secrets)]
    listed = tuple(Member(key.member, key.public, bls.prove_possession(key.secret)) for key in keys)
    group = Anchors(int(scheme), 2, listed, group_key)
    files = [agent.consent(group, key.public) for agent, key in zip(all_agents, keys, strict=True)]
    consents = [read_member(content) for content in files]
    request = board.propose_joint("launch", group=group, members=consents)
    with pytest.raises(UsageError, match="signs with its share"):
        members[0].sign_joint(request, keys[2])
    with pytest.raises(UsageError, match="signs with its share"):
        members[0].sign_joint(request)
    signed = [(agent.name, agent.sign_joint(request, key)) for agent, key in zip(members, keys[1:], strict=True)]
    with pytest.raises((ManifestError, Refusal)):
        board.record_joint(request, signed[:1])
    fields = codec.decode(signed[0][1])
    with pytest.raises(ManifestError, match="TSLG-M-PARTIAL"):
        board.record_joint(request, [signed[1], ("x", codec.encode(fields | {"signature": bytes(96)}))])
    made = board.record_joint(request, signed)
    assert valid(homes[0], board.state({"launched": True}, joint=made))
    with pytest.raises(UsageError, match="without one: m2"):
        board.propose_joint("launch", group=group, members=consents[:2])
    with pytest.raises(UsageError, match="not among those of the group"):
        board.consent(group, bls.public_key(bytes(31) + b"\x07"))


def test_requests_are_bytes_that_anything_can_carry(homes):
    board, bob, _ = agents(homes)
    request = board.propose_joint("launch", [bob.id], 1, bearers=[bob.id])
    stream = io.BytesIO(request.to_bytes())
    assert JointRequest.from_bytes(stream.read()).record.body["bearers"] == [bob.id]


def test_what_records_only_commit_to_is_shown_to_signers_and_needed_by_no_rule(tmp_path):
    manifest = ONE.format(attested=0).replace("[envelope]\n", '[envelope]\naddress = "merkle"\n')
    federation = founded(manifest, "merkle")
    ticks = count(NOW)
    sealed = (federation.manifest_record, federation.seal)
    with Home.open(tmp_path / "m", federation=sealed, clock=lambda: next(ticks), random_bytes=source("m")) as home:
        board, bob = home.agent("board"), home.agent("bob")
        request = JointRequest.from_bytes(board.propose_joint("launch", [bob.id], 1, {"at": "noon"}).to_bytes())
        assert request.record.body["data"] == {"at": "noon"}
        made = board.record_joint(request, [("bob", bob.sign_joint(request))])
        assert home.store.get(made.id).attachment == request.attachment is not None
        proposal = board.propose("go", {"n": 1}, electorate=[board.id, bob.id], threshold=1)
        votes = [board.vote(proposal, "for"), bob.vote(proposal, "against", reason="no")]
        state = board.state({"n": 1}, consensus=board.conclude(proposal, votes), joint=made)
        assert valid(home, state)
        assert [one.record.body["reason"] for one in considered(home.store, state.id)] == ["no"]
        seen = board.observe("x", {"n": 1})
        fixed = [board.correct(seen, {"n": n}, reason="r") for n in (2, 3)]
        assert operative(home.store, seen.id).conflicts[0].between == tuple(one.id for one in fixed)


def test_an_author_signs_as_its_manifest_asks_and_signers_beside_it(tmp_path):
    manifest = ONE.format(attested=0).replace(
        "[envelope]\n", '[envelope]\npost_quantum = true\nsignatures = ["Ed25519", "ES256K"]\n'
    )
    federation = founded(manifest, "quantum")
    ticks = count(NOW)
    sealed = (federation.manifest_record, federation.seal)
    with Home.open(tmp_path / "q", federation=sealed, clock=lambda: next(ticks), random_bytes=source("q")) as home:
        board, bob = home.agent("board"), home.create_agent("bob", alg=int(Alg.ES256K))
        request = board.propose_joint("launch", [bob.id], 1)
        made = board.record_joint(request, [("bob", bob.sign_joint(request))])
        entries = seal.parse(home.store.get(made.id).seal).signatures
        assert [entry.alg for entry in entries] == [Alg.ED25519, Alg.ML_DSA_65, Alg.ES256K]
        assert valid(home, board.state({"launched": True}, joint=made))
