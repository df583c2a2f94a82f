"""One run of a scenario on one seed: who is there, what happens to them, and what came of it."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tslg.simulations.adversaries import BEHAVIOURS
from tslg.simulations.anchoring import Seat, asked_of_logs, witness_key
from tslg.simulations.breeding import Breeder
from tslg.simulations.chance import stream
from tslg.simulations.collecting import collecting
from tslg.simulations.engine import SECOND
from tslg.simulations.events import Events
from tslg.simulations.faults import Faults
from tslg.simulations.founding import Founding
from tslg.simulations.member import Member
from tslg.simulations.oracle import Broken
from tslg.simulations.remembering import remembering
from tslg.simulations.scenario import BREEDER, WITNESS, WITNESSES, Group, Scenario
from tslg.simulations.signing import Signing
from tslg.simulations.witnesses import Witnessing
from tslg.simulations.work import Worker
from tslg.simulations.world import World

FORESIGHT: Final = "foresight"
"""The invariant that nothing fails in a way that nobody foresaw."""
STEPS: Final = 100
"""So often a run tells how far it is."""
_PRUNABLE: Final = ("action", "decision", "observation")
Tick = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one run.

    Attributes:
        scenario, seed, agents, hours, signatures: what was run, and with which signatures.
        digest: of everything that happened; the same for the same seed and code.
        events: how many events there were.
        seconds: how long it took, and `founding_s` the founding before it.
        processor_s: of that, the processor's time, by which rates are told: it does not hang on what else runs.
        counts: of records, audits, delegations, …
        given_up: how often a procedure ended with which code.
        traffic: messages, those that were lost, and bytes.
        detections_s: how long after two honest nodes held both sides of a fork it was found.
        readings: what audits cost and found, by depth; see `Readings.to_json`.
        storage: bytes of records and seals that honest members hold in the end.
        broken: what did not hold, None if all did.
    """

    scenario: str
    seed: int
    agents: int
    hours: float
    signatures: str
    digest: str
    events: int
    seconds: float
    founding_s: float
    processor_s: float
    counts: dict[str, int]
    given_up: dict[str, int]
    traffic: dict[str, int]
    detections_s: list[float] = field(default_factory=list)
    readings: dict[str, Any] = field(default_factory=dict)
    storage: int = 0
    broken: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as one JSON document."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def run(scenario: Scenario, seed: int, tick: Tick | None = None) -> Outcome:
    """Run a scenario. The first invariant that does not hold ends it."""
    with collecting():
        return _run(scenario, seed, tick)


def _run(scenario: Scenario, seed: int, tick: Tick | None) -> Outcome:
    signing = Signing(scenario.signatures == "modelled")
    started = time.perf_counter()
    with signing.in_force(), remembering(), quiet():
        world = populate(scenario, seed, signing)
        founded, used = time.perf_counter(), time.process_time()
        broken = None
        try:
            for member in world.members:
                member.enter(_begin)
            Faults(world, scenario.faults)
            Events(world, scenario.events)
            _go(world, scenario, tick)
        except Broken as error:
            broken = {
                "invariant": error.invariant,
                "at_s": error.time / SECOND,
                "who": error.who,
                "event": world.loop.events,
                "explanation": error.explanation,
            }
        except Exception as error:
            # Nobody foresaw it: a defect like any other, which has its seed, and can be made smaller.
            broken = {
                "invariant": FORESIGHT,
                "at_s": world.loop.now / SECOND,
                "who": "",
                "event": world.loop.events,
                "explanation": _where(error),
            }
        ended, used = time.perf_counter(), time.process_time() - used
    net, oracle = world.net, world.oracle
    return Outcome(
        scenario=scenario.name,
        seed=seed,
        agents=len(world.members),
        hours=scenario.hours,
        signatures=signing.name,
        digest=world.loop.log.digest(),
        events=world.loop.events,
        seconds=round(ended - founded, 3),
        founding_s=round(founded - started, 3),
        processor_s=round(used, 3),
        counts=dict(sorted(oracle.counts.items())),
        given_up=dict(sorted(oracle.given_up.items())),
        traffic={"messages": net.sent, "lost": net.lost, "bytes": net.bytes},
        detections_s=[taken / SECOND for _, taken in oracle.detections],
        readings=oracle.readings.to_json(),
        storage=sum(member.disk.weight() for member in world.members if member.honest),
        broken=broken,
    )


