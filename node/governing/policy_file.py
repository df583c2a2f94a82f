"""A gate's policy as a TOML file, checked against the federation's vocabulary and compiled.

Every name in it is checked when it is read, so that a slip of the pen is told then, and not when a step comes by. The
file's whole text is kept, so that an auditor sees by which rules a step was judged. See docs/guide/govern-inference.md.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from tslg.node.governing import predicates
from tslg.node.governing.errors import GatePolicyError
from tslg.node.governing.predicates import Decomposer, Named
from tslg.protocol.fields import NAME
from tslg.protocol.governing.conditions import TESTS, Condition, operand_fault
from tslg.protocol.governing.policy import ANY_INTENT, Intent, Policy, Rule
from tslg.protocol.limits import DEFAULT

MEDIA_TYPE: Final = "application/toml"
_DEFAULT: Final = b"# Admits every step that claims no capability and spends nothing.\n"
_TOP: Final = frozenset(
    (
        *("name", "capabilities", "limits", "classes", "tiers", "class", "tier", "not_before", "not_after", "intents"),
        *("rules", "cedar", "predicate"),
    )
)
_INTENT: Final = frozenset(("uses", "class", "tier", "limits", "decompose"))
_RULE: Final = frozenset(("name", "intents", "when", "unless", "reason"))


@dataclass(frozen=True, slots=True)
class Compiled:
    """A policy ready to be asked.

    Attributes:
        policy: what is judged purely: terms and rules.
        text: the policy file.
        cedar: the text of its Cedar policies, if it has any.
        predicates: Python functions that are asked last.
        decomposers: by intent, what breaks its steps down.
        class_: the class of an intent that names none, if the file says so.
        tier: the tier of a step that claims none; None where the federation has none.
        not_before, not_after: ms since 1970 UTC, None for open.
    """

    policy: Policy
    text: bytes
    cedar: str | None = None
    predicates: tuple[Named, ...] = ()
    decomposers: Mapping[str, Decomposer] = field(default_factory=dict)
    class_: str | None = None
    tier: str | None = None
    not_before: int | None = None
    not_after: int | None = None

    def body(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the body of the `policy` record that stands for it; `document` is the blob with its text."""
        policy = self.policy
        body: dict[str, Any] = {
            "name": policy.name,
            "capabilities": sorted(policy.capabilities),
            "limits": dict(policy.limits),
            "classes": sorted(policy.classes),
            "tiers": sorted(policy.tiers),
            "not_before": self.not_before,
            "not_after": self.not_after,
            "document": dict(document),
        }
        return body if self.cedar is None else body | {"cedar": self.cedar}


def read(path: Path) -> bytes:
    """Return the text of a policy file. Raises GatePolicyError."""
    try:
        with path.open("rb") as file:
            text = file.read(DEFAULT.gate_policy_bytes + 1)
    except OSError as error:
        raise GatePolicyError(f"{path}: {error.strerror}", mend="name a policy file that can be read") from error
    if len(text) > DEFAULT.gate_policy_bytes:
        raise GatePolicyError(f"{path}: more than {DEFAULT.gate_policy_bytes} bytes", mend="write less into one policy")
    return text


def table(text: bytes) -> dict[str, Any]:
    """Return the table that the text of a policy file is. Raises GatePolicyError."""
    try:
        return tomllib.loads(text.decode())
    except (ValueError, RecursionError) as error:
        # Also numbers of thousands of digits, and tables nested without end: policies of others are read too.
        raise _wrong("", f"no TOML: {error}") from error


def compile_policy(
    text: bytes | None, classes: Collection[str], order: tuple[str, ...], *, name: str = "gate"
) -> Compiled:
    """Compile the text of a policy file.

    Args:
        text: the file; None for a policy that admits every step which claims nothing.
        classes: the federation's governance classes.
        order: its capability tiers, lowest first.
        name: the policy's name where the file gives none.

    Raises:
        GatePolicyError: it is no such file, or speaks of what the federation has not; the detail says where.
    """
    text = _DEFAULT if text is None else text
    reader = _Reader(table(text), tuple(sorted(classes)), order)
    return reader.compiled(text, name)


def _wrong(place: str, detail: str) -> GatePolicyError:
    where = f"{place}: " if place else ""
    return GatePolicyError(f"{where}{detail}", mend="correct the policy file; `tslg gate check` says whether it holds")


