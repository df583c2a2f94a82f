"""Asking one witness for a cosignature, without any I/O: what to send it next, and what its answers mean."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import Final

from tslg.node.witness.witness import introduction
from tslg.protocol import cosignature, note, witnessing
from tslg.protocol.checkpoint import Signed
from tslg.protocol.errors import CheckpointError, NetworkError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.note import VerifierKey

_TRIES: Final = 4
"""How often one witness is asked anew because it is at another size, or did not know the log."""

Prove = Callable[[int, int], Sequence[bytes]]
"""Returns the consistency proof from one size of the log to another."""
Asking = Generator[tuple[str, bytes], tuple[int, bytes], Signed]
"""Yields the path and body of a request, is sent status and body of the answer, and returns the cosigned checkpoint."""


def asked(
    key: VerifierKey,
    signed: Signed,
    prove: Prove,
    shown: bytes | None,
    known: int = 0,
    latest: int = cosignature.LATEST,
    limits: Limits = DEFAULT,
) -> Asking:
    """Get a checkpoint with one witness's cosignature.

    Args:
        key: the witness's.
        signed: the checkpoint, signed by its log.
        prove: proves that the log grew from one size to another.
        shown: the log's introduction (`tslg.protocol.introducing`), for witnesses that are open to whoever comes.
        known: at which size of the log the witness was last.
        latest: seconds since 1970; readers count no cosignature of a later time.
        limits: bounds on what it answers.

    Raises:
        NetworkError: `TSLG-N-WITNESS` if the witness refuses, or answers what is no cosignature;
            `TSLG-N-WITNESS-AHEAD` if it cosigned a larger state of this log before.
    """
    head = signed.checkpoint
    size = min(known, head.size)
    introduced = shown is None
    for _ in range(_TRIES):
        proof = tuple(prove(size, head.size)) if 0 < size < head.size else ()
        request = witnessing.Request(size, proof, signed)
        status, body = yield witnessing.ADD_CHECKPOINT, request.to_bytes()
        if status == witnessing.COSIGN:
            return _cosignature(key, signed, body, latest)
        if status in (witnessing.UNKNOWN_LOG, witnessing.NOT_SIGNED) and not introduced and shown is not None:
            # It may know the log by keys that were there before the one that signed.
            introduced = True
            known_now, answer = yield witnessing.ADD_LOG, introduction(head.origin, shown)
            if known_now != witnessing.COSIGN:
                raise failed(key, f"it does not know this log ({_line(answer)})")
        elif status == witnessing.CONFLICT:
            size = _other_size(key, signed, body, limits)
        else:
            raise failed(key, f"it answers {status}: {_line(body)}")
    raise failed(key, f"it is not ready after {_TRIES} requests")


def failed(key: VerifierKey, detail: str) -> NetworkError:
    """Return the error of one witness."""
    return NetworkError(f"{key.name}: {detail}", code="TSLG-N-WITNESS", mend="ask whoever runs that witness")


def _other_size(key: VerifierKey, signed: Signed, body: bytes, limits: Limits) -> int:
    """Return at which size the witness says that it is."""
    try:
        size = witnessing.read_size(body, limits)
    except CheckpointError as error:
        raise failed(key, error.detail) from error
    if size > signed.checkpoint.size:
        raise NetworkError(
            f"{key.name} has cosigned {size} records of this log, which has {signed.checkpoint.size} here",
            code="TSLG-N-WITNESS-AHEAD",
            mend="this data directory is an old copy, or another one writes the same log: find the newest",
        )
    return size


def _cosignature(key: VerifierKey, signed: Signed, body: bytes, latest: int) -> Signed:
    try:
        lines = note.parse_signatures(body.decode("utf-8", "replace"))
        times = {line: cosignature.verify(key, signed.checkpoint, line) for line in lines}
    except CheckpointError as error:
        raise failed(key, error.detail) from error
    own = {line: time for line, time in times.items() if time is not None}
    if not own:
        raise failed(key, "what it answers is not its cosignature of this checkpoint")
    if min(own.values()) > latest:
        raise failed(key, f"it cosigned as of a time that is yet to come, {min(own.values())}")
    return Signed(signed.checkpoint, tuple(own))


def _line(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())
