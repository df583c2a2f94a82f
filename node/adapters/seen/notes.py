"""What spans became, noted in the store under their ids, so that none is recorded twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from tslg.node.adapters.seen.steps import Span, Step
from tslg.node.store.interface import Store
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import CidError
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record

OBSERVATION: Final = "tslg.observation"
"""The attribute by which a span names the observation that stands for it."""


class Notes:
    """The notes of one agent in its store.

    Attributes:
        made: how many records were noted so far.
    """

    def __init__(self, store: Store, agent: Link) -> None:
        self._store = store
        self._prefix = f"seen/{cid.to_text(agent)}"
        self.made = 0

    def named(self, span: Span) -> Record | None:
        """Return the observation that a span names, if it is held here and is that of the span."""
        text = span.attributes.get(OBSERVATION)
        try:
            found = self.record(cid.from_text(text)) if isinstance(text, str) else None
        except CidError:
            return None
        data = {} if found is None or found.kind != "observation" else found.body.get("data") or {}
        # Anybody can write any id into a file.
        return found if (data.get("trace"), data.get("span")) == span.key else None

    def step(self, step: Step, span: Span) -> Record | None:
        """Return the record that is noted for a step of a span."""
        return self._noted(self._step(step, span))

    def keep_step(self, step: Step, span: Span, record: Record) -> None:
        """Note what a step of a span became; inside the transaction that stores it."""
        self._keep(self._step(step, span), record)

    def group(self, parts: Iterable[Link]) -> Record | None:
        """Return the record that is noted for what was put together of these parts."""
        return self._noted(self._group(parts))

    def keep_group(self, parts: Iterable[Link], record: Record) -> None:
        """Note what was put together."""
        self._keep(self._group(parts), record)

    def composite(self, parts: Sequence[Record]) -> Record | None:
        """Return the composite of exactly these parts, if there is one."""
        wanted = {one.id for one in parts}
        for one in self.citing(parts[-1], "part"):
            if one.kind == "composite" and {edge.cid for edge in one.preds["part"]} == wanted:
                return one
        return None

    def record(self, id: Link) -> Record | None:
        """Return a record that is held."""
        entry = self._store.get(id)
        return None if entry is None else disclosed(id, entry)

    def citing(self, record: Record, cls: str) -> list[Record]:
        """Return the records of the same log that cite one under a class."""
        found = self._store.get_many(self._store.children(record.id, [cls]))
        records = [disclosed(id, entry) for id, entry in found.items()]
        return [one for one in records if one.owner == record.owner]

    def _noted(self, name: str) -> Record | None:
        noted = self._store.get_meta(name)
        # A note is written before its record is on disk, and counts for nothing where that never came there.
        return None if noted is None else self.record(Link(noted))

    def _keep(self, name: str, record: Record) -> None:
        self._store.set_meta(name, record.id)
        self.made += 1

    def _step(self, step: Step, span: Span) -> str:
        return f"{self._prefix}/{span.key.trace.hex()}/{span.key.id.hex()}/{step.operation[:64]}"

    def _group(self, parts: Iterable[Link]) -> str:
        return f"{self._prefix}/group/{hashlib.sha256(b''.join(parts)).hexdigest()}"
