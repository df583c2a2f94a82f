"""Which records a rule of admission can refuse at all, so that no rule need run for a record of another shape.

Every rule admits what it is not concerned with, and this only says so beforehand. What a concern is asked once for, it
answers for all records that are alike in everything it looks at: see `tslg.protocol.admission.RuleBook`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tslg.protocol.chains import JOINT
from tslg.protocol.classes import ACTS, FLAT
from tslg.protocol.kinds import SCOPE
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.protocol.recording import STEPS
from tslg.protocol.rules.access import rule_access
from tslg.protocol.rules.answers import rule_answer
from tslg.protocol.rules.artifacts import rule_artifact, rule_evaluation, rule_release, rule_transition
from tslg.protocol.rules.authority import (
    rule_delegating,
    rule_delegation,
    rule_granted,
    rule_narrowing,
    rule_principal,
    rule_scope,
    rule_vocabulary,
)
from tslg.protocol.rules.bodies import rule_anchors, rule_attestation, rule_registration, rule_revocation, rule_target
from tslg.protocol.rules.checkpoints import rule_checkpoint
from tslg.protocol.rules.confidential import rule_commitments
from tslg.protocol.rules.context import MANIFEST_KINDS, Context, Rule, manifest_in_force
from tslg.protocol.rules.edges import rule_cross_agent, rule_edges, rule_form
from tslg.protocol.rules.federation import rule_envelope, rule_expiry
from tslg.protocol.rules.forks import rule_equivocation
from tslg.protocol.rules.joint import rule_bearer, rule_joint
from tslg.protocol.rules.pruning import rule_gc_policy, rule_prune, rule_summary
from tslg.protocol.rules.recording import rule_binding, rule_recording
from tslg.protocol.rules.redaction import rule_redaction
from tslg.protocol.rules.seals import fits, rule_key, rule_suite
from tslg.protocol.rules.standing import rule_correction, rule_in_force
from tslg.protocol.rules.steps import rule_state, rule_step
from tslg.protocol.rules.structure import rule_fan_in
from tslg.protocol.rules.together import rule_consensus
from tslg.protocol.rules.verifications import rule_verification

Concern = Callable[[Record, Context], bool]


def _kinds(*kinds: str) -> Concern:
    return lambda record, context: record.kind in kinds


def _classes(*classes: str) -> Concern:
    return lambda record, context: not record.preds.keys().isdisjoint(classes)


def _fields(*fields: str) -> Concern:
    return lambda record, context: not record.body.keys().isdisjoint(fields)


def _narrow_fan_in(record: Record, context: Context) -> bool:
    """The parser holds the widest bounds: at most `Limits.fan_in` edges, and no class without one."""
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return False
    return not record.preds or manifest.envelope.fan_in_max < DEFAULT.fan_in


def _closed(record: Record, context: Context) -> bool:
    manifest = manifest_in_force(record, context)
    return manifest is not None and manifest.envelope.cross_agent is not None


def _may_expire(record: Record, context: Context) -> bool:
    manifest = manifest_in_force(record, context)
    return record.kind in MANIFEST_KINDS or (manifest is not None and manifest.expires is not None)


def _may_be_flat(record: Record, context: Context) -> bool:
    manifest = manifest_in_force(record, context)
    return manifest is not None and manifest.envelope.edges == "flat"


def _other_key(record: Record, context: Context) -> bool:
    """A key in its owner's first record speaks for all that follow. What is admitted may yet be undone, keys too."""
    if context.complete or record.agent == context.federation or record.key is None:
        return True
    key = context.key(record.key)
    return key is None or key.owner != record.agent or key.seq > 0


def _other_suite(record: Record, context: Context) -> bool:
    """A key that is not at hand has been refused by then."""
    manifest = manifest_in_force(record, context)
    key = None if record.key is None else context.key(record.key)
    if manifest is None or key is None:
        return record.key is not None
    return not fits(key, manifest)


def _other_binding(record: Record, context: Context) -> bool:
    """As `_other_suite`."""
    if record.key is not None and context.key(record.key) is None:
        return record.kind in STEPS
    return rule_binding(record, b"", context) is not None


def _scoped(record: Record, context: Context) -> bool:
    """Without claims it is the time that counts, where a policy has a window."""
    if not SCOPE.keys().isdisjoint(record.body):
        return True
    cited = [context.record(edge.cid) for edge in record.preds.get("policy", ())]
    return any(one is None or (one.kind == "policy" and _has_window(one)) for one in cited)


def _has_window(policy: Record) -> bool:
    return policy.body["not_before"] is not None or policy.body["not_after"] is not None


def _granted(record: Record, context: Context) -> bool:
    """A policy of its own, or of the federation's, that rests on no delegation needs none."""
    for edge in record.preds.get("policy", ()):
        if edge.agent is not None and edge.agent != context.federation:
            return True
        held = context.record(edge.cid)
        if edge.agent is None and (held is None or not held.preds.keys().isdisjoint(("delegation", FLAT))):
            return True
    return False


OF_POLICIES: Final[dict[Rule, Concern]] = {
    rule_scope: _scoped,
    rule_granted: _granted,
}
"""Rules whose concern is which policies a record cites, of records whose shape is the same."""

OF_SHAPE: Final[dict[Rule, Concern]] = {
    rule_form: _may_be_flat,
    rule_fan_in: _narrow_fan_in,
    rule_expiry: _may_expire,
    rule_edges: lambda record, context: bool(record.preds),
    rule_cross_agent: _closed,
    rule_commitments: _fields("narrowing", "commitments"),
    rule_vocabulary: _kinds("policy"),
    rule_narrowing: _kinds("policy"),
    rule_delegation: _classes("delegation"),
    rule_principal: _fields("principal"),
    rule_delegating: _kinds("delegation"),
    rule_answer: _kinds("answer"),
    rule_access: _kinds("access-rule"),
    rule_in_force: _classes("policy", "delegation", "joint", "consensus", "answers"),
    rule_correction: _kinds(*ACTS),
    rule_registration: _kinds("genesis", "registration"),
    rule_attestation: _kinds("genesis", "registration"),
    rule_revocation: _kinds("revocation"),
    rule_target: _kinds("verification"),
    rule_verification: _kinds("verification"),
    rule_consensus: _kinds("consensus"),
    rule_bearer: _classes("joint"),
    rule_joint: _kinds(JOINT),
    rule_anchors: _kinds(*MANIFEST_KINDS),
    rule_envelope: _kinds(*MANIFEST_KINDS),
    rule_equivocation: _kinds("equivocation"),
    rule_redaction: _kinds("redaction"),
    # It looks at nothing but the shape: what one record of it breaks, all do.
    rule_step: lambda record, context: rule_step(record, b"", context) is not None,
    rule_state: _fields("before"),
    rule_recording: lambda record, context: rule_recording(record, b"", context) is not None,
    rule_binding: _other_binding,
    rule_key: _other_key,
    rule_suite: _other_suite,
    rule_checkpoint: _fields("checkpoint"),
    rule_gc_policy: _kinds("gc-policy"),
    rule_prune: _kinds("prune"),
    rule_summary: _kinds("summary"),
    rule_artifact: _kinds("artifact"),
    rule_evaluation: _kinds("evaluation", "advisory"),
    rule_transition: _kinds("transition"),
    rule_release: _kinds("release"),
}
"""Rules whose concern is the shape of a record; a rule that is neither here nor there concerns every record."""
