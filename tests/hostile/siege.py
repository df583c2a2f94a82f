"""A node under attack, each in a process of its own: what it costs the node, and whether honest peers notice."""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "hosts"))

from conditions import Place
from fleet import SOURCES, Process, open_federation

ATTACKER: Final = Path(__file__).with_name("attacker.py")
ASKED: Final = ("unread", "drip", "bait", "cancelled", "replayed", "gossip", "connections", "half_open")
ANSWERING: Final = ("wrong_block", "endless", "unasked", "slow")
ATTACKS: Final = (*ASKED, *ANSWERING)
NAMED: Final = {"connections": "peer 127.0.0.1: handshake"}
"""How the log names an attacker that has proved no id; every other is named by its id."""
MEMORY: Final = 300 * 1024 * 1024
RECORDS: Final = 200


class Seen(NamedTuple):
    """What an attack did: median times of an honest audit before and under it (s), memory at the most (bytes), whether
    every honest audit was valid, whether the victim's log names the attacker, and what the victim's own audit said."""

    attack: str
    before: float
    under: float
    memory: int
    valid: bool
    named: bool
    own: str | None


@contextmanager
def besieged(folder: Path) -> Iterator[tuple[Process, Process]]:
    """Start a victim with some lineage, and an honest reader."""
    federation = open_federation(folder / "federation.sealed")
    config = {"discovery": True, "gossip": True, "bitswap": True}
    with ExitStack() as stack:
        made = []
        for name in ("victim", "reader"):
            place = Place((), "/ip4/127.0.0.1/tcp/0", "", None)
            host = Process(name, place, folder / name, federation, {**config, "announce": []})
            stack.callback(host.stop)
            host.start()
            host.ask("append", "appended", 60, count=RECORDS, pause=0)
            made.append(host)
        yield made[0], made[1]


def besiege(attack: str, victim: Process, reader: Process, seconds: float) -> Seen:
    """Let one attacker at the victim for so long, and measure."""
    before = [honest(victim, reader) for _ in range(8)]
    federation = victim.last("federation")
    attacker = subprocess.Popen(
        [sys.executable, str(ATTACKER), attack, address(victim), federation],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(SOURCES)},
    )
    try:
        assert attacker.stdout is not None
        told = json.loads(attacker.stdout.readline())
        own = None
        if attack in ANSWERING:
            own = victim_audits(victim, reader, told["addresses"][0])
        elif attack == "half_open":
            time.sleep(1)
            attacker.send_signal(signal.SIGSTOP)
        under, ends = [], time.monotonic() + seconds
        while time.monotonic() < ends or len(under) < 8:
            under.append(honest(victim, reader))
            time.sleep(0.1)
    finally:
        attacker.kill()
        attacker.communicate()
    return Seen(
        attack,
        statistics.median(one["seconds"] for one in before),
        statistics.median(one["seconds"] for one in under),
        peak_memory(victim),
        all(one["audit"] == "valid" for one in [*before, *under]),
        NAMED.get(attack, told["attacker"]) in victim.errors.read_text(),
        own,
    )


def honest(victim: Process, reader: Process) -> dict[str, Any]:
    """Audit the victim's newest record from the reader, over the network alone."""
    record = victim.acked[max(victim.acked)]
    return reader.ask("audit", "audit", 120, record=record, peers=[address(victim)])


def victim_audits(victim: Process, reader: Process, attacker: str) -> str:
    """Have the victim audit the reader's newest record, and ask the attacker for it first."""
    record = reader.acked[max(reader.acked)]
    told = victim.ask("audit", "audit", 300, record=record, peers=[attacker, address(reader)])
    return str(told["audit"])


def address(host: Process) -> str:
    """Return the address that a host listens at."""
    return str(host.last("addresses")[0])


def peak_memory(host: Process) -> int:
    """Return the most memory that a host's process had at a time, in bytes."""
    assert host.process is not None
    status = Path(f"/proc/{host.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))
