"""What a composite may be made of: steps on record that were admitted and took effect."""

from __future__ import annotations

from typing import Final

from tslg.node.agent import BlockingAgent
from tslg.node.governing.reports import ADMITTED
from tslg.node.governing.writing import Writer
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record

_PARTS: Final = ("inference", "rejection", "decomposition")
"""Kinds of what a step was broken down into."""


class Constituents:
    """The steps of which composites of one agent may be made.

    Args:
        agent: whose composites.
        writer: knows which of the agent's steps did not take effect.
    """

    def __init__(self, agent: BlockingAgent, writer: Writer) -> None:
        self._agent = agent
        self._writer = writer

    def held(self, id: Link) -> Record:
        """Return a step that a composite may be made of.

        Raises:
            UsageError: it is none, or is not held here. StoreError: that cannot be seen.
        """
        whole = self._agent._held(id)
        todo = [whole]
        left = DEFAULT.walk_roots
        while todo:
            one = todo.pop()
            if one.kind == "decomposition":
                parts = self._parts(one)
                left -= len(parts)
                if len(parts) != one.body.get("parts") or left < 0:
                    raise UsageError("not all of its parts are held here", mend="fetch and verify them", record=one.id)
                todo += parts
            elif one.kind not in ADMITTED:
                raise not_admitted(one)
            if not self._writer.stands(one):
                raise UsageError(
                    "a composite is made of what took effect, and that step is taken back",
                    mend="take the step again",
                    record=one.id,
                )
        return whole

    def _parts(self, whole: Record) -> list[Record]:
        """Return what a step was broken down into, as far as it is held here; of more than it says, one more."""
        ledger = self._agent._ledger
        found: list[Record] = []
        for row in ledger.store.citing([whole.id], ("part", "any"), _PARTS):
            one = ledger.context.record(row.child)
            if one is not None and one.owner == whole.owner and any(edge.cid == whole.id for edge in one.edges("part")):
                found.append(one)
                if len(found) > whole.body.get("parts", 0):
                    break
        return found


def not_admitted(record: Record) -> UsageError:
    """Return the error about a constituent that is no admitted step."""
    return UsageError("a composite is made of what was admitted", mend="leave it out", record=record.id)
