"""Asking witnesses for cosignatures: C2SP `tlog-witness` over HTTP, one client for all of a node's logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

import httpx

from tslg.node.witness.witness import introduction
from tslg.protocol import cosignature, note, witnessing
from tslg.protocol.checkpoint import Signed
from tslg.protocol.cosignature import Policy
from tslg.protocol.errors import CheckpointError, NetworkError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.note import VerifierKey

_TRIES: Final = 4
"""How often one witness is asked anew because it is at another size, or did not know the log."""

Prove = Callable[[int, int], Sequence[bytes]]
"""Returns the consistency proof from one size of the log to another."""


class Witnesses:
    """The witnesses that a node asks, by the URL at which each answers. Safe to use from several threads.

    Args:
        urls: where the witness of each name answers; without an entry at `https://<name>`.
        limits: bounds on what they answer and how long they take.
    """

    def __init__(self, urls: Mapping[str, str], limits: Limits = DEFAULT) -> None:
        self._urls = dict(urls)
        self._limits = limits
        self._http = httpx.Client(timeout=limits.progress_timeout_ms / 1000, follow_redirects=False)
        self._sizes: dict[tuple[str, str], int] = {}

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def gather(self, signed: Signed, policy: Policy, prove: Prove, shown: bytes | None = None) -> Signed:
        """Return a checkpoint with the cosignatures of at least a quorum of witnesses, all asked at once.

        Args:
            signed: the checkpoint, signed by its log.
            policy: whom to ask, and how many must cosign.
            prove: proves that the log grew from one size to another.
            shown: the log's introduction (`tslg.protocol.introducing`), for witnesses that are open to whoever comes.

        Raises:
            NetworkError: `TSLG-N-QUORUM` if too few cosigned; the detail has a line for each that did not.
        """
        with_quorum, failures = signed, []
        pool = ThreadPoolExecutor(max_workers=max(1, len(policy.witnesses)))
        asked = [pool.submit(self.ask, key, signed, prove, shown) for key in policy.witnesses]
        try:
            for done in as_completed(asked, 4 * self._limits.progress_timeout_ms / 1000):
                try:
                    with_quorum = witnessing.merge(with_quorum, [done.result()])
                except NetworkError as error:
                    failures.append(error.detail)
                    continue
                if len(cosignature.cosigned(with_quorum, policy)) >= policy.quorum:
                    return with_quorum
        except TimeoutError:
            failures.append("the others did not answer in time")
        finally:
            # Nobody waits for the slow ones once enough have cosigned; what they answer is asked for again next time.
            pool.shutdown(wait=False, cancel_futures=True)
        cosigned = len(cosignature.cosigned(with_quorum, policy))
        raise NetworkError(
            f"{cosigned} of the {policy.quorum} cosignatures that are needed: {'; '.join(failures) or 'no witness'}",
            code="TSLG-N-QUORUM",
            mend="see that the witnesses can be reached, then anchor again",
        )

    def ask(self, key: VerifierKey, signed: Signed, prove: Prove, shown: bytes | None = None) -> Signed:
        """Return a checkpoint with one witness's cosignature.

        Raises:
            NetworkError: `TSLG-N-WITNESS` if the witness cannot be reached, refuses, or answers what is no
                cosignature; `TSLG-N-WITNESS-AHEAD` if it cosigned a larger state of this log before.
        """
        head = signed.checkpoint
        size = min(self._sizes.get((key.name, head.origin), 0), head.size)
        introduced = shown is None
        for _ in range(_TRIES):
            proof = tuple(prove(size, head.size)) if 0 < size < head.size else ()
            request = witnessing.Request(size, proof, signed)
            status, body = self._post(key, witnessing.ADD_CHECKPOINT, request.to_bytes())
            if status == witnessing.COSIGN:
                self._sizes[key.name, head.origin] = head.size
                return _cosignature(key, signed, body)
            if status in (witnessing.UNKNOWN_LOG, witnessing.NOT_SIGNED) and not introduced and shown is not None:
                # It may know the log by keys that were there before the one that signed.
                introduced = True
                known, answer = self._post(key, witnessing.ADD_LOG, introduction(head.origin, shown))
                if known != witnessing.COSIGN:
                    raise _failed(key, f"it does not know this log ({_line(answer)})")
            elif status == witnessing.CONFLICT:
                size = self._other_size(key, signed, body)
            else:
                raise _failed(key, f"it answers {status}: {_line(body)}")
        raise _failed(key, f"it is not ready after {_TRIES} requests")

    def _other_size(self, key: VerifierKey, signed: Signed, body: bytes) -> int:
        """Return at which size the witness says that it is."""
        try:
            size = witnessing.read_size(body, self._limits)
        except CheckpointError as error:
            raise _failed(key, error.detail) from error
        if size > signed.checkpoint.size:
            raise NetworkError(
                f"{key.name} has cosigned {size} records of this log, which has {signed.checkpoint.size} here",
                code="TSLG-N-WITNESS-AHEAD",
                mend="this data directory is an old copy, or another one writes the same log: find the newest",
            )
        return size

    def _post(self, key: VerifierKey, path: str, body: bytes) -> tuple[int, bytes]:
        url = self._urls.get(key.name, f"https://{key.name}").rstrip("/") + path
        deadline = time.monotonic() + 2 * self._limits.progress_timeout_ms / 1000
        try:
            with self._http.stream("POST", url, content=body) as response:
                answer = b""
                for part in response.iter_raw():
                    answer += part
                    if len(answer) > self._limits.witness_reply_bytes or time.monotonic() > deadline:
                        raise _failed(key, "its answer is too long, or takes too long")
                return response.status_code, answer
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise _failed(key, f"{type(error).__name__}: {error}") from error


def _cosignature(key: VerifierKey, signed: Signed, body: bytes) -> Signed:
    try:
        lines = note.parse_signatures(body.decode("utf-8", "replace"))
        own = tuple(line for line in lines if cosignature.verify(key, signed.checkpoint, line) is not None)
    except CheckpointError as error:
        raise _failed(key, error.detail) from error
    if not own:
        raise _failed(key, "what it answers is not its cosignature of this checkpoint")
    return Signed(signed.checkpoint, own)


def _line(body: bytes) -> str:
    return " ".join(body[:200].decode("utf-8", "replace").split())


def _failed(key: VerifierKey, detail: str) -> NetworkError:
    return NetworkError(f"{key.name}: {detail}", code="TSLG-N-WITNESS", mend="ask whoever runs that witness")
