"""The ways by which an engine's submission gets to its tenant: a peer of the network, or a node's local interface."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import httpx

from tslg.node.api import values
from tslg.node.api.client import error_of
from tslg.node.engines.telling import read_told
from tslg.node.net.seam import Network
from tslg.protocol.errors import NetworkError, UsageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.pushing import PUSH, SubmitRequest, Submitted

UNIX: Final = "unix:"
TYPE: Final = "application/vnd.ipld.car"
_SECONDS: Final = 60.0
_AGAIN: Final = "submit again: what was taken is not taken twice"


async def to_peer(network: Network, peer: str, data: bytes, limits: Limits = DEFAULT) -> Submitted:
    """Hand a submission to a peer.

    Raises:
        RequestRefused, Busy: it is not taken; the detail says why. Else a NetworkError.
    """
    bounded = replace(limits, reply_bytes=min(limits.reply_bytes, limits.submission_answer_bytes))
    async with network.request(peer, PUSH, SubmitRequest(data).to_bytes(), limits=bounded) as chunks:
        return Submitted.from_bytes(b"".join([chunk async for chunk in chunks]), limits)


def to_interface(address: str, token: str, data: bytes, limits: Limits = DEFAULT) -> Submitted:
    """Hand a submission to a node's local interface.

    Args:
        address: `unix:PATH` of its socket, or its URL.
        token: the one for engines, `DIR/api/engine` of the tenant's data directory.
        data: the submission.
        limits: how much is read of the answer.

    Raises:
        SubmissionError: it is not taken. NetworkError: the node does not answer, or what it says is no answer.
        UsageError: that is no address.
    """
    local = address.startswith(UNIX)
    transport = httpx.HTTPTransport(uds=address.removeprefix(UNIX)) if local else httpx.HTTPTransport()
    base = "http://localhost" if local else address.rstrip("/")
    # Not compressed: what it grows to would be known only when it is held.
    headers = {"authorization": f"Bearer {token}", "content-type": TYPE, "accept-encoding": "identity"}
    try:
        with (
            httpx.Client(transport=transport, timeout=_SECONDS) as http,
            http.stream("POST", f"{base}/v1/submissions", content=data, headers=headers) as response,
        ):
            answer = _read(response, address, limits)
    except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
        mend = "give http://HOST:PORT, https://HOST or unix:PATH"
        raise UsageError(f"{address[:80]!r} is no address of an interface", mend=mend) from error
    except httpx.HTTPError as error:
        raise NetworkError(
            f"{address} does not answer: {error or type(error).__name__}", code="TSLG-N-NO-NODE", mend=_AGAIN
        ) from error
    if response.status_code != httpx.codes.OK:
        raise error_of(answer)
    return read_told(answer)


def _read(response: httpx.Response, address: str, limits: Limits) -> Any:
    """Return the JSON of an answer. Raises NetworkError for one that is none, too long, or takes too long."""
    deadline = time.monotonic() + _SECONDS
    answer = bytearray()
    for part in response.iter_raw():
        answer += part
        if len(answer) > limits.submission_answer_bytes:
            raise _no_answer(address, f"with more than {limits.submission_answer_bytes} bytes")
        if time.monotonic() > deadline:
            raise _no_answer(address, f"for more than {_SECONDS:.0f} s")
    try:
        return values.loads(bytes(answer))
    except UsageError as error:
        raise _no_answer(address, f"with what is no answer to a submission: {error.detail}") from error


def _no_answer(address: str, how: str) -> NetworkError:
    return NetworkError(f"{address} answers {how}", code="TSLG-N-MESSAGE", mend=_AGAIN)


def read_token(path: Path) -> str:
    """Read a token. Raises NetworkError if there is none."""
    try:
        return path.read_text("ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NetworkError(
            f"{path}: no token can be read there", code="TSLG-N-NO-NODE", mend="ask the tenant for DIR/api/engine"
        ) from error
