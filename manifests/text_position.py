"""Where in a TOML text a value stands: line and column, for messages that a person can act on.

tomlkit keeps no positions, but it gives a text back character for character. So a value is found by putting a mark in
its place and looking where the mark comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import tomlkit
from tomlkit.container import OutOfOrderTableProxy
from tomlkit.items import AoT, Table

Path = Sequence[str | int]

_MARK: Final = "tslg-position-mark"
_HEADED: Final = (AoT, OutOfOrderTableProxy, Table)


def position(text: str, path: Path) -> tuple[int, int]:
    """Return (line, column), from 1, of the value at `path` in a valid TOML text; of its header for a table.

    A path that does not exist is looked for upwards; the empty path is the text's beginning.
    """
    wanted = tuple(path)
    while wanted:
        offset = _value_offset(text, wanted)
        if offset is None:
            offset = _header_offset(text, wanted)
        if offset is not None:
            return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)
        wanted = wanted[:-1]
    return 1, 1


def _value_offset(text: str, path: tuple[str | int, ...]) -> int | None:
    """Put the mark in place of the value; None for a table, which has a header instead of a place."""
    document: Any = tomlkit.parse(text)
    try:
        if isinstance(_follow(document, path), _HEADED):
            return None
    except (KeyError, IndexError, TypeError):
        return None
    _follow(document, path[:-1])[path[-1]] = _MARK
    marked = tomlkit.dumps(document)
    offset = marked.find(f'"{_MARK}"')
    return offset if offset >= 0 and text.startswith(marked[:offset]) else None


def _header_offset(text: str, path: tuple[str | int, ...]) -> int | None:
    """Put the mark as a comment behind the table's header and go back to that line's first character."""
    document: Any = tomlkit.parse(text)
    try:
        _follow(document, path).comment(_MARK)
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    marked = tomlkit.dumps(document)
    offset = marked.find(f"# {_MARK}")
    return None if offset < 0 else marked.rfind("\n", 0, offset) + 1


def _follow(document: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        document = document[step]
    return document
