"""Proof against witnesses: two checkpoints of one log that one witness cosigned, and must not have cosigned both.

Normative text: docs/spec/anchoring.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tslg.protocol.announcing import contradicts
from tslg.protocol.checkpoint import Signed
from tslg.protocol.cosignature import verify
from tslg.protocol.note import VerifierKey


def perjured(
    old: Signed, new: Signed, path: Sequence[bytes], witnesses: Iterable[VerifierKey]
) -> tuple[VerifierKey, ...]:
    """Return the witnesses against whom two checkpoints of one log are proof; what verifies of each is looked at alone.

    It is proof that a witness cosigned two states that are not of one log, or a smaller one later than a larger.

    Args:
        old: the smaller checkpoint, or either of two of one size.
        new: the other.
        path: what leads from the one to the other (`extending`), if their sizes differ; empty where none is at hand.
        witnesses: keys of witnesses.
    """
    if old.checkpoint.origin != new.checkpoint.origin:
        return ()
    two = contradicts(old.checkpoint, new.checkpoint, path)
    smaller = old.checkpoint.size < new.checkpoint.size
    found = []
    for key in witnesses:
        first, second = _times(key, old), _times(key, new)
        if first and second and (two or (smaller and max(first) > min(second))):
            found.append(key)
    return tuple(found)


def _times(key: VerifierKey, signed: Signed) -> list[int]:
    times = (verify(key, signed.checkpoint, line) for line in signed.signatures)
    return [time for time in times if time is not None]
