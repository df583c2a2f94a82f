"""Reading a TOML text with every problem noted at its place, so that one run reports all of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError, TOMLKitError

from tslg.manifests.text_position import Path, position
from tslg.protocol import cid
from tslg.protocol.errors import CidError, ManifestError
from tslg.protocol.limits import DEFAULT

_SHOWN = 40
"""Characters of a wrong value that a message repeats."""
_MOST = 50
"""Problems that are looked up and shown; to find the place of one takes a pass over the text."""


class Reader:
    """A parsed TOML text and the problems found in it.

    Attributes:
        value: the text as plain dicts, lists and scalars.
    """

    def __init__(self, text: str, file: str) -> None:
        """Parse `text`, which messages call `file`. Raises ManifestError if it is not TOML."""
        self._text = text
        self._file = file
        self._problems: list[tuple[int, int, str]] = []
        self._count = 0
        if len(text) > DEFAULT.manifest_text:
            raise ManifestError(
                f"{file}: {len(text)} characters, the limit is {DEFAULT.manifest_text}", code="TSLG-M-TEXT"
            )
        try:
            self.value: dict[str, Any] = tomlkit.parse(text).unwrap()
        except ParseError as error:
            where = f"{file}:{error.line}:{error.col + 1}"
            raise ManifestError(
                f"{where}: not TOML: {_first_line(error)}", code="TSLG-M-TOML", mend="correct it there"
            ) from error
        except (TOMLKitError, ValueError, RecursionError) as error:
            raise ManifestError(
                f"{file}: not TOML: {_first_line(error)}", code="TSLG-M-TOML", mend="correct it there"
            ) from error

    def problem(self, path: Path, message: str) -> None:
        """Note what is wrong with the value at `path`."""
        self._count += 1
        if self._count > _MOST:
            return
        line, column = position(self._text, path)
        dotted = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
        self._problems.append((line, column, f"{dotted}: {message}" if dotted else message))

    def finish(self) -> None:
        """Raise ManifestError with all problems, one a line in the order of the text, if there are any."""
        if self._problems:
            lines = [f"{self._file}:{line}:{column}: {message}" for line, column, message in sorted(self._problems)]
            if self._count > _MOST:
                lines.append(f"{self._file}: and {self._count - _MOST} more problems")
            raise ManifestError("\n".join(lines), code="TSLG-M-TEXT")

    def table(self, value: Any, path: Path, known: Collection[str], required: Collection[str] = ()) -> dict[str, Any]:
        """Return the known entries of a table; note what is missing, unknown, or not a table at all."""
        if not isinstance(value, Mapping):
            self.problem(path, f"must be a table, not {shown(value)}")
            return {}
        for name in value:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]}?" if near else "known here: " + ", ".join(sorted(known))
                self.problem((*path, name), f"unknown entry; {hint}")
        for name in required:
            if name not in value:
                self.problem((*path, name), "is missing")
        return {name: item for name, item in value.items() if name in known}

    def integer(self, value: Any, path: Path, low: int, high: int, say: str) -> int:
        """Return an integer from `low` to `high`; otherwise note it, with the advice `say`, and return `low`."""
        if type(value) is int and low <= value <= high:
            return value
        self.problem(path, f"must be an integer from {low} to {high}, not {shown(value)}; say {say}")
        return low

    def name(self, value: Any, path: Path) -> str:
        """Return a text of 1 to 256 characters, or note that it is none."""
        if type(value) is str and 0 < len(value) <= 256:
            return value
        self.problem(path, f"must be a text of 1 to 256 characters, not {shown(value)}")
        return ""

    def names(self, value: Any, path: Path) -> list[str]:
        """Return a list of distinct names in their order; note what is not one."""
        if not isinstance(value, list):
            self.problem(path, f"must be a list of texts, not {shown(value)}")
            return []
        names: list[str] = []
        for index, item in enumerate(value):
            name = self.name(item, (*path, index))
            if name in names:
                self.problem((*path, index), f"{shown(name)} stands here twice")
            names.append(name)
        return names

    def hex(self, value: Any, path: Path, size: int) -> bytes:
        """Return `size` bytes written as lower-case hex, or note that they are not."""
        if type(value) is str and len(value) == 2 * size and not set(value) - set("0123456789abcdef"):
            return bytes.fromhex(value)
        self.problem(path, f"must be {size} bytes as {2 * size} lower-case hex digits")
        return bytes(size)


def shown(value: Any) -> str:
    """Return a value as a message repeats it: on one line, cut to a few dozen characters."""
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def record_id(reader: Reader, value: Any, path: Path) -> cid.Link | None:
    """Return the id of a record written as text, or note that it is none."""
    try:
        link = cid.from_text(value)
    except CidError as error:
        reader.problem(path, f"{error.detail}; say the id of a record, such as bafyrei…")
        return None
    if not cid.is_record_id(link):
        reader.problem(path, "is not the id of a record")
    return link


def either(words: Sequence[str] | Mapping[str, int]) -> str:
    """Return words as a message lists them."""
    return " or ".join(f'"{word}"' for word in words)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
