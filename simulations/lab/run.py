"""A whole run of the lab: founded, bred for some rounds, audited at the end by somebody who knows nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import trio

from tslg.node.artifacts import course
from tslg.node.auditor import Auditor
from tslg.node.tasks import first_of
from tslg.protocol.cid import to_text
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record
from tslg.protocol.report import VALID
from tslg.simulations.lab import data, evaluator, premises, registry, releasing
from tslg.simulations.lab.errors import LabError
from tslg.simulations.lab.premises import Premises, in_thread
from tslg.simulations.lab.rounds import NO_OP, PROMOTED, ROLLED_BACK, STOPPED, Breeding, ask

MOST_ROUNDS: Final = 1_000
Tick = Callable[[int, int | None], None]


def run(
    folder: Path, *, rounds: int, seed: int, data_set: str = "digits", network: bool = False, tick: Tick | None = None
) -> dict[str, Any]:
    """Start a lab in a new or empty folder and run rounds of it; return what came of them, as JSON has it.

    Raises:
        UsageError: the folder is not empty, NumPy and scikit-learn are not installed, there is no such data set, or
            this machine cannot fence operators in. LabError: the vendors do not agree.
    """
    if data_set not in data.SETS or not 1 <= rounds <= MOST_ROUNDS:
        known = ", ".join(data.SETS)
        raise UsageError(f"1 to {MOST_ROUNDS} rounds on one of {known}", mend="choose again")
    data.loaded(data_set)
    premises.found(folder, {"data": data_set, "seed": seed})
    try:
        return trio.run(_run, folder, rounds, network, tick)
    except BaseExceptionGroup as group:
        raise first_of(group) from group


async def _run(folder: Path, rounds: int, network: bool, tick: Tick | None) -> dict[str, Any]:
    async with premises.opened(folder, network=network) as lab:
        breeding = await begun(lab)
        found = []
        for number in range(1, rounds + 1):
            found.append(await breeding.round(number))
            if tick is not None:
                tick(number, rounds)
        return await _summed_up(lab, found)


async def begun(lab: Premises) -> Breeding:
    """Have both vendors record what they start with, and crown the first champion."""
    now_ms = lab.a.home.clock()
    frozen = await in_thread(evaluator.freeze, lab)
    lab.b.on_delegation(lab.evaluator, evaluator.work(lab, frozen))
    sources = await in_thread(registry.register, lab.folder, lab.breeder, lab.settings, now_ms)
    _, suites = await ask(lab, sources, {"list": evaluator.SUITES})
    # Vendor A goes by the suites as they were before anything was bred.
    pinned = {str(one.body["name"]).rpartition("/")[2]: one.body["package"]["digest"] for one in suites}
    if set(pinned) != set(evaluator.WORKLOADS):
        raise LabError("vendor B did not name its suites")
    breeding = Breeding(lab, sources, pinned)
    await breeding.begin()
    return breeding


async def _summed_up(lab: Premises, found: list[dict[str, Any]]) -> dict[str, Any]:
    released = course.history(lab.a.home.store, releasing.CHAMPION, lab.breeder.id)
    audit = await audited(lab, released[-1])
    made = [one for each in found for one in each["candidates"]]
    return {
        "lab": str(lab.folder),
        **lab.settings,
        "federation": to_text(lab.a.federation),
        "breeder": to_text(lab.breeder.id),
        "evaluator": to_text(lab.evaluator.id),
        "rounds": found,
        "candidates": len(made),
        "rejected": sum(bool(one["failed"]) for one in made) + sum(one["outcome"] == STOPPED for one in found),
        "refused": sum(len(one["refused"]) for one in found),
        "no_ops": sum(one["outcome"] == NO_OP for one in found),
        "promotions": sum(one["outcome"].startswith(PROMOTED) for one in found),
        "rollbacks": sum(one["outcome"].endswith(ROLLED_BACK) for one in found),
        "champion": to_text(released[-1].body["target"]),
        "release": to_text(released[-1].id),
        "audit": audit,
    }


async def audited(lab: Premises, release: Record) -> dict[str, Any]:
    """Audit a release over the network as somebody would who holds nothing; say what it rests on, by vendor."""
    assert lab.b.network is not None
    auditor = Auditor(lab.b.network, lab.a.federation, clock=lab.a.home.clock)
    report = await auditor.audit(release.id, [*lab.a.addresses, *lab.b.addresses])
    if report.verdict != VALID:
        raise LabError(f"the audit of the champion is {report.verdict}", record=release.id)
    names = {lab.breeder.id: premises.BREEDER, lab.evaluator.id: premises.EVALUATOR}
    counts: dict[str, dict[str, int]] = {name: {} for name in names.values()}
    for one in report.records.values():
        if one.owner in names:
            kind = f"{one.kind} of {one.body['type']}" if one.kind == "artifact" else one.kind
            of = counts[names[one.owner]]
            of[kind] = of.get(kind, 0) + 1
    return {
        "verdict": report.verdict,
        "records": len(report.records),
        "edges": report.edges,
        "reached": {name: dict(sorted(of.items())) for name, of in counts.items()},
    }
