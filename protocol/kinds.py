"""The one table of record kinds: which classes of predecessor each needs and may have, its body, and who may issue it.

Admission, the record parser, the agent's interface and the published tables are all driven by it; docs/spec/kinds.md
is checked against it by a test. The types of fields stand in `tslg.protocol.fields`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tslg.protocol.artifact_fields import ADVISORY, ARTIFACT, EVALUATION, RELEASE, TRANSITION
from tslg.protocol.classes import CLASSES as CLASSES
from tslg.protocol.classes import ELSEWHERE, FLAT, Leads
from tslg.protocol.classes import PRUNABLE as PRUNABLE
from tslg.protocol.fields import (
    AMOUNTS,
    ANCHORS,
    BINDING,
    BLOB,
    BYTES,
    COMMITMENTS,
    CORRECTION_RULES,
    DEPTH,
    DIGEST,
    DIGEST_MAP,
    DIGESTS,
    EFFECT,
    FRONTIER,
    GRAIN,
    GROUP,
    INT,
    LIMITS,
    LINK,
    LINKS,
    MAP,
    MODE,
    MOMENT,
    NAME,
    NAMES,
    NARROWING,
    NONCE,
    OUTCOME,
    PURPOSE,
    READERS,
    SIGNERS,
    SUITE,
    TERMS_OF_VOTE,
    TEXT,
    UINT,
    VERDICT,
    VOTE,
    Field,
    optional,
)
from tslg.protocol.kind import Kind as Kind
from tslg.protocol.withheld import WITHHELD

_BASE: Final = "prior policy evidence delegation"
_WEIGHED: Final = "absence consensus counterfactual counters joint observes part"
"""Classes of whatever an agent does: what it weighed, left aside, or agreed on with others."""


SCOPE: Final[Mapping[str, Field]] = {
    "uses": optional(NAMES),
    "spends": optional(AMOUNTS),
    "class": optional(NAME),
    "tier": optional(NAME),
}
"""What a record claims of its policies: capabilities used, amounts spent, governance class and tier."""

_PROVED: Final[Mapping[str, Field]] = {"narrowing": optional(NARROWING)}
"""Proofs that it stays within policies that are confidential, named by their digests."""

_MANIFEST_BODY: Final[Mapping[str, Field]] = {
    "nonce": NONCE,
    "name": NAME,
    "version": UINT,
    "anchors": ANCHORS,
    "envelope": MAP,
    "expires": optional(UINT),
}

_STEP: Final[Mapping[str, Field]] = {
    "model": NAME,
    "model_version": NAME,
    "inputs": DIGEST_MAP,
    "intent": NAME,
    "grain": optional(GRAIN),
    "token": optional(BYTES),
    "activations": optional(DIGEST),
    "facts": optional(DIGEST),
    "scratch": optional(DIGEST),
    "tools": optional(DIGEST),
    "before": optional(DIGEST),
    **SCOPE,
    **_PROVED,
}
"""What every outcome of a governed inference states: the model, digests of its inputs, and what it was meant for.

