"""Messages between nodes: what is seldom there is left out rather than empty, and every bound is held."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslg.protocol import cid, codec
from tslg.protocol.exchange import (
    Have,
    HeadReply,
    HeadRequest,
    LocateReply,
    LocateRequest,
    MessageError,
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkEnd,
    WalkRequest,
    chunked,
    read_log_request,
    read_walk_chunk,
    records_chunk,
    size_of,
)
from tslg.protocol.limits import Limits
from tslg.protocol.logproof import Needs
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof

LINK = cid.compute(b"any")


def end(**more):
    return codec.encode({"end": codec.decode(WalkEnd().to_bytes())["end"] | more})


@pytest.mark.spec("WIR-9")
def test_what_is_seldom_there_is_left_out_rather_than_empty():
    assert read_walk_chunk(end()) == WalkEnd()
    assert read_walk_chunk(end(beside=[[b"record", b"seal"]])).beside == ((b"record", b"seal"),)
    for name in ("beside", "pruned", "checkpoints"):
        with pytest.raises(MessageError):
            read_walk_chunk(end(**{name: []}))


@pytest.mark.spec("WIR-9", "WIR-14")
@pytest.mark.parametrize("more", [{"beside": [[b"", b""]] * 1001}, {"pruned": None}, {"beside": None}, {"more": [1]}])
def test_the_end_of_a_walk_holds_nothing_else(more):
    with pytest.raises(MessageError):
        read_walk_chunk(end(**more))


@pytest.mark.spec("WIR-14")
def test_a_range_and_addresses_are_bounded():
    whole = RangeRequest(LINK, 7, 1_000_007)
    assert read_log_request(whole.to_bytes()) == whole
    for start, stop in ((7, 1_000_008), (7, 6), (-1, 3)):
        with pytest.raises(MessageError):
            read_log_request(RangeRequest(LINK, start, stop).to_bytes())
    message = LocateReply(("a" * 512,) * 64)
    assert LocateReply.from_bytes(message.to_bytes()) == message
    for addresses in (("a",) * 65, ("a" * 513,)):
        with pytest.raises(MessageError):
            LocateReply.from_bytes(message._replace(addresses=addresses).to_bytes())


PROOF = InclusionProof(LINK, 3, (bytes(32),))
SPAN = ConsistencyProof(LINK, 1, 2, (bytes(32),))
HEAD = HeadClaim(LINK, LINK, 1, bytes(32))
WALK = WalkRequest((LINK,), ("prior",), 5, (Have(LINK, 3),))
FEW = Limits(walk_roots=2, walk_edges=3, record_bytes=4, seal_bytes=5, attachment_bytes=6)
END = WalkEnd(((LINK, "absent"),), (HEAD,), (PROOF,), (SPAN,))


def altered(message, **more):
    return codec.encode(codec.decode(message.to_bytes()) | more)


def without(message, name):
    value = codec.decode(message.to_bytes())
    del value[name]
    return codec.encode(value)


READERS = [
    (WALK, WalkRequest.from_bytes),
    (WalkRequest((LINK,)), WalkRequest.from_bytes),
    (HeadRequest(LINK), read_log_request),
    (LocateRequest(LINK), read_log_request),
    (RangeRequest(LINK, 0, 3), read_log_request),
    (ProofsRequest(LINK, Needs((LINK,), ((0, 1), (4, 9)))), read_log_request),
    (HeadReply(HEAD, (b"r", b"s")), HeadReply.from_bytes),
    (HeadReply(HEAD, (b"r", b"s", b"a")), HeadReply.from_bytes),
    (ProofsReply((PROOF,), (SPAN,)), ProofsReply.from_bytes),
    (LocateReply(("a",)), LocateReply.from_bytes),
]


@pytest.mark.parametrize(("message", "read"), READERS)
def test_what_is_written_is_read_and_nothing_more_or_less(message, read):
    found = read(message.to_bytes())
    assert type(found) is type(message) and found == message
    for name in codec.decode(message.to_bytes()):
        with pytest.raises(MessageError):
            read(without(message, name))
    for data in (altered(message, more=1), b"", b"\xff", codec.encode([]), codec.encode({})):
        with pytest.raises(MessageError):
            read(data)


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (
            WALK,
            [
                {"roots": [LINK] * 3},
                {"roots": [b"x"]},
                {"roots": None},
                {"classes": "prior"},
                {"classes": [1]},
                {"classes": ["a"] * 65},
                {"edges": 4},
                {"edges": -1},
                {"edges": "1"},
                {"edges": True},
                {"have": None},
                {"have": [{"agent": LINK, "size": 0}] * 3},
                {"have": [{"agent": LINK, "size": -1}]},
                {"have": [{"agent": b"x", "size": 0}]},
                {"have": [{"agent": LINK, "size": 0, "more": 0}]},
                {"have": [[LINK, 0]]},
            ],
        ),
        (
            ProofsRequest(LINK, Needs((), ())),
            [
                {"op": "else"},
                {"agent": b"x"},
                {"inclusion": [LINK] * 3},
                {"inclusion": [b"x"]},
                {"consistency": [[0, 1]] * 3},
                {"consistency": [[0]]},
                {"consistency": [[0, 1, 2]]},
                {"consistency": [[1, 1]]},
                {"consistency": [[-1, 1]]},
                {"consistency": [[0, "1"]]},
                {"consistency": [0]},
                {"consistency": None},
            ],
        ),
        (RangeRequest(LINK, 0, 3), [{"start": 4}, {"stop": 4}, {"start": "0"}, {"stop": None}, {"op": "head"}]),
        (HeadReply(HEAD, (b"r", b"s")), [{"head": {}}, {"record": [b"r"]}, {"record": [b"r", b"s", b"a", b"b"]}]),
        (ProofsReply((), ()), [{"inclusion": [1]}, {"consistency": [PROOF.to_map()]}]),
        (ProofsReply((), ()), [{"inclusion": [PROOF.to_map()] * 3}, {"consistency": [SPAN.to_map()] * 3}]),
        (LocateReply(()), [{"addresses": "a"}, {"addresses": [1]}]),
    ],
)
def test_a_field_of_another_type_or_beyond_its_bound_is_refused(message, changes):
    read = next(read for known, read in READERS if type(known) is type(message))
    limited = (FEW,) if read != LocateReply.from_bytes else ()
    for change in changes:
        with pytest.raises(MessageError):
            read(altered(message, **change), *limited)


def test_as_much_is_read_as_the_bounds_allow():
    most = WalkRequest((LINK,) * 2, ("a",) * 64, 3, (Have(LINK, 0),) * 2)
    assert WalkRequest.from_bytes(most.to_bytes(), FEW) == most
    proofs = ProofsRequest(LINK, Needs((LINK,) * 2, ((0, 1),) * 2))
    assert read_log_request(proofs.to_bytes(), FEW) == proofs
    pairs = [(b"r" * 4, b"s" * 5), (b"r" * 4, b"s" * 5, b"a" * 6)]
    assert read_walk_chunk(records_chunk(pairs), FEW) == pairs
    for pair in ((b"r" * 5, b""), (b"", b"s" * 6), (b"", b"", b"a" * 7)):
        with pytest.raises(MessageError):
            read_walk_chunk(records_chunk([pair]), FEW)
    for value in ({"records": {}}, {"records": [[b"r"]]}, {"records": [["r", b"s"]]}, {"records": [[b"r", "s"]]}):
        with pytest.raises(MessageError):
            read_walk_chunk(codec.encode(value))
    assert read_walk_chunk(codec.encode({"records": []})) == []


@pytest.mark.spec("WIR-9")
def test_the_end_of_a_walk_is_read_as_it_is_written():
    assert read_walk_chunk(END.to_bytes()) == END
    for broken in (
        end(missing=[{"record": LINK, "reason": "who knows"}]),
        end(missing=[{"record": b"x", "reason": "absent"}]),
        end(missing=[{"record": LINK, "reason": "absent"}] * 4),
        end(heads=[1]),
        codec.encode({"end": []}),
        codec.encode({"end": {}, "records": []}),
    ):
        with pytest.raises(MessageError):
            read_walk_chunk(broken, FEW)
    few = [{"record": LINK, "reason": "absent"}] * 3
    assert len(read_walk_chunk(end(missing=few), FEW).missing) == 3
    with pytest.raises(MessageError):
        read_walk_chunk(end(beside=[[b"", b""]] * 3), FEW)
    assert len(read_walk_chunk(end(beside=[[b"", b""]] * 2), FEW).beside) == 2


@given(st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=9))), st.integers(1, 5), st.integers(20, 120))
def test_chunks_are_as_full_as_they_may_be_and_lose_nothing(pairs, most_records, most_bytes):
    chunks = [list(chunk) for chunk in chunked(pairs, most_records, most_bytes)]
    assert [pair for chunk in chunks for pair in chunk] == pairs and all(chunks)

    def fits(chunk):
        return len(chunk) <= most_records and sum(size_of(pair) + 16 for pair in chunk) <= most_bytes

    assert all(fits(chunk) or len(chunk) == 1 for chunk in chunks)
    assert not any(fits([*left, right[0]]) for left, right in pairwise(chunks))


def test_an_attachment_counts_towards_a_chunk():
    assert size_of((b"12", b"3")) == size_of((b"12", b"3", None)) == 3
    assert size_of((b"12", b"3", b"4567")) == 7


@pytest.mark.spec("WIR-4")
def test_a_reply_without_records_is_one_empty_chunk():
    assert read_walk_chunk(b"") == []
