"""Plain Python functions as parts of a policy: predicates that judge a candidate, and functions that break one down.

Whatever goes wrong in one refuses the step: an error, an answer of another type, or none.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from tslg.node.governing.errors import GatePolicyError
from tslg.protocol.governing.policy import Finding

if TYPE_CHECKING:
    from tslg.node.governing.candidate import Candidate

Predicate = Callable[["Candidate"], bool]
"""Tells whether a candidate may be admitted; True alone admits."""
Decomposer = Callable[["Candidate"], Iterable["Candidate"]]
"""Breaks a candidate down into its parts."""


class Named(NamedTuple):
    """A predicate, and the name under which rejections speak of it."""

    name: str
    judge: Predicate


def load(name: str) -> Callable[..., Any]:
    """Return the function that `module:function` names. Raises GatePolicyError."""
    module, _, attribute = name.partition(":")
    mend = "write it as `module:function`, and see that the module can be imported from here"
    if not module or not attribute:
        raise GatePolicyError(f"{name!r} names no function", mend=mend)
    try:
        function: Any = importlib.import_module(module)
        for part in attribute.split("."):
            function = getattr(function, part)
    except Exception as error:
        # Whatever the module does when it is imported.
        raise GatePolicyError(f"{name!r} cannot be had: {type(error).__name__}: {error}", mend=mend) from error
    if not callable(function):
        raise GatePolicyError(f"{name!r} is no function", mend=mend)
    loaded: Callable[..., Any] = function
    return loaded


def raised(error: Exception) -> str:
    """Return what a plug-in raised and where: not its text, which may quote what no record is to hold."""
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}, in {place.name}, line {place.lineno}"


def ask(predicate: Named, candidate: Candidate) -> Finding | None:
    """Return why a predicate does not let a candidate through, None if it does."""
    stage = f"predicate:{predicate.name}"
    try:
        answer = predicate.judge(candidate)
    except Exception as error:
        return Finding(stage, predicate.name, f"the predicate failed: {raised(error)}")
    if answer is True:
        return None
    if answer is False:
        return Finding(stage, predicate.name, "the predicate does not let it through")
    return Finding(
        stage, predicate.name, f"the predicate answered {type(answer).__name__}, which is neither yes nor no"
    )