class _Reader:
    """Reads one file; `classes` and `order` are the federation's vocabulary."""

    def __init__(self, given: Mapping[str, Any], classes: tuple[str, ...], order: tuple[str, ...]) -> None:
        self._given = given
        self._classes = classes
        self._order = order

    def compiled(self, text: bytes, name: str) -> Compiled:
        given = self._given
        _known(given, _TOP, "")
        default = self._class(given.get("class"), "class")
        intents, decomposers = self._intents(default)
        assigned = {one.class_ for one in intents.values() if one.class_ is not None}
        classes = self._names("classes", self._classes) if "classes" in given else frozenset(assigned)
        tiers = self._names("tiers", self._order) if "tiers" in given else frozenset(self._order)
        capabilities = self._names("capabilities", None)
        policy = Policy(
            name=self._name(given.get("name", name), "name"),
            capabilities=capabilities,
            limits=_limits(given.get("limits", {}), "limits"),
            classes=classes,
            tiers=tiers,
            order=self._order,
            intents=intents,
            rules=self._rules(intents),
        )
        self._agree(policy)
        return Compiled(
            policy,
            text,
            self._cedar(),
            self._predicates(),
            decomposers,
            default,
            self._tier(tiers),
            _moment(given.get("not_before"), "not_before"),
            _moment(given.get("not_after"), "not_after"),
        )

    def _intents(self, default: str | None) -> tuple[dict[str, Intent], dict[str, Decomposer]]:
        given = self._given.get("intents", {ANY_INTENT: {}})
        if not isinstance(given, dict):
            raise _wrong("intents", "a table of tables, one an intent")
        intents: dict[str, Intent] = {}
        decomposers: dict[str, Decomposer] = {}
        for name, terms in given.items():
            place = f"intents.{name}"
            self._name(name, place)
            if not isinstance(terms, dict):
                raise _wrong(place, "a table")
            _known(terms, _INTENT, place)
            how = terms.get("decompose", False)
            if isinstance(how, str):
                decomposers[name] = predicates.load(how)
            elif not isinstance(how, bool):
                raise _wrong(f"{place}.decompose", "true, or a function as `module:function`")
            intents[name] = Intent(
                name,
                frozenset(_texts(terms.get("uses", []), f"{place}.uses")),
                self._class(terms.get("class"), f"{place}.class") or default or self._only_class(place),
                self._one_tier(terms.get("tier"), f"{place}.tier"),
                _limits(terms.get("limits", {}), f"{place}.limits"),
                bool(how),
            )
        return intents, decomposers

    def _rules(self, intents: Mapping[str, Intent]) -> tuple[Rule, ...]:
        given = self._given.get("rules", [])
        if not isinstance(given, list) or not all(isinstance(one, dict) for one in given):
            raise _wrong("rules", "tables, each under [[rules]]")
        rules: list[Rule] = []
        for number, one in enumerate(given, 1):
            place = f"rules.{one.get('name', number)}"
            _known(one, _RULE, place)
            name = self._name(one.get("name"), f"rule {number}: name")
            if any(rule.name == name for rule in rules):
                raise _wrong(place, "another rule has this name")
            about = frozenset(_texts(one["intents"], f"{place}.intents")) if "intents" in one else None
            unknown = (about or frozenset()) - intents.keys()
            if unknown and ANY_INTENT not in intents:
                raise _wrong(f"{place}.intents", f"{sorted(unknown)} are no intents of this policy")
            reason = one.get("reason", f"rule {name!r} refuses it")
            if not isinstance(reason, str):
                raise _wrong(f"{place}.reason", "a text")
            conditions = (_conditions(one.get(part, {}), f"{place}.{part}") for part in ("when", "unless"))
            rules.append(Rule(name, reason, about, *conditions))
        return tuple(rules)

    def _agree(self, policy: Policy) -> None:
        """Refuse what could never be admitted: that is a slip."""
        for intent in policy.intents.values():
            place = f"intents.{intent.name}"
            extra = intent.uses - policy.capabilities
            if extra:
                raise _wrong(f"{place}.uses", f"{sorted(extra)} are not among the policy's capabilities")
            if intent.class_ is not None and intent.class_ not in policy.classes:
                raise _wrong(f"{place}.class", f"{intent.class_!r} is not among the policy's classes")
            beyond = [name for name, limit in intent.limits.items() if limit > policy.limits.get(name, -1)]
            if beyond:
                raise _wrong(f"{place}.limits", f"{beyond} go beyond the policy's limits")

    def _class(self, given: Any, place: str) -> str | None:
        if given is None:
            return None
        return _member(given, self._classes, place, "governance classes")

    def _only_class(self, place: str) -> str | None:
        """Return the class of an intent that is given none: the first, in a federation that has any."""
        named = self._given.get("classes")
        if isinstance(named, list) and len(named) == 1:
            return self._class(named[0], "classes")
        if self._classes and "intents" in self._given:
            raise _wrong(place, f"it has no class; the federation has {', '.join(self._classes)}")
        return self._classes[0] if self._classes else None

    def _one_tier(self, given: Any, place: str) -> str | None:
        return None if given is None else _member(given, self._order, place, "capability tiers")

    def _tier(self, tiers: frozenset[str]) -> str | None:
        """Return the tier of a step that claims none: the one that is said, or the lowest."""
        given = self._one_tier(self._given.get("tier"), "tier")
        if given is not None and given not in tiers:
            raise _wrong("tier", f"{given!r} is not among the policy's tiers")
        return given or next((tier for tier in self._order if tier in tiers), None)

    def _names(self, key: str, known: tuple[str, ...] | None) -> frozenset[str]:
        names = _texts(self._given.get(key, []), key)
        if known is not None:
            for name in names:
                _member(name, known, key, "governance classes" if key == "classes" else "capability tiers")
        return frozenset(names)

    def _name(self, given: Any, place: str) -> str:
        if not NAME.valid(given):
            raise _wrong(place, "a text of 1 to 256 characters")
        name: str = given
        return name

    def _cedar(self) -> str | None:
        given = self._given.get("cedar")
        if given is not None and not isinstance(given, str):
            raise _wrong("cedar", "a text")
        return given

    def _predicates(self) -> tuple[Named, ...]:
        given = self._given.get("predicate", [])
        names = _texts([given] if isinstance(given, str) else given, "predicate")
        return tuple(Named(name, predicates.load(name)) for name in names)


