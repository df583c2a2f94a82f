"""Governed steps as they are to be recorded, and the rejections of those that were not, or did not take effect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tslg.node.authoring import References, listed, reference_id
from tslg.node.semantic import Move
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.governing.policy import Finding
from tslg.protocol.governing.state import ANCHORING
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record

_NOT_SAID_AGAIN: Final = frozenset(("class", "before", "after", "parts", "rule", "narrowing"))
_SAME: Final = ("intent", "model", "inputs")
"""What a rejection that takes a step back says as that step did; one of its parts may cite it by the same class."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A governed step as it is to be recorded.

    Attributes:
        kind: `inference`, `rejection`, `decomposition` or `composite`.
        body: its body, but for the semantic state.
        policy: the policy record that it is taken under.
        cites: what else it cites, by class.
        move: what it does to the semantic state.
    """

    kind: str
    body: Mapping[str, Any]
    policy: Link
    cites: Mapping[str, References] = field(default_factory=dict)
    move: Move = field(default_factory=Move)

    def rejected(self, finding: Finding, *, resting: bool = False) -> Entry:
        """Return the rejection of this step, under the same policy.

        It rests on what the step rests on where that is not what it may have been rejected for (`resting`).
        """
        left = ("class", "after", "parts", "rule")
        body = {name: value for name, value in self.body.items() if name not in left}
        kept = ("part", "evidence", "observes") if resting else ("part",)
        cites = {name: self.cites[name] for name in kept if name in self.cites and self.kind != "composite"}
        # A policy that was granted is cited together with the delegation that grants it, by a rejection too.
        cites |= {name: cited for name, cited in self.cites.items() if name == "delegation"}
        return Entry("rejection", body | said(finding), self.policy, cites)

    def to_map(self) -> dict[str, Any]:
        """Return what of a rejection that moves no state can be kept, as a record can hold it."""
        cites = {name: [reference_id(one) for one in listed(cited)] for name, cited in self.cites.items()}
        return {"body": dict(self.body), "policy": self.policy, "cites": cites}

    @classmethod
    def from_map(cls, kept: Mapping[str, Any]) -> Entry:
        """Return the rejection of which `to_map` returned this."""
        return cls(
            "rejection", kept["body"], kept["policy"], {name: ids or None for name, ids in kept["cites"].items()}
        )


def said(finding: Finding) -> dict[str, str]:
    """Return the fields in which a rejection says why."""
    reason = " ".join(finding.reason.split())
    texts = {"stage": finding.stage[:256], "rule": finding.rule[:256], "reason": reason[: DEFAULT.reason_characters]}
    # What a grant or the policy's own text quotes may be anything, half a surrogate pair too.
    return {name: text.encode("utf-8", "replace").decode() for name, text in texts.items()}


def taking_back(record: Record, content: bytes | None) -> Entry:
    """Return the rejection that says that a step on record did not take effect, and leads back to the state before.

    Args:
        record: the step.
        content: the DAG-CBOR of the state before it, None where that is not at hand.
    """
    reason = f"step {short(record.id)} is on record and was not anchored: it did not take effect"
    plain = {name: value for name, value in record.body.items() if name not in _NOT_SAID_AGAIN}
    body = plain | said(Finding(ANCHORING, "TSLG-N-UNANCHORED", reason))
    after = record.body.get("after")
    policy = record.preds["policy"][0].cid
    # A policy that was granted is cited together with the delegation that grants it.
    cites: dict[str, References] = {"delegation": [edge.cid for edge in record.edges("delegation")] or None}
    if after is None:
        return Entry("rejection", body, policy, cites | {"evidence": record.id})
    move = Move(record.body["before"], undoes=after, content=content)
    return Entry("rejection", body, policy, cites | {"prior": record.id}, move)


def takes_back(one: Record, record: Record) -> bool:
    """Tell whether a record that cites a step is the rejection that `taking_back` returns of it.

    Rejections of other steps cite it too: those of steps taken in the state to which it moved, and those of its parts.
    """
    if one.kind != "rejection" or one.body["stage"] != ANCHORING or one.owner != record.owner:
        return False
    if "after" in record.body:
        moved = one.body.get("before"), one.body.get("after")
        return moved == (record.body["after"], record.body["before"])
    cited = any(edge.cid == record.id for edge in one.edges("evidence", "part"))
    return cited and all(one.body.get(name) == record.body.get(name) for name in _SAME)
