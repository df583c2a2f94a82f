"""Writing for a flat federation: what an author meant by each edge must be what every reader will take it for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tslg.protocol.cid import to_text
from tslg.protocol.errors import UsageError
from tslg.protocol.flat import Find, recover
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Record


def writes_flat(manifest: Manifest | None) -> bool:
    """Tell whether records of agents under a manifest name their predecessors in one list; False without one."""
    return manifest is not None and manifest.envelope.edges == "flat"


def sayable(kind: str, preds: Mapping[str, Sequence[Edge]]) -> Mapping[str, Sequence[Edge]]:
    """Return an author's predecessors as a flat record can say them: a summary takes all of its own log for parts."""
    return {name: edges for name, edges in preds.items() if name != "prior"} if kind == "summary" else preds


def as_meant(record: Record, preds: Mapping[str, Sequence[Edge]], find: Find) -> Record:
    """Return a flat record with the classes of its edges as they are recovered.

    Args:
        record: the record, its edges in one list.
        preds: the same edges by the classes that its author meant.
        find: returns a record that is held, or None.

    Raises:
        UsageError: `TSLG-U-FLAT`: readers would recover another class for one of them.
    """
    read = recover(record, find)
    for name, edges in preds.items():
        for edge in edges:
            if edge not in read.preds.get(name, ()):
                others = [other for other, cited in read.preds.items() if edge in cited]
                raise UsageError(
                    f"its {name} {to_text(edge.cid)} would be read as {' and '.join(others)}",
                    code="TSLG-U-FLAT",
                    mend="cite it as that, or another record; this federation writes edges without classes",
                    record=edge.cid,
                )
    return read
