"""What the network of a run does to messages."""

from __future__ import annotations

from typing import Any

import pytest

from tslg.simulations.chance import Distribution, stream
from tslg.simulations.engine import SECOND, Loop
from tslg.simulations.network import Cut, Net, Weather, spoiled


class Ear:
    """A member that notes when it hears what."""

    def __init__(self, loop: Loop, group: str = "g") -> None:
        self.loop, self.group, self.up, self.came = loop, group, True, []

    def enter(self, method: Any, *args: Any) -> None:
        method(self, *args)

    def hear(self, source: int, what: str) -> None:
        self.came.append((self.loop.now, source, what))


def net(**weather: Any) -> Net:
    loop = Loop()
    made = Net(loop, stream(1, "net"), Weather(Distribution("constant", 10), **weather))
    made.members.extend(Ear(loop) for _ in range(4))
    return made


def send(on: Net, count: int = 1, source: int = 0, target: int = 1) -> list[tuple[int, int, str]]:
    for number in range(count):
        on.send(source, target, on.loop.now, 100, Ear.hear, str(number))
    on.loop.run(on.loop.now + 100 * SECOND)
    return on.members[target].came


def test_a_calm_network_delays_and_that_is_all():
    assert send(net(), 3) == [(10_000, 0, "0"), (10_000, 0, "1"), (10_000, 0, "2")]


def test_what_takes_room_takes_time():
    assert send(net(bytes_per_ms=10))[0][0] == 20_000


@pytest.mark.parametrize(
    ("weather", "least", "most"),
    [({"loss": 0.5}, 350, 650), ({"duplicate": 0.5}, 1_350, 1_650), ({"replay": 0.5}, 1_350, 1_650)],
)
def test_messages_are_lost_doubled_and_repeated_as_often_as_it_says(weather, least, most):
    assert least < len(send(net(**weather), 1_000)) < most


def test_some_messages_overtake_others():
    on = net(reorder=0.5)
    order = [int(what) for _, _, what in send(on, 100)]
    assert sorted(order) == list(range(100)) != order


def test_a_partition_stops_both_ways_until_it_heals():
    on = net()
    cut = Cut(on.sides([0], [1]))
    on.cut(cut)
    assert not send(on) and not send(on, source=1, target=0) and send(on, source=2, target=1)
    assert not on.reaches(0, 1) and on.reaches(0, 2)
    on.heal(cut)
    assert send(on, source=1, target=0) and on.reaches(0, 1)


def test_a_one_way_cut_stops_one_way():
    on = net()
    on.cut(Cut(on.sides([0], [1]), both=False))
    assert not send(on) and send(on, source=1, target=0)


def test_what_is_clogged_comes_all_at_once():
    on = net()
    on.cut(Cut(on.sides([0], [1]), until=50 * SECOND))
    assert [when for when, _, _ in send(on, 3)] == [50 * SECOND] * 3


def test_links_between_groups_have_a_weather_of_their_own():
    on = net()
    on.members[1].group = "far"
    on.link("g", "far", Weather(Distribution("constant", 500)))
    assert send(on)[0][0] == 500_000 and send(on, target=2)[0][0] - 100 * SECOND == 10_000


def test_whoever_is_down_hears_nothing():
    on = net()
    on.members[1].up = False
    assert not send(on) and on.lost == 1


def test_a_damaged_message_has_one_byte_changed_and_its_bytes_alone():
    chance = stream(1, "damage")
    for _ in range(50):
        number, chunks, rest = spoiled((7, [b"first", b"second"], None), chance)
        changed = [(a, b) for a, b in zip(b"firstsecond", b"".join(chunks), strict=True) if a != b]
        assert (number, rest, len(chunks), len(changed)) == (7, None, 2, 1)
    assert spoiled((7, [], b""), chance) == (7, [], b"") and spoiled((7, None), chance) == (7, None)
