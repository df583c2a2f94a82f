"""Pruning: what of an agent's log may be let go of, the record that commits to it, and the dropping itself.

What is to go is noted before the prune record is appended, and dropped after: a crash at any point leaves either
everything as it was, or a prune record whose records are dropped when the directory is opened next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from tslg.node import semantic
from tslg.node.drafting import Draft
from tslg.node.ledger import Ledger
from tslg.node.store.interface import LogRow, Store
from tslg.protocol import codec
from tslg.protocol import record as records
from tslg.protocol.cid import Link, to_text
from tslg.protocol.commitment import set_root
from tslg.protocol.errors import UsageError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Record
from tslg.protocol.rules.context import Pruned

UNDER_WAY: Final = "pruning/"
"""What the name of the value in which a pruning under way is kept begins with; the log's owner ends it."""
CHUNK: Final = 5_000
"""Records dropped in one transaction, between which others can append."""
_MANY: Final = 1_000_000
_AUTHORITY: Final = ("amends", "consensus", "corrects", "delegation", "joint", "part", "policy", "retracts")
"""Classes by which a record rests on another so that it cannot be judged without it."""
_WHOLE: Final = ("consensus", "equivocation", "joint-authorization", "prune", "redaction", "release", "transition")
"""Kinds whose every predecessor is needed to judge them."""

Tick = Callable[[int], None]


class Plan(NamedTuple):
    """What would be pruned of one log.

    Attributes:
        owner: whose log.
        policy: the gc policy in force.
        last: the last record behind the horizon, which is kept.
        before: its position + 1.
        pruned: what goes.
        kept: how many records behind the horizon stay, because they are needed or of other kinds.
    """

    owner: Link
    policy: Link
    last: Link
    before: int
    pruned: Pruned
    kept: int


def plan(store: Store, owner: Link, manifest: Manifest, *, now_ms: int, cutoff_ms: int | None = None) -> Plan:
    """Find what may be pruned of an agent's log.

    Args:
        store: holds the log whole.
        owner: the agent.
        manifest: the manifest version in force.
        now_ms: the node's clock.
        cutoff_ms: let go only of what is older than this moment; the horizon bounds it in any case.

    Raises:
        UsageError: the federation has no gc policy, or there is nothing that may go.
    """
    policy = _gc_policy(store, manifest)
    state = store.log_state(owner)
    if state is None:
        raise UsageError("that agent's log is not held whole here", record=owner)
    horizon = now_ms - policy.body["horizon_ms"]
    cutoff = horizon if cutoff_ms is None else min(horizon, cutoff_ms)
    rows = store.log_rows(owner, state.size)
    behind = [row for row in rows if row.time is not None and row.time <= cutoff]
    candidates = _candidates(store, owner, behind, policy, manifest, now_ms, state.size) if len(behind) > 1 else {}
    if not candidates:
        raise UsageError(
            f"nothing of the log of {to_text(owner)} may be pruned", mend="wait, or have the gc policy changed"
        )
    newest: dict[str, int] = {}
    for row in candidates.values():
        newest[row.kind or ""] = max(row.time or 0, newest.get(row.kind or "", 0))
    gone = Pruned(tuple(sorted(candidates)), newest, max(row.seq for row in candidates.values()))
    last = behind[-1]
    return Plan(owner, policy.id, last.cid, last.seq + 1, gone, len(behind) - len(gone.ids))


def _gc_policy(store: Store, manifest: Manifest) -> Record:
    link = manifest.envelope.gc
    entry = None if link is None else store.get(link)
    if link is None or entry is None:
        raise UsageError(
            "nothing may be pruned in this federation: its manifest names no gc policy",
            mend="have the anchors record one and amend the manifest",
        )
    return records.parse_as(link, entry.data)


def _candidates(
    store: Store, owner: Link, behind: list[LogRow], policy: Record, manifest: Manifest, now_ms: int, size: int
) -> dict[Link, LogRow]:
    """Return what may go of the records behind the horizon, the last of which stays."""
    kinds, summed = set(policy.body["kinds"]), set(policy.body.get("summarised", ()))
    covered = _summarised(store, owner) if summed else []
    retention = manifest.envelope.retention
    newest_kept = size - policy.body.get("keep", 0)
    # What comes next derives from these.
    states = {semantic.newest_state(store, owner), semantic.read(store, owner, _finder(store)).mover}
    found = {}
    for row in behind[:-1]:
        allowed = row.kind in kinds or (row.kind in summed and any(a <= row.seq <= b for a, b in covered))
        old = (row.time or 0) + retention.get(row.kind or "", 0) <= now_ms
        if allowed and old and 0 < row.seq < newest_kept and row.cid not in states:
            found[row.cid] = row
    for cid in _needed(store, owner, behind[-1].seq, found, now_ms):
        del found[cid]
    return found


def _finder(store: Store) -> Callable[[Link], Record | None]:
    def find(id: Link) -> Record | None:
        entry = store.get(id)
        return None if entry is None else records.parse_as(id, entry.data)

    return find


def _summarised(store: Store, owner: Link) -> list[tuple[int, int]]:
    found = store.get_many(store.by_kind("summary", owner, limit=_MANY))
    bodies = [records.parse_as(id, entry.data).body for id, entry in found.items()]
    return [(body["first"], body["last"]) for body in bodies]


