"""Admission: the list of small, named, pure rules that every record passes, whoever made it and however it came.

Each rule takes `(record, seal, context)` and returns a `Refusal` or None. Cheap rules run first, the signature last.
`admit` runs them all for a record that is to be appended to a log held here. A walk, which holds parts of logs, runs
the same rules but for those of the log's end (`LOG_RULES`), which it replaces by proofs.
Normative text: docs/spec/admission.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tslg.protocol.chains import JOINT
from tslg.protocol.cid import hash_name
from tslg.protocol.classes import ACTS, FLAT
from tslg.protocol.errors import Refusal
from tslg.protocol.flat import recover
from tslg.protocol.kinds import KINDS, SCOPE
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.protocol.rules.access import rule_access
from tslg.protocol.rules.answers import rule_answer
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
from tslg.protocol.rules.log import rule_log, rule_revoked, rule_rollback
from tslg.protocol.rules.pruning import rule_gc_policy, rule_prune, rule_summary
from tslg.protocol.rules.redaction import rule_redaction
from tslg.protocol.rules.seals import fits, rule_key, rule_seal, rule_suite
from tslg.protocol.rules.standing import rule_correction, rule_in_force
from tslg.protocol.rules.structure import (
    rule_address,
    rule_classes,
    rule_clock,
    rule_fan_in,
    rule_hash,
    rule_issuer,
    rule_manifest,
)
from tslg.protocol.rules.together import rule_consensus
from tslg.protocol.rules.verifications import rule_verification

STRUCTURE_RULES: Final[tuple[Rule, ...]] = (
    rule_issuer,
    rule_form,
    rule_classes,
    rule_manifest,
    rule_hash,
    rule_address,
    rule_fan_in,
    rule_clock,
    rule_expiry,
    rule_edges,
    rule_cross_agent,
    rule_commitments,
    rule_scope,
    rule_vocabulary,
    rule_narrowing,
    rule_delegation,
    rule_granted,
    rule_principal,
    rule_delegating,
    rule_answer,
    rule_in_force,
    rule_correction,
    rule_registration,
    rule_attestation,
    rule_revocation,
    rule_target,
    rule_verification,
    rule_consensus,
    rule_bearer,
    rule_joint,
    rule_anchors,
    rule_envelope,
    rule_equivocation,
    rule_redaction,
    rule_access,
    rule_checkpoint,
    rule_gc_policy,
    rule_prune,
    rule_summary,
    rule_key,
    rule_suite,
)
"""Rules of one record and its predecessors, in the order in which they run."""

LOG_RULES: Final[tuple[Rule, ...]] = (rule_log, rule_rollback, rule_revoked)
"""Rules of the log's end, for records that are appended here."""

SEAL_RULES: Final[tuple[Rule, ...]] = (rule_seal,)
"""The dearest, and so the last."""

RULES: Final[tuple[Rule, ...]] = STRUCTURE_RULES + LOG_RULES + SEAL_RULES


SHAPE_RULES: Final[tuple[Rule, ...]] = (rule_issuer, rule_classes, rule_manifest, rule_hash, rule_address)
"""Rules that judge alike all records of one `shape`."""

Concern = Callable[[Record, Context], bool]


def _kinds(*kinds: str) -> Concern:
    return lambda record, context: record.kind in kinds


def _classes(*classes: str) -> Concern:
    return lambda record, context: not record.preds.keys().isdisjoint(classes)


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


def _other_suite(record: Record, context: Context) -> bool:
    """A key that is not at hand has been refused by then."""
    manifest = manifest_in_force(record, context)
    key = None if record.key is None else context.key(record.key)
    if manifest is None or key is None:
        return record.key is not None
    return not fits(key, manifest)


def _may_be_flat(record: Record, context: Context) -> bool:
    manifest = manifest_in_force(record, context)
    return manifest is not None and manifest.envelope.edges == "flat"


_CONCERNS: Final[dict[Rule, Concern]] = {
    rule_form: _may_be_flat,
    rule_fan_in: _narrow_fan_in,
    rule_expiry: _may_expire,
    rule_edges: lambda record, context: bool(record.preds),
    rule_cross_agent: _closed,
    rule_scope: lambda record, context: (
        "policy" in record.preds or not SCOPE.keys().isdisjoint(KINDS[record.kind].fields)
    ),
    rule_commitments: lambda record, context: "narrowing" in KINDS[record.kind].fields,
    rule_vocabulary: _kinds("policy"),
    rule_narrowing: _kinds("policy"),
    rule_delegation: _classes("delegation"),
    rule_granted: _classes("policy"),
    rule_principal: lambda record, context: "principal" in KINDS[record.kind].fields,
    rule_delegating: _kinds("delegation"),
    rule_answer: _kinds("answer"),
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
    rule_access: _kinds("access-rule"),
    rule_suite: _other_suite,
    rule_checkpoint: _kinds("observation"),
    rule_gc_policy: _kinds("gc-policy"),
    rule_prune: _kinds("prune"),
    rule_summary: _kinds("summary"),
}
"""Which shapes a rule can refuse at all; it admits every record of any other shape."""


