"""How the ids of records that come without them are computed: by the hashes of the manifest version that each names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from tslg.protocol import record as records
from tslg.protocol.codec import Link
from tslg.protocol.errors import RecordError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.context import MANIFEST_KINDS


class Schemes:
    """Reads records of one federation, whose manifests may have changed hashes over time.

    Args:
        usual: the scheme of nearly all of them: a name of `cid.HASHES`, or two in a hybrid federation.
        manifest: finds a manifest version that is held already.
    """

    def __init__(self, usual: str, manifest: Callable[[Link], Manifest | None] = lambda id: None) -> None:
        self._usual = usual
        self._manifest = manifest
        self._learnt: dict[Link, str] = {}

    def read(self, batch: Iterable[bytes]) -> Sequence[Record]:
        """Read records in order. Manifests among them count for all of the batch, wherever they stand in it.

        Raises:
            RecordError, CodecError: one of them is no record.
        """
        read = [records.parse(data, self._usual) for data in batch]
        for record in sorted((one for one in read if one.kind in MANIFEST_KINDS), key=lambda one: one.seq):
            self._learn(self._named(record))
        if not self._learnt:
            return read
        return [self._named(record) for record in read]

    def _named(self, record: Record) -> Record:
        """Return the record under the id that its manifest gives it."""
        scheme = self._scheme(record)
        return record if scheme == self._usual else records.parse(record.data, scheme)

    def _scheme(self, record: Record) -> str:
        if record.manifest is None:
            found = _manifest_in(record)
            return self._usual if found is None else found.envelope.ids
        learnt = self._learnt.get(record.manifest)
        if learnt is not None:
            return learnt
        held = self._manifest(record.manifest)
        return self._usual if held is None else held.envelope.ids

    def _learn(self, record: Record) -> None:
        found = _manifest_in(record)
        if found is not None:
            self._learnt[record.id] = found.envelope.ids


def _manifest_in(record: Record) -> Manifest | None:
    """Return the manifest in a record, None if it holds none that could be enforced: the walk will say so."""
    try:
        return Manifest.from_record(record)
    except RecordError:
        return None
