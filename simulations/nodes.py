"""A run of real nodes: trio, its services and all, under a virtual clock, over the `Network` and `Store` seams.

Slower than the loop by an order of magnitude, and with real concurrency: for up to 1,000 agents, honest or keeping back
what they have.
Work that a node gives to threads is done in place, and trio's scheduler takes its turns from the seed, so that the same
seed gives the same run.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import trio
import trio.testing
from trio._core import _run as scheduling

from tslg.manifests.signing import encode_sealed
from tslg.node import home as homes
from tslg.node.agent import BlockingAgent
from tslg.node.config import NodeConfig
from tslg.node.net.errors import NotAvailable
from tslg.node.net.memory import MemoryHub, MemoryNetwork
from tslg.node.node import Node
from tslg.protocol.cid import short, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError, UsageError
from tslg.protocol.exchange import LOG, WALK
from tslg.protocol.record import Record
from tslg.protocol.report import INVALID, VALID, Report
from tslg.simulations.chance import bytes_of, stream
from tslg.simulations.disk import SYNC_US, Disk
from tslg.simulations.engine import EPOCH_MS, SECOND, EventLog
from tslg.simulations.founding import Founding
from tslg.simulations.oracle import Broken
from tslg.simulations.remembering import remembering
from tslg.simulations.run import Outcome
from tslg.simulations.scenario import Fault, Group, Scenario
from tslg.simulations.signing import Signing
from tslg.simulations.work import Habits

MOST: Final = 1_000
"""Agents: each is a node with a dozen tasks."""
FAULTS: Final = ("churn", "one-way", "partition", "skew", "slow-disk")
"""What can go wrong here beside the weather: the rest is for the loop."""
BEHAVIOURS: Final = ("withholder", "worker")
"""What members can be here."""
_RECORD, _AUDIT, _FAULT = 1, 2, 3


def run_nodes(scenario: Scenario, seed: int, tick: Callable[[float], None] | None = None) -> Outcome:
    """Run a scenario with real nodes.

    Raises:
        UsageError: it has hostile members, faults or events that only the loop has, or too many agents.
    """
    _check(scenario)
    signing = Signing(scenario.signatures == "modelled")
    started, used = time.perf_counter(), time.process_time()
    with signing.in_force(), remembering(), tempfile.TemporaryDirectory(prefix="tslg-nodes-") as folder, _in_turn(seed):
        running = _Run(scenario, seed, Path(folder))
        broken = None
        try:
            trio.run(running.main, clock=trio.testing.MockClock(autojump_threshold=0))
        except* Broken as errors:
            error = errors.exceptions[0]
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            assert isinstance(error, Broken)
            broken = {
                "invariant": error.invariant,
                "at_s": error.time / SECOND,
                "who": error.who,
                "event": running.events,
                "explanation": error.explanation,
            }
    if tick is not None:
        tick(1.0)
    return Outcome(
        scenario=scenario.name,
        seed=seed,
        agents=scenario.agents,
        hours=scenario.hours,
        signatures=signing.name,
        digest=running.log.digest(),
        events=running.events,
        seconds=round(time.perf_counter() - started, 3),
        founding_s=0.0,
        processor_s=round(time.process_time() - used, 3),
        counts=dict(sorted(running.counts.items())),
        given_up=dict(sorted(running.given_up.items())),
        traffic={"messages": 0, "lost": 0, "bytes": 0},
        broken=broken,
    )


def _check(scenario: Scenario) -> None:
    others = [group.name for group in scenario.groups if group.behaviour not in BEHAVIOURS]
    weather = scenario.weather
    faults = sorted({fault.kind for fault in scenario.faults} - set(FAULTS))
    mend = "run it without --nodes"
    if others:
        raise UsageError(f"nodes can be {' or '.join(BEHAVIOURS)}, not what {', '.join(others)} are", mend=mend)
    if scenario.links or weather.replay or weather.corrupt or weather.bytes_per_ms:
        raise UsageError("nodes have one weather for all links, without `replay`, `corrupt`, `bytes_per_ms`", mend=mend)
    if scenario.gc_horizon_s or any(fault.others for fault in scenario.faults):
        raise UsageError("nodes prune nothing, and their faults name no `others`", mend=mend)
    if faults or scenario.events:
        raise UsageError(f"nodes know the faults {', '.join(FAULTS)}, and no events", mend=mend)
    if scenario.agents > MOST:
        raise UsageError(f"at most {MOST} agents as nodes", mend=mend)


class _SlowDisk(Disk):
    """A disk of which only what is slow about it takes time: whoever waits for it waits."""

    def __init__(self, debt: list[int]) -> None:
        super().__init__()
        self._debt = debt

    def sync(self) -> None:
        """See `Disk.sync`."""
        if self.slowness > 1:
            self._debt[0] += int(SYNC_US * self.slowness)


@contextmanager
def _in_turn(seed: int) -> Iterator[None]:
    """Have trio take turns by the seed, do threads' work in place, and keep stores in memory, for a block."""

    debt = [0]

    async def in_place(function: Callable[..., Any], *args: Any, **_: Any) -> Any:
        await trio.lowlevel.checkpoint()
        done = function(*args)
        owed, debt[0] = debt[0], 0
        if owed:
            await trio.sleep(owed / SECOND)
        return done

    places: list[tuple[Any, str, Any]] = [
        (trio.to_thread, "run_sync", in_place),
        (scheduling, "_ALLOW_DETERMINISTIC_SCHEDULING", True),
        (scheduling, "_r", stream(seed, "scheduler")),
        (homes, "open_store", lambda directory: _SlowDisk(debt)),
    ]
    before = [getattr(place, name) for place, name, _ in places]
    state = random.getstate()
    random.seed(seed)
    for place, name, value in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        random.setstate(state)
        for (place, name, _), value in zip(places, before, strict=True):
            setattr(place, name, value)


