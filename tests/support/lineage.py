"""Builds logs of well-formed records without signing anything: what stores, walkers and networks are tested on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from tslg.protocol.cid import Link, compute
from tslg.protocol.log import Peaks
from tslg.protocol.record import Edge, Head, Record, build

MANIFEST = compute(b"a manifest that is only named")


class LogBuilder:
    """One agent's log, grown record by record; times are `1000 * seq` unless given."""

    def __init__(self, name: str) -> None:
        nonce = hashlib.sha256(name.encode()).digest()[:16]
        self.records: list[Record] = []
        self.peaks = Peaks()
        genesis = build(
            kind="genesis",
            agent=None,
            seq=0,
            prev=None,
            time=0,
            manifest=MANIFEST,
            key=None,
            log=None,
            preds={},
            body={"nonce": nonce, "name": name, "alg": -19, "key": bytes(32), "binding": "tenant"},
        )
        self._add(genesis)

    @property
    def owner(self) -> Link:
        return self.records[0].id

    @property
    def last(self) -> Record:
        return self.records[-1]

    def _add(self, record: Record) -> Record:
        self.records.append(record)
        self.peaks.append(record.id)
        return record

    def make(
        self,
        kind: str = "state",
        preds: Mapping[str, Iterable[Edge]] | None = None,
        body: Mapping[str, object] | None = None,
        time: int | None = None,
    ) -> Record:
        """Return the next record without adding it; by default a state derived from the newest record."""
        seq = len(self.records)
        return build(
            kind=kind,
            agent=self.owner,
            seq=seq,
            prev=self.last.id,
            time=1000 * seq if time is None else time,
            manifest=MANIFEST,
            key=self.owner,
            log=Head(seq, self.peaks.root()),
            preds={"prior": [Edge(self.last.id)]} if preds is None else preds,
            body={"data": {"step": seq}} if body is None else body,
        )

    def add(
        self,
        kind: str = "state",
        preds: Mapping[str, Iterable[Edge]] | None = None,
        body: Mapping[str, object] | None = None,
        time: int | None = None,
    ) -> Record:
        """Make the next record and add it."""
        return self._add(self.make(kind, preds, body, time))
