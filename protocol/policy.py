"""What a policy allows: whether a record lies in its scope and window, and whether one policy is no wider than another.

Normative text: docs/spec/delegation.md. Policies are the bodies of `policy` records, whose types are already checked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tslg.protocol.record import Record

Body = Mapping[str, Any]


def out_of_window(time: int, policy: Body) -> str | None:
    """Tell how `time` (ms) lies outside the policy's validity window; None if it lies inside."""
    not_before, not_after = policy["not_before"], policy["not_after"]
    if not_before is not None and time < not_before:
        return f"{time} ms is before the policy starts at {not_before}"
    if not_after is not None and time > not_after:
        return f"{time} ms is after the policy ended at {not_after}"
    return None


def out_of_scope(record: Record, policy: Body) -> str | None:
    """Tell what the record claims beyond the policy's capabilities, limits, classes or tiers; None if nothing.

    Of a confidential policy, classes and tiers alone are open; the rest is proved (docs/spec/narrowing.md).
    """
    return _beyond_terms(record, policy) or _beyond_classes(record, policy)


def _beyond_terms(record: Record, policy: Body) -> str | None:
    if "commitments" in policy:
        return None
    body = record.body
    for capability in body.get("uses", ()):
        if capability not in policy["capabilities"]:
            return f"capability {capability!r} is not granted by policy {policy['name']!r}"
    limits = policy["limits"]
    for name, amount in body.get("spends", {}).items():
        if name not in limits or amount > limits[name]:
            return f"{name!r} of {amount} exceeds the limit {limits.get(name, 'none granted')} of {policy['name']!r}"
    return None


def _beyond_classes(record: Record, policy: Body) -> str | None:
    body = record.body
    for claim, allowed in (("class", "classes"), ("tier", "tiers")):
        if claim in body and body[claim] not in policy[allowed]:
            return f"{claim} {body[claim]!r} is not allowed by policy {policy['name']!r}"
    return None


def widening(narrow: Body, wide: Body) -> str | None:
    """Tell how `narrow` allows more than `wide`; None if it is the same or narrower in every respect.

    A limit that a policy does not name grants nothing, so the narrower policy may drop limits and may not add any.
    If either is confidential, capabilities and limits are left to the proof (docs/spec/narrowing.md).
    """
    hidden = "commitments" in narrow or "commitments" in wide
    for name in ("classes", "tiers") if hidden else ("capabilities", "classes", "tiers"):
        extra = set(narrow[name]) - set(wide[name])
        if extra:
            return f"{name} {sorted(extra)} are not in policy {wide['name']!r}"
    limits = {} if hidden else narrow["limits"]
    for name, limit in limits.items():
        if name not in wide["limits"] or limit > wide["limits"][name]:
            return f"limit {name!r} of {limit} exceeds {wide['limits'].get(name, 'none granted')} of {wide['name']!r}"
    if wide["not_before"] is not None and (narrow["not_before"] is None or narrow["not_before"] < wide["not_before"]):
        return f"the window opens before that of policy {wide['name']!r}"
    if wide["not_after"] is not None and (narrow["not_after"] is None or narrow["not_after"] > wide["not_after"]):
        return f"the window closes after that of policy {wide['name']!r}"
    if "cedar" in wide and narrow.get("cedar") != wide["cedar"]:
        return f"the Cedar text of policy {wide['name']!r} is not carried on unchanged"
    return None
