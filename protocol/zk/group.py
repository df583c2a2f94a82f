"""The group: ristretto255 (RFC 9496) through rbcl, with every check that rbcl leaves to its caller.

Elements are 32 bytes, scalars are ints modulo `ORDER`. rbcl adds whatever it is given, takes scalars that are not
reduced, and fails where a product is the identity; here elements from outside pass `is_element` once, and the identity
is an ordinary value of what is computed. Not constant-time beyond libsodium's multiplication: provers work at home.
"""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import Any, Final, cast

import rbcl

ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""The number of elements, a prime."""
SIZE: Final = 32
"""Bytes of an element, and of a scalar."""
IDENTITY: Final = bytes(SIZE)
VALUE_SEED: Final = b"tslg.narrowing.v1 generator of values"


def _drop_extracted_library() -> None:
    """Remove the copy of libsodium that importing rbcl leaves in the temporary directory; it stays loaded."""
    path = Path(cast(Any, rbcl)._sodium._name)
    if path.parent == Path(tempfile.gettempdir()):
        path.unlink(missing_ok=True)


_drop_extracted_library()


def is_element(data: object) -> bool:
    """Tell whether this is the one encoding of an element other than the identity."""
    return (
        type(data) is bytes
        and len(data) == SIZE
        and data != IDENTITY
        and bool(rbcl.crypto_core_ristretto255_is_valid_point(data))
    )


def add(a: bytes, b: bytes) -> bytes:
    """Return the sum of two elements."""
    return cast(bytes, rbcl.crypto_core_ristretto255_add(a, b))


def sub(a: bytes, b: bytes) -> bytes:
    """Return the difference of two elements."""
    return cast(bytes, rbcl.crypto_core_ristretto255_sub(a, b))


def mul(scalar: int, element: bytes) -> bytes:
    """Return the product of a scalar and an element."""
    scalar %= ORDER
    if scalar == 0 or element == IDENTITY:
        return IDENTITY
    return cast(bytes, rbcl.crypto_scalarmult_ristretto255(scalar.to_bytes(SIZE, "little"), element))


def mul_base(scalar: int) -> bytes:
    """Return the product of a scalar and the group's own generator, which is three times as fast as `mul`."""
    scalar %= ORDER
    if scalar == 0:
        return IDENTITY
    return cast(bytes, rbcl.crypto_scalarmult_ristretto255_base(scalar.to_bytes(SIZE, "little")))


def wide_scalar(data: bytes) -> int:
    """Return 64 bytes, little-endian, modulo `ORDER`: uniform if they are."""
    return int.from_bytes(data, "little") % ORDER


def read_scalar(data: bytes) -> int | None:
    """Return the scalar that 32 bytes, little-endian, stand for; None if they are not its one encoding."""
    scalar = int.from_bytes(data, "little")
    return scalar if len(data) == SIZE and scalar < ORDER else None


def write_scalar(scalar: int) -> bytes:
    """Return the one encoding of a scalar."""
    return (scalar % ORDER).to_bytes(SIZE, "little")


VALUE: Final = cast(bytes, rbcl.crypto_core_ristretto255_from_hash(hashlib.sha512(VALUE_SEED).digest()))
"""The generator of values, whose logarithm to the group's own generator nobody knows: it comes out of a hash."""
