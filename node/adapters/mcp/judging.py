"""What of a tool call is judged and recorded: which tool of which server, with which arguments, and what came of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tslg.node.adapters.mcp.messages import OURS, RECORD, RESULT, encode, tool_error
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.content import Digest, digest, plain
from tslg.protocol import cid
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT, Limits

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate
    from tslg.node.governing.outcome import Outcome
    from tslg.protocol.record import Record

UNKNOWN: Final = "unknown"
"""Name and version of a server that said neither."""
_ASIDE: Final = frozenset({"name", "arguments", "_meta"})
_LONG: Final = 64 * 1024
"""Bytes of a definition that is kept in memory, should somebody want to keep what steps consumed, and characters of the
names of its properties; without those, calls are held to the strictest reading."""
_MOST: Final = 200
"""Characters of a server's name or version, or of a tool's name, that go into a record."""


class Tool(NamedTuple):
    """A tool as its server defines it.

    Attributes:
        definition: its definition in canonical JSON, or the digest of a long one.
        properties: the names of those of its input schema.
    """

    definition: bytes | Digest
    properties: Collection[str]


class Judge:
    """Judges and records the calls to the tools of one server. Safe to use from several threads.

    Attributes:
        gate: what judges and records.
        server: the server's name, as far as it has said it.
        version: the server's version.
    """

    def __init__(self, gate: Gate, limits: Limits = DEFAULT) -> None:
        self.gate = gate
        self.server = UNKNOWN
        self.version = UNKNOWN
        self._limits = limits
        self._tools: dict[str, Tool] = {}

    def introduce(self, info: object) -> None:
        """Take note of who the server says it is: a map with `name` and `version`."""
        if isinstance(info, Mapping):
            self.server = _text(info.get("name"), self.server)
            self.version = _text(info.get("version"), self.version)

    def learn(self, tools: object) -> None:
        """Take note of tools as their server lists them: maps with `name` and `inputSchema`."""
        for definition in tools if isinstance(tools, list) else ():
            name = definition.get("name") if isinstance(definition, Mapping) else None
            if isinstance(name, str) and (name in self._tools or len(self._tools) < self._limits.mcp_tools):
                text = content_of(definition)
                kept = text if len(text) <= _LONG else Digest(digest(text))
                self._tools[name] = Tool(kept, _properties(definition))

    def knows(self, name: str) -> bool:
        """Tell whether a tool was listed."""
        return name in self._tools

    def declared(self, name: object) -> Collection[str]:
        """Return the names of the properties of a tool's input schema, none where it was not listed."""
        tool = self._tools.get(name) if isinstance(name, str) else None
        return () if tool is None else tool.properties

    def judge(self, params: Mapping[str, Any]) -> Outcome:
        """Judge a call and record it. The record is durable when this returns.

        Args:
            params: those of a `tools/call` in which nothing is wrong.

        Raises:
            TslgError: nothing could be recorded; the call must not go on.
        """
        name, arguments = params["name"], params.get("arguments") or {}
        inputs: dict[str, bytes | Digest] = {"arguments": content_of(arguments)}
        more = {key: value for key, value in params.items() if key not in _ASIDE}
        if more:
            inputs["parameters"] = content_of(more)
        if (tool := self._tools.get(name)) is not None:
            inputs["tool"] = tool.definition
        return self.gate.submit(
            Candidate(
                intent=name, model=self.server, version=self.version, inputs=inputs, grain="call", facts=arguments
            )
        )

    def finish(self, outcome: Outcome, output: Mapping[str, Any]) -> Record:
        """Record what came of a call: the server's result, or what there was instead. Raises TslgError."""
        came = {key: value for key, value in output.items() if key != "_meta"}
        return self.gate.finish(outcome, output=content_of(came))


def ids(outcome: Outcome, result: Record | None = None) -> dict[str, str]:
    """Return what a result's `_meta` says of its records."""
    found = {RECORD: cid.to_text(outcome.record.id)}
    return found if result is None else {**found, RESULT: cid.to_text(result.id)}


def refusal(outcome: Outcome) -> dict[str, Any]:
    """Return the result of a call that was not admitted: the model reads why."""
    meta = {**ids(outcome), f"{OURS}verdict": outcome.verdict}
    if outcome.verdict == "decomposed":
        parts = ", ".join(f"{part.record.body['intent']} ({part.verdict})" for part in outcome.parts)
        return tool_error(f"Not called: the policy admits it in parts only, each to be called by itself: {parts}", meta)
    meta[f"{OURS}stage"] = outcome.stage or ""
    return tool_error(f"Not called, rejected at {outcome.stage}: {outcome.reason}", meta)


def content_of(value: Mapping[str, Any]) -> bytes:
    """Return the bytes that stand for a JSON object: its canonical form, or what is handed on where it has none.

    Integers beyond 2^53 have none; servers use them for ids all the same.
    """
    try:
        return plain(value)
    except UsageError:
        return encode(value)[:-1]


def _properties(definition: Mapping[str, Any]) -> Collection[str]:
    schema = definition.get("inputSchema")
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(properties, Mapping) or sum(map(len, properties)) > _LONG:
        return frozenset()
    # Not the schema itself, which a server may make as long as a message.
    return frozenset(properties)


def _text(value: object, otherwise: str) -> str:
    return value[:_MOST] if isinstance(value, str) and value else otherwise
