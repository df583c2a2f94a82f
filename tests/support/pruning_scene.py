"""A node in a federation whose gc policy lets go of old records, for tests of pruning and of what rests on it."""

from __future__ import annotations

from pathlib import Path

from world import NOW, ONE, World, source

from tslg.manifests.signing import encode_sealed
from tslg.node import pruning
from tslg.node.home import Home

KINDS = ["action", "decision", "delegation", "observation", "policy", "state"]


class Clock:
    """A clock that goes on by itself, and can be set forward."""

    def __init__(self) -> None:
        self.now = NOW + 100_000

    def __call__(self) -> int:
        self.now += 1
        return self.now


class Setting:
    """A node's home in a federation whose gc policy lets go of old records; `horizon_ms` is short."""

    def __init__(self, path: Path, clock: Clock, gc=None, **envelope) -> None:
        self.path, self.clock = path, clock
        self.anchors = World(ONE.format(attested=0), "pruning")
        self.root = path.parent / f"{path.name}.sealed"
        first = self.anchors.anchors.log[0]
        self.root.write_bytes(encode_sealed(first.data, self.anchors.seals[first.id]))
        body = {"name": "gc", "horizon_ms": 1_000, "kinds": KINDS} | (gc or {})
        made = self.anchors.add(self.anchors.anchors, "gc-policy", body, {"prior": [first]})
        self.anchors.amend(gc={"policy": made.id}, **envelope)
        with self.open() as home:
            log = self.anchors.anchors.log[1:]
            home.follow_federation([(record, self.anchors.seals[record.id]) for record in log])
            home.agent("a")

    def open(self) -> Home:
        return Home.open(self.path, federation=self.root, clock=self.clock, random_bytes=source(self.path.name))


def live(home, count=6):
    """Have the agent live for a while; return its records by what becomes of them."""
    agent = home.agent("a")
    seen = [agent.observe("sensor", {"n": n}) for n in range(count)]
    return agent, seen, agent.decide("go", "yes", evidence=seen)


def let_go(home, agent, **how):
    planned = pruning.plan(home.store, agent.id, home.manifest, now_ms=home.clock(), **how)
    return planned, pruning.prune(home.ledger, planned)
