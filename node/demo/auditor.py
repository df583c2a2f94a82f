"""The stranger: audits one record in a process of its own. `python -m tslg.node.demo.auditor --help`

All it is given is a federation's id, a record's id and an address. It walks the ancestry once to the bound that the
federation's manifest asks for and once in full, goes on from the bounded report to the end, writes the bundle, and
writes `{"audit", "bounded", "resumed_agrees", "tree"}`.
"""

from __future__ import annotations

import argparse
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import trio

from tslg.node.auditor import Auditor
from tslg.node.bundling import write_walked
from tslg.node.cli.audit import throwaway_network
from tslg.node.cli.tree import tree_lines
from tslg.node.demo.children import parent, write_line
from tslg.node.demo.judging import OUTCOMES
from tslg.node.home import wall_clock
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.record import Record
from tslg.protocol.report import Report

MOST_EDGES: Final = 2
"""Edges of one class that are drawn of one record."""
LEVELS: Final = 4
"""Levels of the tree that are drawn: from the release down to the evidence on one distribution."""


async def audit(auditor: Auditor, record: Link, peer: str, bundle: Path) -> dict[str, Any]:
    """Walk in full and within D_verify edges, resume the bounded walk to the end, and write the bundle."""
    full = await auditor.walk(record, [peer])
    in_force = full.walker.manifest(full.walker.federation)
    depth = None if in_force is None else in_force.envelope.verify_depth
    bounded = await auditor.audit(record, [peer], depth=depth)
    resumed = await auditor.audit(record, [peer], known=bounded.records)
    with bundle.open("wb") as stream:
        write_walked(stream, full)
    return {
        "audit": full.report.to_json(),
        "bounded": bounded.to_json(),
        "resumed_agrees": resumed.digest == full.report.digest,
        "tree": tree_lines(telling(full.report), levels=LEVELS),
    }


def telling(report: Report) -> Report:
    """Return the report with a few of its records, for people.

    Of much evidence the pieces that matter most are kept; policies and delegations stay where they are met first, and
    the states that records derive from are left out. What is left of edges is for drawing alone.
    """
    met = {report.target}
    chosen: dict[Link, Record] = {}
    todo = deque((report.records[report.target],))
    while todo:
        record = todo.popleft()
        preds = {}
        for name in (name for name in ("policy", "delegation", "evidence") if name in record.preds):
            fresh = [edge for edge in record.preds[name] if edge.cid in report.records and edge.cid not in met]
            if fresh:
                preds[name] = tuple(fresh)
            cited = sorted((report.records[edge.cid] for edge in fresh), key=_dull)[:MOST_EDGES]
            met.update(other.id for other in cited)
            todo.extend(cited)
        chosen[record.id] = record._replace(preds=preds)
    return replace(report, records=chosen)


def _dull(record: Record) -> int:
    outcome = record.body["outcome"] if record.kind == "decision" else None
    return -OUTCOMES.index(outcome) if outcome in OUTCOMES else -len(OUTCOMES)


async def _run(federation: Link, record: Link, peer: str, bundle: Path) -> None:
    async with parent() as lines, trio.open_nursery() as nursery:

        async def stop_with_parent() -> None:
            while await lines.receive() is not None:
                pass
            nursery.cancel_scope.cancel()

        nursery.start_soon(stop_with_parent)
        async with throwaway_network([peer]) as network:
            write_line(await audit(Auditor(network, federation, clock=wall_clock), record, peer, bundle))
        nursery.cancel_scope.cancel()


def main() -> None:
    """Audit one record and write the findings as one JSON line."""
    parser = argparse.ArgumentParser(description="Audit one record over the network.")
    parser.add_argument("--federation", type=cid.from_text, required=True, help="the federation's id")
    parser.add_argument("--record", type=cid.from_text, required=True, help="the record's id")
    parser.add_argument("--peer", required=True, help="an address that ends in /p2p/ID")
    parser.add_argument("--bundle", type=Path, required=True, help="where the bundle goes")
    given = parser.parse_args()
    try:
        trio.run(_run, given.federation, given.record, given.peer, given.bundle)
    except TslgError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
