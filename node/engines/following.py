"""The part of a node that takes up steps of engines whose logs it follows, as they come."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from tslg.node.engines.intake import Intake
from tslg.node.ledger import Ledger
from tslg.node.net.seam import Network
from tslg.node.services import Bell
from tslg.protocol.errors import TslgError

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

LOOK_SECONDS: Final = 60.0
"""How often all engines are looked at, should something have failed."""


class TakingUp:
    """A `Service`.

    Args:
        intake: takes up.
        ledger: tells of what grows.
        following: whether any log is followed here.
    """

    def __init__(self, intake: Intake, ledger: Ledger, following: bool) -> None:
        self._intake = intake
        self._ledger = ledger
        self._following = following

    def serve(self, network: Network) -> None:
        """Nothing is answered."""

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up what comes until cancelled."""
        with Bell(self._ledger.growth) as bell:
            task_status.started()
            if not self._following:
                await trio.sleep_forever()
            while True:
                await trio.to_thread.run_sync(self._take_up)
                await bell.wait(LOOK_SECONDS)

    def _take_up(self) -> None:
        current = {one.engine for one, ended in self._intake.admitted() if not ended}
        for engine in sorted(current):
            if not self._ledger.writes(engine):
                try:
                    self._intake.take_up_held(engine)
                except TslgError as error:
                    # Such as a full disk: it is tried again.
                    _log.error("steps of an engine were not taken up: %s", error)
