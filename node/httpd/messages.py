"""What HTTP carries: requests and responses, without a socket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final, NamedTuple

TEXT: Final = "text/plain; charset=utf-8"
JSON: Final = "application/json"


class Request(NamedTuple):
    """One request: its method, its target as it came, its headers by lower-case name, and its body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Response(NamedTuple):
    """An HTTP status, the type of the body, and the body."""

    status: int
    type: str
    body: bytes


class Streaming(NamedTuple):
    """A response without an end of its own: an HTTP status, the type of the body, and what opens its chunks.

    Each chunk is asked for when the one before it was taken; the generator is closed when the client is gone.
    """

    status: int
    type: str
    chunks: Callable[[], AsyncGenerator[bytes]]


Answer = Callable[[Request], Response | Streaming]
"""Called in a worker thread for each request. A `TslgError` that it raises is logged, and answered with 500."""
