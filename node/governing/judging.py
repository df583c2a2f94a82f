"""Asking a policy about a candidate: terms and rules, then Cedar, then plug-ins; the first that refuses decides."""

from __future__ import annotations

from collections.abc import Callable

from tslg.node.governing import predicates
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.cedar import Cedar
from tslg.node.governing.policy_file import Compiled
from tslg.node.governing.predicates import Decomposer
from tslg.protocol.governing.policy import POLICY, Finding, Policy, Step, judge


def step_of(candidate: Candidate, tier: str | None) -> Step:
    """Return what a policy looks at of a candidate; `tier` is that of one that claims none."""
    return Step(
        candidate.intent,
        candidate.model,
        candidate.version,
        candidate.tier or tier,
        candidate.grain,
        frozenset(candidate.uses),
        candidate.spends,
        candidate.facts,
    )


def ask(
    policy: Policy, cedars: tuple[Cedar, ...], plugins: tuple[predicates.Named, ...], candidate: Candidate, step: Step
) -> Finding | None:
    """Return why a policy does not admit a candidate, None if it does; the cheapest is asked first."""
    finding = judge(policy, step)
    for cedar in cedars:
        finding = finding or cedar.judge(step)
    for plugin in plugins:
        finding = finding or predicates.ask(plugin, candidate)
    return finding


def broken_down(
    function: Decomposer | None,
    candidate: Candidate,
    intent: str,
    check: Callable[[Candidate], None],
) -> tuple[tuple[Candidate, ...], str, Finding | None]:
    """Break a candidate down as its intent says; return the parts and why there are some, or why there are none."""
    rule = f"intents.{intent}.decompose"
    if function is None:
        return (), "", Finding(POLICY, rule, f"intent {candidate.intent!r} is admitted in parts only, and has none")
    try:
        parts = tuple(function(candidate))
        for part in parts:
            if not isinstance(part, Candidate):
                raise TypeError(f"a part is {type(part).__name__} and no candidate")
            if part.intent == candidate.intent:
                raise ValueError("a part has the intent that was to be broken down")
            check(part)
    except Exception as error:
        # Whatever a plug-in raises, the step is refused and the rejection says what it was.
        return (), "", Finding(POLICY, rule, f"it could not be broken down: {type(error).__name__}: {error}")
    if not parts:
        return (), "", Finding(POLICY, rule, "it was broken down into nothing")
    return parts, f"the policy has intent {candidate.intent!r} broken down", None


def judged(compiled: Compiled, candidate: Candidate, agent: str = "") -> Finding | None:
    """Return why a policy does not admit a candidate, or the first of its parts; nothing is recorded."""
    cedars = () if compiled.cedar is None else (Cedar(compiled.cedar, agent),)
    todo = [candidate]
    while todo:
        one = todo.pop(0)
        step, parts = step_of(one, compiled.tier), one.parts
        intent = compiled.policy.intent(one.intent)
        if not parts and intent is not None and intent.decompose:
            parts, _, finding = broken_down(compiled.decomposers.get(intent.name), one, intent.name, lambda part: None)
            if finding is not None:
                return finding
        if parts:
            todo = [*parts, *todo]
            continue
        finding = ask(compiled.policy, cedars, compiled.predicates, one, step)
        if finding is not None:
            return finding
    return None
