"""Admission: the list of small, named, pure rules that every record passes, whoever made it and however it came.

Each rule takes `(record, seal, context)` and returns a `Refusal` or None. Cheap rules run first, the signature last.
`admit` runs them all for a record that is to be appended to a log held here. A walk, which holds parts of logs, runs
the same rules but for those of the log's end (`LOG_RULES`), which it replaces by proofs.
Normative text: docs/spec/admission.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Self

from tslg.protocol.cid import hash_name
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.concerns import OF_POLICIES, OF_SHAPE
from tslg.protocol.errors import Refusal
from tslg.protocol.flat import recover
from tslg.protocol.record import Edge, Record
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
from tslg.protocol.rules.context import Context, Rule
from tslg.protocol.rules.edges import rule_cross_agent, rule_edges, rule_form
from tslg.protocol.rules.federation import rule_envelope, rule_expiry
from tslg.protocol.rules.forks import rule_equivocation
from tslg.protocol.rules.joint import rule_bearer, rule_joint
from tslg.protocol.rules.log import rule_log, rule_revoked, rule_rollback
from tslg.protocol.rules.pruning import rule_gc_policy, rule_prune, rule_summary
from tslg.protocol.rules.recording import rule_binding, rule_recording
from tslg.protocol.rules.redaction import rule_redaction
from tslg.protocol.rules.seals import rule_key, rule_seal, rule_suite
from tslg.protocol.rules.standing import rule_correction, rule_in_force
from tslg.protocol.rules.steps import rule_state, rule_step, rule_turn
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
    rule_recording,
    rule_step,
    rule_state,
    rule_access,
    rule_checkpoint,
    rule_gc_policy,
    rule_prune,
    rule_summary,
    rule_artifact,
    rule_evaluation,
    rule_transition,
    rule_release,
    rule_key,
    rule_suite,
    rule_binding,
)
"""Rules of one record and its predecessors, in the order in which they run."""

LOG_RULES: Final[tuple[Rule, ...]] = (rule_log, rule_rollback, rule_revoked, rule_turn)
"""Rules of the log's end, for records that are appended here."""

SEAL_RULES: Final[tuple[Rule, ...]] = (rule_seal,)
"""The dearest, and so the last."""

RULES: Final[tuple[Rule, ...]] = STRUCTURE_RULES + LOG_RULES + SEAL_RULES


SHAPE_RULES: Final[tuple[Rule, ...]] = (rule_issuer, rule_classes, rule_manifest, rule_hash, rule_address)
"""Rules that judge alike all records of one `shape`."""

_KEPT: Final = 4_096
"""Shapes that are remembered, and sets of policies cited with one: mere memory, which strangers could fill."""

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
        rule_state,
        rule_artifact,
        rule_evaluation,
        rule_transition,
        rule_release,
    )
)
"""Rules of what a record cites, and does not cite, as what: not judged while edges without a class are left."""


Shape = tuple[object, ...]


def shape(record: Record) -> Shape:
    """Return all that `SHAPE_RULES` and `OF_SHAPE` look at: they need to run once for many records."""
    id = record[0]
    # A hybrid id names its hashes further behind.
    hashes = id[:4] if id[2] else hash_name(id)
    place = record[2], record[7], record[3], record[8], hashes, record[13] is None
    return *place, *record[10], None, *record[11]


class _Concerned(NamedTuple):
    """The rules that can refuse records of one shape, without those of the shape itself, in their order.

    Attributes:
        rules: these rules.
        by_policies: of them, those that can refuse records which cite the same policies.
    """

    rules: tuple[Rule, ...]
    by_policies: dict[tuple[Edge, ...], tuple[Rule, ...]]

    @classmethod
    def with_records_like(cls, record: Record, context: Context) -> Self:
        """Ask which rules are concerned with records of this one's shape."""
        rules = tuple(
            rule
            for rule in STRUCTURE_RULES
            if rule not in SHAPE_RULES and (rule not in OF_SHAPE or OF_SHAPE[rule](record, context))
        )
        return cls(rules, {})

    def learn(self, record: Record, context: Context) -> tuple[Rule, ...]:
        """Ask which rules are concerned with records that cite the same policies, and remember it."""
        if len(self.by_policies) >= _KEPT:
            self.by_policies.clear()
        rules = tuple(rule for rule in self.rules if rule not in OF_POLICIES or OF_POLICIES[rule](record, context))
        self.by_policies[record.preds.get("policy", ())] = rules
        return rules


class RuleBook:
    """The rules of records and their predecessors, run for one context.

    It remembers which rules concern records of each shape, so that a walk over many like records need not ask all of
    them. What it remembers holds as long as manifests that the context once knew stay what they are.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._shapes: dict[Shape, _Concerned] = {}

    def refusal(self, record: Record, seal: bytes) -> Refusal | None:
        """Return the refusal of the first of `STRUCTURE_RULES` that the record breaks, or None."""
        return next((refusal for _, refusal in self.refusals((record,), {record.id: seal})), None)

    def refusals(self, records: Iterable[Record], seals: Mapping[Link, bytes]) -> Iterator[tuple[Record, Refusal]]:
        """Yield those of many records, with seals by id, that break one of `STRUCTURE_RULES`, and its refusal."""
        context, shapes = self._context, self._shapes
        for record in records:
            seal = seals[record[0]]
            concerned = shapes.get(shape(record))
            if concerned is None:
                refusal = self._judge_anew(record, seal)
                if refusal is not None:
                    yield record, refusal
                continue
            rules = concerned[1].get(record[10].get("policy", ()))
            for rule in rules or concerned.learn(record, context):
                refusal = rule(record, seal, context)
                if refusal is not None:
                    yield record, refusal
                    break

    def _judge_anew(self, record: Record, seal: bytes) -> Refusal | None:
        """Judge a record of a shape that is not remembered."""
        context = self._context
        if record.agent is None:
            # A log's first record is its own place, which the shape does not tell.
            return judge(record, seal, context, STRUCTURE_RULES)
        if FLAT in record.preds:
            return self._flat(record, seal)
        refusal = judge(record, seal, context, SHAPE_RULES)
        if refusal is not None:
            return refusal
        if len(self._shapes) >= _KEPT:
            self._shapes.clear()
        concerned = self._shapes[shape(record)] = _Concerned.with_records_like(record, context)
        return judge(record, seal, context, concerned.learn(record, context))

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

    def admit(self, record: Record, seal: bytes, *, sealed: bool = False) -> None:
        """Pass the record through every rule, those of the log's end and the seal included. Raises Refusal.

        With `sealed`, whoever calls has just made the seal of what the record's place demands: its rule is not asked.
        """
        last = LOG_RULES if sealed else LOG_RULES + SEAL_RULES
        refusal = self.refusal(record, seal) or judge(record, seal, self._context, last)
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
