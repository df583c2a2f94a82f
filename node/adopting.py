"""Keeping what a walk verified of other agents' logs: records, the proofs that tie them together, and newest heads."""

from __future__ import annotations

from tslg.node import kept_proofs
from tslg.node.ledger import Ledger
from tslg.node.store.interface import Store
from tslg.node.verifying import Walked
from tslg.protocol.report import INVALID, VALID


def keep(ledger: Ledger, walked: Walked, *, source: str, now_ms: int) -> int:
    """Store what a valid walk verified, so that it can be cited and verified again without the network.

    Args:
        ledger: the node's ledger; records that claim to be of its own logs are left out.
        walked: the finished walk. Of one that is not valid, nothing is kept.
        source: who vouches for the newest records: `peer`, or `nobody` for a file.
        now_ms: the node's clock.

    Returns:
        How many records were new.
    """
    report, walker = walked
    if report.verdict != VALID:
        return 0
    new = ledger.adopt(walker.opened())
    _, inclusion, consistency = walker.proofs()
    kept_proofs.add(ledger.store, {record.id: record.owner for record in walker.held()}, inclusion, consistency)
    if source != "nobody":
        remember_heads(ledger.store, walked, source=source, now_ms=now_ms)
    ledger.store.set_verified(report.target, report.edges if report.frontier else None)
    return new


def remember_heads(store: Store, walked: Walked, *, source: str, now_ms: int) -> None:
    """Remember the verified heads of a walk, so that a log cut off behind them is found out later."""
    if walked.report.verdict == INVALID:
        return
    for claim in walked.walker.proofs()[0]:
        store.record_head(claim.agent, claim.size, claim.root, claim.record, source, now_ms)
