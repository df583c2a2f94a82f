"""What a run knows of artifacts: who truly said what of which, and what follows from that, path by path."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from tslg.protocol.cid import Link, short
from tslg.protocol.inheritance import Inheritance, Issue
from tslg.protocol.record import Record

if TYPE_CHECKING:
    from tslg.simulations.member import Member
    from tslg.simulations.world import World

_NAMED: Final = {"licences": "licence", "restrictions": "restriction", "vulnerabilities": "vulnerability"}


class Pedigrees:
    """The judge of what readers say that artifacts inherit.

    It goes by what authors truly recorded, as far as the reader holds it, and looks for each issue for a way on which
    nothing resolves it: slower than a node does, and another way.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._artifacts: dict[Link, Record] = {}
        self._about: dict[Link, list[Record]] = {}
        self._retracted: dict[Link, list[Record]] = {}
        self._answers: dict[bytes, tuple[frozenset[Issue], str]] = {}

    def note(self, record: Record) -> None:
        """Take note of what an author truly recorded."""
        if record.kind == "artifact":
            self._artifacts[record.id] = record
        elif record.kind in ("evaluation", "advisory"):
            self._about.setdefault(record.body["target"], []).append(record)
        elif record.kind == "retraction":
            for edge in record.preds["retracts"]:
                self._retracted.setdefault(edge.cid, []).append(record)

    def asked(self, member: Member, told: Inheritance) -> None:
        """Hold what an honest member says that an artifact inherits against what is true, and against other members."""
        world = self._world
        world.oracle.counts["pedigrees asked"] += 1
        lineage, counting = self._held(member, told.target)
        said = frozenset(told.issues)
        right = self._reaching(told.target, lineage, counting)
        if said != right:
            wrong = sorted(said ^ right)[0]
            text = f"{member.name} says that {short(told.target)} {'inherits' if wrong in said else 'does not inherit'}"
            text += f" {wrong.what} {wrong.name} of {short(wrong.origin)}, which by what it holds is wrong"
            raise world.oracle.broken("inheritance", member.name, text)
        ids = sorted([told.target, *lineage, *(one.id for one in counting)])
        key = hashlib.sha256(bytes(told.target) + b"".join(ids)).digest()
        before = self._answers.setdefault(key, (said, member.name))
        if before[0] != said:
            text = f"{member.name} and {before[1]} hold the same of {short(told.target)}, and tell different things"
            raise world.oracle.broken("inheritance", member.name, text)
        world.loop.log.say(key)

    def _held(self, member: Member, target: Link) -> tuple[dict[Link, Record], list[Record]]:
        """Return what a member holds of an ancestry: artifacts, and what was said of them and not taken back."""
        lineage: dict[Link, Record] = {}
        todo = [target]
        while todo:
            record = self._artifacts.get(todo.pop())
            if record is None or record.id in lineage or not member.disk.has(record.id):
                continue
            lineage[record.id] = record
            todo += [edge.cid for edge in record.preds.get("parent", ())]
        said = [one for id in lineage for one in self._about.get(id, ()) if member.disk.has(one.id)]
        return lineage, [one for one in said if not self._taken_back(member, one)]

    def _taken_back(self, member: Member, statement: Record) -> bool:
        back = self._retracted.get(statement.id, ())
        return any(one.owner == statement.owner and member.disk.has(one.id) for one in back)

    def _reaching(self, target: Link, lineage: dict[Link, Record], counting: list[Record]) -> frozenset[Issue]:
        issues: set[Issue] = set()
        ended: set[tuple[Link, Issue]] = set()
        for record in (*lineage.values(), *counting):
            origin = record.body.get("target", record.id)
            for name, what in _NAMED.items():
                issues |= {Issue(origin, what, one) for one in record.body.get(name, ())}
            issues |= {Issue(origin, "licence", one) for one in record.body.get("withdrawn", ())}
            if record.kind == "evaluation" and record.owner != lineage[origin].owner:
                ended |= {(origin, Issue(**one)) for one in record.body.get("resolves", ())}
        return frozenset(one for one in issues if self._leads(one, target, lineage, ended))

    def _leads(self, issue: Issue, target: Link, lineage: dict[Link, Record], ended: set[tuple[Link, Issue]]) -> bool:
        """Tell whether a way leads from an artifact to the issue's origin on which nothing ends it."""
        seen: set[Link] = set()
        todo = [target]
        while todo:
            id = todo.pop()
            if id in seen or id not in lineage or (id, issue) in ended:
                continue
            if id == issue.origin:
                return True
            seen.add(id)
            todo += [edge.cid for edge in lineage[id].preds.get("parent", ())]
        return False
