"""The report of a walk: a verdict with its reasons, how far it went, what commits to the rest, and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, NamedTuple

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.traversal import Step, Traversal

VALID: Final = "valid"
INVALID: Final = "invalid"
UNDETERMINED: Final = "undetermined"
EXIT_CODES: Final[Mapping[str, int]] = {VALID: 0, INVALID: 1, UNDETERMINED: 2}

NOT_DIGESTED: Final = frozenset(("name", "peer", "seconds", "round_trips", "report_digest", "undisclosed", "asked"))
"""What differs between two readers of the same graph, and so stays out of the digest."""


class Finding(NamedTuple):
    """A broken rule: its code, the record that breaks it, the steps that lead there, and what is wrong."""

    code: str
    record: Link
    path: tuple[Step, ...]
    detail: str


class Undetermined(NamedTuple):
    """Something that could not be had, and why: `absent`, `withheld`, `pruned`, `unreachable`, `unproved: …`, …"""

    record: Link
    reason: str


class FrontierEntry(NamedTuple):
    """Where the walk stopped in one lineage: the deepest verified record, whose tree commits to all before it."""

    agent: Link
    record: Link
    size: int
    root: bytes


class Freshness(NamedTuple):
    """The newest head of a log known from outside, from whom (`log`, `peer`, `witness`, `nobody`) and its age (ms)."""

    agent: Link
    size: int
    source: str
    age_ms: int | None


class Undisclosed(NamedTuple):
    """Fields of a verified record that it commits to and nothing showed; `redacted_by` are said to have destroyed some.

    No rule needs such a field, so the verdict does not depend on it.
    """

    record: Link
    fields: tuple[str, ...]
    redacted_by: tuple[Link, ...]


class AgentSummary(NamedTuple):
    """One agent that the walk met: its id, its name, who served it, and how many of its records were verified."""

    id: Link
    name: str | None
    peer: str | None
    records: int


class NewestManifest(NamedTuple):
    """The newest manifest version that a reader knows: its record, its number, and when it expires (ms), if ever."""

    record: Link
    version: int
    expires: int | None


class ForkNote(NamedTuple):
    """A position for which one author sealed several records: it is convicted, whatever else is true.

    `confessed` tells whether the author itself published an equivocation record of it.
    """

    agent: Link
    seq: int
    records: tuple[Link, ...]
    confessed: bool


class Reliance(NamedTuple):
    """A verification that the reader relied on instead of walking behind its target itself.

    `depth` is that verification's D, None for unbounded; `edges` how many it traversed.
    """

    record: Link
    agent: Link
    target: Link
    depth: int | None
    edges: int


def nearest(
    findings: Mapping[Link, tuple[str, str]], traversal: Traversal, room: int
) -> tuple[tuple[Finding, ...], int]:
    """Return findings (code and detail by record), nearest first, as far as the steps of their paths fit into `room`.

    Also returns how many do not.
    """
    distance: dict[Link, int] = {}
    if findings:
        for id, step in traversal.visited.items():
            distance[id] = 0 if step is None else distance[step[2]] + 1
    told: list[Finding] = []
    for id in sorted(findings, key=lambda id: (distance.get(id, 0), id)):
        room -= distance.get(id, 0)
        if room < 0 and told:
            break
        code, detail = findings[id]
        told.append(Finding(code, id, tuple(traversal.path(id)), detail))
    return tuple(told), len(findings) - len(told)


def undisclosed(verified: Mapping[Link, Record]) -> tuple[Undisclosed, ...]:
    """Name the fields that verified records commit to and that nobody showed."""
    found = [
        Undisclosed(id, record.commitment.withheld, record.commitment.redacted)
        for id, record in verified.items()
        if record.commitment is not None and record.commitment.withheld
    ]
    return tuple(sorted(found))


def summaries(held: Mapping[Link, Record], verified: Mapping[Link, Record]) -> tuple[AgentSummary, ...]:
    """Return how many records of each agent were verified, with the name in its first record if that is held."""
    counts: dict[Link, int] = {}
    for record in verified.values():
        counts[record.owner] = counts.get(record.owner, 0) + 1
    first = {agent: held.get(agent) for agent in sorted(counts)}
    return tuple(
        AgentSummary(agent, None if one is None else str(one.body["name"]), None, counts[agent])
        for agent, one in first.items()
    )


def frontier(stopped: Iterable[Link], verified: Mapping[Link, Record]) -> tuple[FrontierEntry, ...]:
    """Name, for every lineage with edges left out, its earliest stopped record; its tree commits to all before."""
    entries: dict[Link, Record] = {}
    for id in stopped:
        record = verified.get(id)
        if record is not None and record.log is not None:
            held = entries.get(record.owner)
            if held is None or record.seq < held.seq:
                entries[record.owner] = record
    return tuple(
        FrontierEntry(agent, record.id, record.log.size, record.log.root)
        for agent, record in sorted(entries.items())
        if record.log is not None
    )


@dataclass(frozen=True, slots=True)
class Report:
    """What a walk found. `depth` is D, None for unbounded; `log` says how order was checked (visited, full, none).
    `manifest` is the newest version known, None if not even the root manifest could be had.

    `records` holds the verified records by id, so that `resume` can go deeper without repeating work.
    """

    target: Link
    federation: Link
    depth: int | None
    signatures: str
    log: str
    edges: int
    agents: tuple[AgentSummary, ...]
    findings: tuple[Finding, ...]
    undetermined: tuple[Undetermined, ...]
    frontier: tuple[FrontierEntry, ...]
    freshness: tuple[Freshness, ...]
    records: Mapping[Link, Record] = field(repr=False)
    undisclosed: tuple[Undisclosed, ...] = ()
    seconds: float = 0.0
    round_trips: int | None = None
    manifest: NewestManifest | None = None
    forks: tuple[ForkNote, ...] = ()
    relied: tuple[Reliance, ...] = ()
    asked: tuple[tuple[str, str], ...] = ()
    """The peers that were asked, by id, each with what came of it last: `answered`, or a code."""

    @property
    def verdict(self) -> str:
        """`invalid` if a rule is broken, else `undetermined` if something could not be had, else `valid`."""
        if self.findings:
            return INVALID
        return UNDETERMINED if self.undetermined else VALID

    @property
    def exit_code(self) -> int:
        """0 valid, 1 invalid, 2 undetermined."""
        return EXIT_CODES[self.verdict]

    @property
    def digest(self) -> bytes:
        """SHA-256 over the DAG-CBOR of the printed report without what differs between readers."""
        return hashlib.sha256(codec.encode(_digested(self._document()))).digest()

    def timed(self, seconds: float, round_trips: int | None = None) -> Report:
        """Return the report with what it cost."""
        return replace(self, seconds=seconds, round_trips=round_trips)

    def to_json(self) -> dict[str, Any]:
        """Return the report as one JSON document (docs/spec/report.md)."""
        document = self._document()
        document["report_digest"] = self.digest.hex()
        document["seconds"] = round(self.seconds, 6)
        if self.round_trips is not None:
            document["round_trips"] = self.round_trips
        if self.asked:
            document["asked"] = [{"peer": peer, "outcome": outcome} for peer, outcome in self.asked]
        return document

    def _document(self) -> dict[str, Any]:
        text = cid.to_text
        document: dict[str, Any] = {
            "verdict": self.verdict,
            "target": text(self.target),
            "federation": text(self.federation),
            "depth": self.depth,
            "signatures": self.signatures,
            "log": self.log,
            "edges": self.edges,
            "records": sum(agent.records for agent in self.agents),
            "agents": [_agent(agent) for agent in self.agents],
            "findings": [
                {
                    "code": finding.code,
                    "record": text(finding.record),
                    "path": [{"class": step.name, "cid": text(step.parent)} for step in finding.path],
                    "detail": finding.detail,
                }
                for finding in self.findings
            ],
            "undetermined": [{"record": text(item.record), "reason": item.reason} for item in self.undetermined],
            "frontier": [
                {"agent": text(entry.agent), "record": text(entry.record), "size": entry.size, "root": entry.root.hex()}
                for entry in self.frontier
            ],
            "freshness": [
                {"agent": text(item.agent), "size": item.size, "from": item.source, "age_ms": item.age_ms}
                for item in self.freshness
            ],
            "manifest": None if self.manifest is None else _manifest(self.manifest),
            "forks": [
                {
                    "agent": text(note.agent),
                    "seq": note.seq,
                    "records": list(map(text, note.records)),
                    "confessed": note.confessed,
                }
                for note in self.forks
            ],
        }
        if self.relied:
            links = ("record", "agent", "target")
            document["relied"] = [
                {name: text(value) if name in links else value for name, value in one._asdict().items()}
                for one in self.relied
            ]
        if self.undisclosed:
            document["undisclosed"] = [
                {
                    "record": text(item.record),
                    "fields": list(item.fields),
                    "redacted_by": list(map(text, item.redacted_by)),
                }
                for item in self.undisclosed
            ]
        return document


def _manifest(newest: NewestManifest) -> dict[str, Any]:
    return {"record": cid.to_text(newest.record), "version": newest.version, "expires": newest.expires}


def _agent(agent: AgentSummary) -> dict[str, Any]:
    document: dict[str, Any] = {"id": cid.to_text(agent.id)}
    if agent.name is not None:
        document["name"] = agent.name
    if agent.peer is not None:
        document["peer"] = agent.peer
    document["records"] = agent.records
    return document


def _digested(document: dict[str, Any]) -> dict[str, Any]:
    """Drop what is not digested, at the top and in the list of agents, where it occurs."""
    kept = {name: value for name, value in document.items() if name not in NOT_DIGESTED}
    kept["agents"] = [
        {name: value for name, value in agent.items() if name not in NOT_DIGESTED} for agent in document["agents"]
    ]
    return kept
