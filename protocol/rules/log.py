"""Rules of a log's end, for records that are appended to a log held here."""

from __future__ import annotations

from tslg.protocol.errors import Refusal
from tslg.protocol.keys import Revocations
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.protocol.rules.context import MANIFEST_KINDS, Context, refuse


def rule_log(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The record continues its log: next position, previous id, tree root, time not going back."""
    tail = context.tail(record.owner)
    if tail is None:
        if record.seq == 0:
            return None
        return refuse("TSLG-A-SEQ", record, f"position {record.seq} of a log of which nothing is held")
    if record.seq < tail.size:
        return refuse("TSLG-A-FORK", record, f"position {record.seq} is taken by another record")
    if record.seq != tail.size:
        return refuse(
            "TSLG-A-SEQ", record, f"position {record.seq}, the log ends at {tail.size}", "fetch what is between"
        )
    if record.prev != tail.last:
        return refuse("TSLG-A-PREV", record, "`prev` is not the log's newest record")
    if record.log is None or record.log.root != tail.root:
        return refuse("TSLG-A-HEAD", record, "`log.root` is not the root of the log before it")
    if record.time < tail.time:
        return refuse("TSLG-A-TIME", record, f"its time {record.time} is before the previous record's {tail.time}")
    return None


def rule_revoked(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The key that a record names is not revoked at its position, and a revocation ends a key sooner than before."""
    if record.agent is None or record.agent == context.federation:
        return None
    before = context.revocations(record.agent)
    return ended(record, before) if before.number else None


def ended(record: Record, revocations: Revocations) -> Refusal | None:
    """Refuse a record whose key is dead, or a revocation that ends nothing, after these revocations of its log."""
    ends = revocations.ends
    if record.key is not None and record.seq >= ends.get(record.key, record.seq + 1):
        detail = f"the key that it names is revoked from position {ends[record.key]}"
        return refuse("TSLG-A-REVOKED", record, detail, "seal it with a key that is in force")
    if record.kind != "revocation":
        return None
    before = ends.get(record.body["key"])
    if before is not None and record.body["from_seq"] >= before:
        return refuse("TSLG-A-REVOCATION", record, f"the key is revoked from position {before} already")
    if revocations.number >= DEFAULT.revocations:
        return refuse("TSLG-A-REVOCATION", record, f"more than {DEFAULT.revocations} revocations in one log")
    return None


def rule_rollback(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A log never goes back to an older manifest version than it has named, or holds itself."""
    tail = context.tail(record.owner)
    last = None if tail is None else context.record(tail.last)
    return None if last is None else rolled_back(last, record, context)


def rolled_back(before: Record, record: Record, context: Context) -> Refusal | None:
    """Refuse `record` if it goes back behind the manifest version in force at an earlier record of its log."""
    newest = before.id if before.kind in MANIFEST_KINDS else before.manifest
    named = record.manifest
    if named == newest or named is None or newest is None:
        return None
    old, new = context.manifest(newest), context.manifest(named)
    if old is None or new is None or old.version < new.version:
        return None
    detail = f"it is made under manifest version {new.version}, its log is at version {old.version} already"
    return refuse("TSLG-A-ROLLBACK", record, detail, "make it under the newest manifest version")
