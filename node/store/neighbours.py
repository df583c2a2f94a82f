"""What the processes that share one store owe each other: which stored records undo what others have in memory."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tslg.protocol.classes import FLAT
from tslg.protocol.record import Record

_KINDS: Final = frozenset({"revocation", "redaction", "manifest-amendment", "equivocation"})
_CLASSES: Final = ("amends", "retracts", FLAT)
"""What ends the authority of another record, or may: of a flat edge only its record can tell."""


def telling(records: Iterable[Record]) -> bool:
    """Tell whether storing these changes what another process may have remembered of keys, authority or contents."""
    return any(record.kind in _KINDS or any(name in record.preds for name in _CLASSES) for record in records)
