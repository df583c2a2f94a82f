"""What a walk makes of keys once logs are proved: which records' keys were dead, and which lack a signature.

Normative text: docs/spec/keys.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.keys import NO_REVOCATIONS, revocations_in
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.rules.log import ended


def dead(segment: Sequence[Record], counts: Callable[[Record], bool]) -> list[tuple[Link, Refusal]]:
    """Return the records whose keys were revoked by then, and the revocations that end nothing.

    Args:
        segment: records that are proved to lie in one log, in the order of `seq`.
        counts: tells whether a revocation among them holds.
    """
    refused: list[tuple[Link, Refusal]] = []
    counted: list[Record] = []
    before = NO_REVOCATIONS
    for record in segment:
        refusal = ended(record, before)
        if refusal is not None:
            refused.append((record.id, refusal))
        elif record.kind == "revocation" and counts(record):
            counted.append(record)
            before = revocations_in(counted)
    return refused


def without_post_quantum(
    records: Iterable[Record], manifests: Mapping[Link, Manifest | None], federation: Link
) -> Iterator[Link]:
    """Yield the agents' records whose manifests, as far as they are known, ask for no post-quantum signature."""
    for record in records:
        if record.owner != federation and record.manifest is not None:
            manifest = manifests.get(record.manifest)
            if manifest is not None and not manifest.envelope.post_quantum:
                yield record.id
