"""Functions that policies of tests name as plug-ins."""

from __future__ import annotations

from gates import candidate


def calm(step):
    return "angry" not in step.facts


def broken(step):
    raise LookupError("no such customer")


def silent(step):
    return None


def in_two(step):
    return [candidate("answer", inputs=step.inputs), candidate("look-up", inputs=step.inputs)]


def into_itself(step):
    return [candidate(step.intent)]


def into_words(step):
    return ["answer"]


def into_nothing(step):
    return []


def into_another(step):
    return [candidate("b" if step.intent == "a" else "a")]


def into_many(step):
    return [candidate(f"{step.intent}{number}") for number in range(60)]


def for_ever(step):
    while True:
        yield candidate("answer")


def garbled(step):
    raise LookupError("no such \ud800\n customer" + "x" * 5_000)
