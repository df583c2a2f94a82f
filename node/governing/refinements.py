"""Mining rejections for what a policy lacks: rules that refuse most or never, what was admitted in the end, and gaps.

What stands in a record is all that is asked: facts are not recorded, so rules, Cedar and predicates cannot be asked
again, and a report says *unknown* of what only they could tell. A policy's document is read as data; nothing that it
names is loaded. See docs/guide/read-back.md.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tslg.node.governing import policy_file
from tslg.node.governing.errors import GatePolicyError
from tslg.node.governing.reports import ALWAYS, STEPS, WITHHELD, Tick, Window, intent_of, policies_of, rule_of, steps
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.governing.policy import ANY_INTENT, POLICY
from tslg.protocol.limits import DEFAULT
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record

MOST_EXAMPLES: Final = 20
"""Near misses and retries told of one policy: the newest."""
YES: Final = "yes"
NO: Final = "no"
UNKNOWN: Final = "unknown"


class NearMiss(NamedTuple):
    """A rejection for one reason only, or (`alone` is `unknown`) for one of the policy's terms, rules being unasked."""

    rejection: Record
    alone: str


class Retry(NamedTuple):
    """A rejection, and a later step of its agent with the same intent and inputs that was admitted."""

    rejection: Link
    admitted: Link


@dataclass(slots=True)
class Refusing:
    """What one rule or term of a policy refused.

    Attributes:
        stage, rule: which.
        count: how many steps.
        retried: how many of them were admitted later, with the same intent and inputs.
        alone: how many were refused for this reason only; `unknown` how many may have been.
        newest: the newest of them.
    """

    stage: str
    rule: str
    count: int = 0
    retried: int = 0
    alone: int = 0
    unknown: int = 0
    newest: Record | None = None


@dataclass(slots=True)
class PolicyUse:
    """What became of one policy.

    Attributes:
        policy: its record, None if that is not held.
        id: its id.
        document: the parsed text of it, None if it has none or that is not at hand.
        steps: how many steps of each kind were taken under it.
        refusing: what refused how much, the most first.
        never_fired: rules that refused nothing.
        unused_intents: intents that it names and no step had.
        unused_classes, unused_capabilities: what it grants and no admitted step had.
        gaps: intents that no entry of it names, and how many steps asked for each: refused, or let in by `*`.
        near_misses: the newest rejections for one reason only.
        retries: the newest rejections that were followed by an admitted step.
    """

    id: Link
    policy: Record | None = None
    document: Mapping[str, Any] | None = None
    steps: Counter[str] = field(default_factory=Counter)
    refusing: list[Refusing] = field(default_factory=list)
    never_fired: list[str] = field(default_factory=list)
    unused_intents: list[str] = field(default_factory=list)
    unused_classes: list[str] = field(default_factory=list)
    unused_capabilities: list[str] = field(default_factory=list)
    gaps: Counter[str] = field(default_factory=Counter)
    near_misses: list[NearMiss] = field(default_factory=list)
    retries: list[Retry] = field(default_factory=list)


def refinements(store: Store, window: Window = ALWAYS, tick: Tick | None = None) -> list[PolicyUse]:
    """Return what became of each policy under which steps of a window were taken, the most refusing first."""
    miner = _Miner(store)
    for record in steps(store, ("rejection", *(kind for kind in STEPS if kind != "rejection")), window, tick):
        miner.add(record)
    return miner.finish()


