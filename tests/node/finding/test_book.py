"""The book of peers: bounded against floods, fair to who was useful, the same after a restart."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.finding.book import AGENTS_PER_PEER, SHUNNED_MS, Book, Outcome, Source
from tslg.protocol import codec
from tslg.protocol.cid import compute
from tslg.protocol.limits import DEFAULT

ALICE, BOB = compute(b"alice"), compute(b"bob")
SMALL = replace(DEFAULT, peers_known=5, peer_addresses=3)


def at(name: str, place: str = "") -> str:
    return f"/memory/{place or name}/p2p/{name}"


@pytest.mark.spec("FND-11")
def test_addresses_are_by_agent_and_by_peer_with_where_they_are_from():
    book = Book()
    book.hear(at("a"), Source.DHT, 1, ALICE)
    book.hear(at("a", "other"), Source.STATIC, 2)
    book.hear(at("b"), Source.TOLD, 3, ALICE)
    assert book.of_agent(ALICE, 4) == [at("a"), at("a", "other"), at("b")]
    assert book.get("a").addresses == {at("a"): Source.DHT, at("a", "other"): Source.STATIC}
    assert book.of_agent(BOB, 4) == []


@pytest.mark.spec("FND-11")
def test_where_a_peer_was_reached_comes_first_and_what_fails_last():
    book = Book()
    for place in ("x", "y", "z"):
        book.hear(at("a", place), Source.TOLD, 1, ALICE)
    book.reached(at("a", "z"), 5)
    book.unreached(at("a", "x"))
    assert book.of_agent(ALICE, 6) == [at("a", "z"), at("a", "y"), at("a", "x")]
    assert book.get("a").reached_ms == 5 and book.get("a").failed == 1
    book.reached(at("a", "y"), 7)
    assert book.get("a").failed == 0


@pytest.mark.spec("FND-11")
def test_strangers_do_not_push_out_who_was_reached_or_named():
    book = Book(SMALL)
    book.hear(at("named"), Source.STATIC, 1)
    book.hear(at("met"), Source.TOLD, 1, ALICE)
    book.reached(at("met"), 2)
    for number in range(1_000):
        book.hear(at(f"flood{number}"), Source.DHT, 10 + number, ALICE)
    assert len(book) == 5
    assert {"named", "met"} < {one.peer for one in book}
    assert book.of_agent(ALICE, 9_999)[0] == at("met")
    assert len(book.of_agent(ALICE, 9_999)) <= 3
    for number in range(100):
        book.hear(at("met", f"place{number}"), Source.DHT, 20)
    assert len(book.get("met").addresses) == 3 and at("met") in book.get("met").addresses
    for number in range(AGENTS_PER_PEER + 50):
        book.hear(at("met"), Source.TOLD, 30, compute(b"%d" % number))
    assert len(book.get("met").agents) == AGENTS_PER_PEER


@pytest.mark.parametrize("address", ["", "nonsense", "12D3KooW", "/memory/a", f"/memory/{'a' * 600}/p2p/a"])
def test_what_is_no_address_is_not_noted(address):
    book = Book()
    book.hear(address, Source.TOLD, 1, ALICE)
    assert len(book) == 0


@pytest.mark.spec("FND-12")
def test_who_broke_a_rule_is_shunned_for_a_day_and_who_answers_well_is_preferred():
    book = Book()
    for name in ("good", "slow", "empty", "bad"):
        book.hear(at(name), Source.DHT, 1, ALICE)
    book.outcome("good", Outcome.ANSWERED, 10, 100)
    book.outcome("slow", Outcome.ANSWERED, 10, 60_000)
    book.outcome("empty", Outcome.NOTHING, 10)
    book.outcome("bad", Outcome.ANSWERED, 10)
    book.outcome("bad", Outcome.BROKE, 10, why="a block that is not what its id says")
    assert book.of_agent(ALICE, 11) == [at("good"), at("slow"), at("empty")]
    assert book.shunned("bad", 10 + SHUNNED_MS - 1) and not book.shunned("bad", 10 + SHUNNED_MS)
    assert book.get("bad").why == "a block that is not what its id says"
    assert [book.score(name) for name in ("good", "nobody")] == [10, 0]


def test_a_rule_broken_by_somebody_who_is_in_no_book_is_remembered_too():
    book = Book(SMALL)
    book.outcome("stranger", Outcome.BROKE, 10, why="x")
    assert book.shunned("stranger", 11)
    book.outcome("nobody", Outcome.ANSWERED, 10)
    assert book.get("nobody") is None


@pytest.mark.spec("FND-11")
def test_it_is_the_same_after_a_restart():
    book = Book()
    book.hear(at("a"), Source.MET, 1, ALICE)
    book.hear(at("a"), Source.TOLD, 2, BOB)
    book.reached(at("a"), 3)
    book.outcome("b", Outcome.BROKE, 4, why="x")
    assert book.changed
    data = book.to_bytes()
    assert not book.changed
    again = Book.from_bytes(data)
    assert list(again) == list(book) and again.of_agent(BOB, 5) == [at("a")] and again.shunned("b", 5)
    assert again.to_bytes() == data


@pytest.mark.parametrize(
    "data", [b"", b"nonsense", codec.encode([{"peer": "a"}]), codec.encode({}), codec.encode([1]), codec.encode([[]])]
)
def test_what_cannot_be_read_is_an_empty_book(data):
    assert len(Book.from_bytes(data)) == 0


EVENTS = st.lists(
    st.tuples(
        st.sampled_from("abcdefghij"),
        st.sampled_from(["hear", "reached", "unreached", "forget", *Outcome]),
        st.sampled_from(Source),
        st.sampled_from([None, ALICE, BOB]),
        st.integers(0, 2 * SHUNNED_MS),
    ),
    max_size=60,
)


@pytest.mark.spec("FND-11")
@settings(max_examples=100)
@given(EVENTS)
def test_whatever_happens_it_stays_within_its_bounds_and_agrees_with_itself(events):
    book = Book(SMALL)
    for name, what, source, agent, now in events:
        if what == "hear":
            book.hear(at(name, f"p{now % 7}"), source, now, agent)
        elif what == "reached":
            book.reached(at(name), now)
        elif what == "unreached":
            book.unreached(at(name))
        elif what == "forget":
            book.forget(name)
        else:
            book.outcome(name, Outcome(what), now, now % 9_000)
        assert len(book) <= SMALL.peers_known
        assert all(len(one.addresses) <= SMALL.peer_addresses for one in book)
        for key in (ALICE, BOB):
            holders = {one.peer for one in book if key in one.agents}
            assert holders == set(book._by_agent.get(key, ()))
            assert len(holders) <= SMALL.peer_addresses
        assert list(Book.from_bytes(book.to_bytes(), SMALL)) == list(book)
