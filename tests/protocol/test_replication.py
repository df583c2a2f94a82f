"""The state machines of replication: whatever providers do, in any order, a log comes out right or it is said why."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol.cid import compute
from tslg.protocol.limits import DEFAULT
from tslg.protocol.replication import Ask, Follower, Slow
from tslg.protocol.subscription import Caught, Over, Send, Subscription, Wait

SMALL = replace(
    DEFAULT,
    replica_window=4,
    replica_ahead=3,
    replica_buffer_bytes=100,
    replica_providers=4,
    replica_patience_ms=50,
    replica_back_off_ms=10,
    replica_back_off_most_ms=40,
    replica_strikes=3,
)
WEIGHT = 10


class Play:
    """A follower, the providers that it has to do with, and what was stored."""

    def __init__(self, size: int, providers: dict[str, str], patient: bool = False, limits=SMALL) -> None:
        self.size = size
        self.kinds = providers
        self.follower: Follower[tuple[str, int]] = Follower(0, patient=patient, limits=limits)
        self.stored: list[int] = []
        self.now = 0
        self.asked: dict[Ask, int] = {}
        self.ranges: dict[str, int] = {}
        for peer in providers:
            self.follower.offered(peer, size)

    def turn(self) -> None:
        """Ask what the follower wants asked, and look whether it keeps within its bounds."""
        for step in list(self.follower.asks(self.now)):
            if isinstance(step, Slow):
                self.asked.pop(step.ask, None)
            else:
                assert step.start < step.stop <= self.size
                self.asked[step] = step.start
                self.ranges[step.peer] = self.ranges.get(step.peer, 0) + 1
        self.check()

    def check(self) -> None:
        windows = self.follower._windows
        at = self.follower.held
        for window in windows:
            assert window.start == at and window.next <= window.stop
            at = window.stop
        weight = sum(size for window in windows for _, _, size in window.items)
        assert weight == self.follower._bytes <= 2 * self.follower._limits.replica_buffer_bytes + WEIGHT
        assert at - self.follower.held <= SMALL.replica_window * SMALL.replica_ahead
        busy = {peer: one.busy for peer, one in self.follower._providers.items()}
        in_flight = [window.ask.peer for window in windows if window.ask is not None]
        assert all(busy.get(peer, 0) == in_flight.count(peer) for peer in {*busy, *in_flight})

    def deliver(self, ask: Ask) -> None:
        """One more record of an answer, or what stands for it."""
        kind, seq = self.kinds[ask.peer], self.asked[ask]
        if kind == "stalls":
            return
        if kind == "vanishes" or (kind == "drops" and seq % 5 == 4):
            self.end(ask, "gone")
        elif kind == "lacks" and seq >= self.size // 2:
            self.end(ask, None)
        elif kind == "skips" and seq % 7 == 6:
            self.take(ask, seq + 1, ("good", seq + 1))
        else:
            self.take(ask, seq, ("bad" if kind == "lies" and seq % 3 == 2 else "good", seq))

    def take(self, ask: Ask, seq: int, item: tuple[str, int]) -> None:
        if self.follower.came(ask, seq, item, WEIGHT):
            self.asked[ask] = seq + 1
        else:
            self.end(ask, None)

    def end(self, ask: Ask, failure: str | None) -> None:
        del self.asked[ask]
        self.follower.ended(ask, self.now, failure)

    def admit(self, most: int) -> None:
        """Store what is ready, up to what is not as its author wrote it; whose doing that is, is asked no more."""
        for (what, seq), peer in self.follower.ready(most):
            assert seq == len(self.stored), "in order, each once"
            if what == "bad":
                self.follower.leave(peer, "lied")
                for ask in [ask for ask in self.asked if ask.peer == peer]:
                    del self.asked[ask]
                break
            self.stored.append(seq)
            self.follower.stored(seq + 1)
        self.check()

    def finish(self) -> None:
        """Go on fairly until nothing is left to do."""
        for _ in range(40 * (self.size + 10)):
            self.turn()
            if self.follower.settled and not self.asked:
                return
            for ask in list(self.asked):
                if ask in self.asked:
                    self.deliver(ask)
            self.admit(3)
            self.now += 3
            for ask in [ask for ask in self.asked if self.kinds[ask.peer] == "stalls" and self.now % 60 < 3]:
                self.end(ask, "stalled")
        raise AssertionError("it never ends")


KINDS = ("honest", "lies", "stalls", "vanishes", "drops", "lacks", "skips")


@pytest.mark.spec("RPL-18", "RPL-19")
@given(
    size=st.integers(1, 60),
    kinds=st.lists(st.sampled_from(KINDS), min_size=1, max_size=4),
    moves=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_whatever_providers_do_the_log_is_stored_in_order_or_it_is_said_why_not(size, kinds, moves):
    play = Play(size, {f"{index} {kind}": kind for index, kind in enumerate(kinds)})
    for move, number in moves:
        asks = sorted(play.asked)
        if move == 0:
            play.now += number
        elif move == 1:
            play.admit(number + 1)
        elif move == 2 and asks:
            play.end(asks[number % len(asks)], "lost")
        elif move == 3:
            peers = sorted(play.kinds)
            play.follower.leave(peers[number % len(peers)], "cut off") if number == 7 else None
        elif move <= 6 and asks:
            play.deliver(asks[number % len(asks)])
        else:
            play.turn()
    for ask in [ask for ask in play.asked if ask.peer in play.follower.refusals()]:
        del play.asked[ask]
    play.finish()
    follower = play.follower
    assert play.stored == list(range(follower.held)), "nothing twice, nothing left out"
    if any(kind == "honest" and peer not in follower.refusals() for peer, kind in play.kinds.items()):
        assert follower.held == size
    elif follower.held < size:
        gone = follower.refusals().keys()
        assert all(peer in gone or follower._providers[peer].size <= follower.held for peer in play.kinds)


@pytest.mark.spec("RPL-18")
def test_two_providers_share_the_work():
    play = Play(48, {"a": "honest", "b": "honest"}, limits=replace(SMALL, replica_buffer_bytes=1_000))
    play.finish()
    assert play.stored == list(range(48)) and play.ranges == {"a": 6, "b": 6}
    assert play.follower.served() == {"a": 24, "b": 24}


def test_whoever_waits_for_ever_asks_again_those_who_failed():
    play = Play(8, {"a": "vanishes"}, patient=True)
    for _ in range(60):
        play.turn()
        for ask in list(play.asked):
            play.deliver(ask)
        play.now += 10
    assert not play.follower.settled and play.follower.refusals() == {}
    assert play.ranges["a"] < 40, "it is left alone for longer and longer"
    play.kinds["a"] = "honest"
    play.finish()
    assert play.stored == list(range(8))


@pytest.mark.spec("RPL-19")
def test_a_slow_range_is_given_to_another_and_what_came_of_it_stays():
    play = Play(4, {"a": "honest"})
    play.turn()
    (ask,) = play.asked
    play.deliver(ask)
    play.now += SMALL.replica_patience_ms
    assert list(play.follower.asks(play.now)) == [], "there is nobody else"
    play.follower.offered("b", 4)
    slow, again = play.follower.asks(play.now)
    assert slow == Slow(ask) and (again.peer, again.start, again.stop) == ("b", 1, 4)
    assert not play.follower.came(ask, 1, ("good", 1), WEIGHT), "the slow one is not heard any more"


def test_what_is_stored_is_not_asked_for_again():
    follower: Follower[str] = Follower(10, limits=SMALL)
    follower.offered("a", 12)
    assert [(ask.start, ask.stop) for ask in follower.asks(0)] == [(10, 12)]
    follower.stored(12)
    assert follower.settled and list(follower.asks(0)) == []


def test_more_providers_than_a_log_may_have_are_not_taken_unless_others_are_out():
    follower: Follower[str] = Follower(0, limits=SMALL)
    assert [follower.offered(name, 9) for name in "abcde"] == [True, True, True, True, False]
    follower.leave("b", "lied")
    assert follower.offered("e", 9) and not follower.offered("f", 9)
    assert follower.providers() == ["a", "c", "d", "e"]


def test_what_a_subscription_brings_is_taken_where_it_continues_what_came():
    follower: Follower[str] = Follower(3, limits=SMALL)
    assert not follower.pushed("a", 3, "3", 1), "from nobody who was compared with"
    follower.offered("a", 3)
    assert follower.pushed("a", 3, "3", 1) and follower.pushed("a", 4, "4", 1)
    assert not follower.pushed("a", 4, "4", 1) and not follower.pushed("a", 6, "6", 1)
    assert [item for item, _ in follower.ready(9)] == ["3", "4"]
    follower.stored(5)
    assert [(ask.start, ask.stop) for ask in follower.asks(0)] == [(5, 7)], "what was left out is asked for"


def test_a_subscription_cannot_fill_the_memory():
    follower: Follower[str] = Follower(0, limits=SMALL)
    follower.offered("a", 1)
    taken = [follower.pushed("a", seq, "x", 30) for seq in range(20)]
    assert taken.count(True) * 30 <= 2 * SMALL.replica_buffer_bytes + 30


# --- the other side ------------------------------------------------------------------------------------------------

A, B = compute(b"a"), compute(b"b")


def feed(sizes, ends, live=False, limits=DEFAULT):
    made = Subscription(sizes, live=live, batch=4, now_ms=0, limits=limits)
    for agent, size in ends.items():
        made.grew(agent, size)
    return made


@pytest.mark.spec("RPL-8", "RPL-9")
def test_a_subscription_sends_log_by_log_then_says_where_they_end():
    made = feed({A: 2, B: 0}, {A: 9, B: 3})
    seen = []
    while not isinstance(step := made.step(0), Over):
        seen.append(step)
        if isinstance(step, Send):
            made.read(step.agent, step.stop)
        made.sent(100, 0)
    assert seen == [Send(A, 2, 6), Send(B, 0, 3), Send(A, 6, 9), Caught(tuple(sorted([(A, 9), (B, 3)])))]
    assert step == Over(False)


@pytest.mark.spec("RPL-10")
def test_a_live_subscription_is_never_silent_for_long_and_sends_what_is_new():
    made = feed({A: 1}, {A: 1}, live=True)
    assert made.step(0) == Caught(((A, 1),))
    made.sent(10, 0)
    pause = DEFAULT.progress_timeout_ms // 3
    assert made.step(5) == Wait(pause) and made.step(pause) == Caught(())
    made.sent(1, pause)
    made.grew(A, 3)
    assert made.step(pause + 1) == Send(A, 1, 3)
    made.read(A, 3)
    assert made.step(pause + 1) == Caught(((A, 3),))


@pytest.mark.spec("RPL-11")
@given(st.lists(st.integers(1, 1024 * 1024), min_size=1, max_size=40), st.integers(5, 12))
@settings(max_examples=50)
def test_a_reply_ends_before_it_is_too_large(chunks, mebibytes):
    limits = replace(DEFAULT, reply_bytes=mebibytes * 1024 * 1024)
    made = feed({A: 0}, {A: 10**6}, live=True, limits=limits)
    sent = 0
    for size in chunks:
        if isinstance(made.step(0), Over):
            break
        made.sent(size, 0)
        sent += size
    assert sent <= limits.reply_bytes
    if made.full:
        assert made.step(0) == Over(True) and sent >= limits.reply_bytes - 4 * limits.chunk_bytes
