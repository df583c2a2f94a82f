"""A day of steady load in minutes: `python tests/hosts/soak.py [--hours N] [--held N]`; a line of JSON for every hour.

Three real nodes in processes of their own, whose clocks the test sets an hour ahead each round. In every hour one node
appends, another keeps its logs and is killed and started again, and the third audits as a stranger does and hears
the heads. A node keeps some 16,000 records at hand; with `--held 20000` the day begins with that full. What every
process holds is counted after each hour: files, streams, connections, tasks, threads, memory.
Exit code 1 if any of it grew from the first half of the day to the second.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[2] / "src")]

from conditions import Place  # noqa: E402
from fleet import Process, converge, open_federation  # noqa: E402

NAMES: Final = ("author", "replica", "auditor")
HOUR_MS: Final = 3_600_000
APPENDS, AUDITS, DEPTH = 150, 15, 100
"""Audits are bounded, as the load would not be steady otherwise: whole ancestries grow with the log."""
SLACK: Final = {"files": 4, "streams": 4, "connections": 2, "tasks": 12, "threads": 8, "memory": 12 * 1024 * 1024}
"""What a count may differ by: work that happens to be under way, and pages that the allocator keeps."""
PER_RECORD: Final = 200
"""Bytes of memory that a held record may cost for good: the tree of a log keeps its leaves."""


def live(folder: Path, hours: int, held: int = 0) -> list[dict[str, Any]]:
    """Live through so many hours, with so many records held before; return what was counted after each."""
    federation = open_federation(folder / "federation.sealed")
    counted = []
    with ExitStack() as stack:
        hosts: list[Process] = []
        for name in NAMES:
            bootstrap = [hosts[0].last("addresses")[0]] if hosts else []
            config = {"discovery": True, "gossip": True, "bootstrap": bootstrap, "announce": []}
            if name == "replica":
                config |= {"replicate": ["federation"], "replicate_from": bootstrap}
            host = Process(name, Place((), "/ip4/127.0.0.1/tcp/0", "", None), folder / name, federation, config)
            stack.callback(host.stop)
            host.start()
            hosts.append(host)
        author, replica, auditor = hosts
        for _ in range(held // 1_000):
            author.ask("append", "appended", 120, count=1_000, pause=0)
        converge([author, replica], 300, only=author.last("agent"))
        for hour in range(hours):
            for host in hosts:
                host.ask("set_clock", "clock", ahead_ms=hour * HOUR_MS)
            author.ask("append", "appended", 120, count=APPENDS, pause=0)
            for _ in range(AUDITS):
                record = author.acked[max(author.acked)]
                peers = [author.last("addresses")[0]]
                told = auditor.ask("audit", "audit", 60, record=record, peers=peers, depth=DEPTH)
                assert told["audit"] == "valid", told
            converge([author, replica], 60, only=author.last("agent"))
            counted.append({host.name: host.ask("count", "count")["count"] for host in (author, auditor)})
            sys.stdout.write(json.dumps({"hour": hour + 1, **counted[-1]}) + "\n")
            sys.stdout.flush()
            replica.kill()
            replica.start()
    return counted


def grown(counted: list[dict[str, Any]]) -> list[str]:
    """Return what grew from the first half, without its first hours, to the second."""
    start, middle = len(counted) // 6, len(counted) // 2
    found = []
    for name in counted[0]:
        for what, slack in SLACK.items():
            early = statistics.median(one[name][what] for one in counted[start:middle])
            late = statistics.median(one[name][what] for one in counted[middle:])
            kept = PER_RECORD * APPENDS * (len(counted) - middle) if what == "memory" else 0
            if late > early + slack + kept:
                found.append(f"{name}: {what} from {early} to {late}")
    return found


def main() -> int:
    """Live through a day."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--held", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = grown(live(Path(folder), given.hours, given.held))
    sys.stdout.write(json.dumps({"hours": given.hours, "grown": found}) + "\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
