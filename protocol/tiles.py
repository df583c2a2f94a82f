"""A log as static files: the tiles and entry bundles of C2SP `tlog-tiles`.

A tile of level L holds up to 256 hashes of subtrees of 256^L leaves; an entry bundle the data of up to 256 leaves, each
behind its length. Paths are relative to the log's prefix. Normative text: docs/spec/checkpoint.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

WIDTH: Final = 256
"""Hashes of a full tile, entries of a full bundle."""
HEIGHT: Final = 8
"""Levels of the tree that a tile spans."""


class Tile(NamedTuple):
    """Which tile: its level (None for an entry bundle), its number within the level, and how many items it has."""

    level: int | None
    number: int
    width: int

    @property
    def path(self) -> str:
        """Where it lies below the log's prefix."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{index_path(self.number)}{partial}"


def index_path(index: int) -> str:
    """Return a tile's index as elements of three digits, all but the last behind an `x`."""
    groups = [f"{index % 1000:03}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03}")
    return "/".join(groups)


def tiles(size: int, old_size: int = 0) -> Iterator[Tile]:
    """Yield the tiles and bundles that a tree of `size` leaves has and one of `old_size` did not have yet."""
    for level in (None, *range(64 // HEIGHT)):
        height = HEIGHT * (level or 0)
        new, old = size >> height, old_size >> height
        for number in range(old // WIDTH, -(-new // WIDTH)):
            width = min(WIDTH, new - number * WIDTH)
            if number * WIDTH + width > old:
                yield Tile(level, number, width)


def hashes(tile: Tile, node: Callable[[int, int], bytes]) -> bytes:
    """Return the content of a tile of hashes.

    Args:
        tile: which; not an entry bundle.
        node: gives the hash of the tree's node of a level (0: leaves) and index; every such node is complete.
    """
    assert tile.level is not None
    first = tile.number * WIDTH
    return b"".join(node(HEIGHT * tile.level, first + offset) for offset in range(tile.width))


def entries(leaves: Sequence[bytes]) -> bytes:
    """Return the content of an entry bundle: each leaf's data behind its length in two bytes, big-endian."""
    return b"".join(len(leaf).to_bytes(2, "big") + leaf for leaf in leaves)
