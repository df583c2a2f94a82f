"""Conditions over facts, in three values: a fact that is missing, or of another type, makes nothing true or false.

A condition names a fact by its path, `user.verified` or `step.spends.cents`, and a test. Whoever asks decides what an
unknown is worth; a rule that refuses takes it for a refusal (docs/spec/inference.md).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

OWN: Final = "step"
"""The first part of paths that name what the step itself states, which no fact can put on."""

_MISSING: Final = object()
_NUMBER: Final = (int, float)


class Unknown(Exception):
    """A test that could not be made; the text says of which fact, and why."""


@dataclass(frozen=True, slots=True)
class Condition:
    """One test of one fact.

    Attributes:
        path: where the fact lies.
        test: a key of `TESTS`.
        operand: what the fact is held against.
    """

    path: str
    test: str
    operand: Any

    def holds(self, facts: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
        """Tell whether it holds for these facts and what the step itself states. Raises Unknown."""
        value = look_up(self.path, facts, own)
        if self.test == "exists":
            return (value is not _MISSING) is self.operand
        if value is _MISSING:
            raise Unknown(f"fact {self.path!r} is not given")
        return TESTS[self.test](value, self.operand, self.path)


def look_up(path: str, facts: Mapping[str, Any], own: Mapping[str, Any]) -> Any:
    """Return the value at a path, or a mark that there is none.

    Raises:
        Unknown: a fact has the whole path as its name and another lies at it, as where somebody who chooses the names
            of facts puts one in the way of another.
    """
    first, _, rest = path.partition(".")
    if first == OWN:
        return _follow(own, rest.split(".", 1))
    found = _follow(facts, path.split("."))
    if "." not in path or path not in facts:
        return found
    if found is not _MISSING:
        raise Unknown(f"two facts are at {path!r}")
    return facts[path]


def _follow(value: Any, parts: Iterable[str]) -> Any:
    for part in parts:
        if not isinstance(value, Mapping) or part not in value:
            return _MISSING
        value = value[part]
    return value


def same(one: Any, other: Any) -> bool:
    """Tell whether two values are equal and of one type, and so is all that is in them; true is no number."""
    todo = [(one, other)]
    while todo:
        left, right = todo.pop()
        if isinstance(left, list | tuple) and isinstance(right, list | tuple):
            if len(left) != len(right):
                return False
            todo.extend(zip(left, right, strict=True))
        elif isinstance(left, Mapping) and isinstance(right, Mapping):
            if left.keys() != right.keys():
                return False
            todo.extend((left[name], right[name]) for name in left)
        elif not _same_scalar(left, right):
            return False
    return True


def _same_scalar(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, _NUMBER) and isinstance(other, _NUMBER):
        return one == other
    return type(one) is type(other) and bool(one == other)


def _is_number(value: Any) -> bool:
    # An integer of any size: as a float it might be none.
    return type(value) is int or (isinstance(value, float) and not math.isnan(value))


def _compared(by: Callable[[Any, Any], bool]) -> Callable[[Any, Any, str], bool]:
    def compare(value: Any, operand: Any, path: str) -> bool:
        if not _is_number(value):
            raise Unknown(f"fact {path!r} is no number")
        return by(value, operand)

    return compare


def _of_text(by: Callable[[str, str], bool]) -> Callable[[Any, Any, str], bool]:
    def test(value: Any, operand: Any, path: str) -> bool:
        if not isinstance(value, str):
            raise Unknown(f"fact {path!r} is no text")
        return by(value, operand)

    return test


def _contains(value: Any, operand: Any, path: str) -> bool:
    if isinstance(value, str):
        return isinstance(operand, str) and operand in value
    if isinstance(value, Collection) and not isinstance(value, bytes | Mapping):
        return any(same(item, operand) for item in value)
    raise Unknown(f"fact {path!r} is neither text nor a list")


TESTS: Final[Mapping[str, Callable[[Any, Any, str], bool]]] = {
    "is": lambda value, operand, path: same(value, operand),
    "not": lambda value, operand, path: not same(value, operand),
    "in": lambda value, operand, path: any(same(value, one) for one in operand),
    "not_in": lambda value, operand, path: not any(same(value, one) for one in operand),
    "above": _compared(lambda value, operand: value > operand),
    "below": _compared(lambda value, operand: value < operand),
    "at_least": _compared(lambda value, operand: value >= operand),
    "at_most": _compared(lambda value, operand: value <= operand),
    "starts": _of_text(str.startswith),
    "ends": _of_text(str.endswith),
    "contains": _contains,
    "exists": lambda value, operand, path: bool(operand),
}
"""The tests that there are. Each takes the fact, the operand and the path, and raises Unknown for a fact of a type that
it cannot be made of."""


def operand_fault(test: str, operand: Any) -> str | None:
    """Tell why a test cannot be made with an operand, None if it can."""
    if test not in TESTS:
        return f"unknown test {test!r}; there are {', '.join(TESTS)}"
    if test in ("above", "below", "at_least", "at_most"):
        return None if _is_number(operand) else f"{test!r} compares with a number"
    if test in ("in", "not_in"):
        return None if isinstance(operand, list | tuple) else f"{test!r} takes a list"
    if test in ("starts", "ends"):
        return None if isinstance(operand, str) else f"{test!r} takes a text"
    if test == "exists":
        return None if isinstance(operand, bool) else "'exists' is true or false"
    return None