def _needed(store: Store, owner: Link, stop: int, candidates: Mapping[Link, LogRow], now_ms: int) -> set[Link]:
    """Return those of the candidates without which a retained record, or one to come, could not be judged."""
    rests: dict[Link, list[Link]] = {}
    kept = _in_force(store, candidates, now_ms) | _superseding(store, candidates)
    for child, _, parent in store.citations(owner, stop, _AUTHORITY, _WHOLE):
        if parent in candidates:
            if child in candidates:
                rests.setdefault(child, []).append(parent)
            else:
                kept.add(parent)
    todo = list(kept)
    while todo:
        fresh = [parent for parent in rests.get(todo.pop(), ()) if parent not in kept]
        kept.update(fresh)
        todo.extend(fresh)
    return kept


def _in_force(store: Store, candidates: Mapping[Link, LogRow], now_ms: int) -> set[Link]:
    """Policies and delegations under which something could still be done."""
    ends = {"policy": "not_after", "delegation": "expires", "joint-authorization": "expires"}
    asked = [cid for cid, row in candidates.items() if row.kind in ends]
    found = set()
    for id, entry in store.get_many(asked).items():
        record = records.parse_as(id, entry.data)
        until = record.body.get(ends[record.kind])
        if until is None or until >= now_ms:
            found.add(id)
    return found


def _superseding(store: Store, candidates: Mapping[Link, LogRow]) -> set[Link]:
    """What ends the authority of another record, and what shows that its author knew of that."""
    policies = store.by_kind("policy", limit=_MANY)
    ending = {row.child for row in store.parents(policies, ("amends",))}
    ending.update(id for kind in ("answer", "retraction") for id in store.by_kind(kind, limit=_MANY))
    knowing = {child for id in ending for child in store.children(id)}
    return (ending | knowing) & candidates.keys()


def prune(ledger: Ledger, planned: Plan, tick: Tick | None = None) -> Record:
    """Append the prune record of a plan, and drop what it commits to; return the record.

    Raises:
        Refusal: an admission rule refuses it; nothing was dropped. StoreError: not stored, or not all dropped yet.
    """
    store, pruned = ledger.store, planned.pruned
    go_on(store, planned.owner)
    root = set_root(pruned.ids)
    blobs = sorted(_blobs(store, pruned.ids))
    store.set_meta(
        note_key(planned.owner),
        codec.encode({"root": root, "owner": planned.owner, "ids": [*pruned.ids], "blobs": blobs}),
    )
    ledger.context.pruning[root] = pruned
    body = {"before": planned.before, "count": len(pruned.ids), "root": root}
    preds = {"policy": [Edge(planned.policy, ledger.federation, None)], "evidence": [Edge(planned.last)]}
    try:
        made = ledger.append(planned.owner, Draft("prune", body, preds))
    finally:
        ledger.context.pruning.clear()
    go_on(store, planned.owner, tick)
    for id in pruned.ids:
        ledger.context.forget(id)
    return made


def note_key(owner: Link) -> str:
    """Return the name of the value in which a pruning of this log is kept while it is under way."""
    return UNDER_WAY + to_text(owner)


def go_on(store: Store, owner: Link, tick: Tick | None = None) -> Link | None:
    """Finish the pruning of a log that is under way, if its record was appended, and forget it if not.

    Returns that record's id. Whoever opens a log for writing does this first.
    """
    value = store.get_meta(note_key(owner))
    if not value:
        return None
    under_way = codec.decode(value)
    made = _prune_record(store, under_way)
    if made is not None:
        store.begin_prune(made, under_way["ids"])
        count = 0
        while dropped := store.drop_pruned(CHUNK):
            count += dropped
            if tick is not None:
                tick(count)
        if under_way["blobs"]:
            store.drop_blobs(set(under_way["blobs"]) - referenced(store))
        store.reclaim()
    store.set_meta(note_key(owner), b"")
    return made


def _prune_record(store: Store, under_way: Mapping[str, Any]) -> Link | None:
    for id, entry in store.get_many(store.by_kind("prune", under_way["owner"], limit=_MANY)).items():
        if records.parse_as(id, entry.data).body["root"] == under_way["root"]:
            return id
    return None


def _blobs(store: Store, ids: Iterable[Link]) -> set[bytes]:
    """Return the digests of the blobs that these records name."""
    wanted = list(ids)
    found: set[bytes] = set()
    for start in range(0, len(wanted), CHUNK):
        for id, entry in store.get_many(wanted[start : start + CHUNK]).items():
            found |= _named(id, entry.data)
    return found


def referenced(store: Store) -> set[bytes]:
    """Return the digests of the blobs that any record held names."""
    found: set[bytes] = set()
    for log in store.logs():
        for start in range(0, log.newest + 1, CHUNK):
            for id, entry in store.log_range(log.owner, start, start + CHUNK):
                found |= _named(id, entry.data)
    return found


def _named(id: Link, data: bytes) -> set[bytes]:
    """Return the digests of the blobs that one record names, wherever in its body they stand."""
    if b"media_type" not in data:
        return set()
    found = set()
    todo: list[Any] = [records.parse_as(id, data).body]
    while todo:
        value = todo.pop()
        if isinstance(value, dict):
            if value.keys() == {"digest", "size", "media_type"} and isinstance(value["digest"], bytes):
                found.add(value["digest"])
            todo.extend(value.values())
        elif isinstance(value, list):
            todo.extend(value)
    return found
