"""The rule book: what it remembers of shapes never changes an answer, however much it judged before."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from breach import CASES, OPEN, Scene
from world import NOW

from tslg.protocol import admission
from tslg.protocol.admission import STRUCTURE_RULES, RuleBook, judge
from tslg.protocol.classes import FLAT

for file in sorted((Path(__file__).parents[1] / "support").glob("breaches_*.py")):
    import_module(file.stem)


def answer(refusal):
    return None if refusal is None else (refusal.code, refusal.detail, refusal.mend, refusal.record)


def by_every_rule(record, sealed, world):
    """Ask every rule, without remembering anything; edges without classes are the book's own business."""
    if FLAT in record.preds:
        return RuleBook(world).refusal(record, sealed)
    return judge(record, sealed, world, STRUCTURE_RULES)


@pytest.mark.parametrize("complete", [True, False], ids=["admission", "walk"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_book_that_has_seen_much_answers_like_every_rule_in_turn(case, complete):
    world = Scene(case.toml)
    record, sealed = case.breach(world)
    world.complete = complete
    book = RuleBook(world)
    others = [one for one in world.held.values() if one.id != record.id]
    judged = [(one, world.seals.get(one.id, b"")) for one in others] + [(record, sealed), (record, sealed)]
    for one, its_seal in judged:
        assert answer(book.refusal(one, its_seal)) == answer(by_every_rule(one, its_seal, world))


def test_many_are_judged_like_each_of_them():
    world = Scene(OPEN)
    case = next(case for case in CASES if case.code == "TSLG-A-SCOPE" and case.toml == OPEN)
    record, sealed = case.breach(world)
    world.complete = False
    seals = {**world.seals, record.id: sealed}
    found = list(RuleBook(world).refusals([*world.held.values(), record], seals))
    assert [(one.id, refusal.code) for one, refusal in found] == [(record.id, "TSLG-A-SCOPE")]


def test_what_is_withdrawn_after_a_record_of_the_same_shape_was_judged_is_refused():
    world = Scene(OPEN)
    book = RuleBook(world)
    first = world.make(world.a, "action", None, {"policy": [world.policy]})
    assert book.refusal(first, b"") is None
    world.add(world.a, "retraction", {"reason": "wrong"}, {"retracts": [world.policy]})
    second = world.make(world.a, "action", None, {"policy": [world.policy]})
    assert book.refusal(second, b"").code == "TSLG-A-SUPERSEDED"


def test_a_policy_that_was_not_held_when_a_record_of_the_same_shape_was_judged_is_asked_when_it_is():
    world = Scene(OPEN)
    book = RuleBook(world)
    late = world.make(world.a, "policy", {"not_after": NOW - 400_000})
    action = world.make(world.a, "action", None, {"policy": [late]})
    assert book.refusal(action, b"").code == "TSLG-A-RESOLVE"
    world.put(late, world.seal(late, world.a), world.a)
    action = world.make(world.a, "action", None, {"policy": [late]})
    assert book.refusal(action, b"").code == "TSLG-A-WINDOW"


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(admission, "_KEPT", 2)
    world = Scene(OPEN)
    book = RuleBook(world)
    policies = [world.add(world.a, "policy") for _ in range(4)]
    for policy in policies:
        assert book.refusal(world.make(world.a, "action", None, {"policy": [policy]}), b"") is None
    for body in ({}, {"input": {}}, {"output": {}}, {"input": {}, "output": {}}):
        assert book.refusal(world.make(world.a, "action", body, {"policy": [policies[0]]}), b"") is None
    assert len(book._shapes) <= 2
    assert all(len(concerned.by_policies) <= 2 for concerned in book._shapes.values())
