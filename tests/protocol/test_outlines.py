"""Outlines: a record that is read by its outline is read as by decoding it, and what has none is refused as ever."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage import LogBuilder

from tslg.protocol import cid, codec, outlines
from tslg.protocol import record as records
from tslg.protocol.cid import Link
from tslg.protocol.errors import CodecError, RecordError
from tslg.protocol.record import Edge, Head

LOG = LogBuilder("a")
OTHER = LogBuilder("b")
IDS = sorted(cid.compute(bytes([number])) for number in range(8))
SECOND = cid.compute(b"another hash", "blake2b-256")


@pytest.fixture(autouse=True)
def nothing_known():
    outlines._known.clear()


def build(seq=300, time=1_767_225_600_000, body=None, preds=None, kind="observation", **more):
    fields = {"agent": LOG.owner, "prev": IDS[0], "manifest": IDS[1], "key": IDS[2]} | more
    return records.build(
        kind=kind,
        seq=seq,
        time=time,
        log=Head(seq, bytes(range(32))),
        preds=preds or {"prior": [Edge(IDS[3])]},
        body=body or {"source": "sensor", "data": {"reading": 7, "unit": "celsius"}},
        **fields,
    )


def answer(read, id, data):
    try:
        record = read(id, data)
    except (RecordError, CodecError) as error:
        return type(error), error.code, error.detail, error.record
    return record, type(record.key), type(record.prev), type(record.agent), type(record.manifest), kinds_of(record)


def kinds_of(record):
    """Equal edges could still be of another type: what is a link, and what is a plain string of bytes."""
    return [(type(edge), type(edge.cid), type(edge.agent)) for edge in record.edges()]


def by_decoding(id, data):
    return records._from_value(codec.decode_unchecked(data), data, id)


def same(data):
    """Read bytes both ways, and return whether an outline was used."""
    id = cid.compute(data)
    assert answer(records.parse_as, id, data) == answer(by_decoding, id, data)
    assert answer(lambda _, given: records.parse(given), id, data) == answer(by_decoding, id, data)
    return records._by_outline(id, data) is not None


OWN = st.sampled_from([Edge(id) for id in IDS])
AGENTS = st.sampled_from([OTHER.owner, IDS[7]])
FOREIGN = st.builds(Edge, st.sampled_from(IDS), AGENTS, st.sampled_from([None, 0, 9, 300]))
EDGES = st.lists(st.one_of(OWN, FOREIGN), min_size=1, max_size=4, unique_by=lambda edge: edge.cid)
PREDS = st.dictionaries(st.sampled_from(["prior", "evidence", "policy", "observes"]), EDGES, min_size=1, max_size=3)
VALUES = st.one_of(
    st.integers(-(2**53) + 1, 2**53 - 1), st.text(max_size=9), st.binary(max_size=9), st.sampled_from(IDS)
)
BODIES = st.fixed_dictionaries(
    {"source": st.text(min_size=1, max_size=40)},
    optional={"data": st.dictionaries(st.sampled_from(["kind", "a", "dkind"]), VALUES), "sought": st.text(max_size=5)},
)
SEQS = st.one_of(st.sampled_from([1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32]), st.integers(1, 2**53 - 1))
TIMES = st.one_of(st.sampled_from([0, 2**32 - 1, 2**32, 2**53 - 1]), st.integers(0, 2**53 - 1))


@settings(max_examples=200, deadline=None)
@given(SEQS, TIMES, BODIES, PREDS)
def test_every_record_is_read_alike_before_and_after_its_outline_is_known(seq, time, body, preds):
    data = build(seq, time, body, preds).data
    same(data)
    same(data)


def test_the_usual_record_has_an_outline():
    for preds in (
        {"prior": [Edge(IDS[3])]},
        {"policy": [Edge(IDS[4], OTHER.owner)], "evidence": [Edge(IDS[5]), Edge(IDS[6])]},
    ):
        for seq in (24, 255, 256, 65_535, 65_536, 2**32 - 1):
            assert same(build(seq, preds=preds).data)
    assert same(build(body={"source": "x", "sought": "y" * 100}).data)


@pytest.mark.parametrize(
    "data",
    [
        build(seq=1).data,
        build(seq=2**32).data,
        build(time=2**32 - 1).data,
        build(key=None).data,
        build(prev=SECOND).data,
        build(preds={"prior": [Edge(IDS[3], OTHER.owner, 5)]}).data,
        build(body={"source": "x", "sought": "y" * 900}).data,
        build(body={"source": "x", "data": {"kind": 1}}).data,
    ],
)
def test_whatever_is_unusual_is_decoded(data):
    assert not same(data)


TWO = {"prior": [Edge(IDS[3])], "evidence": [Edge(IDS[4]), Edge(IDS[5])]}
HONEST = build(preds=TWO).data
MADE_UP = {
    "edges not in order": HONEST.replace(IDS[4], b"\0" * 36).replace(IDS[5], IDS[4]).replace(b"\0" * 36, IDS[5]),
    "an edge twice": HONEST.replace(IDS[5], IDS[4]),
    "another position than size": HONEST.replace(b"cseq\x19\x01\x2c", b"cseq\x19\x01\x2d"),
    "a number in a longer form": HONEST.replace(b"\x19\x01\x2c", b"\x19\x00\x2c"),
    "a time in a longer form": HONEST.replace(b"dtime\x1b\x00\x00\x01", b"dtime\x1b\x00\x00\x00"),
    "a time too large": HONEST.replace(b"dtime\x1b\x00", b"dtime\x1b\x20"),
    "another version": HONEST.replace(b"av\x01", b"av\x02"),
    "another kind of the same length": HONEST.replace(b"kobservation", b"kinobservati"),
    "a class that there is not": HONEST.replace(b"hevidence", b"hevidencf"),
    "an id of another codec": HONEST.replace(IDS[4], b"\x01\x55" + IDS[4][2:]),
    "an id of another hash": HONEST.replace(IDS[4], b"\x01\x71\x16\x20" + IDS[4][4:]),
    "an id of a hash that there is not": HONEST.replace(IDS[4], b"\x01\x71\x13\x20" + IDS[4][4:]),
    "a link without its prefix": HONEST.replace(b"\x58\x25\x00" + IDS[4], b"\x58\x25\x01" + IDS[4]),
    "a body that is a list": HONEST.replace(b"dbody\xa2", b"dbody\x82"),
    "a field that there is not": HONEST.replace(b"fsource", b"fsourcf"),
    "a field of another type": HONEST.replace(b"fsensor", b"Fsensor"),
    "text that is none": HONEST.replace(b"fsensor", b"fsens\xff\xff"),
    "a float in the body": HONEST.replace(b"greading\x07", b"freadin\xfb" + bytes(8)),
    "a byte behind": HONEST + b"\0",
    "a byte short": HONEST[:-1],
    "two bodies": HONEST.replace(b"dkind", b"dkind\x61xdkind"),
}


@pytest.mark.parametrize("name", MADE_UP)
def test_what_is_no_record_is_refused_as_by_decoding(name):
    assert same(HONEST)
    data = MADE_UP[name]
    assert data != HONEST
    same(data)
    assert same(HONEST)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_damaged_bytes_are_answered_as_by_decoding(data):
    assert same(HONEST)
    damaged = bytearray(HONEST)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(damaged)))
        damaged[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    same(bytes(damaged))
    assert same(HONEST)


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(outlines, "_KEPT", 3)
    for count in range(1, 8):
        assert same(build(preds={"prior": [Edge(id) for id in IDS[:count]]}).data)
    assert len(outlines._known) <= 3


def test_what_has_no_outline_is_looked_at_once():
    data = build(preds={"prior": [Edge(IDS[3], OTHER.owner, 5)]}).data
    for _ in range(3):
        records.parse(data)
    assert list(outlines._known.values()) == [None]


def test_links_stay_links():
    record = build()
    records.parse(record.data)
    again = records.parse(record.data)
    assert records._by_outline(record.id, record.data) == again == record
    assert type(again.preds["prior"][0].cid) is Link
