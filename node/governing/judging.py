"""Asking a policy about a candidate: terms and rules, then Cedar, then plug-ins; the first that refuses decides."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from tslg.node.governing import predicates
from tslg.node.governing.candidate import Candidate, check
from tslg.node.governing.cedar import Cedar
from tslg.node.governing.policy_file import Compiled
from tslg.node.governing.predicates import Decomposer
from tslg.protocol.errors import UsageError
from tslg.protocol.governing.policy import POLICY, Finding, Policy, Step, judge
from tslg.protocol.limits import DEFAULT


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


class Room:
    """What is left for the parts of one candidate: so many in all, down so many levels."""

    def __init__(self) -> None:
        self._left = [DEFAULT.step_parts]
        self._level = 1

    def inside(self) -> Room:
        """Return what is left one level further down."""
        inner = Room()
        inner._left, inner._level = self._left, self._level + 1
        return inner

    def take(self, parts: Sequence[Candidate]) -> Finding | None:
        """Take room for parts; return why there is none, if so."""
        self._left[0] -= len(parts)
        if self._left[0] < 0:
            return Finding(POLICY, "parts", f"broken down into more than {DEFAULT.step_parts} parts in all")
        if parts and self._level >= DEFAULT.step_part_nesting:
            return Finding(POLICY, "parts", f"broken down {DEFAULT.step_part_nesting} times and not done")
        return None


def broken_down(
    function: Decomposer | None, candidate: Candidate, intent: str
) -> tuple[tuple[Candidate, ...], str, Finding | None]:
    """Break a candidate down as its intent says; return the parts and why there are some, or why there are none."""
    rule = f"intents.{intent}.decompose"
    if function is None:
        return (), "", Finding(POLICY, rule, f"intent {candidate.intent!r} is admitted in parts only, and has none")
    try:
        parts = tuple(islice(function(candidate), DEFAULT.step_parts + 1))
        fault = next(filter(None, (_fault(part, candidate) for part in parts)), None)
    except Exception as error:
        # Whatever a plug-in raises, the step is refused and the rejection says what it was.
        return (), "", Finding(POLICY, rule, f"it could not be broken down: {predicates.raised(error)}")
    if fault is not None:
        return (), "", Finding(POLICY, rule, f"it could not be broken down: {fault}")
    if not parts:
        return (), "", Finding(POLICY, rule, "it was broken down into nothing")
    return parts, f"the policy has intent {candidate.intent!r} broken down", None


def _fault(part: object, whole: Candidate) -> str | None:
    """Return why a part is none of a candidate, None if it is."""
    if not isinstance(part, Candidate):
        return f"a part is {type(part).__name__} and no candidate"
    if part.intent == whole.intent:
        return "a part has the intent that was to be broken down"
    try:
        check(part, 2)
    except UsageError as error:
        return error.detail
    return None


def judged(compiled: Compiled, candidate: Candidate, agent: str = "") -> Finding | None:
    """Return why a policy does not admit a candidate, or the first of its parts; nothing is recorded."""
    cedars = () if compiled.cedar is None else (Cedar(compiled.cedar, agent),)
    todo = [(candidate, Room())]
    while todo:
        one, room = todo.pop(0)
        parts, finding = one.parts, None
        intent = compiled.policy.intent(one.intent)
        if intent is not None and intent.decompose:
            if not parts:
                parts, _, finding = broken_down(compiled.decomposers.get(intent.name), one, intent.name)
        else:
            finding = ask(compiled.policy, cedars, compiled.predicates, one, step_of(one, compiled.tier))
        finding = finding or room.take(parts)
        if finding is not None:
            return finding
        todo = [*((part, room.inside()) for part in parts), *todo]
    return None
