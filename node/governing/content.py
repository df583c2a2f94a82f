"""Digests of what a step consumed and produced: of bytes as they are, of text in UTF-8, of JSON in its canonical form.

The canonical form is that of RFC 8785, so that whoever holds the content can compute its digest in any language. Maps,
lists, text, true, false, null, integers within ±(2^53 - 1) and finite floats have one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from json.encoder import encode_basestring as quoted
from typing import Any, Final

from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT

_WORDS: Final = {None: "null", True: "true", False: "false"}


@dataclass(frozen=True, slots=True)
class Digest:
    """The SHA-256 digest of content that is not at hand, or not to be handed over.

    Raises:
        UsageError: `value` has not 32 bytes.
    """

    value: bytes

    def __post_init__(self) -> None:
        if type(self.value) is not bytes or len(self.value) != 32:
            raise UsageError("a digest has 32 bytes", mend="hand over the SHA-256 digest, or the content")


Content = bytes | str | int | float | bool | None | Mapping[str, Any] | Sequence[Any] | Digest
"""What is digested: bytes, text, whatever JSON can say, or a digest."""


def digest(content: Content) -> bytes:
    """Return the SHA-256 digest (32 bytes) of content.

    Raises:
        UsageError: it has no canonical form.
    """
    if type(content) is Digest:
        return content.value
    return hashlib.sha256(plain(content)).digest()


def plain(content: Content) -> bytes:
    """Return the bytes that are digested: bytes as they are, text in UTF-8, all else as canonical JSON (RFC 8785).

    Raises:
        UsageError: there are none, as for a `Digest`, or for what JSON cannot say.
    """
    if isinstance(content, bytes):
        return content
    if isinstance(content, bytearray | memoryview):
        return bytes(content)
    text = content if isinstance(content, str) else canonical(content)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise _no_json("text with half a surrogate pair") from error


def canonical(value: Any) -> str:
    """Return a value as canonical JSON text (RFC 8785). Raises UsageError."""
    out: list[str] = []
    # Text that goes out as it is stands for itself; lists of one value for values still to be written.
    todo: list[tuple[int, Any] | str] = [(0, value)]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            out.append(item)
            continue
        level, one = item
        if isinstance(one, str):
            out.append(quoted(one))
        elif one is None or isinstance(one, bool):
            out.append(_WORDS[one])
        elif isinstance(one, int | float):
            out.append(_number(one))
        elif level >= DEFAULT.content_nesting:
            raise _no_json(f"more than {DEFAULT.content_nesting} levels")
        elif isinstance(one, Mapping):
            todo.extend(reversed(_members(one, level)))
        elif isinstance(one, Sequence) and not isinstance(one, bytes | bytearray | memoryview):
            todo.append("]")
            for at in range(len(one) - 1, -1, -1):
                todo.append((level + 1, one[at]))
                if at:
                    todo.append(",")
            todo.append("[")
        else:
            raise _no_json(type(one).__name__)
    return "".join(out)


def _members(one: Mapping[str, Any], level: int) -> list[tuple[int, Any] | str]:
    if not all(isinstance(name, str) for name in one):
        raise _no_json("a key that is no text")
    out: list[tuple[int, Any] | str] = ["{"]
    # Order by UTF-16 code units; code points order alike but for those beyond the basic plane.
    for at, name in enumerate(sorted(one, key=lambda name: name.encode("utf-16-be", "surrogatepass"))):
        out.append(f"{',' if at else ''}{quoted(name)}:")
        out.append((level + 1, one[name]))
    out.append("}")
    return out


def _number(value: int | float) -> str:
    """Return a number as ECMAScript writes it."""
    if isinstance(value, int):
        if not -DEFAULT.integer <= value <= DEFAULT.integer:
            raise _no_json("an integer beyond 2^53 - 1, which other languages read as another one")
        return int.__repr__(value)
    if not math.isfinite(value):
        raise _no_json("a number that is not finite")
    if value == int(value) and abs(value) < 1e21:
        return int.__repr__(int(value))
    text = float.__repr__(value)
    mantissa, _, exponent = text.partition("e")
    if not exponent:
        return text
    power = int(exponent)
    if power >= 21:
        return f"{mantissa}e+{power}"
    if power < -6:
        return f"{mantissa}e{power}"
    sign, digits = ("-", mantissa[1:]) if mantissa.startswith("-") else ("", mantissa)
    return f"{sign}0.{'0' * (-power - 1)}{digits.replace('.', '')}"


def _no_json(what: str) -> UsageError:
    return UsageError(
        f"{what} has no canonical form", code="TSLG-G-CONTENT", mend="hand over bytes, text, JSON or a Digest"
    )
