"""Writing an agent's log through the node that runs on its data directory, from any process of the host."""

from __future__ import annotations

import functools
import os
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import httpx

from tslg.node.api import values
from tslg.node.api.interface import KEY
from tslg.node.api.methods import METHODS, parameters
from tslg.node.api.place import UNIX, Place
from tslg.node.engines.telling import read_told
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import (
    CidError,
    CodecError,
    NetworkError,
    RecordError,
    Refusal,
    StoreError,
    SubmissionError,
    TslgError,
    UsageError,
)
from tslg.protocol.pushing import Submitted
from tslg.protocol.record import Record, parse_as

_SECONDS: Final = 60.0
_CODE: Final = re.compile(r"TSLG(-[A-Z0-9]{1,32}){1,4}")
_ERRORS: Final[Mapping[str, type[TslgError]]] = {
    "TSLG-A": Refusal,
    "TSLG-C": CodecError,
    "TSLG-D": StoreError,
    "TSLG-E": SubmissionError,
    "TSLG-N": NetworkError,
    "TSLG-R": RecordError,
    "TSLG-U": UsageError,
}


class LocalNode:
    """The node that runs on a data directory, as another process sees it. Safe to use from several threads.

    Raises:
        NetworkError: `TSLG-N-NO-NODE`: no node runs there, or it does not answer.
        StoreError: its token cannot be read.
    """

    def __init__(self, data: str | os.PathLike[str]) -> None:
        self._data = Path(data)
        place = Place(self._data)
        found = place.find()
        if found is None:
            raise _no_node(self._data)
        address, token = found
        uds = str(place.socket) if address == UNIX else None
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(uds=uds),
            base_url="http://localhost" if address == UNIX else address,
            headers={"authorization": f"Bearer {token}"},
            timeout=_SECONDS,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def status(self) -> dict[str, Any]:
        """Return what the node is doing."""
        return dict(self._ask("GET", "/v1/status"))

    def agents(self) -> list[RemoteAgent]:
        """Return the node's agents."""
        return [RemoteAgent(self, one["agent"], one["name"]) for one in self._ask("GET", "/v1/agents")["agents"]]

    def agent(self, name: str) -> RemoteAgent:
        """Return the agent of this name, made if there is none."""
        made = self._ask("POST", "/v1/agents", {"name": name})
        return RemoteAgent(self, made["agent"], made["name"])

    def call(self, agent: Link, method: str, arguments: Mapping[str, Any]) -> Any:
        """Call a method of an agent; return what it returns, of a record the `Record`."""
        made = self._ask("POST", f"/v1/agents/{cid.to_text(agent)}/{method}", plain(arguments))
        return _result(made)

    def batch(self, agent: Link, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """Make several calls whose records become durable together; see `methods.RESULT`."""
        body = {"calls": [{"method": method, "arguments": plain(arguments)} for method, arguments in calls]}
        made = self._ask("POST", f"/v1/agents/{cid.to_text(agent)}/batch", body)
        return [_result(one) for one in made["results"]]

    def submit(self, bundle: bytes) -> Submitted:
        """Hand in a stretch of an engine's log. Raises SubmissionError."""
        made = self._ask("POST", "/v1/submissions", bundle)
        return read_told(made)

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send one request and return its answer.

        Raises:
            NetworkError: `TSLG-N-NO-NODE`, nothing was done; `TSLG-N-OUTCOME`, it may or may not have been recorded.
            Else what the node raised.
        """
        content = body if body is None or isinstance(body, bytes) else values.dumps(body)
        try:
            response = self._http.request(method, path, content=content, headers={KEY: str(uuid.uuid4())})
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise _no_node(self._data) from error
        except httpx.HTTPError as error:
            raise NetworkError(
                f"the node on {self._data} broke off: {error or type(error).__name__}",
                code="TSLG-N-OUTCOME",
                mend="look at the end of the log: it may or may not have been recorded",
            ) from error
        answer = values.loads(response.content)
        if response.status_code != httpx.codes.OK:
            raise error_of(answer)
        return answer


class RemoteAgent:
    """One agent of a running node. It has the methods of `BlockingAgent` that `methods.METHODS` names.

    Attributes:
        id: the agent's id.
        name: the name in its genesis.
    """

    def __init__(self, node: LocalNode, id: Link, name: str) -> None:
        self._node = node
        self.id = id
        self.name = name

    def __getattr__(self, method: str) -> Callable[..., Any]:
        if method.startswith("_"):
            raise AttributeError(method)
        if method not in METHODS:
            raise UsageError(f"{method}: not while a node runs on the data directory", mend="end the node first")
        return functools.partial(self._call, method)

    def _call(self, method: str, *positional: Any, **named: Any) -> Any:
        return self._node.call(self.id, method, {**dict(zip(parameters(method), positional, strict=False)), **named})

    def batch(self, calls: Sequence[tuple[str, Mapping[str, Any]]]) -> list[Any]:
        """Make several calls, `(method, arguments)` each, whose records become durable together, or none of them."""
        return self._node.batch(self.id, calls)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} {cid.short(self.id)}>"


def plain(value: Any) -> Any:
    """Return arguments as they are sent: a record by its id, without what is None."""
    if isinstance(value, Record):
        return value.id
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items() if item is not None}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    return value


def _result(made: Any) -> Any:
    if isinstance(made, dict) and isinstance(made.get("data"), bytes) and "record" in made:
        return parse_as(made["record"], made["data"])
    return made


def _no_node(data: Path) -> NetworkError:
    return NetworkError(
        f"no node answers on {data}", code="TSLG-N-NO-NODE", mend=f"start one: tslg node run --data {data}"
    )


def error_of(told: Any) -> TslgError:
    """Return the error that a node told of."""
    if not isinstance(told, dict) or not _CODE.fullmatch(str(told.get("code"))):
        return NetworkError("the node answered with an error that is none of ours", code="TSLG-N-NO-NODE")
    kind = _ERRORS.get(told["code"][:6], TslgError)
    try:
        record = cid.from_text(str(told["record"])) if "record" in told else None
    except CidError:
        record = None
    return kind(str(told.get("detail", "")), code=told["code"], mend=str(told.get("mend", "")), record=record)
