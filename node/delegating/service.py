"""Delegations as a part of a node: one handler for both sides, and the clock that drives them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Final

import trio

from tslg.node.delegating.inbox import Inbox
from tslg.node.delegating.outbox import Outbox
from tslg.node.net.errors import InvalidRequest, NotAvailable
from tslg.node.net.seam import Network
from tslg.node.tasks import background
from tslg.protocol.delegating import Cancel, Offer, Status, read_request
from tslg.protocol.exchange import DELEGATE, MessageError
from tslg.protocol.limits import Limits

if TYPE_CHECKING:
    from trio_typing import TaskStatus

    from tslg.node.delegating.site import Site

GRACE_SECONDS: Final = 2.0
"""How long a node that stops waits for works that are under way; whatever is left is settled after the restart."""
LOOK_SECONDS: Final = 60.0
"""How often clocks are compared, should the one on the wall have been set."""


class Delegating:
    """Both sides of delegations, a `Service`."""

    def __init__(self, site: Site, inbox: Inbox, outbox: Outbox) -> None:
        self._site = site
        self._wanted, self._begun = trio.Event(), trio.Event()
        self.inbox = inbox
        self.outbox = outbox

    def serve(self, network: Network) -> None:
        """Answer `/tslg/delegate/1`."""
        network.serve(DELEGATE, self.answer)

    async def begin(self) -> None:
        """Go on with what was left before the restart, once the own logs are known to be whole."""
        self._wanted.set()
        await self._begun.wait()

    async def answer(self, request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
        """Answer one request about a delegation."""
        limits: Limits = self._site.limits
        try:
            asked = read_request(request, limits)
        except MessageError as error:
            raise InvalidRequest(error.detail) from error
        if not self._begun.is_set():
            raise NotAvailable("the node is starting")
        if isinstance(asked, Offer):
            states = self.inbox.offered(asked, peer)
        elif isinstance(asked, Status):
            states = self.inbox.asked(asked, peer)
        elif isinstance(asked, Cancel):
            states = self.inbox.cancelled(asked, peer)
        else:
            states = self.outbox.pushed(asked, peer)
        async for state in states:
            yield state

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `Service.run`. Works that are under way when it is cancelled get `GRACE_SECONDS` to end."""
        held = trio.CancelScope(shield=True)
        async with background() as nursery:
            works = await nursery.start(self._hold, held)
            try:
                async with background() as errands:
                    task_status.started()
                    await self._wanted.wait()
                    await self.outbox.open(errands)
                    await self.inbox.open(works, errands)
                    self._begun.set()
                    errands.start_soon(self._keep_time, self.inbox)
                    errands.start_soon(self._keep_time, self.outbox)
                    await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True), trio.move_on_after(GRACE_SECONDS):
                    await self.inbox.rest()
                held.cancel()

    @staticmethod
    async def _hold(scope: trio.CancelScope, *, task_status: TaskStatus[trio.Nursery]) -> None:
        """Hold a nursery open for works, which the end of the service does not cancel at once."""
        with scope:
            async with trio.open_nursery() as works:
                task_status.started(works)
                await trio.sleep_forever()

    async def _keep_time(self, side: Inbox | Outbox) -> None:
        while True:
            due = await side.tick()
            side.woken = trio.Event()
            wait = LOOK_SECONDS if due is None else min((due - self._site.clock()) / 1000, LOOK_SECONDS)
            with trio.move_on_after(max(wait, 0)):
                await side.woken.wait()
