"""Vendors that breed: they make artifacts from each other's, judge those of others, and tell what became of them.

What they breed are bytes from the seed; `tslg lab` breeds real models. What an artifact inherits is asked of the store
as `tslg` asks it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

from tslg.node.artifacts import course, graph
from tslg.node.artifacts.package import FileEntry, package_of
from tslg.node.artifacts.properties import Ancestry
from tslg.protocol.codec import Link
from tslg.protocol.inheritance import Inheritance
from tslg.protocol.lifecycle import TRANSITIONS
from tslg.protocol.record import Record
from tslg.simulations.member import Member
from tslg.simulations.reading import Asking
from tslg.simulations.work import Worker

ARTIFACT_KINDS: Final = ("artifact", "evaluation", "advisory", "transition", "release", "retraction")
LICENCES: Final = ("Apache-2.0", "CC-BY-4.0", "GPL-3.0-only", "MIT")
_SHELF: Final = 48
_FOUND: Final = "source"


def package(content: bytes) -> dict[str, Any]:
    """Return what an artifact's record says of a package of one file."""
    return package_of({"weights": FileEntry(len(content), hashlib.sha256(content).digest())}).body()


class Breeder(Worker):
    """An honest vendor's lab. Arguments as for `Worker`; `record_s` is between two of its deeds."""

    def begin(self, member: Member) -> None:
        """See `Worker.begin`."""
        self._shelf: dict[Link, Link] = getattr(self, "_shelf", {})
        super().begin(member)

    def record(self, member: Member) -> None:
        """Breed, judge, warn or move on; then ask what something on the shelf inherits."""
        chance = member.chance
        self._shelf = {id: owner for id, owner in self._shelf.items() if member.disk.has(id)}
        others = [id for id, owner in self._shelf.items() if owner != member.id]
        deeds: list[Callable[[Member, Link], Record | None]] = [self._judge, self._judge, self._warn]
        if len(self._shelf) < 3 or chance.random() < 0.4:
            made: Record | None = self._breed(member)
        elif others and chance.random() < 0.6:
            made = deeds[chance.randrange(3)](member, others[chance.randrange(len(others))])
        else:
            made = self._move(member)
        if made is not None:
            self._tell(member, made)
        for id in self._some(member, 2):
            told = Inheritance(id, Ancestry(member.disk, self._lineage(member, id)).facts)
            member.world.pedigrees.asked(member, told)

    def _lineage(self, member: Member, id: Link) -> list[Link]:
        return [id, *graph.ancestors(member.disk, id)]

    def audit(self, member: Member) -> Asking:
        """Read a record that somebody told of; an artifact that is valid goes on the shelf."""
        before = list(self.cited)
        yield from super().audit(member)
        for id in self.cited:
            record = None if id in before else member.ledger.context.record(id)
            if record is not None and record.kind == "artifact":
                self._put(record)

    # --- deeds -------------------------------------------------------------------------------------------------------

    def _breed(self, member: Member) -> Record:
        """Record an artifact: taken in as it is, or made of one or two that are on the shelf."""
        agent, chance = member.agent, member.chance
        parents = self._some(member, chance.randrange(3))
        licences = [LICENCES[chance.randrange(len(LICENCES))]] if chance.random() < 0.5 else []
        flaws = [f"CVE-{chance.getrandbits(12)}"] if chance.random() < 0.2 else []
        made = agent.artifact(
            f"model-{chance.getrandbits(20)}",
            type="model",
            package=package(chance.randbytes(64)),
            operator="merge" if parents else _FOUND,
            parents=parents,
            licences=licences,
            vulnerabilities=flaws,
        )
        self._put(made)
        return made

    def _judge(self, member: Member, target: Link) -> Record:
        """Evaluate another vendor's artifact, and now and then say that something ends there."""
        chance = member.chance
        told = Inheritance(target, Ancestry(member.disk, self._lineage(member, target)).facts)
        good = chance.random() < 0.8
        ends = [told.issues[chance.randrange(len(told.issues))]] if told.issues and good else []
        return member.agent.evaluation(
            target,
            suite="frozen",
            suite_digest=hashlib.sha256(b"frozen").digest(),
            scores={"task": chance.randrange(100)},
            passed=["compatibility", "safety"] if good else ["compatibility"],
            failed=[] if good else ["safety"],
            resolves=[one._asdict() for one in ends if chance.random() < 0.4],
        )

    def _warn(self, member: Member, target: Link) -> Record:
        """Warn of another vendor's artifact, or take back a warning of its own."""
        chance = member.chance
        own = member.disk.by_kind("advisory", member.id, limit=8)
        if own and chance.random() < 0.3:
            return member.agent.retract(own[chance.randrange(len(own))], reason="it was wrong")
        flaw = f"CVE-{chance.getrandbits(12)}"
        withdrawn = [LICENCES[chance.randrange(len(LICENCES))]] if chance.random() < 0.3 else []
        return member.agent.advisory(target, reason="found later", vulnerabilities=[flaw], withdrawn=withdrawn)

    def _move(self, member: Member) -> Record | None:
        """Move an artifact of its own to a state that may follow, or point its alias at what serves."""
        chance = member.chance
        own = [id for id, owner in self._shelf.items() if owner == member.id]
        if not own:
            return None
        target = own[chance.randrange(len(own))]
        state = course.state(member.disk, target, member.id)
        if state in ("canary", "champion") and chance.random() < 0.5:
            return member.agent.release("champion", target)
        following = sorted(TRANSITIONS[state] - {"archived", "retired"})
        if not following:
            return None
        forward = [one for one in following if one in ("shadow", "canary", "champion")]
        chosen = forward if forward and chance.random() < 0.8 else following
        return member.agent.transition(target, chosen[chance.randrange(len(chosen))])

    # --- tools -------------------------------------------------------------------------------------------------------

    def _put(self, record: Record) -> None:
        self._shelf[record.id] = record.owner
        while len(self._shelf) > _SHELF:
            del self._shelf[next(iter(self._shelf))]

    def _some(self, member: Member, most: int) -> list[Link]:
        ids = list(self._shelf)
        return member.chance.sample(ids, min(most, len(ids)))

    def _tell(self, member: Member, made: Record) -> None:
        member.acknowledge(made)
        member.world.oracle.counts[f"{made.kind} records"] += 1
        member.world.notice(made.id, member.id, member)
        self.recorded(member)
