"""The loop keeps order, the digest tells runs apart, and chance comes from the seed alone."""

from __future__ import annotations

import pytest

from tslg.simulations.chance import Distribution, bytes_of, stream
from tslg.simulations.engine import EventLog, Loop


def test_what_is_due_first_is_done_first_and_equals_in_the_order_of_asking():
    loop, done = Loop(), []
    loop.at(20, 1, 0, done.append, "c")
    loop.at(10, 1, 0, done.append, "a")
    loop.at(10, 1, 0, done.append, "b")
    loop.at(30, 1, 0, done.append, "d")
    loop.run(20)
    assert done == ["a", "b", "c"] and loop.now == 20 and loop.events == 3
    loop.run(40)
    assert done[-1] == "d" and loop.now == 40


def test_what_is_asked_for_in_the_past_is_done_now_and_time_never_goes_back():
    loop, times = Loop(), []
    loop.at(10, 1, 0, lambda: loop.at(5, 1, 0, lambda: times.append(loop.now)))
    loop.run(100)
    assert times == [10]


def test_whatever_is_asked_for_when_is_done_in_the_order_of_time_and_of_asking():
    loop, chance, asked, done = Loop(), stream(1, "loop"), [], []

    def ask(depth):
        number, when = len(asked), loop.now + chance.choice((0, 1, 900, 20_000, 3_000_000))
        asked.append((when, number))
        loop.at(when, 1, 0, carry_out, when, number, depth)

    def carry_out(when, number, depth):
        assert loop.now == when
        done.append((when, number))
        for _ in range(2 if depth else 0):
            ask(depth - 1)

    for _ in range(50):
        ask(4)
    for until in (0, 16_383, 16_384, 500_000, 500_001, 20_000_000):
        loop.run(until)
        assert done == sorted(one for one in asked if one[0] <= until)
    assert len(done) == len(asked) == loop.events == 50 * 31


def test_what_happens_again_is_an_event_each_time():
    loop, times = Loop(), []

    def beat(who):
        times.append((loop.now, who))
        return 1_000_000

    for who in (0, 1):
        loop.after(5, 1, who, beat, who)
    loop.run(2_000_005)
    assert times == [(at + 5, who) for at in (0, 1_000_000, 2_000_000) for who in (0, 1)] and loop.events == 6


def test_a_stopped_loop_does_nothing_more():
    loop, done = Loop(), []
    loop.at(1, 1, 0, loop.stop)
    loop.at(2, 1, 0, done.append, "late")
    loop.run(10)
    assert done == []


@pytest.mark.parametrize("other", [(1, 2, 4), (1, 3, 3), (2, 2, 3)])
def test_the_digest_hangs_on_every_part_of_an_event_and_on_what_came_of_it(other):
    def digest(*events, said=b""):
        log = EventLog()
        for event in events:
            log.event(*event)
        log.say(said)
        return log.digest()

    assert digest((1, 2, 3)) == digest((1, 2, 3))
    assert digest((1, 2, 3)) != digest(other)
    assert digest((1, 2, 3), said=b"a") != digest((1, 2, 3), said=b"b")
    assert digest((1, 2, 3), other) != digest(other, (1, 2, 3))


def test_streams_of_one_seed_are_the_same_and_of_another_not():
    assert stream(1, "a").random() == stream(1, "a").random() != stream(2, "a").random()
    assert stream(1, "a").random() != stream(1, "b").random()
    assert bytes_of(1, "x")(16) == bytes_of(1, "x")(16) != bytes_of(2, "x")(16)
    take = bytes_of(1, "x")
    assert take(16) != take(16)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("constant", {}),
        ("uniform", {"spread_ms": 10}),
        ("normal", {"spread_ms": 5}),
        ("lognormal", {"sigma": 0.5}),
        ("pareto", {"alpha": 3}),
    ],
)
def test_half_of_all_delays_are_below_the_median(kind, more):
    delays = Distribution(kind, 50, **more)
    chance = stream(1, kind)
    drawn = sorted(delays.draw(chance) for _ in range(2_000))
    assert drawn[0] >= 0
    assert abs(drawn[1_000] - 50_000) < 5_000


def test_an_exponential_delay_has_its_mean():
    assert abs(Distribution("exponential", 50).mean - 50_000) < 1_000
