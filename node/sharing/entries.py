"""What stands in a shared log: entries by its operator, and receipts for them in the tenants' logs.

Normative text: docs/spec/shared.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from tslg.node.context import StoreContext
from tslg.node.store.interface import Store
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.record import Record

SOURCE: Final = "shared-log"
"""The source of the observations by which an operator sequences, and by which a tenant takes note of that."""
TASK: Final = "sequence"
"""The one field of the task that a tenant delegates: the ids to be sequenced."""
BLIND_BYTES: Final = 16


class Entry(NamedTuple):
    """One entry of a shared log: which records stand there, by whose delegation, and where.

    Attributes:
        record: the operator's record.
        tenant: who had it sequenced.
        delegation: under which delegation.
        ids: what was sequenced.
    """

    record: Record
    tenant: Link
    delegation: Link
    ids: tuple[Link, ...]

    @property
    def position(self) -> int:
        """Where it stands in the shared log."""
        return self.record.seq


def read_entry(record: Record) -> Entry | None:
    """Return the entry that a record is, None for any other."""
    cited = list(record.edges("delegation"))
    data = record.body.get("data")
    if record.kind != "observation" or record.body.get("source") != SOURCE or len(cited) != 1:
        return None
    if not isinstance(data, dict) or data.keys() != {"entries", "blind"} or cited[0].agent is None:
        return None
    ids = read_ids(data["entries"], len(data["entries"]) if isinstance(data["entries"], list) else 0)
    return None if not ids else Entry(record, cited[0].agent, cited[0].cid, ids)


def read_ids(value: Any, most: int) -> tuple[Link, ...]:
    """Return the ids of a list of up to so many records' ids, sorted and without repeats; none of anything else."""
    if not isinstance(value, list) or not 0 < len(value) <= most:
        return ()
    if not all(type(one) is Link and cid.is_record_id(one) for one in value) or value != sorted(set(value)):
        return ()
    return tuple(value)


def entries_of(store: Store, context: StoreContext, tenant: Link, operator: Link) -> Iterator[Entry]:
    """Yield the entries of a tenant in an operator's log for which the tenant has a receipt, the newest first."""
    for id in store.by_kind("observation", tenant, limit=_size(store, tenant)):
        receipt = context.record(id)
        if receipt is None or receipt.body.get("source") != SOURCE:
            continue
        for edge in receipt.edges("evidence"):
            held = context.record(edge.cid) if edge.agent == operator else None
            found = None if held is None else read_entry(held)
            if found is not None and found.tenant == tenant:
                yield found


def _size(store: Store, owner: Link) -> int:
    newest = store.newest_seq(owner)
    return 1 if newest is None else newest + 1
