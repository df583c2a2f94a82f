"""Real nodes under a virtual clock: the same run on the same seed, and nothing that they cannot do."""

from __future__ import annotations

import subprocess
import sys
from os import environ
from pathlib import Path

import pytest
import trio

from tslg.node import home as homes
from tslg.protocol.errors import UsageError
from tslg.simulations.nodes import run_nodes
from tslg.simulations.scenario import load, read

ROOT = Path(__file__).resolve().parents[2]
NODES = """
[scenario]
name = "nodes"
agents = 4
hours = 0.008
signatures = "modelled"
[federation]
anchors = 1
threshold = 1
[network]
latency = { kind = "lognormal", ms = 20, sigma = 0.5 }
loss = 0.02
duplicate = 0.05
reorder = 0.1
[[groups]]
name = "agents"
record_s = 3
audit_s = 3
[[faults]]
kind = "churn"
at_s = 8
for_s = 6
every_s = 3
[[faults]]
kind = "partition"
at_s = 18
for_s = 5
share = 0.5
[[faults]]
kind = "one-way"
at_s = 3
for_s = 4
[[faults]]
kind = "skew"
at_s = 2
for_s = 10
ms = 60000
[[faults]]
kind = "slow-disk"
at_s = 2
for_s = 10
factor = 1000
"""
AGAIN = (
    "import sys; from tslg.simulations.scenario import read; from tslg.simulations.nodes import run_nodes;"
    "o = run_nodes(read(sys.stdin.read(), 'n.toml'), 3); print(o.digest, o.events)"
)


def test_nodes_live_on_one_seed_the_same_in_every_process():
    before = trio.to_thread.run_sync, homes.open_store
    outcome = run_nodes(read(NODES, "n.toml"), 3)
    assert outcome.broken is None and outcome.counts["audits valid"] > 5 and outcome.counts["heads heard"] >= 12
    assert outcome.counts["audits undetermined"] + sum(outcome.given_up.values()) > 0, "nothing went wrong for anybody"
    done = subprocess.run(
        [sys.executable, "-c", AGAIN],
        input=NODES,
        env=environ | {"PYTHONHASHSEED": "7", "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [outcome.digest, str(outcome.events)]
    assert run_nodes(read(NODES, "n.toml"), 4).digest != outcome.digest
    assert (trio.to_thread.run_sync, homes.open_store) == before


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        (load("open-federation"), "nodes can be withholder or worker, not what forgers, equivocators"),
        (load("three-vendors"), "nodes have one weather for all links"),
        (
            read(NODES.replace('"churn"', '"crash"').replace("every_s = 3\n", ""), "n.toml"),
            "nodes know the faults churn",
        ),
        (read(NODES, "n.toml").changed(agents=2_000), "at most 1000 agents"),
    ],
)
def test_what_nodes_cannot_do_is_said(scenario, told):
    with pytest.raises(UsageError, match=told):
        run_nodes(scenario, 1)


def test_what_a_node_keeps_back_is_undetermined_for_all_others():
    hostile = '[[groups]]\nname = "closed"\nbehaviour = "withholder"\nrecord_s = 3\n[[faults]]'
    outcome = run_nodes(read(NODES.replace("[[faults]]", hostile, 1), "n.toml").changed(hours=0.005), 1)
    assert outcome.broken is None and outcome.counts["audits undetermined"] and outcome.counts["audits valid"]
