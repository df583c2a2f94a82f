"""Reads CBOR (RFC 8949) of a shape that is known beforehand: nothing is built that was not asked for.

Every item is asked for by its type and size, so foreign bytes decide neither about recursion nor about memory, and no
tag is ever given a meaning. Only definite lengths in their shortest form are read.
"""

from __future__ import annotations

from typing import Final

UINT: Final = 0
BYTES: Final = 2
TEXT: Final = 3
ARRAY: Final = 4
MAP: Final = 5
TAG: Final = 6
_NULL: Final = 0xF6
_NAMES: Final = {UINT: "a number", BYTES: "bytes", TEXT: "a text", ARRAY: "a list", MAP: "a map", TAG: "a tag"}


class Cursor:
    """A place in some bytes that moves forward item by item. Every method raises ValueError for another item."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def next_is(self, major: int) -> bool:
        """Tell whether an item of this major type comes next."""
        return self._at < len(self._data) and self._data[self._at] >> 5 == major

    def head(self, major: int) -> int:
        """Return the number in the head of an item of this major type: its value, size or count."""
        if not self.next_is(major):
            raise ValueError(f"{_NAMES[major]} should come at byte {self._at}")
        info = self._data[self._at] & 31
        self._at += 1
        if info < 24:
            return info
        if info > 27:
            raise ValueError(f"a length that is not definite at byte {self._at}")
        size = 1 << (info - 24)
        value = int.from_bytes(self._take(size), "big")
        if value < (24 if size == 1 else 1 << 4 * size):
            raise ValueError(f"a number that is not in its shortest form at byte {self._at}")
        return value

    def count(self, major: int, low: int, high: int) -> int:
        """Return how many items a list has, or pairs a map, if that lies within bounds."""
        number = self.head(major)
        if not low <= number <= high:
            raise ValueError(f"{_NAMES[major]} of {number}, not of {low} to {high}")
        return number

    def string(self, low: int, high: int) -> bytes:
        """Return bytes of such a length."""
        return self._take(self.count(BYTES, low, high))

    def text(self, low: int, high: int) -> str:
        """Return a text of so many bytes."""
        return self._take(self.count(TEXT, low, high)).decode()

    def null(self) -> bool:
        """Step over a null if one comes next, and tell so."""
        found = self._at < len(self._data) and self._data[self._at] == _NULL
        self._at += found
        return found

    def end(self) -> None:
        """Hold that nothing is left."""
        if self._at != len(self._data):
            raise ValueError(f"{len(self._data) - self._at} bytes too many")

    def _take(self, size: int) -> bytes:
        taken = self._data[self._at : self._at + size]
        if len(taken) != size:
            raise ValueError("the bytes end too early")
        self._at += size
        return taken
