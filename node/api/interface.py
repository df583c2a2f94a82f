"""The local interface: which request is answered by what. Called in worker threads; whoever holds the token may write.

Every write goes through the node's ledger, which puts concurrent ones in order and commits them together.
"""

from __future__ import annotations

import hmac
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

from tslg.node.agent import BlockingAgent
from tslg.node.api import values
from tslg.node.api.description import describe
from tslg.node.api.methods import call, call_all
from tslg.node.api.place import Tokens
from tslg.node.api.streams import PATH as STREAM
from tslg.node.api.streams import Streams
from tslg.node.engines.intake import Intake
from tslg.node.engines.telling import described_engine, told
from tslg.node.home import Home
from tslg.node.httpd.messages import JSON, Request, Response, Streaming
from tslg.node.status import installed_version
from tslg.protocol import cid
from tslg.protocol.errors import (
    AnchoringError,
    CidError,
    CodecError,
    RecordError,
    Refusal,
    SubmissionError,
    TslgError,
    UsageError,
)
from tslg.protocol.limits import DEFAULT, Limits

_AGENTS: Final = re.compile(r"/v1/agents/([^/]+)/([a-z]+)")
_RECORD: Final = re.compile(r"/v1/records/([a-z2-7]+)")
KEY: Final = "idempotency-key"
"""Header: of several requests with one key, only the first is carried out, and all get its answer."""
SUBMISSIONS: Final = "/v1/submissions"
ENGINES: Final = "/v1/engines"
METRICS: Final = "/metrics"
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_KEY_CHARACTERS: Final = 128

Status = Callable[[], Mapping[str, Any]]
R = TypeVar("R", bound=Response | Streaming)


