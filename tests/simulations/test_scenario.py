"""Scenarios are read strictly: each mistake is told with file, line and what is allowed."""

from __future__ import annotations

import pytest

from tslg.protocol.errors import UsageError
from tslg.simulations.adversaries import BEHAVIOURS
from tslg.simulations.scenario import HOSTILE, load, names, read
from tslg.simulations.writing import to_text

GOOD = """[scenario]
name = "x"
agents = 10

[federation]
anchors = 3
threshold = 2

[network]
latency = { kind = "lognormal", ms = 20, sigma = 0.5 }

[[groups]]
name = "a"
record_s = 5

[[groups]]
name = "b"
behaviour = "forger"

[[faults]]
kind = "partition"
at_s = 10
groups = ["a"]
others = ["b"]
"""


def test_the_shipped_scenarios_are_sound_and_written_as_they_are_read():
    assert {"amendment", "open-federation", "supply-chain", "three-vendors"} <= set(names())
    for name in names():
        scenario = load(name)
        again = read(to_text(scenario), name)
        assert to_text(again) == to_text(scenario) and again.groups == scenario.groups
        assert scenario.description and scenario.faults == again.faults


def test_every_hostile_behaviour_has_a_class_and_the_other_way_round():
    assert set(HOSTILE) == set(BEHAVIOURS)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('kind = "partition"', 'kind = "earthquake"', "x.toml:21:8: faults[0].kind: must be one of churn, clog, crash"),
        ("threshold = 2", "threshold = 4", "x.toml:7:13: federation.threshold: must be an integer from 1 to 3"),
        ('behaviour = "forger"', 'behaviour = "nice"', "x.toml:18:13: groups[1].behaviour: must be one of worker"),
        ('others = ["b"]', 'others = ["c"]', "x.toml:24:10: faults[0].others: there is no group 'c'; there are a, b"),
        ("record_s = 5", "records_s = 5", "x.toml:14:13: groups[0].records_s: unknown entry; did you mean record_s?"),
        ('kind = "lognormal"', 'kind = "lognormle"', "network.latency.kind: must be one of constant, exponential"),
        ("agents = 10", "agents = 0", "x.toml:3:10: scenario.agents: must be an integer from 1 to 1000000"),
        ("at_s = 10", "every_s = 5", "x.toml:22:11: faults[0].every_s: unknown entry"),
        ("sigma = 0.5", "spread_ms = 3", "network.latency.spread_ms: unknown entry"),
        ('name = "b"', 'name = "a"', "groups[1].name: 'a' is the name of another group"),
        ("[[groups]]", "[groups", "x.toml:12:"),
        ("threshold = 2", "threshold = 2\nquorum = 2", "x.toml:8:10: federation.quorum: `federation.quorum` must be 0"),
        (
            'behaviour = "forger"',
            'behaviour = "witness"',
            "groups[1].behaviour: a group of witnesses says with `count`",
        ),
        ('behaviour = "forger"', 'behaviour = "witness"\ncount = 3', "must be an integer from 1 to 3"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_what_is_allowed(old, new, told):
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        read(GOOD.replace(old, new, 1), "x.toml")
    assert told in caught.value.detail and caught.value.code == "TSLG-U-SCENARIO"


def test_all_mistakes_are_told_at_once():
    text = GOOD.replace("anchors = 3", "anchors = 0").replace("agents = 10", "agents = true")
    with pytest.raises(UsageError) as caught:
        read(text, "x.toml")
    assert len(caught.value.detail.splitlines()) >= 2


def test_an_unknown_scenario_is_told_which_there_are():
    with pytest.raises(UsageError, match="there is no scenario 'nowhere'") as caught:
        load("nowhere")
    assert "open-federation" in caught.value.mend
