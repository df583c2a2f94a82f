"""What came of replicating logs: for people, and as one JSON document."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tslg.protocol.cid import short, to_text
from tslg.protocol.codec import Link

COMPLETE: Final = "complete"
BEHIND: Final = "behind"
FORKED: Final = "forked"
INVALID: Final = "invalid"

EXIT_CODES: Final = {COMPLETE: 0, INVALID: 1, FORKED: 1, BEHIND: 2}
"""As of verdicts: a log that its author broke or forked is invalid, one that could not be had whole undetermined."""


@dataclass(frozen=True, slots=True)
class Blame:
    """A peer that broke a rule, and what was done: `cut_off`, or only asked no more."""

    peer: str
    rule: str
    cut_off: bool


@dataclass(frozen=True, slots=True)
class LogReport:
    """What is held of one log, and what could not be had.

    Attributes:
        agent: whose log.
        before, size: how many records were held, and are now.
        claimed: how many it has at least, as those say who could show a sealed newest record.
        state: `complete`, `behind`, `forked` or `invalid`.
        reasons: why it is not complete.
        served: how many records came from each peer.
    """

    agent: Link
    before: int
    size: int
    claimed: int
    state: str
    reasons: tuple[str, ...]
    served: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "agent": to_text(self.agent),
            "before": self.before,
            "size": self.size,
            "claimed": self.claimed,
            "state": self.state,
            "reasons": list(self.reasons),
            "served": dict(self.served),
        }


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What came of it.

    Attributes:
        logs: every log that was to be had, the federation's first.
        missing: cited records of other logs that nobody who was asked has, with the reason.
        unreachable: peers that could not be asked, with the reason.
        blamed: peers that broke a rule.
        seconds: how long it took.
    """

    logs: tuple[LogReport, ...]
    missing: tuple[tuple[Link, str], ...]
    unreachable: Mapping[str, str]
    blamed: tuple[Blame, ...]
    seconds: float

    @property
    def exit_code(self) -> int:
        """0 if every log is complete, 1 if an author broke or forked one, else 2."""
        codes = {EXIT_CODES[log.state] for log in self.logs}
        return 1 if 1 in codes else max(codes, default=2)

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return {
            "logs": [log.to_json() for log in self.logs],
            "missing": [{"record": to_text(id), "reason": reason} for id, reason in self.missing],
            "unreachable": dict(self.unreachable),
            "blamed": [{"peer": one.peer, "rule": one.rule, "cut_off": one.cut_off} for one in self.blamed],
            "seconds": round(self.seconds, 3),
        }

    def to_text(self) -> str:
        """Return the report as lines for people."""
        lines = []
        for log in self.logs:
            text = f"{short(log.agent)}  {log.size} records, {log.size - log.before} new: {log.state}"
            lines.append("; ".join([text, *log.reasons]))
        lines += [f"missing {short(id)}: {reason}" for id, reason in self.missing]
        lines += [f"not asked {peer}: {reason}" for peer, reason in self.unreachable.items()]
        lines += [f"peer {one.peer}: {one.rule}" + (", cut off" if one.cut_off else "") for one in self.blamed]
        return "\n".join(lines)
