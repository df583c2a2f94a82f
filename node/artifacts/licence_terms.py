"""What common licences ask of whoever hands on something made of what they cover: the table behind `licences`.

It is a table for engineers and no legal advice; docs/guide/artifacts.md shows it. A licence that is not in it is told
as unknown, never taken for a permissive one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple


class Terms(NamedTuple):
    """What one licence asks.

    Attributes:
        rank: how much it asks, for the choice among alternatives: 0 nothing, 6 that nothing be derived.
        obligations: names of what must be done, or not be done.
        under: licences under which a whole that includes it may be handed on; None where it does not say.
    """

    rank: int
    obligations: frozenset[str]
    under: frozenset[str] | None = None


def _terms(rank: int, obligations: str, under: str | None = None) -> Terms:
    return Terms(rank, frozenset(obligations.split()), None if under is None else frozenset(under.split()))


_COPYLEFT: Final = "attribution same-licence source state-changes"
_GPL_3: Final = "GPL-3.0-only GPL-3.0-or-later AGPL-3.0-only AGPL-3.0-or-later"
_GPL_2: Final = "GPL-2.0-only GPL-2.0-or-later"

_GROUPS: Final[tuple[tuple[str, Terms], ...]] = (
    ("0BSD CC0-1.0 CC-PDDC MIT-0 PDDL-1.0 Unlicense WTFPL", _terms(0, "")),
    (
        "BSD-2-Clause BSD-3-Clause BSL-1.0 CC-BY-3.0 CC-BY-4.0 CDLA-Permissive-1.0 CDLA-Permissive-2.0 ISC MIT"
        " NCSA ODC-By-1.0 PostgreSQL PSF-2.0 Python-2.0 Zlib",
        _terms(1, "attribution"),
    ),
    ("Apache-2.0", _terms(1, "attribution state-changes")),
    ("LGPL-2.1-only LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later", _terms(2, "attribution source-of-part")),
    ("MPL-2.0 EPL-2.0 CDDL-1.0 CDDL-1.1", _terms(2, "attribution source-of-part")),
    ("GPL-2.0-only", _terms(3, _COPYLEFT, "GPL-2.0-only")),
    ("GPL-2.0-or-later", _terms(3, _COPYLEFT, f"{_GPL_2} {_GPL_3}")),
    ("GPL-3.0-only", _terms(3, _COPYLEFT, "GPL-3.0-only AGPL-3.0-only AGPL-3.0-or-later")),
    ("GPL-3.0-or-later", _terms(3, _COPYLEFT, _GPL_3)),
    ("AGPL-3.0-only", _terms(4, f"{_COPYLEFT} source-over-network", "AGPL-3.0-only")),
    ("AGPL-3.0-or-later", _terms(4, f"{_COPYLEFT} source-over-network", "AGPL-3.0-only AGPL-3.0-or-later")),
    ("CC-BY-SA-3.0", _terms(3, "attribution same-licence state-changes", "CC-BY-SA-3.0 CC-BY-SA-4.0")),
    ("CC-BY-SA-4.0", _terms(3, "attribution same-licence state-changes", "CC-BY-SA-4.0 GPL-3.0-only")),
    ("CDLA-Sharing-1.0", _terms(3, "attribution same-licence", "CDLA-Sharing-1.0")),
    ("ODbL-1.0", _terms(3, "attribution same-licence", "ODbL-1.0")),
    ("CC-BY-NC-3.0 CC-BY-NC-4.0", _terms(5, "attribution non-commercial")),
    (
        "CC-BY-NC-SA-3.0",
        _terms(5, "attribution non-commercial same-licence", "CC-BY-NC-SA-3.0 CC-BY-NC-SA-4.0"),
    ),
    ("CC-BY-NC-SA-4.0", _terms(5, "attribution non-commercial same-licence", "CC-BY-NC-SA-4.0")),
    ("CC-BY-ND-3.0 CC-BY-ND-4.0", _terms(6, "attribution no-derivatives")),
    ("CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0", _terms(6, "attribution no-derivatives non-commercial")),
)

TERMS: Final[Mapping[str, Terms]] = {name: terms for names, terms in _GROUPS for name in names.split()}
"""What each licence asks, by SPDX identifier."""

APART: Final[Mapping[str, frozenset[str]]] = {
    "Apache-2.0": frozenset(("GPL-2.0-only",)),
    "CDDL-1.0": frozenset(f"{_GPL_2} {_GPL_3}".split()),
    "CDDL-1.1": frozenset(f"{_GPL_2} {_GPL_3}".split()),
    "EPL-2.0": frozenset(f"{_GPL_2} {_GPL_3}".split()),
    "LGPL-3.0-only": frozenset(("GPL-2.0-only",)),
    "LGPL-3.0-or-later": frozenset(("GPL-2.0-only",)),
}
"""Licences that say nothing of the whole, and those under which a whole that includes them may not be handed on."""
