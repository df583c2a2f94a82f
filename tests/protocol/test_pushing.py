"""The messages of replication: what is written is read back, and nothing else is read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import codec
from tslg.protocol.cid import compute
from tslg.protocol.exchange import MessageError, records_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.proofs import ConsistencyProof, HeadClaim
from tslg.protocol.pushing import (
    CloseRequest,
    Compared,
    CompareRequest,
    Difference,
    Heads,
    More,
    OfferRequest,
    Stand,
    SubscribeRequest,
    Taken,
    in_chunks,
    read_push_request,
    read_subscription_chunk,
)

links = st.integers(0, 9).map(lambda number: compute(bytes([number])))
counts = st.integers(0, 2**53 - 1)
hashes = st.binary(min_size=32, max_size=32)
sizes = st.lists(st.tuples(links, counts), max_size=4).map(tuple)
claims = st.builds(HeadClaim, links, links, counts, hashes)
pairs = st.one_of(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), st.tuples(*[st.binary(max_size=9)] * 3))
proofs = st.builds(ConsistencyProof, links, counts, counts, st.lists(hashes, max_size=3).map(tuple))
requests = st.one_of(
    st.builds(SubscribeRequest, sizes, st.booleans(), st.booleans()),
    st.builds(
        CompareRequest,
        st.lists(st.builds(Stand, links, st.integers(1, 2**53 - 1), hashes), max_size=3).map(tuple),
        st.lists(links, max_size=3).map(tuple),
        st.booleans(),
        st.none() | links,
    ),
    st.builds(CloseRequest, st.lists(links, max_size=3).map(tuple), sizes, st.lists(links, max_size=3).map(tuple)),
    st.builds(OfferRequest, st.lists(claims, max_size=3).map(tuple)),
)
differences = st.builds(Difference, claims, pairs, st.none() | proofs)


@pytest.mark.spec("RPL-3", "RPL-7", "RPL-12", "RPL-13")
@given(requests)
@settings(max_examples=100)
def test_requests_are_read_as_they_were_written(request_):
    assert read_push_request(request_.to_bytes()) == request_


@pytest.mark.spec("RPL-4", "RPL-9", "RPL-11")
@given(st.lists(differences, max_size=3).map(tuple), st.none() | links, st.lists(claims, max_size=3).map(tuple))
@settings(max_examples=60)
def test_replies_are_read_as_they_were_written(logs, after, heads):
    assert Compared.from_bytes(Compared(logs, after).to_bytes()) == Compared(logs, after)
    assert read_subscription_chunk(Heads(heads).to_bytes()) == Heads(heads)
    assert read_subscription_chunk(More(True).to_bytes()) == More(True)
    assert Taken.from_bytes(Taken(len(heads)).to_bytes()) == Taken(len(heads))


def test_records_travel_as_in_a_walk():
    assert read_subscription_chunk(records_chunk([(b"a", b"b"), (b"c", b"d", b"e")])) == [
        (b"a", b"b"),
        (b"c", b"d", b"e"),
    ]


A = compute(b"a")
BAD_REQUESTS = [
    {"op": "nothing"},
    {"logs": [], "all": True, "live": True},
    {"op": "subscribe", "logs": [], "all": True},
    {"op": "subscribe", "logs": [], "all": 1, "live": True},
    {"op": "subscribe", "logs": [], "all": True, "live": True, "more": 1},
    {"op": "subscribe", "logs": [{"agent": A, "size": -1}], "all": True, "live": True},
    {"op": "subscribe", "logs": [{"agent": b"a", "size": 1}], "all": True, "live": True},
    {"op": "compare", "logs": [], "wanted": [], "all": False, "after": b"a"},
    {"op": "compare", "logs": [{"agent": A, "size": 0, "root": bytes(32)}], "wanted": [], "all": False, "after": None},
    {"op": "compare", "logs": [{"agent": A, "size": 1, "root": bytes(31)}], "wanted": [], "all": False, "after": None},
    {"op": "compare", "logs": [], "wanted": ["a"], "all": False, "after": None},
    {"op": "close", "roots": [A] * 1001, "have": [], "known": []},
    {"op": "close", "roots": [], "have": [{"agent": A, "size": 1}] * 1001, "known": []},
    {"op": "close", "roots": [], "have": [], "known": [A] * 1001},
    {"op": "offer", "heads": [{"agent": A}]},
    {"op": "offer", "heads": [{"agent": A, "record": A, "size": 1, "root": bytes(32)}] * 1001},
    {"op": "offer", "heads": None},
]


@pytest.mark.spec("RPL-14")
@pytest.mark.parametrize("value", BAD_REQUESTS)
def test_what_is_no_request_is_refused(value):
    with pytest.raises(MessageError):
        read_push_request(codec.encode(value))


@pytest.mark.spec("RPL-14")
def test_more_logs_than_a_node_follows_are_refused():
    logs = tuple((compute(number.to_bytes(4, "big")), 1) for number in range(DEFAULT.replicated_logs))
    full = SubscribeRequest(logs).to_bytes()
    assert len(full) <= DEFAULT.request_bytes and len(read_push_request(full).logs) == len(logs)
    stands = tuple(Stand(agent, size, bytes(32)) for agent, size in logs)
    full = CompareRequest(stands).to_bytes()
    assert len(full) <= DEFAULT.request_bytes and len(read_push_request(full).logs) == len(logs)
    with pytest.raises(MessageError):
        read_push_request(SubscribeRequest((*logs, (A, 1))).to_bytes())


@pytest.mark.spec("RPL-14")
@pytest.mark.parametrize(
    "value",
    [
        {"more": 1},
        {"more": True, "heads": []},
        {"heads": [1]},
        {"records": [[b"a"]]},
        {"records": 1},
        [],
    ],
)
def test_what_is_no_chunk_of_a_subscription_is_refused(value):
    with pytest.raises(MessageError):
        read_subscription_chunk(codec.encode(value))


@pytest.mark.spec("RPL-14")
@given(st.binary(max_size=200))
def test_bytes_of_any_kind_are_read_or_refused(data):
    for read in (read_push_request, read_subscription_chunk, Compared.from_bytes, Taken.from_bytes):
        try:
            read(data)
        except MessageError:
            continue


def test_an_answer_to_a_comparison_is_split_before_it_is_too_large():
    one = Difference(HeadClaim(A, A, 1, bytes(32)), (bytes(1000), bytes(100)), None)
    parts = list(in_chunks([one] * 10, 3_000))
    assert [len(part) for part in parts] == [2] * 5
    assert list(in_chunks([], 3_000)) == [()]
