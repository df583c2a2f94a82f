"""What workers in other processes do for a verification: check signatures, or verify whole targets of a bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tslg.protocol.signatures import ed25519_opener


class Signatures(NamedTuple):
    """Signatures to check: public keys, and for each signature its key's number and its bytes before what it signs."""

    publics: list[bytes]
    signed: list[tuple[int, bytes]]


def check_signatures(_: object, work: Signatures) -> bytes:
    """Return a byte for each signature, 1 where it holds and 0 where not."""
    openers = [ed25519_opener(public) for public in work.publics]
    verdicts = bytearray()
    for number, signed in work.signed:
        opens = openers[number]
        verdicts.append(opens is not None and opens(signed))
    return bytes(verdicts)


def holds_all(verdicts: bytes, number: int) -> Sequence[bool]:
    """Read what `check_signatures` returned for so many signatures. ValueError if it is not that."""
    if len(verdicts) != number or not set(verdicts) <= {0, 1}:
        raise ValueError(f"{len(verdicts)} verdicts on {number} signatures")
    return [verdict == 1 for verdict in verdicts]
