"""Asking witnesses for cosignatures: C2SP `tlog-witness` over HTTP, one client for all of a node's logs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx

from tslg.node.witness.asking import Prove, asked, failed
from tslg.protocol import cosignature, witnessing
from tslg.protocol.checkpoint import Signed
from tslg.protocol.cosignature import Policy
from tslg.protocol.errors import NetworkError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.note import VerifierKey


class Witnesses:
    """The witnesses that a node asks, by the URL at which each answers. Safe to use from several threads.

    Args:
        urls: where the witness of each name answers; without an entry at `https://<name>`.
        limits: bounds on what they answer and how long they take.
        clock: seconds since 1970.
    """

    def __init__(
        self, urls: Mapping[str, str], limits: Limits = DEFAULT, clock: Callable[[], float] = time.time
    ) -> None:
        self._urls = dict(urls)
        self._limits = limits
        self._clock = clock
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
        under_way = [pool.submit(self.ask, key, signed, prove, shown) for key in policy.witnesses]
        try:
            for done in as_completed(under_way, 4 * self._limits.progress_timeout_ms / 1000):
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
                cosignature that readers count; `TSLG-N-WITNESS-AHEAD` if it cosigned a larger state of this log before.
        """
        origin = signed.checkpoint.origin
        known = self._sizes.get((key.name, origin), 0)
        latest = int(self._clock()) + self._limits.clock_skew_ms // 1000
        asking = asked(key, signed, prove, shown, known, latest, self._limits)
        path, body = next(asking)
        try:
            while True:
                path, body = asking.send(self._post(key, path, body))
        except StopIteration as done:
            cosigned: Signed = done.value
        self._sizes[key.name, origin] = signed.checkpoint.size
        return cosigned

    def _post(self, key: VerifierKey, path: str, body: bytes) -> tuple[int, bytes]:
        url = self._urls.get(key.name, f"https://{key.name}").rstrip("/") + path
        deadline = time.monotonic() + 2 * self._limits.progress_timeout_ms / 1000
        try:
            with self._http.stream("POST", url, content=body) as response:
                answer = b""
                for part in response.iter_raw():
                    answer += part
                    if len(answer) > self._limits.witness_reply_bytes or time.monotonic() > deadline:
                        raise failed(key, "its answer is too long, or takes too long")
                return response.status_code, answer
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise failed(key, f"{type(error).__name__}: {error}") from error
