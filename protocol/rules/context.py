"""What a rule is, what it may know beside the record, and how it refuses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.governing.state import Semantic
from tslg.protocol.keys import Key, Revocations
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record


class Tail(NamedTuple):
    """The end of a log: its size, newest record, that record's time (ms), and the tree's root."""

    size: int
    last: Link
    time: int
    root: bytes


class Pruned(NamedTuple):
    """What a prune record commits to, where it is at hand.

    Attributes:
        ids: the ids of the records, sorted.
        newest: by kind, the latest time among them (ms).
        last: the highest position among them.
    """

    ids: Sequence[Link]
    newest: Mapping[str, int]
    last: int


class Context(Protocol):
    """What rules may know beside the record: the graph as far as it is held, the federation, and the time.

    `complete` tells whether every predecessor must be at hand (admission), or may lie beyond a bound (a walk).
    """

    @property
    def federation(self) -> Link:
        """The root manifest's id, pinned by whoever judges."""

    @property
    def now_ms(self) -> int:
        """The judge's clock, ms since 1970 UTC."""

    @property
    def complete(self) -> bool:
        """Whether every predecessor must be at hand."""

    def record(self, id: Link) -> Record | None:
        """Return a record that is held, or None."""

    def seal_of(self, id: Link) -> bytes | None:
        """Return the seal of a record that is held, or None."""

    def manifest(self, id: Link) -> Manifest | None:
        """Return a manifest version of this federation that is held and was itself admitted, or None."""

    def ended(self, id: Link, record: Record) -> Record | None:
        """Return a held record that ended the authority of `id` in the causal past of `record`, None if none did.

        A policy that amends it, a retraction or an answer, if it was entitled to (`rules.standing.entitled`): before
        `record` in its own log, or cited by `record` or by a held record of that log before it.
        """

    def answered(self, id: Link, record: Record) -> Record | None:
        """Return an answer to the delegation `id` before `record` in its own log, None if none is held."""

    def key(self, id: Link) -> Key | None:
        """Return the key that a held record registers, or None."""

    def revocations(self, owner: Link) -> Revocations:
        """Return the revocations in a log that is held whole."""

    def pruned(self, root: bytes) -> Pruned | None:
        """Return the records to which the commitment with this root is made, None where they are not at hand."""

    def stretch(self, owner: Link, first: int, last: int) -> Sequence[bytes] | None:
        """Return the ids at these positions of a log, None where not all of them are at hand."""

    def taken(self, record: Record) -> Record | None:
        """Return an earlier record of its log that has the place of a transition or release (`lifecycle.place`)."""

    def tail(self, owner: Link) -> Tail | None:
        """Return the end of a log that is held whole, None for a log of which nothing is held."""

    def semantic(self, owner: Link) -> Semantic | None:
        """Return where the semantic state stands at the end of a log that is held whole, None if that is not known."""

    def attachment(self, id: Link) -> bytes | None:
        """Return what came beside the record that is judged, if anything did and it holds."""

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        """Tell whether a signature verifies; see `tslg.protocol.signatures.verify`."""


Rule = Callable[[Record, bytes, Context], Refusal | None]

MANIFEST_KINDS: Final = frozenset(("manifest", "manifest-amendment"))
"""Kinds that hold a manifest version."""

SUPERSEDING_KINDS: Final = frozenset(("answer", "policy", "retraction"))
"""Kinds whose records can end the authority of another."""


def superseded_by(record: Record) -> Iterator[Link]:
    """Yield the records whose authority a record ends, if it may: what it amends as a policy, retracts or answers."""
    if record.kind in SUPERSEDING_KINDS:
        for edge in record.edges("amends", "answers", "retracts"):
            yield edge.cid


def refuse(code: str, record: Record, detail: str, mend: str = "") -> Refusal:
    """Return the refusal of a record by the rule with this code, written out in full so that it can be searched for."""
    return Refusal(detail, code=code, mend=mend, record=record.id)


def manifest_in_force(record: Record, context: Context) -> Manifest | None:
    """Return the manifest version that a record names, or that it is; None if it is not known."""
    return context.manifest(record.manifest if record.manifest is not None else record.id)
