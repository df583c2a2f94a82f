"""Fetching a record that a message names: from its sender's node, and for a bounded time."""

from __future__ import annotations

from collections.abc import Sequence

import trio

from tslg.node.adapters.a2a.extension import refused
from tslg.node.agent import in_thread
from tslg.node.background import BackgroundNode
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.limits import Limits
from tslg.protocol.record import Record
from tslg.protocol.report import VALID, Report


async def fetched(
    node: BackgroundNode, what: str, id: Link, addresses: Sequence[str], limits: Limits
) -> tuple[Record, Report]:
    """Audit a record and keep what was verified; return it with the report.

    Args:
        node: who fetches.
        what: what it is called in errors.
        id: the record.
        addresses: where its sender says that it is had: hearsay, of which the network dials what may be dialled.
        limits: how long that may take.

    Raises:
        UsageError: `TSLG-U-DELEGATION`: it is not valid, or could not be had in time.
    """

    async def work() -> Report | None:
        with trio.move_on_after(limits.a2a_fetch_ms / 1000):
            return await node.node.fetch(id, addresses)
        return None

    report = await in_thread(lambda: node.call(work))
    if report is None:
        raise refused(f"{what} {short(id)} could not be had and verified within {limits.a2a_fetch_ms} ms")
    if report.verdict != VALID:
        raise refused(f"{what} {short(id)} is {report.verdict}{_why(report)}")
    return report.records[id], report


def _why(report: Report) -> str:
    """Return the first reason for a verdict that is not valid."""
    for finding in report.findings:
        return f": {finding.code}: {finding.detail}"
    for missing in report.undetermined:
        return f": {short(missing.record)} is {missing.reason}"
    return ""
