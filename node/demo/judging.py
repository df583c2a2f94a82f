"""What vendor A's policy says of one distribution: vendor B decides by this and by nothing else.

A distribution is `ok` if the grant covers everything that saying so takes: the licences relied on as capabilities
`licence:…`, missing and changed files as amounts within the limits. What the grant does not cover, B must not claim:
it is recorded as refused, with the reasons; what cannot be told is recorded for a person to review.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tslg.node.demo.inspection import Inspection
from tslg.node.demo.licences import permitted

OK: Final = "ok"
REVIEW: Final = "review"
REFUSE: Final = "refuse"
OUTCOMES: Final = (OK, REVIEW, REFUSE)
"""From best to worst."""

INSPECT: Final = "inspect:distribution"
SUMMARISE: Final = "inspect:environment"
RELEASE: Final = "decide:release"
LICENCE: Final = "licence:"
MISSING: Final = "missing_files"
MISMATCHED: Final = "digest_mismatches"

LICENCES: Final = (
    "0BSD",
    "Apache-2.0",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "CC0-1.0",
    "HPND",
    "ISC",
    "LicenseRef-Apache",
    "LicenseRef-BSD",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",
    "PSF-2.0",
    "Python-2.0",
    "Unlicense",
    "Zlib",
    "ZPL-2.1",
)
"""The licences under which vendor A ships."""
GRANTED: Final = (INSPECT, SUMMARISE, *(f"{LICENCE}{name}" for name in LICENCES))
"""The capabilities that vendor A grants."""
LIMITS: Final[Mapping[str, int]] = {MISSING: 0, MISMATCHED: 0}
"""The limits that vendor A grants."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome, its reasons (empty for `ok`), and what the decision claims of the policy."""

    outcome: str
    reasons: tuple[str, ...]
    uses: tuple[str, ...]
    spends: Mapping[str, int] = field(default_factory=dict)


def judge(seen: Inspection, policy: Mapping[str, Any]) -> Judgement:
    """Judge one distribution under the body of the granted policy.

    Only what is `ok` claims the licences and the limits; everything else claims no more than the right to inspect.
    """
    allowed = {name.removeprefix(LICENCE) for name in policy["capabilities"] if name.startswith(LICENCE)}
    amounts = {MISSING: len(seen.missing), MISMATCHED: len(seen.mismatched)}
    refusals = [
        f"{count} {name.replace('_', ' ')}, {policy['limits'].get(name, 0)} allowed"
        for name, count in amounts.items()
        if count > policy["limits"].get(name, 0)
    ]
    doubts = [] if seen.unreadable is None else [seen.unreadable]
    if seen.editable:
        doubts.append("installed in place: its code lies where RECORD does not reach")
    relied = None
    if seen.licence.expression is None:
        doubts.append(f"licence {seen.licence.source}")
    else:
        relied = permitted(seen.licence.expression, allowed)
        if relied is None:
            refusals.append(f"licence {seen.licence.expression} is not granted")
    if refusals or doubts or relied is None:
        return Judgement(REFUSE if refusals else REVIEW, tuple(refusals + doubts), (INSPECT,))
    return Judgement(OK, (), (INSPECT, *(f"{LICENCE}{name}" for name in sorted(relied))), amounts)


def worst(outcomes: Sequence[str]) -> str:
    """Return the worst of some outcomes; `ok` for none."""
    return max(outcomes, key=OUTCOMES.index, default=OK)
