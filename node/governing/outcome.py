"""What became of a candidate, and the record that says so."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

from tslg.node.governing.errors import Rejected
from tslg.protocol.record import Record

Verdict = Literal["admitted", "rejected", "decomposed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a gate decided of one candidate, durably.

    Attributes:
        verdict: `admitted`, `rejected` or `decomposed`.
        record: the `inference`, `rejection` or `decomposition`.
        class_: the governance class that an admitted step was given; None where the federation has none.
        stage, rule, reason: of a rejection: where it failed, by which rule, and why.
        parts: what became of the parts of a decomposed step, in their order.
    """

    verdict: Verdict
    record: Record
    class_: str | None = None
    stage: str | None = None
    rule: str | None = None
    reason: str | None = None
    parts: tuple[Outcome, ...] = ()

    @property
    def admitted(self) -> bool:
        """Whether all of it may be done: it was admitted, or was decomposed and all of its parts were."""
        if self.verdict == "decomposed":
            return all(part.admitted for part in self.parts)
        return self.verdict == "admitted"

    def records(self) -> Iterator[Record]:
        """Yield its record and, level by level, those of its parts."""
        todo = deque((self,))
        while todo:
            one = todo.popleft()
            yield one.record
            todo.extend(one.parts)

    def or_raise(self) -> Self:
        """Return the outcome if all of it may be done.

        Raises:
            Rejected: it, or the first such part of it, was rejected.
        """
        if self.verdict == "rejected":
            raise Rejected(self.record, self.stage or "", self.rule or "", self.reason or "")
        for part in self.parts:
            part.or_raise()
        return self
