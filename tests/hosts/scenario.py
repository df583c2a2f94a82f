"""What happens to four hosts under load: bad lines, a partition, a killed host; and what must hold after it."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

from fleet import Process, converge, open_federation
from relay import Relay
from router import Router

from tslg.protocol.cid import compute, to_text

NAMES: Final = ("planner", "builder", "checker", "archive")
DELAY, LOSS = 0.080, 0.02
CONVERGED: Final = 120
"""Seconds within which everything is everywhere once the lines are whole; a bound against hanging, no measurement."""
AUDITS: Final = 6
NOBODYS: Final = to_text(compute(b"a record that nobody has"))
EITHER: Final = ("valid", "undetermined")
Links = Relay | Router


class Audit(NamedTuple):
    """One audit by a stranger, during one phase: the verdict, what was missing, and how long it took (s)."""

    phase: str
    verdict: str
    missing: Sequence[str]
    seconds: float


class Outcome(NamedTuple):
    """What was seen: every audit, the logs in the end, and seconds from the end of the disturbance until all agreed."""

    audits: list[Audit]
    logs: dict[str, list[Any]]
    acknowledged: dict[str, int]
    until_same: float

    def median(self, phase: str) -> float:
        """Return the median time of a phase's audits, s."""
        return statistics.median(one.seconds for one in self.audits if one.phase == phase)


@contextmanager
def started(links: Links, folder: Path) -> Iterator[list[Process]]:
    """Start four hosts that find each other through the first, and keep every log of their federation."""
    federation = open_federation(folder / "federation.sealed")
    common = {"discovery": True, "gossip": True, "replicate": ["federation"]}
    with ExitStack() as stack:
        hosts = [Process(name, links.place(name), folder / name, federation, common) for name in NAMES]
        for host in hosts:
            others = [other.address for other in hosts if other is not host]
            host.configure(bootstrap=others[:1], replicate_from=others)
            stack.callback(host.stop)
            host.start()
        yield hosts


def play(links: Links, hosts: list[Process], parted_seconds: float) -> Outcome:
    """Let it happen; AssertionError where something is not as it must be."""
    planner, builder, checker, archive = hosts
    links.conditions.delay = DELAY
    for host in hosts:
        host.tell("append", count=20, pause=0.05)
    converge(hosts, CONVERGED)
    audits = [audit("calm", checker, planner, hosts) for _ in range(AUDITS)]
    audits += [audit("nobody", checker, planner, hosts, NOBODYS) for _ in range(2)]

    links.conditions.loss = LOSS
    for host in hosts:
        host.tell("append", count=int(parted_seconds * 10) + 50, pause=0.1)
    audits += [audit("lossy", checker, planner, hosts) for _ in range(AUDITS)]

    held = archive.logs()[planner.last("agent")][0] - 1
    links.conditions.partition(NAMES[:2], NAMES[2:])
    ends = time.monotonic() + parted_seconds
    while time.monotonic() < ends:
        audits.append(audit("parted", checker, planner, hosts, planner.acked[min(held, max(planner.acked))]))
        audits.append(audit("behind", checker, planner, hosts))
        time.sleep(0.5)
    assert checker.logs()[planner.last("agent")][0] < 1 + max(planner.acked), "nothing happened while they were apart"

    builder.kill()
    links.conditions.heal()
    healed = time.monotonic()
    audits += [audit("healed", checker, planner, hosts) for _ in range(AUDITS)]
    builder.start()
    builder.tell("append", count=20, pause=0.05)
    for host in hosts:
        host.wait_for(lambda host=host: "appended" in host.newest("appended", "ready"), CONVERGED, "to finish")
    logs = converge(hosts, CONVERGED)
    until_same = time.monotonic() - healed
    audits += [audit("whole", checker, builder, hosts) for _ in range(AUDITS)]
    # The same audits undisturbed: the logs have grown since the first ones.
    links.conditions.loss = 0.0
    audits += [audit("calm again", checker, builder, hosts) for _ in range(AUDITS)]
    return Outcome(audits, logs, {host.last("agent"): 1 + max(host.acked) for host in hosts}, until_same)


def audit(phase: str, reader: Process, author: Process, hosts: Sequence[Process], record: str | None = None) -> Audit:
    """Audit a record, an author's newest acknowledged one if none is named, from another host by the network alone."""
    record = record or author.acked[max(author.acked)]
    peers = [author.address, *(host.address for host in hosts if host not in (reader, author))]
    told = reader.ask("audit", "audit", 120, record=record, peers=peers)
    return Audit(phase, told["audit"], told["missing"], told["seconds"])


def check(outcome: Outcome) -> None:
    """Hold what must hold. Raises AssertionError."""
    for one in outcome.audits:
        # What is newer than a partition is out of reach behind it, which is said; nothing is ever called invalid.
        allowed = {"nobody": ("undetermined",), "behind": EITHER, "healed": EITHER}.get(one.phase, ("valid",))
        assert one.verdict in allowed, one
        assert one.verdict == "valid" or one.missing, one
    for owner, acknowledged in outcome.acknowledged.items():
        assert outcome.logs[owner][0] >= acknowledged, "an acknowledged record was lost"
