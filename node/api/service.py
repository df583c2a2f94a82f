"""The local interface as a part of a running node: its socket, its token, and its end."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import trio

from tslg.node.api.interface import Interface, Status
from tslg.node.api.place import UNIX, Place, loopback
from tslg.node.engines.intake import Intake
from tslg.node.home import Home
from tslg.node.httpd.server import HttpLimits, serve
from tslg.node.net.seam import Network
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import Limits

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)


class LocalInterface:
    """Serves `Interface` on a unix socket or on loopback; a `services.Service`."""

    def __init__(
        self,
        home: Home,
        where: str,
        status: Status,
        limits: Limits,
        metrics: Callable[[], bytes] | None = None,
        intake: Intake | None = None,
    ) -> None:
        self._intake = intake
        self._metrics = metrics
        self._home = home
        self._where = where
        self._status = status
        self._limits = limits

    def serve(self, network: Network) -> None:
        """Nothing is answered on the peer network."""

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled. UsageError or StoreError if it cannot be served."""
        place = Place(self._home.path)
        tokens = await trio.to_thread.run_sync(place.prepare)
        interface = Interface(self._home, tokens, self._status, self._limits, self._metrics, self._intake)
        # The data directory's lock is ours, so whatever is left there is of a node that ended.
        place.withdraw()
        listeners = await self._listen(place)
        try:
            task_status.started()
            await serve(interface.answer, listeners, _limits(self._limits))
        finally:
            place.withdraw()

    async def _listen(self, place: Place) -> Sequence[trio.SocketListener]:
        if self._where == UNIX:
            place.check_socket()
            socket = trio.socket.socket(trio.socket.AF_UNIX)
            await socket.bind(os.fspath(place.socket))
            socket.listen()
            place.announce(UNIX)
            return [trio.SocketListener(socket)]
        host, port = loopback(self._where)
        try:
            listeners = await trio.open_tcp_listeners(port, host=host)
        except OSError as error:
            raise UsageError(f"api: cannot listen on {self._where}: {error}", mend="choose another port") from error
        port = listeners[0].socket.getsockname()[1]
        place.announce(f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}")
        return listeners


def _limits(limits: Limits) -> HttpLimits:
    return HttpLimits(
        limits.request_bytes,
        limits.local_request_ms,
        limits.witness_idle_ms,
        limits.local_connections,
        limits.local_connections,
    )