class _Miner:
    """Takes in steps, rejections first, of each kind newest first."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._uses: dict[Link, PolicyUse] = {}
        self._intents: dict[Link, Counter[str]] = {}
        self._refused: dict[Link, set[str]] = {}
        self._classes: dict[Link, set[str]] = {}
        self._capabilities: dict[Link, set[str]] = {}
        self._refusing: dict[tuple[Link, str, str], Refusing] = {}
        self._waiting: dict[tuple[object, ...], list[tuple[Record, Link, Refusing]]] = {}
        """Rejections by agent, intent and inputs, that an admitted step may follow."""
        self._followed: dict[tuple[object, ...], tuple[int, Link]] = {}
        """By the same, the latest place of an admitted step."""

    def add(self, record: Record) -> None:
        """Take in one step."""
        if record.kind == "rejection":
            self._reject(record)
        else:
            key = _same(record)
            if key in self._waiting and record.seq > self._followed.get(key, (-1,))[0]:
                self._followed[key] = record.seq, record.id
        for policy in policies_of(record):
            self._use(policy).steps[record.kind] += 1
            if record.kind == "rejection":
                continue
            self._intents[policy][intent_of(record)] += 1
            if "class" in record.body:
                self._classes[policy].add(record.body["class"])
            self._capabilities[policy].update(record.body.get("uses", ()))

    def _reject(self, record: Record) -> None:
        for policy in policies_of(record):
            use = self._use(policy)
            stage, rule = record.body["stage"], rule_of(record)
            one = self._refusing.get((policy, stage, rule))
            if one is None:
                one = self._refusing[policy, stage, rule] = Refusing(stage, rule)
                use.refusing.append(one)
            one.count += 1
            if one.newest is None or record.time > one.newest.time:
                one.newest = record
            alone = only_reason(record, use.policy, use.document)
            one.alone += alone == YES
            one.unknown += alone == UNKNOWN
            near = alone == YES or (alone == UNKNOWN and stage == POLICY)
            if near and len(use.near_misses) < MOST_EXAMPLES:
                use.near_misses.append(NearMiss(record, alone))
            self._refused[policy].add(intent_of(record))
            if stage == POLICY and rule == "intents":
                use.gaps[intent_of(record)] += 1
            self._waiting.setdefault(_same(record), []).append((record, policy, one))

    def _use(self, policy: Link) -> PolicyUse:
        use = self._uses.get(policy)
        if use is None:
            entry = self._store.get(policy)
            record = None if entry is None else disclosed(policy, entry)
            use = PolicyUse(policy, record, None if record is None else document_of(self._store, record))
            self._uses[policy] = use
            self._intents[policy] = Counter()
            self._classes[policy], self._capabilities[policy], self._refused[policy] = set(), set(), set()
        return use

    def finish(self) -> list[PolicyUse]:
        """Return what was found of each policy."""
        for key, (place, admitted) in self._followed.items():
            for record, policy, one in self._waiting[key]:
                if record.seq < place:
                    one.retried += 1
                    retries = self._uses[policy].retries
                    if len(retries) < MOST_EXAMPLES:
                        retries.append(Retry(record.id, admitted))
        for use in self._uses.values():
            use.refusing.sort(key=lambda one: (-one.count, one.stage, one.rule))
            self._unused(use)
        return sorted(self._uses.values(), key=lambda use: (-use.steps["rejection"], use.id))

    def _unused(self, use: PolicyUse) -> None:
        intents = self._intents[use.id]
        if use.policy is not None:
            use.unused_classes = sorted(set(use.policy.body["classes"]) - self._classes[use.id])
            use.unused_capabilities = sorted(set(use.policy.body["capabilities"]) - self._capabilities[use.id])
        if use.document is None:
            return
        named = _table(use.document, "intents").keys()
        fired = {one.rule for one in use.refusing if one.stage.startswith("rule:")}
        use.never_fired = [name for name in _rules(use.document) if name not in fired]
        use.unused_intents = sorted(set(named) - intents.keys() - self._refused[use.id] - {ANY_INTENT})
        for intent, count in intents.items():
            if intent not in named and intent != WITHHELD:
                use.gaps[intent] += count


def only_reason(rejection: Record, policy: Record | None, document: Mapping[str, Any] | None) -> str:
    """Tell whether a policy's step was refused for one reason only: `yes`, `no`, or `unknown`.

    The terms of a policy are asked before its rules, these before Cedar, and predicates last; the first that refuses is
    recorded. Terms can be asked again from the record, and whatever is asked last has nothing behind it.
    """
    stage: str = rejection.body["stage"]
    if stage == POLICY:
        if policy is None or "commitments" in policy.body:
            return UNKNOWN
        later = document is None or bool(_rules(document)) or "cedar" in document or "predicate" in document
        if len(failing_terms(rejection, policy, document)) > 1:
            return NO
        return UNKNOWN if later else YES
    if document is None or not stage.startswith(("rule:", "cedar", "predicate:")):
        return UNKNOWN
    rules, asked = _rules(document), document.get("predicate", [])
    predicates = [asked] if isinstance(asked, str) else asked
    behind = len(rules) + ("cedar" in document) + len(predicates)
    if stage.startswith("rule:") and rule_of(rejection) in rules:
        behind -= rules.index(rule_of(rejection)) + 1
    elif stage == "cedar":
        behind = len(predicates)
    elif stage.startswith("predicate:") and stage.partition(":")[2] in predicates:
        behind = len(predicates) - predicates.index(stage.partition(":")[2]) - 1
    return UNKNOWN if behind else YES


def failing_terms(rejection: Record, policy: Record, document: Mapping[str, Any] | None) -> set[str]:
    """Return the terms of a policy that a rejected step breaks, as far as its record tells, with the recorded one."""
    body, terms = rejection.body, policy.body
    found = {rule_of(rejection)}
    intents = _table(document or {}, "intents")
    asked = intent_of(rejection) if intent_of(rejection) in intents else ANY_INTENT
    intent = _table(intents, asked)
    if intents and asked not in intents:
        found.add("intents")
    if "tier" in body and body["tier"] not in terms["tiers"]:
        found.add("tiers")
    missing = {*body.get("uses", ()), *_texts(intent.get("uses"))} - set(terms["capabilities"])
    # One capability that is missing is one reason, and the recorded rule does not say which it was.
    found |= {f"capabilities.{name}" for name in sorted(missing)[1:]} | ({"capabilities"} if missing else set())
    limits = _table(intent, "limits")
    for name, amount in body.get("spends", {}).items():
        if name not in terms["limits"]:
            found.add("limits")
        elif amount > terms["limits"][name]:
            found.add(f"limits.{name}")
        elif isinstance(limits.get(name), int) and amount > limits[name]:
            found.add(f"intents.{asked}.limits.{name}")
    return found


def document_of(store: Store, policy: Record) -> Mapping[str, Any] | None:
    """Return the text of a gate's policy as a table; None where it has none, or it is not held or not TOML."""
    blob = policy.body.get("document")
    data = None if blob is None or blob["size"] > DEFAULT.gate_policy_bytes else store.get_blob(blob["digest"])
    if data is None:
        return None
    try:
        return policy_file.table(data)
    except GatePolicyError:
        return None


def _same(record: Record) -> tuple[object, ...]:
    """Return what two steps have in common of which one is a retry of the other."""
    inputs: Mapping[str, bytes] = record.body.get("inputs", {})
    return record.owner, intent_of(record), *sorted(inputs.items())


def _rules(document: Mapping[str, Any]) -> Sequence[str]:
    given = document.get("rules")
    rules = given if isinstance(given, list) else []
    return [one["name"] for one in rules if isinstance(one, dict) and isinstance(one.get("name"), str)]


def _table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _texts(given: Any) -> list[str]:
    return [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
