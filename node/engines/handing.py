"""The ways by which an engine's submission gets to its tenant: a peer of the network, or a node's local interface."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx

from tslg.node.api import values
from tslg.node.api.client import error_of
from tslg.node.engines.telling import read_told
from tslg.node.net.seam import Network
from tslg.protocol.errors import NetworkError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.pushing import PUSH, SubmitRequest, Submitted

UNIX: Final = "unix:"
TYPE: Final = "application/vnd.ipld.car"
_SECONDS: Final = 60.0


async def to_peer(network: Network, peer: str, data: bytes, limits: Limits = DEFAULT) -> Submitted:
    """Hand a submission to a peer.

    Raises:
        RequestRefused, Busy: it is not taken; the detail says why. Else a NetworkError.
    """
    async with network.request(peer, PUSH, SubmitRequest(data).to_bytes(), limits=limits) as chunks:
        return Submitted.from_bytes(b"".join([chunk async for chunk in chunks]), limits)


def to_interface(address: str, token: str, data: bytes) -> Submitted:
    """Hand a submission to a node's local interface.

    Args:
        address: `unix:PATH` of its socket, or its URL.
        token: the one for engines, `DIR/api/engine` of the tenant's data directory.
        data: the submission.

    Raises:
        SubmissionError: it is not taken. NetworkError: the node does not answer.
    """
    local = address.startswith(UNIX)
    transport = httpx.HTTPTransport(uds=address.removeprefix(UNIX)) if local else httpx.HTTPTransport()
    headers = {"authorization": f"Bearer {token}", "content-type": TYPE}
    try:
        with httpx.Client(transport=transport, timeout=_SECONDS) as http:
            base = "http://localhost" if local else address.rstrip("/")
            response = http.post(f"{base}/v1/submissions", content=data, headers=headers)
    except httpx.HTTPError as error:
        raise NetworkError(
            f"{address} does not answer: {error or type(error).__name__}",
            code="TSLG-N-NO-NODE",
            mend="submit again: what was taken is not taken twice",
        ) from error
    answer = values.loads(response.content)
    if response.status_code != httpx.codes.OK:
        raise error_of(answer)
    return read_told(answer)


def read_token(path: Path) -> str:
    """Read a token. Raises NetworkError if there is none."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(
            f"{path}: no token can be read there", code="TSLG-N-NO-NODE", mend="ask the tenant for DIR/api/engine"
        ) from error
