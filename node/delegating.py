"""Delegation between nodes: handing one over and waiting, and answering one exactly once."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final

import trio

from tslg.node.agent import BlockingAgent
from tslg.node.net.errors import InvalidRequest, NotAvailable, ProtocolViolation, RequestRefused
from tslg.node.net.seam import Network
from tslg.node.store.interface import Store
from tslg.protocol import cid
from tslg.protocol import record as records
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.exchange import (
    DELEGATE,
    DelegateRequest,
    DelegateResult,
    MessageError,
    Progress,
    read_delegate_chunk,
)
from tslg.protocol.limits import Limits
from tslg.protocol.record import Record
from tslg.protocol.report import VALID, Report

PULSE_SECONDS: Final = 2.0
"""How often a working delegate says that it is alive; well within the progress timeout."""

ReportProgress = Callable[[int, int | None], None]
Work = Callable[[BlockingAgent, Record, ReportProgress], Record]
Fetch = Callable[[Link, Sequence[str]], Awaitable[Report]]


async def ask_delegate(
    network: Network,
    peer: str,
    delegation: Link,
    addresses: Sequence[str],
    limits: Limits,
    tick: ReportProgress | None = None,
) -> Link:
    """Hand a delegation to its delegate's node and wait for the answer's id.

    Raises:
        PeerError: the peer cannot be reached, refuses, or breaks off without a result.
    """
    request = DelegateRequest(delegation, tuple(addresses)).to_bytes()
    async with network.request(peer, DELEGATE, request, limits=limits) as chunks:
        async for chunk in chunks:
            part = read_delegate_chunk(chunk)
            if isinstance(part, DelegateResult):
                return part.result
            if tick is not None:
                tick(part.done, part.total)
    raise ProtocolViolation("the delegate broke off without a result", peer=peer)


class _Job:
    """One delegation under way: several requests for it share it."""

    def __init__(self) -> None:
        self.progress = Progress(0, None)
        self.finished = trio.Event()
        self.result: Link | None = None
        self.error: str | None = None


class Delegations:
    """Answers delegations to this node's agents, each exactly once however often it is asked.

    Args:
        store: where answers are remembered.
        fetch: audits a foreign record from the given addresses and keeps it if it is valid.
    """

    def __init__(self, store: Store, fetch: Fetch) -> None:
        self._store = store
        self._fetch = fetch
        self._workers: dict[Link, tuple[BlockingAgent, Work]] = {}
        self._jobs: dict[Link, _Job] = {}

    def serve(self, agent: BlockingAgent, work: Work) -> None:
        """Do `work` for delegations to `agent` from now on."""
        self._workers[agent.id] = (agent, work)

    async def answer(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer `/tslg/delegate/1`: progress while the work lasts, then the result."""
        try:
            asked = DelegateRequest.from_bytes(request)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        done = self._store.get_meta(_answer_key(asked.delegation))
        if done is not None:
            yield DelegateResult(Link(done)).to_bytes()
            return
        job = self._jobs.get(asked.delegation)
        if job is None:
            agent, work, delegation = await self._accept(asked, peer)
            job = self._jobs.setdefault(delegation.id, _Job())
            if not job.finished.is_set() and job.result is None:
                trio.lowlevel.spawn_system_task(self._run, job, agent, work, delegation)
        while not job.finished.is_set():
            with trio.move_on_after(PULSE_SECONDS):
                await job.finished.wait()
            if not job.finished.is_set():
                yield job.progress.to_bytes()
        if job.result is None:
            raise RequestRefused(job.error or "the work failed")
        yield DelegateResult(job.result).to_bytes()

    async def _accept(self, asked: DelegateRequest, peer: str) -> tuple[BlockingAgent, Work, Record]:
        """Verify the delegation as any stranger would, and find the agent that it is made to."""
        entry = self._store.get(asked.delegation)
        if entry is None:
            report = await self._fetch(asked.delegation, [*asked.addresses, peer])
            if report.verdict != VALID:
                raise RequestRefused(f"the delegation is {report.verdict}: {_why(report)}")
            entry = self._store.get(asked.delegation)
        if entry is None:
            raise RequestRefused("the delegation could not be kept")
        delegation = records.parse_as(asked.delegation, entry.data)
        delegate = delegation.body.get("delegate") if delegation.kind == "delegation" else None
        if delegate not in self._workers:
            raise NotAvailable("nobody here takes that delegation")
        agent, work = self._workers[delegate]
        return agent, work, delegation

    async def _run(self, job: _Job, agent: BlockingAgent, work: Work, delegation: Record) -> None:
        def progress(done: int, total: int | None) -> None:
            job.progress = Progress(done, total)

        try:
            result = await trio.to_thread.run_sync(work, agent, delegation, progress)
            await trio.to_thread.run_sync(self._store.set_meta, _answer_key(delegation.id), bytes(result.id))
            job.result = result.id
        except TslgError as error:
            job.error = str(error)
        except Exception as error:
            # Whatever the work raises must reach the delegator as one line and leave the node running.
            job.error = f"{type(error).__name__}: {error}"
        finally:
            self._jobs.pop(delegation.id, None)
            job.finished.set()


def _answer_key(delegation: Link) -> str:
    return f"answer/{cid.to_text(delegation)}"


def _why(report: Report) -> str:
    reasons = [finding.code for finding in report.findings] + [item.reason for item in report.undetermined]
    return ", ".join(dict.fromkeys(reasons)) or "no reason"
