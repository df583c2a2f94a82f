"""The release controller: shadow, canary, champion, and back again; each step is a record with its evidence."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tslg.node.artifacts import course, rebuilding
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.simulations.lab.errors import LabError
from tslg.simulations.lab.premises import Premises

CHAMPION, CANARY, SHADOW = "champion", "canary", "shadow"


class Stage(NamedTuple):
    """What a stage of a release found: whether the newcomer kept up, and both accuracies in words."""

    kept_up: bool
    told: str
    evidence: Sequence[Record]


def crown(lab: Premises, first: Record, evidence: Sequence[Record]) -> Record:
    """Make the first champion, which has nothing to go back to."""
    agent = lab.breeder
    with agent.batch():
        for state in (SHADOW, CANARY, CHAMPION):
            agent.transition(first, state, evidence=evidence)
        return agent.release(CHAMPION, first, reason="the first champion", evidence=evidence)


def to_shadow(lab: Premises, one: Record, decision: Record, evidence: Sequence[Record]) -> None:
    """Let a candidate run beside the champion, its answers unused."""
    with lab.breeder.batch():
        moved = lab.breeder.transition(one, SHADOW, evidence=[decision, *evidence], reason="the round's choice")
        lab.breeder.release(SHADOW, one, evidence=[decision, moved])


def to_canary(lab: Premises, one: Record, champion: Record, stage: Stage) -> None:
    """Let a shadow answer a part of the requests. Raises LabError if there would be no way back."""
    deployable(lab, champion)
    with lab.breeder.batch():
        moved = lab.breeder.transition(one, CANARY, evidence=stage.evidence, reason=stage.told)
        lab.breeder.release(CANARY, one, rollback=champion, evidence=[moved, *stage.evidence])


def reject(lab: Premises, one: Record, reason: str, evidence: Sequence[Record]) -> None:
    """Say that an artifact goes no further."""
    lab.breeder.transition(one, "rejected", reason=reason[:500], evidence=evidence)


def withdraw(lab: Premises, one: Record, champion: Record, stage: Stage) -> Record:
    """Roll a canary back: the alias goes back to the champion."""
    with lab.breeder.batch():
        left = lab.breeder.transition(one, "rolled-back", reason=stage.told, evidence=stage.evidence)
        return lab.breeder.release(CANARY, champion, reason=stage.told, evidence=[left, *stage.evidence])


def promote(lab: Premises, one: Record, champion: Record, stage: Stage) -> Record:
    """Make a canary the champion; the one before stands by. Raises LabError if there would be no way back."""
    deployable(lab, champion)
    agent = lab.breeder
    with agent.batch():
        stood_by = agent.transition(champion, "standby", reason="a new champion", evidence=stage.evidence)
        moved = agent.transition(one, CHAMPION, reason=stage.told, evidence=stage.evidence)
        evidence = [stood_by, moved, *stage.evidence]
        return agent.release(CHAMPION, one, rollback=champion, reason=stage.told, evidence=evidence)


def roll_back(lab: Premises, reason: str) -> course.RolledBack:
    """Take the champion out of service and put the one before back in. Raises UsageError: there is none before."""
    return course.roll_back(lab.breeder, lab.a.home.store, CHAMPION, reason)


def deployable(lab: Premises, one: Record) -> None:
    """Put a package together again from what is kept: what could not be, is no way back. Raises LabError."""
    with tempfile.TemporaryDirectory(prefix="tslg-way-back-") as scratch:
        rebuilt = rebuilding.rebuild(lab.a.home.store, one.id, Path(scratch) / "package")
    if not rebuilt.same:
        raise LabError("the way back cannot be put together again", record=one.id)


def pointed_at(lab: Premises, alias: str) -> Link | None:
    """Return what an alias of the breeder's points at."""
    return course.points_at(lab.a.home.store, alias, lab.breeder.id)
