"""The pure evaluator: what a policy says of a step before it is taken.

Everything that is not said to be allowed is refused, and what cannot be decided is refused too. The order of the
checks is fixed, so that the same step is always refused for the same reason. Normative: docs/spec/inference.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from tslg.protocol.governing.conditions import Condition, Unknown

POLICY: Final = "policy"
"""The stage of what the policy's terms refuse: intent, tier, capabilities, limits, class."""
ANY_INTENT: Final = "*"
"""The name of the intent that stands for every one that is not listed."""


class Finding(NamedTuple):
    """Why a step is not admitted.

    Attributes:
        stage: where it failed: `policy`, `rule:NAME`, and what else a gate asks.
        rule: which term or rule of the policy refused it.
        reason: for a person, one line.
    """

    stage: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Step:
    """What a policy looks at of a step.

    Attributes:
        intent: what it is for.
        model, version: which model takes it.
        tier: the capability tier that the agent claims; None where the federation has none.
        grain: `token`, `segment`, `call` or `plan`.
        uses: the capabilities that it claims.
        spends: the amounts that it claims.
        facts: what rules may look at beside.
    """

    intent: str
    model: str
    version: str
    tier: str | None = None
    grain: str = "call"
    uses: frozenset[str] = frozenset()
    spends: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)

    def own(self) -> dict[str, Any]:
        """Return what the step itself states, for conditions on `step.…`."""
        return {
            "intent": self.intent,
            "model": self.model,
            "version": self.version,
            "tier": self.tier,
            "grain": self.grain,
            "uses": sorted(self.uses),
            "spends": self.spends,
        }


@dataclass(frozen=True, slots=True)
class Intent:
    """What a policy says of one intent.

    Attributes:
        name: the intent, or `*`.
        uses: capabilities that the intent takes, whatever the step claims.
        class_: the governance class that its steps are given; None where the federation has none.
        tier: the least tier that may have it; None for any.
        limits: the most that one step may spend, by name; what it does not name, the policy's limits bound.
        decompose: it is admitted in parts only.
    """

    name: str
    uses: frozenset[str] = frozenset()
    class_: str | None = None
    tier: str | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    decompose: bool = False


@dataclass(frozen=True, slots=True)
class Rule:
    """A named rule: it refuses a step of its intents if every `when` holds, unless every `unless` does.

    Attributes:
        name: the rule's.
        reason: what the refused caller is told.
        intents: which it is about; None for all.
        when: conditions that must all hold for it to refuse; none: it always does.
        unless: conditions that excuse if all of them hold; none: nothing excuses.
    """

    name: str
    reason: str
    intents: frozenset[str] | None = None
    when: tuple[Condition, ...] = ()
    unless: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy's terms and rules, compiled.

    Attributes:
        name: the policy's.
        capabilities: what may be used.
        limits: the most that one step may spend, by name; what is not named may not be spent.
        classes: governance classes that steps may be given.
        tiers: capability tiers that may act under it.
        order: the federation's tiers, lowest first.
        intents: by name; `*` for all others.
        rules: in the order in which they are asked.
    """

    name: str
    capabilities: frozenset[str] = frozenset()
    limits: Mapping[str, int] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    tiers: frozenset[str] = frozenset()
    order: tuple[str, ...] = ()
    intents: Mapping[str, Intent] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()

    def intent(self, name: str) -> Intent | None:
        """Return what it says of an intent, None if it allows no such one."""
        return self.intents.get(name) or self.intents.get(ANY_INTENT)

    def within(self, body: Mapping[str, Any]) -> Policy:
        """Return the same policy cut down to what the body of a `policy` record grants."""
        limits = {
            name: min(limit, body["limits"][name]) for name, limit in self.limits.items() if name in body["limits"]
        }
        return replace(
            self,
            capabilities=self.capabilities & set(body["capabilities"]),
            limits=limits,
            classes=self.classes & set(body["classes"]),
            tiers=self.tiers & set(body["tiers"]),
        )


def judge(policy: Policy, step: Step) -> Finding | None:
    """Return why a policy does not admit a step, None if it does. The terms are looked at first, then the rules."""
    intent = policy.intent(step.intent)
    if intent is None:
        known = ", ".join(sorted(policy.intents)[:8])
        return Finding(POLICY, "intents", f"intent {step.intent!r} is none that the policy allows ({known or 'none'})")
    return _tier(policy, intent, step) or _claims(policy, intent, step) or judge_rules(policy, step)


def _tier(policy: Policy, intent: Intent, step: Step) -> Finding | None:
    if not policy.order:
        return None if step.tier is None else Finding(POLICY, "tiers", "the federation has no capability tiers")
    if step.tier is None:
        return Finding(POLICY, "tiers", "no capability tier is claimed")
    if step.tier not in policy.tiers or step.tier not in policy.order:
        allowed = ", ".join(tier for tier in policy.order if tier in policy.tiers)
        return Finding(
            POLICY, "tiers", f"tier {step.tier!r} may not act under the policy (it allows {allowed or 'none'})"
        )
    if intent.tier is not None and policy.order.index(step.tier) < policy.order.index(intent.tier):
        rule = f"intents.{intent.name}.tier"
        return Finding(
            POLICY, rule, f"intent {step.intent!r} takes tier {intent.tier!r}, and {step.tier!r} is below it"
        )
    return None


def _claims(policy: Policy, intent: Intent, step: Step) -> Finding | None:
    if intent.class_ is not None and intent.class_ not in policy.classes:
        return Finding(POLICY, "classes", f"class {intent.class_!r} is not allowed by the policy")
    for capability in sorted(step.uses | intent.uses):
        if capability not in policy.capabilities:
            return Finding(POLICY, "capabilities", f"capability {capability!r} is not granted")
    for name, amount in sorted(step.spends.items()):
        if name not in policy.limits:
            return Finding(POLICY, "limits", f"{name!r} of {amount}: the policy lets none be spent")
        if amount > policy.limits[name]:
            return Finding(POLICY, f"limits.{name}", f"{name!r} of {amount} exceeds the limit {policy.limits[name]}")
        if amount > intent.limits.get(name, amount):
            rule = f"intents.{intent.name}.limits.{name}"
            return Finding(POLICY, rule, f"{name!r} of {amount} exceeds the limit {intent.limits[name]} of its intent")
    return None


def judge_rules(policy: Policy, step: Step) -> Finding | None:
    """Return the first rule that refuses a step, None if none does."""
    own = step.own() if policy.rules else {}
    for rule in policy.rules:
        if rule.intents is None or step.intent in rule.intents:
            reason = _refuses(rule, step.facts, own)
            if reason is not None:
                return Finding(f"rule:{rule.name}", rule.name, reason)
    return None


def _refuses(rule: Rule, facts: Mapping[str, Any], own: Mapping[str, Any]) -> str | None:
    """Return why a rule refuses. A condition that is false decides, whichever others are unknown."""
    unknown: str | None = None
    for condition in rule.when:
        try:
            if not condition.holds(facts, own):
                return None
        except Unknown as error:
            unknown = unknown or str(error)
    if rule.unless and unknown is None:
        try:
            if all(condition.holds(facts, own) for condition in rule.unless):
                return None
        except Unknown as error:
            return f"{rule.reason} ({error})"
    return rule.reason if unknown is None else f"{unknown}, and so it is not known whether this holds: {rule.reason}"
