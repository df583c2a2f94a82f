"""The one table of predecessor classes: what an edge of each means, and which records it may lead to.

Admission, the published tables and the agent's interface are all driven by it; docs/spec/kinds.md is checked against it
by a test.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

OWN: Final = "own"
OTHER: Final = "other"
FLAT: Final = "any"
"""Stands for all classes in the records of a flat federation: see `protocol.flat`."""


class Leads(NamedTuple):
    """Where an edge may lead.

    Attributes:
        log: `own` or `other`, seen from the citing record; None for either.
        kinds: of which kind the cited record is; None for any.
        field: a body field that the cited record has; None for none in particular.
    """

    log: str | None = None
    kinds: frozenset[str] | None = None
    field: str | None = None


class EdgeClass(NamedTuple):
    """A predecessor class: what the cited record is to the citing one, and which records it may be."""

    meaning: str
    leads: Leads = Leads()


def _to(kinds: str, log: str | None = None, field: str | None = None) -> Leads:
    return Leads(log, frozenset(kinds.split()), field)


STATEMENTS: Final = (
    "state action decision observation verification correction amendment inference rejection decomposition composite "
    "artifact evaluation advisory transition release"
)
"""Kinds that state something which can turn out wrong or be superseded."""
AUTHORITY: Final = "policy delegation consensus joint-authorization access-rule"
"""Kinds that confer authority; they are withdrawn, never corrected."""

_PRUNABLE = (
    "action composite consensus decision decomposition delegation evaluation inference joint-authorization observation "
    "policy rejection state verification"
)
PRUNABLE: Final = frozenset(_PRUNABLE.split())
"""Kinds whose bytes a gc policy may let go of. Keys, manifests, what ends or changes the standing of other records, and
the commitments themselves are kept for good: without them nobody could judge what is left."""

CLASSES: Final[Mapping[str, EdgeClass]] = {
    "prior": EdgeClass("the state it derives from", Leads(OWN)),
    "policy": EdgeClass("what authorises it", _to("policy")),
    "evidence": EdgeClass("what it consumed"),
    "delegation": EdgeClass("the other agent's record that conferred the authority", _to("delegation", OTHER)),
    "answers": EdgeClass("the delegation that it answers, and thereby ends", _to("delegation", OTHER)),
    "amends": EdgeClass("the record that it supersedes, which stays as it is", _to(STATEMENTS)),
    "corrects": EdgeClass("the record whose statement of fact it puts right", _to(STATEMENTS)),
    "retracts": EdgeClass(
        "the record that its author no longer stands by", _to(f"{STATEMENTS} retraction {AUTHORITY}")
    ),
    "counters": EdgeClass("what speaks against it, and was weighed"),
    "absence": EdgeClass("the observation that something sought was not there", _to("observation", field="sought")),
    "observes": EdgeClass("what was seen and not consumed"),
    "counterfactual": EdgeClass(
        "the alternative that was considered and not adopted", _to("decision state action observation")
    ),
    "consensus": EdgeClass("the committed proposal that put it in place", _to("consensus")),
    "joint": EdgeClass("the authorisation that several agents gave together", _to("joint-authorization")),
    "part": EdgeClass("what it is composed of, or was decomposed from"),
    "parent": EdgeClass("the artifact that it derives from", _to("artifact")),
}
"""Predecessor classes: what each means, and where its edges lead."""

ELSEWHERE: Final[Mapping[tuple[str, str], Leads]] = {
    ("manifest-amendment", "amends"): _to("manifest manifest-amendment", OWN),
    ("policy", "amends"): _to("policy", OWN),
    ("peer-set", "amends"): _to("peer-set", OWN),
    ("correction-policy", "amends"): _to("correction-policy", OWN),
    ("gc-policy", "amends"): _to("gc-policy", OWN),
    ("prune", "policy"): _to("policy gc-policy"),
    ("inference", "part"): _to("decomposition", OWN),
    ("rejection", "part"): _to("decomposition", OWN),
    ("decomposition", "part"): _to("decomposition", OWN),
}
"""Kinds whose edges of a class lead elsewhere than those of other kinds."""

ACTS: Final[Mapping[str, str]] = {"correction": "corrects", "amendment": "amends", "retraction": "retracts"}
"""Kinds that exist to speak of another record's standing, and the class under which they cite it."""
