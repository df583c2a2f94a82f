"""Governed steps that state too little of their governance, or an agent's state that their log does not lead to."""

from __future__ import annotations

from breach import OPEN, breaks
from breaches_authority import GOVERNED, STEP

from tslg.protocol.governing.state import START, state_digest
from tslg.protocol.rules.edges import rule_edges
from tslg.protocol.rules.steps import rule_state, rule_step, rule_turn


def at(turn: int) -> bytes:
    """The digest of the state that an agent is in at a turn."""
    return state_digest({"turn": turn})


def taken(w, *prior, kind="inference", cls="prior", **fields):
    """A step that derives from others, taken in the state to which the first of them moved the agent."""
    before = prior[0].body["after"] if prior else START
    preds = {"prior": [w.a.log[0]], "policy": [w.policy]} | ({cls: [*prior]} if prior else {})
    more = {"rule": "all"} if kind == "composite" else {}
    return w.sealed(w.a, kind, STEP | GOVERNED | {"before": before} | more | fields, preds)


def moved(w, turn, *prior, **fields):
    """A step that moves the agent on."""
    return taken(w, *prior, after=at(turn), **fields)


def rejected(w, before, prior, **fields):
    body = {name: value for name, value in STEP.items() if name != "output"}
    body |= {"stage": "anchoring", "reason": "no witness", "before": before} | fields
    return w.sealed(w.a, "rejection", body, {"prior": [prior], "policy": [w.policy]})


def led_back(w, step, **fields):
    """The rejection that takes a step back."""
    return rejected(w, step.body["after"], step, **({"after": step.body["before"]} | fields))


@breaks(rule_step, "STEP", "without a class")
def a_step_without_a_governance_class(w):
    body = STEP | {"tier": "low"}
    return w.sealed(w.a, "inference", body, {"prior": [w.seen], "policy": [w.policy]})


@breaks(rule_step, "STEP", "without a tier")
def a_composite_without_a_capability_tier(w):
    body = STEP | {"class": "internal", "rule": "all"}
    return w.sealed(w.a, "composite", body, {"prior": [w.seen], "policy": [w.policy], "part": [w.seen]})


@breaks(rule_step, "STEP", "does not say from which", toml=OPEN)
def a_step_that_moves_the_state_from_nowhere(w):
    body = STEP | GOVERNED | {"after": at(1)}
    return w.sealed(w.a, "inference", body, {"prior": [w.seen], "policy": [w.policy]})


@breaks(rule_edges, "EDGE-KIND", "part")
def a_part_of_what_was_not_broken_down(w):
    body = STEP | GOVERNED
    return w.sealed(w.a, "inference", body, {"prior": [w.seen], "policy": [w.policy], "part": [w.seen]})


@breaks(rule_state, "STATE", "none of the steps", alone=False)
def a_step_in_a_state_to_which_nothing_led(w):
    return taken(w, before=at(7))


@breaks(rule_state, "STATE", "none of the steps")
def a_step_that_does_not_cite_what_moved_the_agent(w):
    w.take(moved(w, 1))
    return taken(w, before=at(1))


@breaks(rule_state, "STATE", "none of the steps", alone=False)
def a_step_in_another_state_than_its_prior_led_to(w):
    return taken(w, w.take(moved(w, 1)), before=START)


@breaks(rule_turn, "STATE", "to another state before it")
def a_second_step_that_moves_the_state_from_one_place(w):
    first = w.take(moved(w, 1))
    w.take(moved(w, 2, first))
    return moved(w, 3, first)


@breaks(rule_turn, "STATE", "to another state before it")
def a_step_that_starts_over(w):
    w.take(moved(w, 1))
    return moved(w, 2)


@breaks(rule_state, "STATE", "leads back to the state before")
def a_rejection_that_moves_the_agent_on(w):
    return led_back(w, w.take(moved(w, 1)), after=at(9))


@breaks(rule_state, "STATE", "leads back to the state before")
def a_rejection_by_a_policy_that_moves_the_agent_back(w):
    return led_back(w, w.take(moved(w, 1)), stage="policy")