_OF_CLASSES: Final[frozenset[Rule]] = frozenset(
    (
        rule_classes,
        rule_commitments,
        rule_scope,
        rule_vocabulary,
        rule_narrowing,
        rule_delegation,
        rule_granted,
        rule_principal,
        rule_delegating,
        rule_answer,
        rule_in_force,
        rule_correction,
        rule_target,
        rule_verification,
        rule_consensus,
        rule_bearer,
        rule_joint,
        rule_checkpoint,
        rule_redaction,
        rule_prune,
        rule_summary,
        rule_equivocation,
    )
)
"""Rules of what a record cites, and does not cite, as what: not judged while edges without a class are left."""


def shape(record: Record) -> tuple[object, ...]:
    """Return all that `SHAPE_RULES` and `rules_of_a_walk` look at: they need to run once for many records."""
    id = record[0]
    # A hybrid id names its hashes further behind.
    hashes = id[:4] if id[2] else hash_name(id)
    return (record[2], record[7], record[3], record[8], hashes, record[13] is None, tuple(record[10]))


def rules_of_a_walk(record: Record, context: Context) -> tuple[Rule, ...]:
    """Return the rules that can refuse a record of this shape in a walk, without those of the shape itself.

    The rules of a log's end do not belong to a walk, which replaces them by proofs; the seal is judged on its own.
    """
    return tuple(
        rule
        for rule in STRUCTURE_RULES
        if rule not in SHAPE_RULES and (rule not in _CONCERNS or _CONCERNS[rule](record, context))
    )


class RuleBook:
    """The rules of records and their predecessors, run for one context.

    It remembers which rules concern records of each shape, so that a walk over many like records need not ask all of
    them. What it remembers holds as long as manifests that the context once knew stay what they are.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rules: dict[tuple[object, ...], tuple[Rule, ...]] = {}

    def refusal(self, record: Record, seal: bytes) -> Refusal | None:
        """Return the refusal of the first of `STRUCTURE_RULES` that the record breaks, or None."""
        context = self._context
        if record.agent is None:
            # A log's first record is its own place, which the shape does not tell.
            return judge(record, seal, context, STRUCTURE_RULES)
        kept = shape(record)
        rules = self._rules.get(kept)
        if rules is None:
            if FLAT in record.preds:
                return self._flat(record, seal)
            refusal = judge(record, seal, context, SHAPE_RULES)
            if refusal is not None:
                return refusal
            rules = self._rules[kept] = rules_of_a_walk(record, context)
        for rule in rules:
            refusal = rule(record, seal, context)
            if refusal is not None:
                return refusal
        return None

    def _flat(self, record: Record, seal: bytes) -> Refusal | None:
        """Judge a record by the classes that its edges are recovered to have."""
        context = self._context
        refusal = judge(record, seal, context, (rule_issuer, rule_manifest, rule_form))
        if refusal is not None:
            return refusal
        recovered = recover(record, context.record)
        if FLAT not in recovered.preds:
            return self.refusal(recovered, seal)
        # Some lead to what is not at hand. Admission refuses that; a walk judges what needs no class.
        rules = tuple(rule for rule in STRUCTURE_RULES if rule not in _OF_CLASSES)
        return judge(recovered, seal, context, rules)

    def admit(self, record: Record, seal: bytes) -> None:
        """Pass the record through every rule, those of the log's end and the seal included. Raises Refusal."""
        refusal = self.refusal(record, seal) or judge(record, seal, self._context, LOG_RULES + SEAL_RULES)
        if refusal is not None:
            raise refusal


def judge(record: Record, seal: bytes, context: Context, rules: Sequence[Rule] = RULES) -> Refusal | None:
    """Return the refusal of the first rule that the record breaks, or None. Later rules may rely on earlier ones."""
    for rule in rules:
        refusal = rule(record, seal, context)
        if refusal is not None:
            return refusal
    return None


def admit(record: Record, seal: bytes, context: Context) -> None:
    """Pass the record through every rule.

    Raises:
        Refusal: the code of the first rule broken, the record's id, what is wrong and what would mend it.
    """
    RuleBook(context).admit(record, seal)