def _known(given: Mapping[str, Any], known: frozenset[str], place: str) -> None:
    odd = sorted(given.keys() - known)
    if odd:
        raise _wrong(place, f"unknown entry {odd[0]!r}; there are {', '.join(sorted(known))}")


def _member(given: Any, known: tuple[str, ...], place: str, what: str) -> str:
    if not isinstance(given, str) or given not in known:
        has = ", ".join(known) if known else "none: amend the manifest to name some"
        raise _wrong(place, f"{given!r} is none of the federation's {what} ({has})")
    return given


def _texts(given: Any, place: str) -> list[str]:
    if not isinstance(given, list) or not all(map(NAME.valid, given)):
        raise _wrong(place, "a list of texts of 1 to 256 characters")
    return given


def _limits(given: Any, place: str) -> dict[str, int]:
    if not isinstance(given, dict) or not all(map(NAME.valid, given)):
        raise _wrong(place, "a table of whole numbers")
    for name, value in given.items():
        if type(value) is not int or not 0 <= value <= DEFAULT.integer:
            raise _wrong(f"{place}.{name}", "a whole number from 0")
    return given


def _conditions(given: Any, place: str) -> tuple[Condition, ...]:
    """Read conditions: a fact's path and what it must be, or a table of tests."""
    if not isinstance(given, dict):
        raise _wrong(place, "a table of facts and what they must be")
    found: list[Condition] = []
    for path, tests in _paths(given, ""):
        for test, operand in (tests if isinstance(tests, dict) else {"is": tests}).items():
            fault = operand_fault(test, operand)
            if fault is not None:
                raise _wrong(f"{place}.{path}", fault)
            found.append(Condition(path, test, operand))
    return tuple(found)


def _paths(given: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield each fact's path and tests. TOML reads `user.verified = true` as a table in a table, which is one path."""
    for name, tests in given.items():
        if isinstance(tests, dict) and tests and tests.keys().isdisjoint(TESTS):
            if prefix.count(".") >= DEFAULT.content_nesting:
                raise _wrong("rules", f"a fact lies {DEFAULT.content_nesting} levels down at most")
            yield from _paths(tests, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", tests


def _moment(given: Any, place: str) -> int | None:
    """Read a moment: ms since 1970 UTC, or a date and time with its offset."""
    if given is None or (type(given) is int and 0 <= given <= DEFAULT.integer):
        return given
    if isinstance(given, datetime) and given.tzinfo is not None:
        return int(given.timestamp() * 1000)
    raise _wrong(place, "ms since 1970 UTC, or a date and time with an offset, such as 2030-01-31T12:00:00Z")
