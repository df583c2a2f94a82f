"""What is not handed over of the fields that records only commit to, by kind and field."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from tslg.protocol import disclosure
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.exchange import Pair
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Record, parse_as

ANY: Final = "*"

Shown = Callable[[Link, str], frozenset[str]]
"""Which committed fields of the record with this id and kind may be shown."""


def withholding(patterns: Iterable[str]) -> Shown:
    """Return what may still be shown where `patterns`, each KIND/FIELD with `*` for any, are withheld.

    Raises:
        UsageError: a pattern names no kind or no field that can be withheld.
    """
    withheld = [_pattern(pattern) for pattern in patterns]
    shown = {
        kind.name: frozenset(
            name
            for name in kind.committed
            if not any(of in (ANY, kind.name) and field in (ANY, name) for of, field in withheld)
        )
        for kind in KINDS.values()
    }
    return lambda id, kind: shown[kind]


def cut_down(record: Record, attachment: bytes | None, shown: Shown) -> bytes | None:
    """Return what may be handed over of a record's attachment; None for nothing."""
    if attachment is None or record.commitment is None:
        return attachment
    return disclosure.restrict(record, attachment, shown(record.id, record.kind))


def cut_pair(id: Link, pair: Pair, shown: Shown | None) -> Pair:
    """Return a record as it may be handed over."""
    if shown is None or len(pair) == 2 or pair[2] is None:
        return pair
    return (pair[0], pair[1], cut_down(parse_as(id, pair[0]), pair[2], shown))


def _pattern(text: str) -> tuple[str, str]:
    kind, _, field = text.partition("/")
    if kind != ANY and kind not in KINDS:
        raise UsageError(f"there is no kind {kind[:60]!r}", mend="give KIND/FIELD, with * for any of them")
    fields = {name for one in KINDS.values() if kind in (ANY, one.name) for name in one.committed}
    if field != ANY and field not in fields:
        raise UsageError(
            f"{text[:80]!r} names no field that can be withheld", mend=f"fields: {', '.join(sorted(fields)) or 'none'}"
        )
    return kind, field
