"""What adapters for agent frameworks share: what of a call is digested, what a model is told, what a step rests on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tslg.node.governing.content import Content, Digest
from tslg.node.governing.errors import Rejected
from tslg.node.governing.values import as_content
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError, UsageError

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate
    from tslg.protocol.record import Record

CHAT: Final = "chat"
"""The intent of a request to a model, as OpenTelemetry's conventions name the operation."""
RECORD: Final = "tslg/record"
"""Under what name a message carries the id of the record of its step …"""
RESULT: Final = "tslg/result"
"""… and that of what came of it."""
_CITED: Final = frozenset(("inference", "observation", "rejection", "composite", "decomposition"))


class Call(NamedTuple):
    """A call of a tool that is being made.

    Attributes:
        gate: what judged it.
        id: by which the framework knows it, None if by none.
        record: the record of its step.
    """

    gate: Gate
    id: str | None
    record: Record


_calling: ContextVar[Call | None] = ContextVar("tslg_tool_call", default=None)


@contextmanager
def calling(call: Call) -> Iterator[None]:
    """Have it known in the block that a call is being made."""
    token = _calling.set(call)
    try:
        yield
    finally:
        _calling.reset(token)


def is_judged(gate: Gate, id: str | None) -> bool:
    """Tell whether a call was judged by a gate further out already."""
    call = _calling.get()
    return call is not None and id is not None and (call.gate, call.id) == (gate, id)


def handed_on(gate: Gate) -> list[Link]:
    """Return the call inside of which a step under another gate is taken, if both keep their records in one store."""
    call = _calling.get()
    if call is None or call.gate is gate or call.gate.agent._ledger.store is not gate.agent._ledger.store:
        return []
    return [call.record.id]


def content_of(value: Any) -> Content:
    """Return what stands for a JSON value: it itself, or the digest of its text where it has no canonical form.

    Integers beyond 2^53 have none, and models use them as ids all the same.
    """
    try:
        return as_content(value)
    except UsageError:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
        return Digest(hashlib.sha256(text.encode()).digest())


def facts_of(arguments: Any) -> dict[str, Any]:
    """Return what rules see of a call's arguments: those with a dot are left out.

    A rule would read such a name as a path, and the tool something else: `user.confirmed` beside a map `user`.
    """
    if not isinstance(arguments, Mapping):
        return {}
    return {name: value for name, value in arguments.items() if isinstance(name, str) and "." not in name}


def told(refused: Rejected) -> str:
    """Return what a model reads in place of the result of a call that was not admitted."""
    return f"Not called, rejected at {refused.stage}: {refused.reason}"


def evidence_of(gate: Gate, notes: Iterable[Any]) -> list[Link]:
    """Return the records of a gate's own agent that notes on messages name, the results before the calls.

    What comes with messages may have been anywhere: all else is passed over, also what is not held here. At most half
    of what the manifest lets a record cite is taken, the newest.
    """
    found: dict[Link, None] = {}
    for note in notes:
        if isinstance(note, Mapping):
            link = _own(gate, note.get(RESULT)) or _own(gate, note.get(RECORD))
            if link is not None:
                found[link] = None
    return list(found)[-max(1, gate.agent.fan_in // 2) :]


def _own(gate: Gate, text: object) -> Link | None:
    if not isinstance(text, str):
        return None
    try:
        link = cid.from_text(text)
        record = gate.agent._held(link)
    except TslgError:
        return None
    return link if record.kind in _CITED and record.owner == gate.agent.id else None