class _Run:
    """One run of nodes."""

    def __init__(self, scenario: Scenario, seed: int, folder: Path) -> None:
        self._scenario = scenario
        self._seed = seed
        self._folder = folder
        self._hub = MemoryHub()
        self._founding = Founding(seed, anchors=scenario.anchors, quorum=scenario.threshold, scheme=scenario.scheme)
        self._notices: list[tuple[Link, str]] = []
        self._made: dict[str, list[Link]] = {}
        self._apart: dict[str, int] = {}
        self._mute: set[str] = set()
        self._skew: dict[str, int] = {}
        self._disks: dict[str, Disk] = {}
        self._groups: dict[str, Group] = {}
        self.log = EventLog()
        self.events = 0
        self.counts: Counter[str] = Counter()
        self.given_up: Counter[str] = Counter()

    async def main(self) -> None:
        """Open all nodes, let them live, and look at what they hold in the end."""
        record, seal = self._founding.log[0]
        file = self._folder / "federation.sealed"
        file.write_bytes(encode_sealed(record.data, seal))
        async with AsyncExitStack() as stack:
            lives = []
            groups = self._scenario.groups
            for index in range(self._scenario.agents):
                name = f"node-{index}"
                network = self._hub.network(name)
                opened = Node.open(
                    self._folder / name,
                    federation=file,
                    network=network,
                    clock=partial(self._clock_of, name),
                    random_bytes=bytes_of(self._seed, name),
                    config=NodeConfig(gossip=True),
                )
                node = await stack.enter_async_context(opened)
                store = node.home.store
                assert isinstance(store, Disk)
                self._disks[name] = store
                group = self._groups[name] = groups[index % len(groups)]
                if not group.honest:
                    self._withhold(network)
                lives.append((name, node, node.home.create_agent(name, anchors=self._founding.keys)))
            self._make_weather()
            async with trio.open_nursery() as nursery:
                for number, fault in enumerate(self._scenario.faults):
                    nursery.start_soon(self._fail, fault, number)
                for name, node, agent in lives:
                    nursery.start_soon(self._live, name, node, agent, self._groups[name].habits)
                await trio.sleep(self._scenario.hours * 3_600)
                nursery.cancel_scope.cancel()
            for name, node, agent in lives:
                self._look_back(name, node, agent)

    def _clock_of(self, name: str) -> int:
        return EPOCH_MS + int(trio.current_time() * 1_000) + self._skew.get(name, 0)

    def _now(self) -> int:
        return int(trio.current_time() * SECOND)

    def _note(self, tag: int, who: str, said: bytes) -> None:
        self.events += 1
        self.log.event(self._now(), tag, int(who.rpartition("-")[2]))
        self.log.say(said)

    # --- what a node does --------------------------------------------------------------------------------------------

    async def _live(self, name: str, node: Node, agent: BlockingAgent, habits: Habits) -> None:
        chance = stream(self._seed, "life", name)
        async with trio.open_nursery() as nursery:
            if habits.record_s:
                nursery.start_soon(self._record, name, agent, habits.record_s, chance)
            if habits.audit_s:
                nursery.start_soon(self._audit, name, node, agent, habits, chance)

    async def _record(self, name: str, agent: BlockingAgent, every_s: float, chance: random.Random) -> None:
        seen: list[Record] = []
        while True:
            await trio.sleep(every_s * chance.uniform(0.5, 1.5))
            if len(seen) < 2:
                made = agent.observe("sensor", {"n": chance.getrandbits(16)})
                seen.append(made)
            else:
                made = agent.decide("order", "yes", evidence=seen)
                seen.clear()
                self._notices.append((made.id, name))
            self._made.setdefault(name, []).append(made.id)
            self.counts["records"] += 1
            self._note(_RECORD, name, made.id)

    async def _audit(self, name: str, node: Node, agent: BlockingAgent, habits: Habits, chance: random.Random) -> None:
        while True:
            await trio.sleep(habits.audit_s * chance.uniform(0.5, 1.5))
            others = [notice for notice in self._notices[-64:] if notice[1] != name]
            if not others:
                continue
            target, teller = others[chance.randrange(len(others))]
            depth = habits.depths[chance.randrange(len(habits.depths))]
            try:
                report = await node.fetch(target, [f"/memory/{teller}/p2p/{teller}"], depth=depth)
            except TslgError as error:
                self.given_up[error.code] += 1
                continue
            self.counts["audits"] += 1
            self.counts[f"audits {report.verdict}"] += 1
            self._note(_AUDIT, name, report.verdict.encode() + target)
            self._judge(name, report)

    def _judge(self, name: str, report: Report) -> None:
        """Nobody forges here: whatever can be had is valid."""
        if report.verdict == INVALID:
            code = report.findings[0].code
            text = f"{name} finds {short(report.target)} invalid ({code}), which was made as it may be"
            raise Broken("soundness", self._now(), name, text)
        if report.verdict == VALID and report.target not in report.records:
            raise Broken("completeness", self._now(), name, f"{name} found {short(report.target)} valid unverified")

    def _look_back(self, name: str, node: Node, agent: BlockingAgent) -> None:
        for id in self._made.get(name, ()):
            if not node.home.store.has(id):
                raise Broken("durability", self._now(), name, f"{name} acknowledged {to_text(id)}, which is gone")
        if node.heads is not None:
            self.counts["heads heard"] += len(node.heads.heads.logs)
            if any(log.fork is not None for log in node.heads.heads.logs.values()):
                raise Broken("acceptance", self._now(), name, f"{name} convicts somebody, and nobody forked")

    # --- what goes wrong ---------------------------------------------------------------------------------------------

    def _make_weather(self) -> None:
        """Delay, lose, repeat and reorder what the members say to each other, as the scenario has it."""
        weather, chance = self._scenario.weather, stream(self._seed, "weather")

        def late() -> float:
            return weather.latency.draw(chance) / SECOND

        def arrivals(one: str, other: str) -> list[float]:
            after = [late()]
            if weather.reorder and chance.random() < weather.reorder:
                after[0] += 4 * late()
            if weather.duplicate and chance.random() < weather.duplicate:
                after.append(after[0] + late())
            return after

        def apart(one: str, other: str) -> bool:
            if self._apart.get(one, 0) != self._apart.get(other, 0) or (one in self._mute and other not in self._mute):
                return True
            return bool(weather.loss) and chance.random() < weather.loss

        self._hub.apart, self._hub.arrivals = apart, arrivals
        for name in sorted(self._hub.members):
            self._hub.faults(name).latency = late

    def _withhold(self, network: MemoryNetwork) -> None:
        """Have a node say of all that it is asked for that it keeps it back."""

        async def withheld(payload: bytes, peer: str) -> AsyncGenerator[bytes, None]:
            raise NotAvailable("withheld")
            yield b""

        for protocol in (WALK, LOG):
            network.serve(protocol, withheld)

    async def _fail(self, fault: Fault, number: int) -> None:
        chance = stream(self._seed, "fault", number)
        names = sorted(name for name, group in self._groups.items() if not fault.groups or group.name in fault.groups)
        await trio.sleep(fault.at_s)
        end = trio.current_time() + fault.for_s
        while trio.current_time() < end:
            some = chance.sample(names, max(1, int(len(names) * fault.share)))
            self._note(_FAULT, some[0], fault.kind.encode())
            self._set(fault, some, True)
            await trio.sleep(fault.every_s if fault.kind == "churn" else fault.for_s)
            self._set(fault, some, False)

    def _set(self, fault: Fault, names: list[str], on: bool) -> None:
        for name in names:
            if fault.kind == "partition":
                self._apart[name] = int(on)
            elif fault.kind == "one-way":
                (self._mute.add if on else self._mute.discard)(name)
            elif fault.kind == "skew":
                self._skew[name] = fault.ms if on else 0
            elif fault.kind == "slow-disk":
                self._disks[name].slowness = fault.factor if on else 1.0
            else:
                self._hub.faults(name).down = on
