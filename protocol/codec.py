"""Canonical DAG-CBOR as the spec narrows it: what bytes mean, and which bytes a value has.

Accepted values: dict with text keys, list, str, bytes, Link, int within ±(2^53 - 1), bool, None. Exact types only.
`cbrrr` does the parsing in C and refuses whatever is not canonical; this file adds what it lets through: floats,
wide integers, deep nesting, links of any shape, and headers that make it reserve memory for items that never come.
"""

from __future__ import annotations

from typing import Any, NoReturn

from cbrrr import _cbrrr

from tslg.protocol.cid import Link, is_well_formed
from tslg.protocol.errors import CodecError
from tslg.protocol.limits import DEFAULT

__all__ = ["Link", "check", "decode", "decode_unchecked", "encode", "encode_unchecked"]

_decode_c = _cbrrr.decode_dag_cbor
_encode_c = _cbrrr.encode_dag_cbor
_NESTING = DEFAULT.nesting
_INTEGER = DEFAULT.integer
_SMALL = 1024
_COMMON_LINK = b"\x01\x71\x12\x20"

# What cbrrr says (its beginning) -> our code. Anything else becomes TSLG-C-CODEC.
_CODES = (
    ("not enough bytes", "TSLG-C-TRUNCATED"),
    ("integer not minimally", "TSLG-C-CANONICAL"),
    ("invalid extra info for float mtype (25)", "TSLG-C-FLOAT"),
    ("invalid extra info for float mtype (26)", "TSLG-C-FLOAT"),
    ("invalid extra info for float mtype", "TSLG-C-TYPE"),
    ("invalid extra info", "TSLG-C-CANONICAL"),
    ("NaN", "TSLG-C-FLOAT"),
    ("+/-Inf", "TSLG-C-FLOAT"),
    ("non-canonical map key", "TSLG-C-KEY"),
    ("map keys must be", "TSLG-C-KEY"),
    ("invalid CID", "TSLG-C-LINK"),
    ("unexpected type (", "TSLG-C-TYPE"),
    ("invalid tag", "TSLG-C-TYPE"),
    ("I don't know how", "TSLG-C-TYPE"),
    ("integer out of range", "TSLG-C-INTEGER"),
)


def encode(value: object) -> bytes:
    """Return the canonical bytes of `value`. CodecError if it has none: wrong types, floats, wide integers, nesting."""
    check(value)
    return encode_unchecked(value)


def decode(data: bytes) -> Any:
    """Return the value of canonical bytes. CodecError for anything else, with a code that names the broken rule."""
    value = decode_unchecked(data)
    check(value)
    return value


def encode_unchecked(value: object) -> bytes:
    """Encode a value whose parts the caller has checked: floats, wide integers and bad links would pass."""
    try:
        encoded: bytes = _encode_c(value, Link, False)
    except UnicodeError as error:
        raise CodecError("text that is not valid Unicode", code="TSLG-C-TEXT") from error
    except SystemError as error:
        # cbrrr sorts keys before it checks them; a bad key among others surfaces as a call with an error pending.
        raise CodecError("a map key that is not valid text", code="TSLG-C-KEY") from error
    except (ValueError, TypeError) as error:
        _refuse(error)
    return encoded


def decode_unchecked(data: bytes) -> Any:
    """Decode canonical DAG-CBOR without the rules of `check`, for a caller that checks each field itself.

    Still possible in the result: floats, integers up to 64 bits, links of any shape and length, deep nesting.
    Raises CodecError.
    """
    if type(data) is not bytes:
        raise CodecError(f"not bytes but {type(data).__name__}", code="TSLG-C-TYPE")
    # cbrrr reserves 8 bytes for every item that an array's header claims before it reads one, so nested headers could
    # claim gigabytes for 64 KiB. Headers of 24 to 65,535 items start with 0x98 or 0x99; with at most 16 of those the
    # claim stays within 16 times the input, and below 1 KiB it stays within 2 MB whatever the headers say.
    size = len(data)
    if size > _SMALL and (size > 0xFFFF or data.count(b"\x98") + data.count(b"\x99") > _NESTING):
        _check_depth(data)
    try:
        value, length = _decode_c(data, Link, False)
    except UnicodeError as error:
        raise CodecError("text that is not valid UTF-8", code="TSLG-C-TEXT") from error
    except ValueError as error:
        _refuse(error)
    if length != size:
        raise CodecError(f"{size - length} bytes behind the value", code="TSLG-C-TRAILING")
    return value


def check(value: object, level: int = 1) -> None:
    """Refuse a value that the codec's rules do not allow; `level` is the nesting level `value` would stand at.

    Text is not looked into: the C codec refuses invalid UTF-8 and lone surrogates. Raises CodecError.
    """
    items: Any = (value,)
    waiting: list[Any] = []
    levels: list[int] = []
    while True:
        for item in items:
            kind = type(item)
            if kind is str or kind is bytes or item is None:
                continue
            if kind is Link:
                if (len(item) != 36 or not item.startswith(_COMMON_LINK)) and not is_well_formed(item):
                    raise CodecError("a malformed link", code="TSLG-C-LINK")
            elif kind is int:
                if not -_INTEGER <= item <= _INTEGER:
                    raise CodecError("an integer beyond 2^53 - 1", code="TSLG-C-INTEGER", mend="use decimal text")
            elif kind is dict or kind is list:
                if level > _NESTING:
                    _refuse_nesting()
                waiting.append(item)
                levels.append(level)
            elif kind is not bool:
                _refuse_type(kind)
        if not waiting:
            return
        container = waiting.pop()
        level = levels.pop() + 1
        items = container.values() if type(container) is dict else container


def _check_depth(data: bytes) -> None:
    """Refuse nesting beyond the limit by reading headers alone; what is malformed is left to the C decoder."""
    open_counts: list[int] = []
    at, end = 0, len(data)
    while at < end:
        major, number = data[at] >> 5, data[at] & 0x1F
        at += 1
        if number > 27:
            return
        if number >= 24:
            width = 1 << (number - 24)
            number = int.from_bytes(data[at : at + width], "big")
            at += width
        if major == 6:
            continue
        if major == 2 or major == 3:
            at += number
        elif (major == 4 or major == 5) and number:
            if len(open_counts) >= _NESTING:
                _refuse_nesting()
            open_counts.append(number * (major - 3))
            continue
        while open_counts:
            open_counts[-1] -= 1
            if open_counts[-1]:
                break
            open_counts.pop()
        if not open_counts:
            return


def _refuse(error: Exception) -> NoReturn:
    """Raise the CodecError for what cbrrr refused."""
    said = str(error)
    code = next((code for beginning, code in _CODES if said.startswith(beginning)), "TSLG-C-CODEC")
    raise CodecError(said, code=code) from error


def _refuse_nesting() -> NoReturn:
    raise CodecError(f"nested deeper than {_NESTING} levels", code="TSLG-C-NESTING")


def _refuse_type(kind: type) -> NoReturn:
    if kind is float:
        raise CodecError("a float", code="TSLG-C-FLOAT", mend="use an integer, or decimal text")
    raise CodecError(
        f"a value of type {kind.__name__}",
        code="TSLG-C-TYPE",
        mend="use exactly dict, list, str, bytes, Link, int, bool or None",
    )
