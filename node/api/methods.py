"""What others may have an agent record over the local interface: methods of the agent, called by name with JSON."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, Final

from tslg.node.agent import BlockingAgent
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record

METHODS: Final = (
    "state",
    "act",
    "decide",
    "observe",
    "policy",
    "adopt",
    "delegate",
    "summary",
    "equivocation",
    "correct",
    "amend",
    "retract",
    "propose",
    "vote",
    "conclude",
    "redact",
    "access_rule",
    "blob",
    "artifact",
    "cohort",
    "evaluation",
    "advisory",
    "transition",
    "release",
)
"""Names of `BlockingAgent`'s methods. What changes an agent's keys is left out: that is for whoever runs the node."""
_SIGNATURES: Final = {name: inspect.signature(getattr(BlockingAgent, name)) for name in METHODS}
RESULT: Final = "$result"
"""In a batch, `{"$result": n}` stands for the id of the record that the n-th call made."""


def call(agent: BlockingAgent, method: str, arguments: Any) -> Any:
    """Call a method of an agent; return what it returns in a form for JSON: of a record, where it stands.

    Raises:
        UsageError: no such method, or arguments that it does not have. Else what the method raises.
    """
    given = _arguments(method, arguments)
    result = getattr(agent, method)(**given)
    return described(result) if isinstance(result, Record) else result


def call_all(agent: BlockingAgent, calls: Any) -> list[Any]:
    """Call several methods in one transaction: all that they record becomes durable together, or none of it.

    Raises:
        UsageError: as `call`, and for what is no list of calls. Else what the first that fails raises.
    """
    if not isinstance(calls, list) or not all(isinstance(one, dict) and "method" in one for one in calls):
        raise UsageError("a batch is a list of {method, arguments}", mend="see /openapi.json")
    results: list[Any] = []
    with agent.batch():
        for one in calls:
            results.append(call(agent, str(one["method"]), _filled(one.get("arguments", {}), results)))
    return results


def described(record: Record) -> dict[str, Any]:
    """Return a record's id, whose it is, its place and time, and its bytes."""
    return {
        "record": record.id,
        "kind": record.kind,
        "agent": record.owner,
        "seq": record.seq,
        "time": record.time,
        "data": record.data,
    }


def parameters(method: str) -> Mapping[str, inspect.Parameter]:
    """Return a method's parameters by name, without `self`."""
    named = list(_SIGNATURES[method].parameters.items())[1:]
    return dict(named)


def _arguments(method: str, arguments: Any) -> dict[str, Any]:
    if method not in METHODS:
        raise UsageError(f"no method {method[:40]!r}", mend=f"there are {', '.join(METHODS)}")
    if not isinstance(arguments, dict):
        raise UsageError(f"the arguments of {method} are no object", mend="send a JSON object")
    try:
        _SIGNATURES[method].bind(None, **arguments)
    except TypeError as error:
        raise UsageError(f"{method}: {error}", mend=f"it takes {', '.join(parameters(method))}") from error
    return arguments


def _filled(value: Any, results: list[Any], level: int = 0) -> Any:
    """Put the ids of records that earlier calls of the batch made where they are named."""
    if isinstance(value, list):
        return [_filled(item, results, level + 1) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() != {RESULT}:
        return {key: _filled(item, results, level + 1) for key, item in value.items()}
    number = value[RESULT]
    if type(number) is not int or not 0 <= number < len(results) or "record" not in (results[number] or {}):
        raise UsageError(f"{RESULT} {number!r} names no record that was made before", mend="count calls from 0")
    return results[number]["record"]
