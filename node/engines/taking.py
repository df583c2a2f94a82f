"""What a tenant says of an engine's steps that it takes up, and who said it of a step.

Normative text: docs/spec/engines.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from tslg.node.context import StoreContext
from tslg.node.engines.admission import CLAIMED, STANDINGS, Admission, origin
from tslg.node.store.interface import Store
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.recording import BINDINGS

SOURCE: Final = "engine"
"""The source of the observations by which a tenant takes up what an engine recorded."""


def said_of(context: StoreContext, admission: Admission, steps: Sequence[Record]) -> dict[str, Any]:
    """Return what a tenant says of steps that it takes up together: of bindings and standings the weakest."""
    origins = [origin(step, context) for step in steps]
    known = [one for one in origins if one is not None]
    least, weakest = 0, STANDINGS.index(CLAIMED)
    if known and len(known) == len(origins):
        least = min(BINDINGS.index(one.binding) for one in known)
        weakest = min(STANDINGS.index(one.standing) for one in known)
    return {
        "engine": admission.engine,
        "delegation": admission.delegation.id,
        "keys": sorted({one.key for one in known}),
        "binding": BINDINGS[least],
        "standing": STANDINGS[weakest],
    }


def taken_up_by(store: Store, context: StoreContext, step: Link) -> list[Link]:
    """Return the records by which tenants took up a step."""
    found = {id: context.record(id) for id in store.children(step, ("evidence", FLAT))}
    return [
        id
        for id, record in found.items()
        if record is not None and record.kind == "observation" and record.body.get("source") == SOURCE
    ]


def taken_by(store: Store, context: StoreContext, step: Link, tenant: Link) -> Link | None:
    """Return the record by which a tenant took up a step, None if it did not."""
    found = taken_up_by(store, context, step)
    return next((id for id in found if (record := context.record(id)) and record.owner == tenant), None)
