"""Hybrid ids: two digests in one id; what each holds when the other hash is broken; where they are accepted."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import HYBRID, World, sign

from tslg.node.sources import BundleSource
from tslg.node.verifying import verify
from tslg.protocol import bundle, cid, codec, hybrid, signatures
from tslg.protocol import record as records
from tslg.protocol.codec import Link
from tslg.protocol.errors import BundleError, RecordError
from tslg.protocol.record import Edge
from tslg.protocol.seal import to_be_signed

pytestmark = pytest.mark.spec("HYB-1", "HYB-2", "HYB-3", "HYB-4", "HYB-5", "HYB-6")

SCHEME = "sha2-256+blake3"
SCHEMES = [f"{a}+{b}" for a in cid.HASHES for b in cid.HASHES if a != b]


@pytest.fixture(scope="module")
def w():
    world = World(HYBRID)
    world.a, world.b = world.agent("a"), world.agent("b")
    world.policy = world.add(world.a, "policy")
    world.seen = world.add(world.b, "observation", {"data": {"t": 1}})
    preds = {"prior": [world.a.last], "policy": [world.policy], "evidence": [world.seen]}
    world.decision = world.add(world.a, "decision", {"reason": "a good one"}, preds)
    return world


def fields_of(record):
    names = ("kind", "agent", "seq", "prev", "time", "manifest", "key", "log", "preds", "body")
    return {name: getattr(record, name) for name in names}


@pytest.mark.spec("HYB-2", "HYB-3", "HYB-4")
def test_the_id_holds_both_digests(w):
    id = w.decision.id
    assert cid.is_record_id(id) and cid.hash_name(id) == SCHEME and cid.is_well_formed(id)
    held = codec.decode(bytes(id[4:]))
    value = codec.decode(w.decision.data)
    preds = codec.encode(value.pop("preds"))
    assert held == {
        "content": cid.HASHES["sha2-256"].multihash(codec.encode(value)),
        "preds": cid.HASHES["blake3"].multihash(preds),
    }
    assert cid.from_text(cid.to_text(id)) == id and len(cid.to_text(id)) < 200


def test_an_id_that_is_cut_off_anywhere_is_none(w):
    id = w.decision.id
    for end in range(len(id)):
        cut = Link(id[:end])
        assert cid.hybrid_scheme(cut) is None and not cid.is_record_id(cut) and not cid.is_well_formed(cut)


@pytest.mark.parametrize("payload", [b"\xa2\x65preds\x58", b"\xa2\x65preds", b"\xa2\x65preds\x58\x22"])
def test_digests_that_end_too_early_are_none(payload):
    assert cid.hybrid_scheme(cid.HYBRID_START + cid.varint(len(payload)) + payload) is None


def test_what_is_no_record_has_no_hybrid_id(w):
    assert hybrid.is_id_of(w.decision.id, w.decision.data)
    for data in (b"", b"\xff", w.decision.data[:-1], codec.encode([1]), codec.encode("text")):
        assert not hybrid.is_id_of(w.decision.id, data)
    assert not hybrid.is_id_of(w.federation, w.founded.manifest_record.data)


@pytest.mark.spec("HYB-1")
def test_the_federations_own_id_is_plain(w):
    assert cid.hash_name(w.federation) == "sha2-256" and w.federation[:4] == bytes((1, 0x71, 0x12, 32))
    assert records.parse(w.founded.manifest_record.data, SCHEME).id == w.federation
    assert {cid.hash_name(id) for id in w.held if id != w.federation} == {SCHEME}


@pytest.mark.spec("HYB-1")
@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_pair_of_hashes(w, scheme):
    made = records.build(**fields_of(w.decision), hash_name=scheme)
    assert cid.hybrid_scheme(made.id) == cid.hash_name(made.id) == scheme and cid.is_record_id(made.id)
    assert records.parse_as(made.id, made.data) == made == records.parse(made.data, scheme)
    assert cid.from_text(cid.to_text(made.id)) == made.id


@pytest.mark.spec("HYB-4")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_no_altered_id_is_the_records(w, draw):
    id = bytearray(w.decision.id)
    id[draw.draw(st.integers(3, len(id) - 1))] ^= draw.draw(st.integers(1, 255))
    assert not hybrid.is_id_of(bytes(id), w.decision.data)
    with pytest.raises(RecordError) as caught:
        records.parse_as(Link(id), w.decision.data)
    assert caught.value.code == "TSLG-R-ID"


@pytest.mark.spec("HYB-3", "HYB-4")
@pytest.mark.parametrize(
    "payload",
    [
        {"content": bytes(34), "preds": bytes(34)},
        {"content": b"\x12\x20" + bytes(32), "preds": b"\x12\x20" + bytes(32)},
        {"content": b"\x12\x20" + bytes(32), "preds": b"\x12\x1f" + bytes(31)},
        {"content": b"\x12\x20" + bytes(32), "preds": b"\x1e\x20" + bytes(32), "x": 1},
        {"content": b"\x12\x20" + bytes(32)},
        {"content": b"\x11\x14" + bytes(20), "preds": b"\x1e\x20" + bytes(32)},
    ],
)
def test_other_identity_cids_are_no_ids(payload):
    data = codec.encode(payload)
    link = cid.HYBRID_START + cid.varint(len(data)) + data
    assert cid.hybrid_scheme(link) is None and not cid.is_record_id(link)
    good = hybrid.join(b"\x12\x20" + bytes(32), b"\x1e\x20" + bytes(32))
    assert cid.is_record_id(good)
    for odd in (good + b"\x00", good[:-1], cid.HYBRID_START, cid.HYBRID_START + b"\xff", b"\x01\x55" + good[2:]):
        assert not cid.is_record_id(odd)


def broken(monkeypatch, name):
    """Let everything collide under one hash."""
    monkeypatch.setitem(cid.HASHES, name, replace(cid.HASHES[name], digest=lambda data: bytes(32)))


def test_a_break_of_the_second_hash_leaves_what_was_said(w, monkeypatch):
    broken(monkeypatch, "blake3")
    fields = fields_of(w.decision)
    mine = records.build(**fields, hash_name=SCHEME)
    forged = records.build(**fields | {"preds": {"prior": [Edge(w.a.owner)]}}, hash_name=SCHEME)
    assert forged.data != mine.data and forged.id == mine.id
    for name, value in (("body", {**fields["body"], "outcome": "no"}), ("time", mine.time + 1), ("seq", 9)):
        log = fields["log"]._replace(size=9) if name == "seq" else fields["log"]
        other = records.build(**fields | {name: value, "log": log}, hash_name=SCHEME)
        assert other.id != mine.id and not hybrid.is_id_of(mine.id, other.data)
    # The seal covers the bytes and not the id, so it tells the two apart even then.
    seed = w.a.keys[w.a.key]
    public = w.key(w.a.key).public
    signed = sign(mine, seed, w.a.key).value
    assert signatures.verify(-19, public, to_be_signed(mine.data, -19), signed)
    assert not signatures.verify(-19, public, to_be_signed(forged.data, -19), signed)


def test_a_break_of_the_first_hash_leaves_the_lineage(w, monkeypatch):
    broken(monkeypatch, "sha2-256")
    fields = fields_of(w.decision)
    mine = records.build(**fields, hash_name=SCHEME)
    forged = records.build(**fields | {"body": {**fields["body"], "outcome": "no"}}, hash_name=SCHEME)
    assert forged.data != mine.data and forged.id == mine.id
    for preds in (
        {"prior": [Edge(w.a.owner)]},
        {**mine.preds, "evidence": [Edge(w.policy.id)]},
        {name: edges for name, edges in mine.preds.items() if name != "evidence"},
    ):
        other = records.build(**fields | {"preds": preds}, hash_name=SCHEME)
        assert other.id != mine.id and not hybrid.is_id_of(mine.id, other.data)


@pytest.mark.parametrize("how", [{}, {"signatures": "heads"}, {"log": "full"}, {"depth": 1}])
def test_walks_go_over_hybrid_ids(w, how):
    assert w.verify(w.decision, **how).verdict == "valid"


@pytest.mark.spec("HYB-1", "HYB-5")
def test_each_federation_takes_its_own_ids_alone(w):
    for scheme in ("sha2-256", "blake3", "blake3+sha2-256", "sha2-256+sha3-256"):
        record = w.make(w.a, "state", hash_name=scheme)
        assert w.judge(record, w.seal(record, w.a)).code == "TSLG-A-HASH"
    flat = World()
    author = flat.agent("a")
    record = flat.make(author, "state", hash_name=SCHEME)
    assert flat.judge(record, flat.seal(record, author)).code == "TSLG-A-HASH"


@pytest.mark.spec("HYB-5")
def test_a_walk_finds_one_record_under_other_hashes_among_good_ones(w):
    world = World(HYBRID)
    author = world.agent("a")
    good = world.add(author, "state")
    odd = world.slip(author, "state", {"data": {"odd": 1}}, hash_name="sha2-256+sha3-256")
    last = world.slip(author, "state", {"data": {"last": 1}}, {"prior": [odd, good]})
    report = world.verify(last)
    assert [(one.code, one.record) for one in report.findings] == [("TSLG-A-HASH", odd.id)]


def bundled(w, **changes):
    stream = io.BytesIO()
    arguments = {
        "federation": w.federation,
        "manifest": w.federation,
        "targets": [w.decision.id],
        "heads": [],
        "inclusion": [],
        "consistency": [],
        "records": [(record.id, record.data, w.seals[record.id]) for record in w.held.values()],
    }
    bundle.write(stream, **arguments | changes)
    return stream.getvalue()


@pytest.mark.spec("HYB-6")
def test_a_bundle_holds_plain_blocks_and_lists_hybrid_ids(w):
    data = bundled(w)
    held = bundle.read(io.BytesIO(data))
    assert set(held.records) == set(w.held) and held.absent == held.broken == []
    report = verify(BundleSource(held), w.decision.id, w.federation, now_ms=w.now_ms)
    assert report.verdict == "valid"
    # Every block is under a CID that any tool can check: none of them an identity.
    for record in w.held.values():
        assert data.count(cid.compute(record.data) + record.data) == 1
    assert bundle.read(io.BytesIO(bundled(w, records=[]))).records == {}


@pytest.mark.spec("HYB-6")
def test_a_bundle_whose_block_is_not_the_hybrid_ids_is_damaged(w):
    stranger = w.held[w.policy.id]
    data = bundled(w)
    swapped = data.replace(bytes(cid.compute(w.seen.data)), bytes(cid.compute(stranger.data)))
    with pytest.raises(BundleError):
        bundle.read(io.BytesIO(swapped))
    at = data.index(w.seen.data) + len(w.seen.data) - 1
    held = bundle.read(io.BytesIO(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]))
    assert [link for link, _ in held.broken] == [w.seen.id]
    with pytest.raises(BundleError):
        bundled(w, records=[(w.seen.id, w.policy.data, b"")])
