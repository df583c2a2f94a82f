"""The witness protocol of C2SP `tlog-witness`, without any I/O: what a log asks, and what a witness may answer.

    old <size of the checkpoint that the witness cosigned last>
    <consistency proof from there, a hash a line, base64>

    <checkpoint>

Normative text: docs/spec/anchoring.md.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from tslg.protocol import checkpoint as checkpoints
from tslg.protocol.checkpoint import Signed
from tslg.protocol.errors import CheckpointError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.log import EMPTY_ROOT, verify_consistency
from tslg.protocol.note import ED25519, VerifierKey, wrong
from tslg.protocol.signatures import Alg
from tslg.protocol.signatures import verify as verify_signature

ADD_CHECKPOINT: Final = "/add-checkpoint"
ADD_LOG: Final = "/tslg/add-log"
"""Our own addition: a witness that is open learns a log from its agent's genesis, whose hash is the log's origin."""
SIZE_TYPE: Final = "text/x.tlog.size"
PROOF_LINES: Final = 63

COSIGN: Final = 200
MALFORMED: Final = 400
NOT_SIGNED: Final = 403
UNKNOWN_LOG: Final = 404
CONFLICT: Final = 409
INCONSISTENT: Final = 422


class Request(NamedTuple):
    """A log's request: from which size the proof leads, the proof, and the checkpoint to cosign."""

    old_size: int
    proof: tuple[bytes, ...]
    signed: Signed

    def to_bytes(self) -> bytes:
        """Return the request's body."""
        lines = [f"old {self.old_size}", *(base64.b64encode(item).decode() for item in self.proof)]
        return ("\n".join(lines) + "\n\n").encode() + self.signed.to_bytes()


class Seen(NamedTuple):
    """What a witness keeps of a log: size and root of the checkpoint that it cosigned last."""

    size: int
    root: bytes


UNSEEN: Final = Seen(0, EMPTY_ROOT)
"""A log of which a witness cosigned nothing yet."""


class Answer(NamedTuple):
    """What to answer: an HTTP status, and why. The checkpoint may be cosigned if and only if the status is 200."""

    status: int
    detail: str = ""


def parse(body: bytes, limits: Limits = DEFAULT) -> Request:
    """Read a request's body. Raises CheckpointError."""
    head, separator, note = body.partition(b"\n\n")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise wrong("the lines before it are not ASCII") from None
    if not separator or not lines[0].startswith("old "):
        raise wrong("no line before it says `old <size>`")
    if len(lines) - 1 > PROOF_LINES:
        raise wrong(f"a proof of more than {PROOF_LINES} lines")
    old_size = checkpoints.parse_size(lines[0].removeprefix("old "), limits)
    return Request(old_size, tuple(map(checkpoints.parse_hash, lines[1:])), checkpoints.parse(note, limits))


def judge_note(request: Request, keys: Sequence[VerifierKey] | None) -> Answer:
    """Say whether a request is for a known log, by a key of it: all that needs nothing of what was cosigned before.

    Args:
        request: the request.
        keys: the keys of the log that the checkpoint's origin names; None if the log is not known.
    """
    if keys is None:
        return Answer(UNKNOWN_LOG, "unknown log")
    signed = request.signed
    message = signed.checkpoint.text.encode()
    lines = [(key, line) for line in signed.signatures for key in keys if key.type == ED25519 and key.made(line)]
    if not lines:
        return Answer(NOT_SIGNED, "no key of the log signed the checkpoint")
    if not all(verify_signature(Alg.ED25519, key.public, message, line.value) for key, line in lines):
        return Answer(NOT_SIGNED, "invalid signature")
    if request.old_size > signed.checkpoint.size:
        return Answer(MALFORMED, "the old size is larger than the checkpoint's")
    return Answer(COSIGN)


def judge_tree(request: Request, seen: Seen) -> Answer:
    """Say whether a request's tree extends what was cosigned last. Must be one step with keeping the new state."""
    head = request.signed.checkpoint
    if request.old_size != seen.size:
        return Answer(CONFLICT, f"{seen.size}\n")
    if head.size == 0 and head.root != EMPTY_ROOT:
        return Answer(INCONSISTENT, "an empty tree has another root")
    if request.old_size == 0:
        # Of an empty tree, or of nothing, everything is the continuation, and nothing proves it.
        return Answer(INCONSISTENT, "a consistency proof from an empty tree") if request.proof else Answer(COSIGN)
    if not verify_consistency(seen.size, head.size, seen.root, head.root, list(request.proof)):
        return Answer(INCONSISTENT, "the consistency proof does not hold")
    return Answer(COSIGN)


def read_size(body: bytes, limits: Limits = DEFAULT) -> int:
    """Return the size that a witness answers a conflict with. Raises CheckpointError."""
    try:
        text = body.decode("ascii")
    except UnicodeDecodeError:
        raise wrong("a conflict without a size") from None
    if not text.endswith("\n"):
        raise wrong("a conflict without a size")
    return checkpoints.parse_size(text[:-1], limits)


def merge(signed: Signed, others: Iterable[Signed]) -> Signed:
    """Return a checkpoint with the signature lines of others of the same text added, each once."""
    lines = dict.fromkeys(signed.signatures)
    for other in others:
        if other.checkpoint != signed.checkpoint:
            raise CheckpointError("signatures of another checkpoint", mend="merge those of one checkpoint")
        lines.update(dict.fromkeys(other.signatures))
    return Signed(signed.checkpoint, tuple(lines))
