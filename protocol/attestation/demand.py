"""What a manifest says of hardware: the entry `rotation.hardware`, read from its map.

Normative text: docs/spec/attestation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tslg.protocol.limits import DEFAULT

NITRO: Final = "aws-nitro"
"""AWS Nitro Enclaves: their attestation documents."""
FORMATS: Final = (NITRO,)
"""Formats that a manifest may name."""
REGISTERS: Final = 32
"""Platform configuration registers that a document may hold, numbered from 0."""
REGISTER_BYTES: Final = 48
ROOT_BYTES: Final = 32


class Hardware(NamedTuple):
    """Which hardware agents' keys may be bound to.

    Attributes:
        format: a name of `FORMATS`.
        roots: SHA-256 digests of the root certificates (DER) that are trusted.
        pcrs: what these registers must hold, by number.
        required: whether every key must be bound to such hardware.
    """

    format: str
    roots: tuple[bytes, ...]
    pcrs: Mapping[int, bytes]
    required: bool


def read_hardware(value: Any) -> Hardware:
    """Read `rotation.hardware` of an envelope. Raises ValueError for anything that could not be enforced."""
    _need(
        isinstance(value, dict) and value.keys() == {"format", "roots", "pcrs", "required"},
        "`rotation.hardware` is {format, roots, pcrs, required}",
    )
    form, roots, pcrs, required = value["format"], value["roots"], value["pcrs"], value["required"]
    _need(isinstance(form, str) and form in FORMATS, f"`rotation.hardware.format` is one of {', '.join(FORMATS)}")
    _need(isinstance(roots, list) and 0 < len(roots) <= DEFAULT.attestation_roots, "`rotation.hardware.roots`")
    _need(all(type(root) is bytes and len(root) == ROOT_BYTES for root in roots), "a root is a SHA-256 digest")
    _need(roots == sorted(set(roots)), "`rotation.hardware.roots` is a sorted set")
    _need(isinstance(pcrs, dict) and len(pcrs) > 0, "`rotation.hardware.pcrs` names at least one register")
    _need(all(name in _NAMES for name in pcrs), "`rotation.hardware.pcrs` names registers from 0 to 31")
    _need(all(register_holds(held) for held in pcrs.values()), "a register holds 48 bytes that are not all zero")
    _need(type(required) is bool, "`rotation.hardware.required` is true or false")
    return Hardware(form, tuple(roots), {_NAMES[name]: held for name, held in pcrs.items()}, required)


def register_holds(value: Any) -> bool:
    """Tell whether a value is that of a register that measured something."""
    return type(value) is bytes and len(value) == REGISTER_BYTES and any(value)


_NAMES: Final[Mapping[str, int]] = {str(number): number for number in range(REGISTERS)}


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