class Interface:
    """Answers requests about one data directory.

    Args:
        home: the open data directory.
        tokens: what a client must show; a single one is for everything.
        status: tells what the node is doing.
        metrics: its numbers, as `metrics.Metrics.text` gives them; None for none.
        intake: takes engines' submissions; one of its own if None.
        limits: bounds on what is remembered.
    """

    def __init__(
        self,
        home: Home,
        tokens: Tokens | str,
        status: Status,
        limits: Limits = DEFAULT,
        metrics: Callable[[], bytes] | None = None,
        intake: Intake | None = None,
    ) -> None:
        self._intake = Intake(home, limits) if intake is None else intake
        self._home = home
        given = tokens if isinstance(tokens, Tokens) else Tokens(tokens, "", "")
        self._expected = {name: f"Bearer {token}".encode() for name, token in given._asdict().items() if token}
        self._streams = Streams(home, limits)
        self._status = status
        self._metrics = metrics
        self._answers = _Answers(limits.remembered_answers)
        self._description = values.dumps(describe(installed_version()))

    def answer(self, request: Request) -> Response | Streaming:
        """Answer one request."""
        if request.path == "/openapi.json":
            return Response(200, JSON, self._description)
        refused = self._refused(request)
        if refused is not None:
            return refused
        if request.method == "GET" and request.path.partition("?")[0] == STREAM:
            return self._told(lambda: self._streams.answer(request))
        if (request.method, request.path) == ("POST", SUBMISSIONS):
            return self._told(lambda: Response(200, JSON, values.dumps(told(self._intake.submit(request.body, "")))))
        if request.path == METRICS and self._metrics is not None:
            return Response(200, METRICS_TYPE, self._metrics())
        key = request.headers.get(KEY)
        if key is None or request.method != "POST":
            return self._carry_out(request)
        if len(key) > _KEY_CHARACTERS:
            return _error(400, UsageError(f"{KEY} has more than {_KEY_CHARACTERS} characters", mend="use a UUID"))
        return self._answers.once((request.path, key), lambda: self._carry_out(request))

    def _refused(self, request: Request) -> Response | None:
        """Return why a request is not answered: it shows no token, or one that is not for that."""
        given = request.headers.get("authorization", "").encode("latin-1")
        shown = {name for name, expected in self._expected.items() if hmac.compare_digest(given, expected)}
        if not shown:
            return _error(401, UsageError("no token, or a wrong one", mend="send `Authorization: Bearer …`"))
        submits = (request.method, request.path) in (("POST", SUBMISSIONS), ("GET", ENGINES))
        if "all" in shown or ("reader" in shown and _only_reads(request)) or ("engine" in shown and submits):
            return None
        return _error(403, UsageError("that token is not for this", mend="use the one that is: see DIR/api"))

    def _carry_out(self, request: Request) -> Response:
        return self._told(lambda: Response(200, JSON, values.dumps(self._result(request))))

    def _told(self, make: Callable[[], R]) -> R | Response:
        try:
            return make()
        except _Unknown as error:
            return _error(404, error)
        except SubmissionError as error:
            return _error(429 if error.code in ("TSLG-E-BUSY", "TSLG-E-RATE") else 422, error)
        except (Refusal, RecordError, CodecError) as error:
            return _error(422, error)
        except (UsageError, CidError) as error:
            return _error(400, error)
        except AnchoringError as error:
            return _error(503, error)
        except TslgError as error:
            return _error(503, error)

    def _result(self, request: Request) -> Any:
        if request.method == "GET":
            return self._read(request.path)
        if request.method != "POST":
            raise UsageError(f"{request.method} is not used here", mend="GET or POST")
        body = values.loads(request.body or b"{}")
        if request.path == "/v1/agents":
            return self._make(body)
        found = _AGENTS.fullmatch(request.path)
        if found is None:
            raise _Unknown("nothing here", mend="see /openapi.json")
        agent = self._agent(found[1])
        if found[2] == "batch":
            return {"results": call_all(agent, body.get("calls") if isinstance(body, dict) else None)}
        return call(agent, found[2], body)

    def _read(self, path: str) -> Any:
        if path == "/v1/status":
            return dict(self._status())
        if path == ENGINES:
            context = self._home.ledger.context
            return {"engines": [described_engine(self._home.store, context, *one) for one in self._intake.admitted()]}
        if path == "/v1/agents":
            return {"agents": [_named(agent) for agent in self._home.agents]}
        found = _RECORD.fullmatch(path)
        if found is None:
            raise _Unknown("nothing here", mend="see /openapi.json")
        id = cid.from_text(found[1])
        entry = self._home.store.get(id)
        if entry is None:
            raise _Unknown("that record is not held here", mend="fetch and verify it first", record=id)
        return {"record": id, "data": entry.data, "seal": entry.seal}

    def _make(self, body: Any) -> Any:
        if not isinstance(body, dict) or body.keys() != {"name"} or not isinstance(body["name"], str):
            raise UsageError("an agent is made from {name}", mend="send a name")
        return _named(self._home.agent(body["name"]))

    def _agent(self, given: str) -> BlockingAgent:
        for agent in self._home.agents:
            if given in (agent.name, cid.to_text(agent.id)):
                return agent
        raise _Unknown(f"no agent {given[:80]!r} here", mend="make one: POST /v1/agents")


class _Unknown(UsageError):
    """What a path names is not there."""

    code = "TSLG-U-UNKNOWN"


class _Answers:
    """Answers by key: the newest so many, each made once however many ask for it at the same time."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._made: OrderedDict[tuple[str, str], _Answer] = OrderedDict()

    def once(self, key: tuple[str, str], make: Callable[[], Response]) -> Response:
        """Return the answer under a key; the first to ask makes it, the others wait."""
        with self._lock:
            held = self._made.setdefault(key, _Answer())
            self._made.move_to_end(key)
            while len(self._made) > self._most:
                self._made.popitem(last=False)
        with held.lock:
            if held.response is None or held.response.status >= 500:
                held.response = make()
            return held.response


class _Answer:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.response: Response | None = None


def _only_reads(request: Request) -> bool:
    """Tell whether a request only asks for records."""
    path = request.path.partition("?")[0]
    return request.method == "GET" and (path in (STREAM, "/v1/agents") or _RECORD.fullmatch(path) is not None)


def _named(agent: BlockingAgent) -> dict[str, Any]:
    return {"agent": agent.id, "name": agent.name}


def _error(status: int, error: TslgError) -> Response:
    told = {"code": error.code, "detail": error.detail, "mend": error.mend}
    if error.record is not None:
        told["record"] = cid.to_text(error.record)
    return Response(status, JSON, values.dumps(told))
