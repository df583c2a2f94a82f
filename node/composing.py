"""Building on others' verifications: relying on them, going deeper and holding them to it, and summing them up."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Final

from tslg.node.store.interface import Store
from tslg.protocol import cid, composing
from tslg.protocol.codec import Link
from tslg.protocol.composing import Composed, Fit
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record, parse_as
from tslg.protocol.report import UNDETERMINED, VALID, Finding, Reliance, Report, Undetermined

MOST_RELIED: Final = 64
"""Verifications looked at for one walk, those that others rely on in turn included."""
MOST_SUMMED: Final = 1_000
"""Verifications summed up for one record."""

Walk = Callable[[Link], Report]
"""Verifies one record, without going behind it."""


class Relying:
    """Finds out whether verifications may be relied on: each is itself verified, and by somebody who is trusted.

    What they rely on in turn must be by somebody trusted, too: whoever trusts an agent's eyes need not trust those that
    it borrowed.

    Args:
        trusted: ids of agents; None to take in verifications without relying on them.

    Attributes:
        reliances: by target, what may be relied on.
        records: every verification looked at, by id.
    """

    def __init__(self, trusted: Iterable[Link] | None) -> None:
        self._trusted = None if trusted is None else frozenset(trusted)
        self.reliances: dict[Link, Reliance] = {}
        self.records: dict[Link, Record] = {}

    def add(self, id: Link, walk: Walk) -> Record:
        """Take in a verification and all that it relies on; return its record.

        Raises:
            UsageError: `TSLG-U-RELY`: it is none, is not itself valid, or nobody trusted stands behind it.
        """
        todo = [id]
        while todo:
            one = todo.pop()
            if one in self.records:
                continue
            if len(self.records) >= MOST_RELIED:
                raise _not(one, f"more than {MOST_RELIED} verifications rely on each other")
            record = self._checked(one, walk(one))
            self.records[one] = record
            todo += record.body.get("relied", ())
        made = self.records[id]
        body = made.body
        if self._trusted is not None:
            self.reliances[body["target"]] = Reliance(id, made.owner, body["target"], body["depth"], body["edges"])
        return made

    def _checked(self, id: Link, report: Report) -> Record:
        record = report.records.get(id)
        if record is None or report.verdict != VALID:
            why = next((one.code for one in report.findings), None) or next(
                (one.reason for one in report.undetermined), "nothing was verified"
            )
            raise _not(id, f"it is itself {report.verdict}: {why}")
        if record.kind != "verification":
            raise _not(id, f"it is a {record.kind}")
        if self._trusted is None:
            return record
        if record.owner not in self._trusted:
            raise _not(id, f"nobody said to trust its author {cid.to_text(record.owner)}", "name it with --trust")
        if record.body["verdict"] != VALID:
            raise _not(id, f"it found its target {record.body['verdict']}", "verify that record yourself")
        if any(edge.cid == record.body["target"] and edge.agent is None for edge in record.edges()):
            raise _not(id, "its author verified a record of its own", "rely on somebody else, or on nobody")
        return record


def _not(id: Link, detail: str, mend: str = "rely on another one, or on nobody") -> UsageError:
    return UsageError(f"verification {cid.short(id)}: {detail}", code="TSLG-U-RELY", mend=mend, record=id)


def hold_to(
    report: Report, verification: Record, find: composing.Find, relied: Mapping[Link, Record]
) -> tuple[Report, Fit]:
    """Hold an earlier verification of the same target to what a walk found; return the report with what came of it.

    Args:
        report: of the walk.
        verification: the earlier one's record.
        find: the records that the walk holds.
        relied: the verifications that the earlier one relied on, by id.

    Raises:
        UsageError: it is about another record.
    """
    if verification.body["target"] != report.target:
        raise _not(
            verification.id, f"it is about {cid.to_text(verification.body['target'])}", "name one of this record"
        )
    stops = composing.stops_of(verification, relied.get)
    fits = composing.fit(verification, find, composing.walk_of(verification, find, stops=stops))
    if fits.faults:
        detail = "; ".join(fits.faults)
        finding = Finding("TSLG-V-CLAIM", verification.id, (), f"the earlier verification is wrong: {detail}")
        return replace(report, findings=(*report.findings, finding)), fits
    if fits.missing:
        reason = "absent: records that the earlier verification covered were not visited"
        entry = Undetermined(verification.id, reason)
        return replace(report, undetermined=tuple(sorted({*report.undetermined, entry}))), fits
    return report, fits


def contradicts(report: Report, verification: Record, fits: Fit) -> bool:
    """Tell whether a walk speaks against an earlier verification of the same target."""
    said = verification.body["verdict"]
    return bool(fits.faults) or (report.verdict != said and report.verdict != UNDETERMINED)


def as_written(store: Store) -> composing.Find:
    """Return what finds the records of a store as their authors wrote them: in the order of those edges walks go."""
    known: dict[Link, Record | None] = {}

    def find(id: Link) -> Record | None:
        if id not in known:
            entry = store.get(id)
            known[id] = None if entry is None else parse_as(id, entry.data)
        return known[id]

    return find


def verified(store: Store, target: Link, trusted: Iterable[Link] | None = None) -> Composed:
    """Sum up how deep a held record was verified in total, and by whom, from all verifications held here.

    Args:
        store: what is held.
        target: the record.
        trusted: agents whose verifications are considered; None for everybody's.

    Nothing is verified by asking: the records are taken as the store holds them, which admitted or verified them.
    """
    find = as_written(store)
    considered = None if trusted is None else frozenset(trusted)
    found: dict[Link, Record] = {}
    for id in composing.replay(target, None, find).visited:
        for child in store.children(id):
            record = find(child)
            if record is None or record.kind != "verification" or record.body["target"] != id:
                continue
            if considered is None or record.owner in considered:
                found[child] = record
    newest = sorted(found.values(), key=lambda one: (-one.time, one.id))[:MOST_SUMMED]
    return composing.compose(target, newest, find)
