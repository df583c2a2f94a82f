"""Cedar policies in a gate: the principal is the agent, the action the intent, the resource the model.

The text is parsed once. What a policy asks of the context are the candidate's facts and what the step states. Whatever
goes wrong in an evaluation refuses the step, also where another policy permits it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from tslg.node.governing.errors import GatePolicyError
from tslg.protocol.governing.conditions import OWN
from tslg.protocol.governing.policy import Finding, Step

STAGE: Final = "cedar"
_ESCAPES: Final = ("__entity", "__extn", "__expr")
"""Keys by which Cedar's JSON says more than data: no fact may pass for an entity."""
_ERROR: Final = re.compile(
    r"error while evaluating policy (`[^`]*`)(?:: (record does not have the attribute `[^`]*`|type error: .*"
    r"|error while evaluating `\w+` extension function|integer overflow))?"
)
"""Cedar's errors, as far as they quote the policy and no fact: which policy, and what went wrong."""


class Cedar:
    """A set of Cedar policies, parsed.

    Args:
        text: the policies.
        agent: the agent's id, as text.

    Raises:
        GatePolicyError: the text is not Cedar.
    """

    def __init__(self, text: str, agent: str) -> None:
        # Imported here: a gate without Cedar need not load it.
        import cedarpy

        self._cedarpy = cedarpy
        self._principal = _entity("Agent", agent)
        try:
            self._policies = cedarpy.PolicySet.from_str(text)
        except ValueError as error:
            first = " ".join(str(error).split())[:300]
            raise GatePolicyError(
                f"the Cedar text: {first}", mend="correct it; `tslg gate check` says where"
            ) from error
        self._entities = cedarpy.Entities.from_json_str("[]")

    def judge(self, step: Step) -> Finding | None:
        """Return why these policies do not permit a step, None if they do."""
        try:
            request = {
                "principal": self._principal,
                "action": _entity("Action", step.intent),
                "resource": _entity("Model", step.model),
                "context": _context(step),
            }
            result = self._cedarpy.is_authorized(request, self._policies, self._entities)
            found = result.diagnostics
            errors, reasons = list(found.errors), list(found.reasons)
        except Exception as error:
            return Finding(STAGE, "request", f"the policies could not be asked: {type(error).__name__}: {error}")
        names = found.id_annotations_by_reason
        if errors:
            return Finding(STAGE, "error", f"a policy could not be evaluated: {_told(str(errors[0]))}")
        if result.allowed:
            return None
        if not reasons:
            return Finding(STAGE, "none permits", "no policy permits it")
        named = sorted(names.get(reason) or reason for reason in reasons)
        return Finding(STAGE, named[0], f"forbidden by {', '.join(named)}")


def _told(error: str) -> str:
    """Return what Cedar says of an error as far as it quotes no fact: no record is to hold those."""
    found = _ERROR.match(error)
    return "it went wrong" if found is None else " ".join(": ".join(filter(None, found.groups())).split())


def _entity(kind: str, name: str) -> dict[str, str]:
    return {"type": kind, "id": name}


def _context(step: Step) -> str:
    """Return facts and statements as JSON. ValueError for what Cedar would take for an entity or a function call."""
    text = json.dumps({**step.facts, OWN: _stated(step)}, allow_nan=False)
    if '"__' in text and any(f'"{escape}"' in text for escape in _ESCAPES):
        raise ValueError("a fact is written as one of Cedar's own escapes")
    return text


def _stated(step: Step) -> Mapping[str, Any]:
    return {name: value for name, value in step.own().items() if value is not None} | {"spends": dict(step.spends)}
