"""Licences combined: what SPDX expressions ask together, which of them cannot be kept at once, and what is unknown.

The strictest combination: everything that any expression asks is asked. Of alternatives (`OR`) the one that asks least
is taken, since whoever receives may choose; of equals the first by name. An exception (`WITH`) relaxes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import combinations
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tslg.node.artifacts.licence_terms import APART, TERMS
from tslg.protocol.errors import PackageError

if TYPE_CHECKING:
    from license_expression import Licensing

_REMEMBERED: Final = 4_096
UNKNOWN: Final = 9
"""Rank of a licence that is not in the table: an alternative to it is taken."""


class Licence(NamedTuple):
    """One expression, read.

    Attributes:
        expression: in normal form.
        taken: identifiers of the licences that are kept to, alternatives chosen.
        unknown: those among all that it names that SPDX does not list.
        untold: those of `taken` of which the table does not say what they ask.
    """

    expression: str
    taken: frozenset[str]
    unknown: frozenset[str]
    untold: frozenset[str]


class Conflict(NamedTuple):
    """Licences that cannot be kept at once, and why."""

    licences: tuple[str, ...]
    why: str


class Combination(NamedTuple):
    """What several expressions ask together.

    Attributes:
        expression: all of them joined by AND, in normal form.
        obligations: by name, the licences that ask it.
        conflicts: what cannot be kept at once.
        under: the licences under which the whole may be handed on; None where nothing restricts that.
    """

    expression: str
    obligations: Mapping[str, frozenset[str]]
    conflicts: tuple[Conflict, ...]
    under: tuple[str, ...] | None


def checked(expressions: Iterable[str]) -> list[str]:
    """Return expressions in normal form, sorted. Raises PackageError `TSLG-F-LICENCE` for what SPDX does not know.

    A licence of one's own is named `LicenseRef-…`, as SPDX has it.
    """
    found = set()
    for text in expressions:
        licence = read(text)
        if licence is None or licence.unknown:
            what = "no SPDX expression" if licence is None else "a licence that SPDX does not list"
            raise PackageError(
                f"{text[:80]!r} is {what}",
                code="TSLG-F-LICENCE",
                mend="name licences by SPDX identifiers, your own as LicenseRef-NAME",
            )
        found.add(licence.expression)
    return sorted(found)


@lru_cache(maxsize=_REMEMBERED)
def read(text: str) -> Licence | None:
    """Read an SPDX expression, None for what is none."""
    licensing = _licensing()
    if len(text) > 256 or not text.strip():
        return None
    try:
        parsed: Any = licensing.parse(text, validate=False)
        normal = str(parsed)
    except _unreadable():
        return None
    taken = _taken(parsed)
    named = {key for symbol in licensing.license_symbols(parsed, unique=True) for key in (symbol.key,)}
    unknown = {key for key in named if not _is_listed(key)}
    return Licence(normal, taken, frozenset(unknown), frozenset(taken - TERMS.keys()))


def combine(expressions: Iterable[str], *, derived: Iterable[str] = ()) -> Combination:
    """Combine expressions to what they ask together; those that cannot be read are left out.

    Args:
        expressions: all that apply.
        derived: those of them that apply to something from which the whole is derived.
    """
    licences = sorted({licence for text in expressions if (licence := read(text)) is not None})
    from_parents = {key for text in derived if (licence := read(text)) is not None for key in licence.taken}
    keys = sorted({key for licence in licences for key in licence.taken})
    obligations: dict[str, set[str]] = {}
    for key in keys:
        for name in TERMS[key].obligations if key in TERMS else ():
            obligations.setdefault(name, set()).add(key)
    parts = [f"({one.expression})" if " OR " in one.expression else one.expression for one in licences]
    told = {name: frozenset(obligations[name]) for name in sorted(obligations)}
    return Combination(" AND ".join(parts), told, tuple(_conflicts(keys, from_parents)), _under(keys))


def _conflicts(keys: list[str], from_parents: set[str]) -> Iterable[Conflict]:
    for key in keys:
        if key in from_parents and key in TERMS and "no-derivatives" in TERMS[key].obligations:
            yield Conflict((key,), "it allows nothing to be derived")
    for one, other in combinations([key for key in keys if key in TERMS], 2):
        why = _apart(one, other)
        if why is not None:
            yield Conflict((one, other), why)


def _apart(one: str, other: str) -> str | None:
    """Return why two licences cannot be kept at once, None if they can."""
    first, second = TERMS[one], TERMS[other]
    if first.under is not None and second.under is not None:
        return None if first.under & second.under else "each asks that the whole be handed on under itself"
    for key, terms, under in ((one, first, second.under), (other, second, first.under)):
        if under is None:
            continue
        commercial = [name for name in under if "non-commercial" not in TERMS[name].obligations]
        if "non-commercial" in terms.obligations and commercial:
            return "one forbids commercial use, the other any further restriction"
        if under <= APART.get(key, frozenset()):
            return f"a whole with {key} in it may not be handed on under {', '.join(sorted(under))}"
    return None


def _under(keys: list[str]) -> tuple[str, ...] | None:
    asked = [terms.under for key in keys if key in TERMS and (terms := TERMS[key]).under is not None]
    if not asked:
        return None
    common = frozenset.intersection(*(one for one in asked if one is not None))
    return tuple(sorted(name for name in common if not any(name in APART.get(key, ()) for key in keys)))


def _taken(parsed: Any) -> frozenset[str]:
    """Return the licences of an expression that are kept to; the parts are seen to before what holds them."""
    taken: dict[int, frozenset[str]] = {}
    todo = [(parsed, False)]
    while todo:
        node, seen = todo.pop()
        parts = getattr(node, "args", ())
        name = type(node).__name__
        if name not in ("AND", "OR"):
            symbol = getattr(node, "license_symbol", node)
            taken[id(node)] = frozenset((symbol.key,))
        elif not seen:
            todo.append((node, True))
            todo.extend((part, False) for part in parts)
        elif name == "AND":
            taken[id(node)] = frozenset().union(*(taken[id(part)] for part in parts))
        else:
            taken[id(node)] = min((taken[id(part)] for part in parts), key=_asks)
    return taken[id(parsed)]


def _asks(keys: frozenset[str]) -> tuple[int, int, list[str]]:
    ranks = [TERMS[key].rank if key in TERMS else UNKNOWN for key in keys]
    return max(ranks), sum(ranks), sorted(keys)


def _is_listed(key: str) -> bool:
    return key in _licensing().known_symbols or key.rpartition(":")[2].startswith("LicenseRef-")


@cache
def _licensing() -> Licensing:
    # Reads a table of all licences, which most commands do without.
    from license_expression import get_spdx_licensing

    return get_spdx_licensing()


def _unreadable() -> tuple[type[Exception], ...]:
    """What the library raises for texts that are no expressions, defects of its own among it."""
    from license_expression import ExpressionError, ParseError

    return ParseError, ExpressionError, AttributeError, RecursionError, TypeError