def _where(error: Exception) -> str:
    """Return what went wrong and where, in one line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())[:200]
    return f"{type(error).__name__} in {last.name} ({Path(last.filename).name}:{last.lineno}): {said}"


@contextmanager
def quiet() -> Iterator[None]:
    """Have nodes warn nobody of what a run does to them, for the length of a block."""
    log = logging.getLogger("tslg.node")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)


def populate(scenario: Scenario, seed: int, signing: Signing) -> World:
    """Return the world of a scenario as it is when the run begins."""
    keys = [witness_key(seed, number) for number in range(scenario.witnesses)]
    founding = Founding(
        seed,
        scheme=scenario.scheme,
        anchors=scenario.anchors,
        quorum=scenario.threshold,
        depth=scenario.verify_depth,
        attested=scenario.attested,
        more=asked_of_logs(keys, scenario.quorum, scenario.epoch_s) if keys else "",
    )
    if scenario.gc_horizon_s:
        founding.gc_policy(int(scenario.gc_horizon_s * 1_000), _PRUNABLE, 0)
    world = World(
        seed,
        founding,
        signing,
        scenario.weather,
        hops=scenario.hops,
        heartbeat_s=scenario.heartbeat_s,
        journalled=any(fault.kind in ("crash", "churn") for fault in scenario.faults),
        fork_bound_s=scenario.fork_bound_s,
        quorum=scenario.quorum,
    )
    for link in scenario.links:
        world.net.link(link.source, link.target, link.weather)
    for group, count in _sizes(scenario):
        for _ in range(count):
            member = world.join(group.name, group.honest)
            if group.behaviour in WITNESSES:
                key = keys[len(world.seats)]
                world.seats[key.name] = Seat(key, key.public, member.index)
    _connect(world, scenario)
    groups = {group.name: group for group in scenario.groups}
    for member in world.members:
        member.behaviour = _behaviour(world, groups[member.group])
    return world


def _sizes(scenario: Scenario) -> list[tuple[Group, int]]:
    """Divide those of whom no group says how many among the others by their shares; each gets at least one member."""
    shared = [group for group in scenario.groups if not group.count]
    total = sum(group.share for group in shared) or 1.0
    agents = left = max(len(shared), scenario.agents - sum(group.count for group in scenario.groups))
    sizes = []
    rest = len(shared)
    for group in scenario.groups:
        count = group.count
        if not count:
            rest -= 1
            count = left if not rest else max(1, min(left - rest, round(agents * group.share / total)))
            left -= count
        sizes.append((group, max(0, count)))
    return sizes


def _connect(world: World, scenario: Scenario) -> None:
    """Make every member some neighbours, a ring first so that all are connected, and choose whose logs it follows."""
    count = len(world.members)
    chance = stream(world.seed, "neighbours")
    for member in world.members:
        wanted = [(member.index + 1) % count]
        wanted += [chance.randrange(count) for _ in range(max(0, (scenario.peers - 1) // 2))]
        for other in wanted:
            _introduce(world, member.index, other)
    follow = {group.name: group.habits.follow for group in scenario.groups}
    for member in world.members:
        for _ in range(min(follow[member.group], count - 1)):
            other = chance.randrange(count)
            if other != member.index:
                member.follows[world.members[other].id] = None
                world.directory.add(world.members[other].id, member.index)


def _introduce(world: World, one: int, other: int) -> None:
    for a, b in ((one, other), (other, one)):
        if a != b and b not in world.members[a].peers:
            world.members[a].peers.append(b)


def _behaviour(world: World, group: Group) -> Any:
    partners = [one.index for one in world.members if one.group in group.delegates_to] if group.delegates_to else None
    if partners is None:
        partners = world.everybody
    if group.honest:
        return {WITNESS: Witnessing, BREEDER: Breeder}.get(group.behaviour, Worker)(group.habits, partners)
    return BEHAVIOURS[group.behaviour](group)


def _begin(member: Member) -> None:
    member.behaviour.begin(member)


def _go(world: World, scenario: Scenario, tick: Tick | None) -> None:
    end = int(scenario.hours * 3_600 * SECOND)
    for step in range(1, STEPS + 1):
        world.loop.run(end * step // STEPS)
        if tick is not None:
            tick(step / STEPS)
    world.oracle.at_the_end()
