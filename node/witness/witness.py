"""A witness: answers requests for cosignatures from its keys and its state; whatever carries the requests calls it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from tslg.node.httpd.messages import TEXT, Response
from tslg.node.witness.key import WitnessKey, read
from tslg.node.witness.state import WitnessState
from tslg.protocol import introducing, witnessing
from tslg.protocol.checkpoint import Checkpoint, Signed, log_key
from tslg.protocol.errors import CheckpointError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.note import NoteSignature, VerifierKey

KEYS_FILE: Final = "witness.json"
STATE_FILE: Final = "witness.sqlite"
TOO_MANY: Final = 429
_DIGEST: Final = re.compile(r"/([0-9a-f]{64})/checkpoint")


class Rate:
    """At most so many events a minute for each name, a quarter of them at once."""

    def __init__(self, a_minute: int, clock: Callable[[], float]) -> None:
        self._rate = a_minute / 60
        self._burst = max(1.0, a_minute / 4)
        self._clock = clock
        self._lock = threading.Lock()
        self._left: dict[str, tuple[float, float]] = {}

    def allows(self, name: str) -> bool:
        """Count one event, unless there were too many."""
        now = self._clock()
        with self._lock:
            left, then = self._left.get(name, (self._burst, now))
            left = min(self._burst, left + max(0.0, now - then) * self._rate)
            self._left[name] = (left - 1 if left >= 1 else left, now)
        return left >= 1


class Witness:
    """A witness with the keys and the state of a directory.

    Args:
        keys: what it cosigns with.
        state: what it remembers.
        clock: seconds since 1970.
        a_minute: how many cosignatures one log gets in a minute.
        open_to_all: whether it learns logs by their agents' geneses; otherwise it knows those that were added alone.
        limits: bounds on what comes from outside.
    """

    def __init__(
        self,
        keys: Sequence[WitnessKey],
        state: WitnessState,
        *,
        clock: Callable[[], float],
        a_minute: int = 600,
        open_to_all: bool = False,
        limits: Limits = DEFAULT,
    ) -> None:
        self._keys = tuple(keys)
        self._state = state
        self._clock = clock
        self._rate = Rate(a_minute, clock)
        self._open = open_to_all
        self._limits = limits

    @property
    def public(self) -> tuple[VerifierKey, ...]:
        """The keys that verify its cosignatures."""
        return tuple(key.public for key in self._keys)

    def answer(self, method: str, path: str, body: bytes) -> Response:
        """Answer one request: to be cosigned, to be known, or for the checkpoint that was cosigned last."""
        if path == witnessing.ADD_CHECKPOINT:
            return self._add_checkpoint(body) if method == "POST" else _refused(405, "POST a checkpoint")
        if path == witnessing.ADD_LOG:
            return self._add_log(body) if method == "POST" else _refused(405, "POST an origin and a genesis")
        found = _DIGEST.fullmatch(path)
        if found is None:
            return _refused(404, "nothing here")
        if method != "GET":
            return _refused(405, "GET a checkpoint")
        note = self._state.latest(found[1])
        return _refused(404, "never cosigned") if note is None else Response(200, TEXT, note)

    def _add_checkpoint(self, body: bytes) -> Response:
        try:
            request = witnessing.parse(body, self._limits)
        except CheckpointError as error:
            return _refused(witnessing.MALFORMED, error.detail)
        head = request.signed.checkpoint
        keys = self._state.keys(head.origin)
        answer = witnessing.judge_note(request, keys)
        if answer.status != witnessing.COSIGN:
            return _refused(answer.status, answer.detail)
        if not self._rate.allows(head.origin):
            return _refused(TOO_MANY, "too many checkpoints of this log; ask again in a minute")
        own = Signed(head, tuple(one for one in request.signed.signatures if any(key.made(one) for key in keys or ())))
        answer, lines = self._state.submit(request, own, self._cosign, int(self._clock()))
        if answer.status == witnessing.CONFLICT:
            return Response(answer.status, witnessing.SIZE_TYPE, answer.detail.encode())
        if answer.status != witnessing.COSIGN:
            return _refused(answer.status, answer.detail)
        return Response(200, TEXT, "".join(line.line for line in lines).encode())

    def _cosign(self, checkpoint: Checkpoint, time: int) -> list[NoteSignature]:
        return [key.cosign(checkpoint, time) for key in self._keys]

    def _add_log(self, body: bytes) -> Response:
        if not self._open:
            return _refused(403, "this witness knows only the logs that its operator added")
        try:
            origin, keys = read_introduction(body)
        except CheckpointError as error:
            return _refused(400, error.detail)
        if not self._state.learn(origin, keys, self._limits.witness_logs, self._limits.witness_keys):
            return _refused(TOO_MANY, "this witness knows as many logs, or keys of this one, as it wants to")
        return Response(200, TEXT, f"{origin}\n".encode())


def introduction(origin: str, shown: bytes) -> bytes:
    """Return the request that makes an open witness know a log: its origin, a newline, and its introduction."""
    return origin.encode() + b"\n" + shown


def read_introduction(body: bytes) -> tuple[str, list[VerifierKey]]:
    """Return the origin of a log and its keys. The origin is the genesis's own id: nobody can claim another's.

    Raises:
        CheckpointError: the bytes are not that, or show no Ed25519 key.
    """
    name, _, shown = body.partition(b"\n")
    origin = name.decode("utf-8", "replace")
    keys = introducing.keys(origin, shown)
    if not keys:
        raise CheckpointError("not an origin and the genesis that is its hash, with an Ed25519 key")
    return origin, [log_key(origin, public) for public in keys]


def open_witness(
    folder: Path, *, clock: Callable[[], float], a_minute: int = 600, open_to_all: bool = False
) -> tuple[Witness, WitnessState]:
    """Open the witness in a directory; the state is the caller's to close. Raises StoreError, ManifestError."""
    keys = read(folder / KEYS_FILE)
    state = WitnessState(folder / STATE_FILE)
    return Witness(keys, state, clock=clock, a_minute=a_minute, open_to_all=open_to_all), state


def _refused(status: int, detail: str) -> Response:
    return Response(status, TEXT, f"{detail}\n".encode())
