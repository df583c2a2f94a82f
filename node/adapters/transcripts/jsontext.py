"""JSON (RFC 8259) read into nodes that know where they stand, so that what is wrong in a file can be pointed at.

Containers are read with a stack of our own, since foreign data may be nested as deep as it likes; strings, numbers and
literals are read by the standard library.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final, NamedTuple, NoReturn

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_AT: Final = re.compile(r"( starting)?( at)?:? *$")
_CLOSING: Final = {"[": "]", "{": "}"}


class Number(str):
    """A number as it is written: neither range nor precision is lost, and no float comes about."""

    __slots__ = ()


class Node(NamedTuple):
    """A value and its place.

    Attributes:
        value: str, Number, bool, None, a list of nodes, or a dict of nodes by key.
        start: offset of its first character in the text.
        end: offset behind its last character.
    """

    value: Any
    start: int
    end: int


class JsonError(Exception):
    """What is wrong, and the offset `at` in the text where it is."""

    def __init__(self, at: int, detail: str) -> None:
        super().__init__(detail)
        self.at = at
        self.detail = detail


class _Constant(ValueError):
    pass


def _no_constant(name: str) -> NoReturn:
    raise _Constant(f"{name} is not JSON")


_SCALARS: Final = json.JSONDecoder(parse_float=Number, parse_int=Number, parse_constant=_no_constant)


def skip_space(text: str, at: int, stop: int) -> int:
    """Return the offset of the first character from `at` that is no white space, at most `stop`."""
    found = _SPACE.match(text, at, stop)
    return at if found is None else found.end()


class JsonReader:
    """Reads values out of one text.

    Args:
        text: what is read.
        nesting: containers in containers that are accepted.
        values: how many values of any kind are accepted in all.
    """

    def __init__(self, text: str, nesting: int, values: int) -> None:
        self._text = text
        self._nesting = nesting
        self._values = values

    def read(self, at: int, stop: int) -> Node:
        """Read the one value that starts at or behind the white space at `at` and ends before `stop`.

        Raises:
            JsonError: there is none, it is broken, has a key twice, text that no UTF-8 can hold, or is too large.
        """
        text = self._text
        open_: list[Node] = []
        keys: list[str] = []
        at = skip_space(text, at, stop)
        while True:
            self._count(at)
            bracket = text[at] if at < stop else ""
            if bracket in _CLOSING:
                if len(open_) >= self._nesting:
                    raise JsonError(at, f"nested deeper than {self._nesting} levels")
                open_.append(Node([] if bracket == "[" else {}, at, at))
                inner = skip_space(text, at + 1, stop)
                if inner >= stop or text[inner] != _CLOSING[bracket]:
                    at = _next_member(text, inner, stop, open_[-1], keys)
                    continue
                node = Node(open_.pop().value, at, inner + 1)
            else:
                node = _scalar(text, at, stop)
            following = _close(text, stop, node, open_, keys)
            if isinstance(following, Node):
                return following
            at = following

    def _count(self, at: int) -> None:
        if self._values <= 0:
            raise JsonError(at, "more values than are read of one file")
        self._values -= 1


def _close(text: str, stop: int, node: Node, open_: list[Node], keys: list[str]) -> Node | int:
    """Put a whole value into its container, close those that end here; return the outermost, or where to go on."""
    while open_:
        container = open_[-1]
        _add(container, keys, node)
        at = skip_space(text, node.end, stop)
        closing = "]" if isinstance(container.value, list) else "}"
        found = text[at] if at < stop else ""
        if found == ",":
            return _next_member(text, skip_space(text, at + 1, stop), stop, container, keys)
        if found != closing:
            raise JsonError(at, f"expected ',' or '{closing}'" + _instead(text, at, stop))
        open_.pop()
        node = Node(container.value, container.start, at + 1)
    return node


def _add(container: Node, keys: list[str], node: Node) -> None:
    if isinstance(container.value, list):
        container.value.append(node)
    else:
        container.value[keys.pop()] = node


def _next_member(text: str, at: int, stop: int, container: Node, keys: list[str]) -> int:
    """Read a key and its colon if the container is an object; return where its next value starts."""
    if isinstance(container.value, list):
        return at
    if at >= stop or text[at] != '"':
        raise JsonError(at, "expected a key in double quotes" + _instead(text, at, stop))
    key = _scalar(text, at, stop)
    if key.value in container.value:
        raise JsonError(at, f"the key {key.value[:40]!r} stands here a second time")
    colon = skip_space(text, key.end, stop)
    if colon >= stop or text[colon] != ":":
        raise JsonError(colon, "expected ':'" + _instead(text, colon, stop))
    keys.append(key.value)
    return skip_space(text, colon + 1, stop)


def _scalar(text: str, at: int, stop: int) -> Node:
    if at >= stop:
        raise JsonError(at, "expected a value" + _instead(text, at, stop))
    try:
        value, end = _SCALARS.raw_decode(text, at)
    except json.JSONDecodeError as error:
        what = _AT.sub("", error.msg[0].lower() + error.msg[1:])
        raise JsonError(min(error.pos, stop), what) from None
    except _Constant as error:
        raise JsonError(at, str(error)) from None
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise JsonError(at, "text with half of a surrogate pair, which no UTF-8 can hold") from None
    return Node(value, at, end)


def _instead(text: str, at: int, stop: int) -> str:
    return f", found {text[at]!r}" if at < stop else ", but it ends here"
