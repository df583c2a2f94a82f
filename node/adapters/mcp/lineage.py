"""What an agent may ask about lineage: what is held here, whether it is valid, what allowed it. Answers stay small."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from tslg.node.cli.access import HeldNames, find_log, find_record, held_record
from tslg.node.cli.describing import dag_json, plain, what, when, who
from tslg.node.home import Home, wall_clock
from tslg.node.sources import StoreSource, heads_seen
from tslg.node.verifying import verify
from tslg.protocol.cid import to_text
from tslg.protocol.errors import UsageError
from tslg.protocol.kinds import CLASSES
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.opening import disclosed

if TYPE_CHECKING:
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record
    from tslg.protocol.report import Report

AUTHORITY: Final = ("policy", "delegation", "consensus", "joint")
_REASONS: Final = 10
"""Findings of one report that are told; whoever wants all of them runs the command."""
_EDGES: Final = 200
"""Edges walked where nobody says how many."""


class Lineage:
    """Questions to one data directory. Reads only, and may be asked from any thread.

    Args:
        home: the data directory, open for reading.
        limits: `mcp_answer_records`, `mcp_answer_characters` and `walk_edges`.
    """

    def __init__(self, home: Home, limits: Limits = DEFAULT) -> None:
        self.home = home
        self.limits = limits
        self._store: Store = home.store

    def head(self, agent: str = "") -> dict[str, Any]:
        """Return the state of the logs held here, or of the one of an agent, by name or id."""
        wanted = find_log(self._store, agent) if agent else None
        logs = [one for one in self._store.logs() if wanted is None or one.owner == wanted]
        shown = logs[: self.limits.mcp_answer_records]
        return {"federation": to_text(self.home.federation), "logs": [self._log(one) for one in shown]} | _more(
            len(logs), len(shown)
        )

    def show_record(self, id: str) -> dict[str, Any]:
        """Return what one record says, by whom, and what it cites; its text is its author's, and proves nothing."""
        record = held_record(self._store, id)
        edges = [(name, to_text(edge.cid)) for name in CLASSES for edge in record.edges(name)]
        cites: dict[str, list[str]] = {}
        for name, cited in edges[: self.limits.mcp_answer_records]:
            cites.setdefault(name, []).append(cited)
        body = dag_json(dict(record.body))
        text = json.dumps(body, ensure_ascii=False)
        if len(text) > self.limits.mcp_answer_characters // 2:
            body = {"cut": plain(text, self.limits.mcp_answer_characters // 2)}
        told = {"time": when(record.time), "seq": record.seq, "body": body, "cites": cites}
        shown = {**self._about(record), **told, **self._verdict(record.id, 0)}
        return shown | _more(len(edges), self.limits.mcp_answer_records)

    def verify(self, id: str, depth: int | None = None) -> dict[str, Any]:
        """Verify a record and so many edges behind it, from what is held here."""
        target = find_record(self._store, id)
        return {"record": to_text(target), **self._verdict(target, _EDGES if depth is None else depth)}

    def ancestors(self, id: str, classes: Sequence[str] = (), limit: int = 20) -> dict[str, Any]:
        """Return what a record derives from, nearest first, over edges of all classes or these."""
        return self._listed(id, self._store.ancestors, _checked(classes), limit)

    def cited_by(self, id: str, classes: Sequence[str] = (), limit: int = 20) -> dict[str, Any]:
        """Return the records held here that cite a record directly."""
        return self._listed(id, lambda root, names, _: self._store.children(root, names), _checked(classes), limit)

    def what_authorised(self, id: str, limit: int = 20) -> dict[str, Any]:
        """Return the policies, delegations and agreements by whose authority a record was made."""
        return self._listed(id, self._store.ancestors, AUTHORITY, limit)

    def rejections(self, agent: str = "", limit: int = 20) -> dict[str, Any]:
        """Return steps that were not admitted, newest first: what was meant, at which stage it failed, and why."""
        owner = find_log(self._store, agent) if agent else None
        most = self._most(limit)
        found = self._store.by_kind("rejection", owner, limit=most + 1)
        records = self._records(found[:most])
        told = [
            {
                **self._about(record),
                "time": when(record.time),
                "intent": plain(str(record.body.get("intent", ""))),
                "stage": plain(str(record.body.get("stage", ""))),
                "reason": plain(str(record.body.get("reason", "")), 300),
            }
            for record in records
        ]
        return {"rejections": told} | _more(len(found), most)

    def report(self, report: Report) -> dict[str, Any]:
        """Return what a report comes to: the verdict, the reasons for it, and how far it reaches."""
        reasons = [
            {"code": one.code, "record": to_text(one.record), "detail": plain(one.detail, 300)}
            for one in report.findings
        ]
        reasons += [{"undetermined": to_text(one.record), "detail": one.reason} for one in report.undetermined]
        return {
            "verdict": report.verdict,
            "reasons": reasons[:_REASONS],
            "edges": report.edges,
            "records": sum(one.records for one in report.agents),
            "depth": report.depth,
            "frontier": len(report.frontier),
            "report_digest": report.digest.hex(),
        } | _more(len(reasons), _REASONS)

    def _verdict(self, id: Link, depth: int) -> dict[str, Any]:
        if not 0 <= depth <= self.limits.walk_edges:
            raise UsageError(f"a walk has from 0 to {self.limits.walk_edges} edges", mend="give another depth")
        report = verify(
            StoreSource(self._store),
            id,
            self.home.federation,
            now_ms=wall_clock(),
            depth=depth,
            outside=lambda walker: heads_seen(self._store, walker.met(), wall_clock()),
        )
        return self.report(report)

    def _listed(self, id: str, ask: Any, classes: Sequence[str] | None, limit: int) -> dict[str, Any]:
        root, most = find_record(self._store, id), self._most(limit)
        found = list(ask(root, classes, most + 1))
        told = [self._about(one) for one in self._records(found[:most])]
        verdict = self._verdict(root, 0)
        own = {"verdict": verdict["verdict"], "reasons": verdict["reasons"]}
        return {"record": to_text(root), **own, "found": told} | _more(len(found), most)

    def _most(self, limit: int) -> int:
        return max(1, min(limit, self.limits.mcp_answer_records))

    def _records(self, ids: Iterable[Link]) -> list[Record]:
        wanted = list(ids)
        held = self._store.get_many(wanted)
        return [disclosed(id, held[id]) for id in wanted if id in held]

    def _about(self, record: Record) -> dict[str, Any]:
        names = HeldNames(self._store)
        return {
            "record": to_text(record.id),
            "kind": record.kind,
            "by": who(record.owner, names),
            "agent": to_text(record.owner),
            "says": what(record, names),
        }

    def _log(self, summary: Any) -> dict[str, Any]:
        newest = self._store.at(summary.owner, summary.newest)
        return {
            "agent": to_text(summary.owner),
            "name": who(summary.owner, HeldNames(self._store)),
            "size": summary.newest + 1,
            "newest": None if newest is None else to_text(newest),
            "whole": summary.complete,
        }


def _checked(classes: Sequence[str]) -> Sequence[str] | None:
    """Return the classes if there are such. Raises UsageError."""
    for name in classes:
        if name not in CLASSES:
            raise UsageError(f"no class {plain(name, 80)!r}", mend=f"the classes are {', '.join(CLASSES)}")
    return tuple(classes) or None


def _more(found: int, told: int) -> dict[str, Any]:
    """Say that there are more than are told."""
    return {"more": True} if found > told else {}
