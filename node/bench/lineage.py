"""The lineage that is measured on: two vendors' agents who cite each other, the same bytes in every run.

Agents make three observations and then a decision that rests on them and on the decision before; now and then on one
of the other vendor's. That is 2.25 edges and some 550 bytes a record. Keys come from a fixed seed and are good for
nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from tslg.manifests import genesis as geneses
from tslg.manifests.genesis import FoundedFederation
from tslg.manifests.signing import Sealed
from tslg.node.agent import BlockingAgent
from tslg.node.home import Home
from tslg.node.store.interface import Store
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol.codec import Link
from tslg.protocol.opening import Opened
from tslg.protocol.record import Record, parse_as

SEED: Final = 20_260_101
START_MS: Final = 1_767_225_600_000
"""2026-01-01, the time of the first record; every later one is a millisecond on."""
TURN_STEPS: Final = 25
"""Steps that a vendor makes before it is the other's turn."""
STEP_RECORDS: Final = 4
COPIED: Final = 1_000
"""Records copied from one store to another at a time."""
REASON: Final = "The reading lies within the range that the policy allows and agrees with the two before it."


@dataclass(frozen=True, slots=True)
class Lineage:
    """A finished lineage on disk.

    Attributes:
        federation: the federation's id.
        manifest: its root manifest with the seal.
        target: the newest decision, whose ancestry is everything.
        records: how many records the two agents' logs hold.
        now_ms: a time after all records.
        vendors: the two data directories; each holds its own agent's log and, of the other's, what it cites.
        whole: the store with both logs.
    """

    federation: Link
    manifest: Sealed
    target: Link
    records: int
    now_ms: int
    vendors: tuple[Path, Path]
    whole: Path


class World:
    """A federation with its anchors, a clock and randomness, all from one seed."""

    def __init__(self, seed: int = SEED) -> None:
        self.random_bytes: Callable[[int], bytes] = random.Random(seed).randbytes
        self.ticks = count(START_MS)
        self.founded: FoundedFederation = geneses.single_organisation(
            "Benchmark", random_bytes=self.random_bytes, time_ms=self.clock()
        )

    @property
    def manifest(self) -> Sealed:
        """The root manifest with its seal."""
        return self.founded.manifest_record, self.founded.seal

    def clock(self) -> int:
        """Return the next millisecond."""
        return next(self.ticks)

    def home(self, path: Path) -> Home:
        """Open a data directory in this federation."""
        return Home.open(path, federation=self.manifest, clock=self.clock, random_bytes=self.random_bytes)

    def agent(self, home: Home, name: str) -> BlockingAgent:
        """Make an agent in `home`, attested by the anchors."""
        return home.create_agent(name, anchors=self.founded.anchor_keys)


def step(agent: BlockingAgent, last: Record | None, foreign: Record | None = None, turn: int = 0) -> list[Record]:
    """Make three observations and the decision that rests on them, on the decision before and on somebody else's."""
    seen = [agent.observe("sensor", {"reading": turn + part, "unit": "celsius"}) for part in range(STEP_RECORDS - 1)]
    evidence = [*seen, *(cited for cited in (last, foreign) if cited is not None)]
    return [*seen, agent.decide("classify", "within range", evidence=evidence, reason=REASON)]


class _Vendor:
    """One vendor's directory and agent, and the decision it made last."""

    def __init__(self, world: World, path: Path, name: str) -> None:
        self.home = world.home(path)
        self.agent = world.agent(self.home, name)
        self.last: Record | None = None
        self.made = 0

    def turn(self, other: _Vendor, steps: int) -> None:
        """Make some steps, the first of which cites the other vendor's last decision."""
        foreign = other.last
        if foreign is not None:
            entry = other.home.store.get(foreign.id)
            assert entry is not None
            self.home.ledger.adopt([Opened(foreign, entry.seal)])
            self.home.store.set_verified(foreign.id, None)
        with self.agent.batch():
            for _ in range(steps):
                self.last = step(self.agent, self.last, foreign, self.made)[-1]
                self.made += STEP_RECORDS
                foreign = None


def make(folder: Path, records: int) -> Lineage:
    """Make a lineage of at least so many records, and at least two turns of each vendor, in an empty folder."""
    world = World()
    steps = max(1, min(TURN_STEPS, records // (4 * STEP_RECORDS)))
    with ExitStack() as stack:
        first, second = (_Vendor(world, folder / name, name) for name in ("alpha", "beta"))
        stack.callback(second.home.close)
        stack.callback(first.home.close)
        while first.made + second.made < records:
            second.turn(first, steps)
            first.turn(second, steps)
        assert first.last is not None
        whole = folder / "whole" / "tslg.sqlite"
        with SqliteStore.open(whole) as store:
            federation = first.home.federation
            for source, owners in ((first, (federation, first.agent.id)), (second, (second.agent.id,))):
                _copy_logs(source.home.store, owners, store)
            logs = [store.log_state(agent.id) for agent in (first.agent, second.agent)]
        return Lineage(
            federation,
            world.manifest,
            first.last.id,
            sum(log.size for log in logs if log is not None),
            world.clock(),
            (first.home.path, second.home.path),
            whole,
        )


def _copy_logs(source: Store, owners: Sequence[Link], target: Store) -> None:
    for owner in owners:
        state = source.log_state(owner)
        assert state is not None
        for start in range(0, state.size, COPIED):
            rows = source.log_range(owner, start, min(start + COPIED, state.size))
            items = [(parse_as(id, entry.data), entry.seal) for id, entry in rows]
            target.append(items, [state] if start + COPIED >= state.size else ())
