"""Keeping what a walk verified of other agents' logs: records, the proofs that tie them together, and newest heads."""

from __future__ import annotations

from collections.abc import Iterable

from tslg.node import kept_checkpoints, kept_proofs, perjuries
from tslg.node.ledger import Ledger
from tslg.node.store.interface import Store
from tslg.node.verifying import Walked
from tslg.protocol.errors import Refusal
from tslg.protocol.opening import Opened
from tslg.protocol.report import INVALID, VALID, Report


def keep(ledger: Ledger, walked: Walked, *, source: str, now_ms: int) -> int:
    """Store what a valid walk verified, so that it can be cited and verified again without the network.

    Args:
        ledger: the node's ledger; records that claim to be of its own logs are left out.
        walked: the finished walk. Of one that is not valid, nothing is kept but proof that logs are forked,
            or that witnesses lied.
        source: who vouches for the newest records: `peer`, or `nobody` for a file.
        now_ms: the node's clock.

    Returns:
        How many records were new.
    """
    report, walker = walked
    keep_forks(ledger, walked)
    cosigned = [one for one in walker.cosigned() if not ledger.writes(one.checkpoint.agent)]
    for signed in cosigned:
        perjuries.hold(ledger.store, signed, walker.witnesses(), walker.proofs()[2])
    if report.verdict != VALID:
        return 0
    storable = walker.storable()
    new = follow_federation(ledger, storable) + ledger.adopt(storable)
    _, inclusion, consistency = walker.proofs()
    kept_proofs.add(ledger.store, {record.id: record.owner for record in walker.held()}, inclusion, consistency)
    for signed in cosigned:
        kept_checkpoints.keep(ledger.store, signed)
    if source != "nobody":
        remember_heads(ledger.store, walked, source=source, now_ms=now_ms)
    note_verified(ledger.store, report)
    return new


def note_verified(store: Store, report: Report) -> None:
    """Note how far this node verified a record, for edges to disclose; a shallower walk does not undo a deeper one."""
    if report.verdict != VALID:
        return
    before = store.verified(report.target)
    if not report.frontier:
        store.set_verified(report.target, None)
    elif before is None or (before.edges is not None and before.edges < report.edges):
        store.set_verified(report.target, report.edges)


def follow_federation(ledger: Ledger, verified: Iterable[Opened]) -> int:
    """Append the federation's records that continue what is held of its log, each through admission.

    A manifest version among them is in force here from then on. Returns how many were appended.
    """
    mine = (one for one in verified if one.record.owner == ledger.federation)
    count = 0
    for one in sorted(mine, key=lambda one: one.record.seq):
        state = ledger.store.log_state(ledger.federation)
        if state is not None and one.record.seq == state.size and one.record.prev == state.last:
            try:
                ledger.admit(one.record.data, one.seal, one.attachment)
            except Refusal:
                # It cites what is not held here: it is kept as records of other logs are, and the log ends before it.
                break
            count += 1
    return count


def keep_forks(ledger: Ledger, walked: Walked) -> None:
    """Keep what convicts the authors of forked logs that a walk met, with the chains on which those seals rest."""
    convicted = {id for note in walked.report.forks for id in note.records}
    if not convicted:
        return
    walker = walked.walker
    held = [*walker.opened(), *walker.beside()]
    proof = {one.record.id: one for one in held if one.record.id in convicted}
    chains = {one.record.agent for one in proof.values()} | {one.record.key for one in proof.values()}
    chains |= {one.record.manifest for one in proof.values()}
    ledger.adopt([one for one in held if one.record.id in chains])
    ledger.keep_proof(proof.values())


def remember_heads(store: Store, walked: Walked, *, source: str, now_ms: int) -> None:
    """Remember the verified heads of a walk, so that a log cut off behind them is found out later."""
    if walked.report.verdict == INVALID:
        return
    for claim in walked.walker.proofs()[0]:
        store.record_head(claim.agent, claim.size, claim.root, claim.record, source, now_ms)
