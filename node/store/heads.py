"""Which of the heads that others gave for a log are kept: a pure rule that every engine shares."""

from __future__ import annotations

from collections.abc import Sequence

from tslg.node.store.interface import SeenHead


def keep_heads(known: Sequence[SeenHead], new: SeenHead, limit: int) -> list[SeenHead]:
    """Return what to keep of the heads of one log once `new` has come, in the order of `Store.heads`.

    Of each source its newest head and its largest, so that a source that goes back is found out; of two largest of one
    size the first seen, so that a second root for one size stays beside it as the newest.

    Args:
        known: the heads kept so far.
        new: the one that came.
        limit: how many sources are kept.
    """
    own = sorted((head for head in known if head.source == new.source), key=_seen)
    newest = max((new, *own), key=_seen)
    largest = max((*own, new), key=_size)
    kept = [head for head in known if head.source != new.source] + [newest]
    if largest != newest:
        kept.append(largest)
    return order_heads(_drop_sources(kept, limit))


def order_heads(heads: Sequence[SeenHead]) -> list[SeenHead]:
    """Return heads largest first, then newest, then by source."""
    return sorted(heads, key=lambda head: (-head.size, -head.seen_ms, head.source, head.root))


def _drop_sources(heads: list[SeenHead], limit: int) -> list[SeenHead]:
    """Drop the sources heard longest ago beyond `limit`, except the one that gave the largest head."""
    heard: dict[str, int] = {}
    for head in heads:
        heard[head.source] = max(head.seen_ms, heard.get(head.source, 0))
    top = max(sorted(heads, key=_seen), key=_size)
    by_age = sorted(heard, key=lambda source: (source != top.source, -heard[source], source))
    keep = frozenset(by_age[:limit])
    return [head for head in heads if head.source in keep]


def _seen(head: SeenHead) -> int:
    return head.seen_ms


def _size(head: SeenHead) -> int:
    return head.size
