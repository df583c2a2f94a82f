"""What HTTP carries: requests and responses, without a socket."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


Answer = Callable[[Request], Response]
"""Called in a worker thread for each request. A `TslgError` that it raises is logged, and answered with 500."""