The digests of what else there was are there just if the manifest asks for them: see `tslg.protocol.recording`.
"""


def _kind(
    name: str,
    meaning: str,
    fields: Mapping[str, Field],
    *,
    mandatory: str = "",
    also: str = "",
    issuer: str = "agent",
    first: bool = False,
) -> Kind:
    needed = frozenset(mandatory.split())
    required = frozenset(field for field, spec in fields.items() if spec.required)
    valid = {field: spec.valid for field, spec in fields.items()}
    allowed = needed | frozenset(also.split())
    leads = {cls: ELSEWHERE.get((name, cls), CLASSES[cls].leads) for cls in CLASSES}
    restricted = {cls: None if where == Leads() else where for cls, where in leads.items()}
    # Where an edge leads whose class is not recovered yet, nobody can say.
    restricted[FLAT] = None
    committed = tuple(WITHHELD.get(name, "").split())
    return Kind(name, issuer, first, needed, allowed, fields, meaning, required, valid, restricted, committed)


KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind
    for kind in (
        _kind(
            "manifest", "a federation's trust anchor and parameters", _MANIFEST_BODY, issuer="federation", first=True
        ),
        _kind(
            "manifest-amendment",
            "the next version of a manifest",
            _MANIFEST_BODY,
            mandatory="amends",
            issuer="federation",
        ),
        _kind(
            "genesis",
            "starts an agent's log and holds its first key",
            {
                "nonce": NONCE,
                "name": NAME,
                "alg": INT,
                "key": BYTES,
                "binding": BINDING,
                "attestation": optional(BYTES),
                "post_quantum": optional(SUITE),
                "federations": optional(LINKS),
            },
            first=True,
        ),
        _kind(
            "registration",
            "adds a verification key, or binds a peer id",
            {
                "purpose": PURPOSE,
                "alg": optional(INT),
                "key": optional(BYTES),
                "binding": optional(BINDING),
                "attestation": optional(BYTES),
                "post_quantum": optional(SUITE),
                "peer_id": optional(BYTES),
                "addresses": optional(NAMES),
            },
            mandatory="prior",
        ),
        _kind(
            "policy",
            "what may be done, within which limits and when",
            {
                "name": NAME,
                "capabilities": NAMES,
                "limits": LIMITS,
                "classes": NAMES,
                "tiers": NAMES,
                "not_before": MOMENT,
                "not_after": MOMENT,
                "cedar": optional(TEXT),
                "document": optional(BLOB),
                "commitments": optional(COMMITMENTS),
                **_PROVED,
            },
            mandatory="prior",
            also=f"{_BASE} amends consensus joint",
            issuer="agent or federation",
        ),
        _kind(
            "state",
            "what the agent is in from here on",
            {"name": optional(NAME), "data": MAP, **SCOPE, **_PROVED},
            mandatory="prior",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "action",
            "something done, under a policy",
            {
                "name": NAME,
                "input": optional(MAP),
                "output": optional(MAP),
                "blob": optional(BLOB),
                "principal": optional(LINK),
                "terms": optional(TERMS_OF_VOTE),
                **SCOPE,
                **_PROVED,
            },
            mandatory="policy",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "decision",
            "something decided, under a policy and on evidence",
            {
                "name": NAME,
                "outcome": TEXT,
                "reason": optional(TEXT),
                "data": optional(MAP),
                "blob": optional(BLOB),
                "principal": optional(LINK),
                "vote": optional(VOTE),
                **SCOPE,
                **_PROVED,
            },
            mandatory="policy evidence",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "delegation",
            "hands a task and a granted policy to another agent",
            {"delegate": LINK, "task": MAP, "grant": LINK, "expires": UINT, "hops": UINT},
            mandatory="policy",
            also=f"{_BASE} consensus joint",
        ),
        _kind(
            "answer",
            "what became of a delegation, which is over with it",
            {"outcome": OUTCOME, "reason": optional(TEXT)},
            mandatory="answers",
            also="evidence",
        ),
        _kind(
            "observation",
            "something perceived, or sought and not found",
            {
                "source": NAME,
                "data": optional(MAP),
                "blob": optional(BLOB),
                "sought": optional(TEXT),
                "checkpoint": optional(BYTES),
            },
            mandatory="prior",
            also=f"{_BASE} observes part",
        ),
        _kind(
            "verification",
            "an auditor's own finding on another record",
            {
                "target": LINK,
                "verdict": VERDICT,
                "depth": DEPTH,
                "signatures": MODE,
                "edges": UINT,
                "records": UINT,
                "report": DIGEST,
                "frontier": FRONTIER,
                "relied": optional(LINKS),
            },
            mandatory="evidence",
            also=f"{_BASE} counters",
        ),
        _kind(
            "consensus",
            "a committed proposal, with the votes for and against it",
            {"proposal": LINK, "electorate": LINKS, "threshold": UINT},
            mandatory="evidence",
            also=_BASE,
        ),
        _kind(
            "joint-authorization",
            "what several agents authorise together",
            {
                "name": NAME,
                "data": optional(MAP),
                "signers": SIGNERS,
                "threshold": UINT,
                "expires": MOMENT,
                "bearers": optional(LINKS),
                "group": optional(GROUP),
            },
            mandatory="policy",
            also=_BASE,
        ),
        _kind(
            "correction",
            "puts right what another record states as fact",
            {"reason": TEXT, "data": MAP},
            mandatory="corrects",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "amendment",
            "supersedes another record, which stays as it is",
            {"reason": TEXT, "data": MAP},
            mandatory="amends",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "retraction",
            "withdraws another record",
            {"reason": TEXT},
            mandatory="retracts",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "revocation",
            "ends a verification key at a position of the log",
            {"key": LINK, "from_seq": UINT, "reason": TEXT},
            mandatory="prior",
            also="policy evidence",
        ),
        _kind(
            "redaction",
            "names what was destroyed of another record, and on whose authority",
            {"target": LINK, "fields": NAMES, "blobs": DIGESTS, "reason": TEXT},
            mandatory="policy evidence",
            also=_BASE,
            issuer="agent or federation",
        ),
        _kind(
            "prune",
            "lets go of the bytes of earlier records, whose ids and places stay provable",
            {"before": UINT, "count": UINT, "root": DIGEST},
            mandatory="policy evidence",
            also="prior",
        ),
        _kind(
            "summary",
            "stands for a stretch of the log: a commitment to it, and records that represent it",
            {"first": UINT, "last": UINT, "root": DIGEST, "data": optional(MAP)},
            mandatory="part",
            also=_BASE,
        ),
        _kind(
            "access-rule",
            "lets others read records of the log that it lies in, or keeps these records from others",
            {
                "effect": EFFECT,
                "readers": READERS,
                "records": optional(LINKS),
                "kinds": optional(NAMES),
                "first": optional(UINT),
                "last": optional(UINT),
                "fields": optional(NAMES),
                "expires": MOMENT,
                "reason": optional(TEXT),
            },
            mandatory="prior",
            also="policy evidence",
        ),
        _kind(
            "equivocation",
            "shows two records that one author sealed for one position",
            {"agent": LINK, "seq": UINT, "reason": optional(TEXT)},
            mandatory="evidence",
            also=_BASE,
        ),
        _kind(
            "peer-set",
            "agents whose records others in the federation may cite",
            {"name": NAME, "members": LINKS},
            mandatory="prior",
            also="amends",
            issuer="federation",
        ),
        _kind(
            "correction-policy",
            "who may correct, amend and retract records of which kinds",
            {"name": NAME, "rules": CORRECTION_RULES},
            mandatory="prior",
            also="amends",
            issuer="federation",
        ),
        _kind(
            "gc-policy",
            "what storage may let go of, and what it keeps",
            {"name": NAME, "horizon_ms": UINT, "keep": optional(UINT), "kinds": NAMES, "summarised": optional(NAMES)},
            mandatory="prior",
            also="amends",
            issuer="federation",
        ),
        _kind(
            "inference",
            "a model's step that was admitted",
            {**_STEP, "output": optional(DIGEST), "after": optional(DIGEST)},
            mandatory="prior policy",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "rejection",
            "a model's step that was not admitted, at which stage and why",
            {
                **_STEP,
                "output": optional(DIGEST),
                "stage": NAME,
                "rule": optional(NAME),
                "reason": TEXT,
                "after": optional(DIGEST),
            },
            mandatory="prior policy",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "decomposition",
            "a model's step that was admitted in parts",
            {**_STEP, "output": optional(DIGEST), "parts": optional(UINT), "reason": TEXT},
            mandatory="prior policy",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "composite",
            "a result put together from parts, and by which rule",
            {**_STEP, "output": DIGEST, "rule": NAME},
            mandatory="prior policy part",
            also=f"{_BASE} {_WEIGHED}",
        ),
        _kind(
            "artifact",
            "a package of files, such as a model or a data set: what it holds, and what it was made of and with",
            ARTIFACT,
            mandatory="prior",
            also=f"{_BASE} parent part",
        ),
        _kind(
            "evaluation",
            "what one exact package scored on a suite of tests, what it passed, and what that resolves",
            EVALUATION,
            mandatory="evidence",
            also=f"{_BASE} counters",
        ),
        _kind(
            "advisory",
            "what became known of an artifact after it was made: vulnerabilities, restrictions, licences withdrawn",
            ADVISORY,
            mandatory="evidence",
            also=_BASE,
        ),
        _kind(
            "transition",
            "moves an artifact from one lifecycle state to the next",
            TRANSITION,
            mandatory="policy evidence",
            also=f"{_BASE} consensus joint",
        ),
        _kind(
            "release",
            "points an alias at an artifact from here on",
            RELEASE,
            mandatory="policy evidence",
            also=f"{_BASE} consensus joint",
        ),
    )
}
"""Every kind that this version reads and writes, by name."""
