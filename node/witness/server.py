"""A witness over HTTP/1.1."""

from __future__ import annotations

from collections.abc import Callable

import trio

from tslg.node.httpd import server
from tslg.node.httpd.messages import Request, Response
from tslg.node.httpd.server import HttpLimits
from tslg.node.witness.witness import Witness
from tslg.protocol.limits import DEFAULT, Limits

Started = Callable[[int], None]
"""Called with the port once connections are taken."""


async def serve(witness: Witness, host: str, port: int, started: Started, limits: Limits = DEFAULT) -> None:
    """Serve a witness until cancelled. Raises OSError if the address cannot be had."""
    listeners = await trio.open_tcp_listeners(port, host=host)

    def answer(request: Request) -> Response:
        return witness.answer(request.method, request.path, request.body)

    started(listeners[0].socket.getsockname()[1])
    await server.serve(answer, listeners, _limits(limits))


def _limits(limits: Limits) -> HttpLimits:
    return HttpLimits(
        limits.witness_request_bytes,
        limits.witness_request_ms,
        limits.witness_idle_ms,
        limits.witness_connections,
        limits.witness_connections_per_address,
    )
