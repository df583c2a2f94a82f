"""Vendor B: freezes suites before anything is bred, and judges, under A's delegation, what it has hashed itself."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

from tslg.node.agent import Agent
from tslg.node.artifacts.package import hash_folder
from tslg.node.delegating.works import Declined
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.report import VALID
from tslg.simulations.lab import data, measuring, premises
from tslg.simulations.lab.premises import Premises
from tslg.simulations.lab.registry import EVALUATE

ACCEPTANCE, SHADOW, CANARY, WATCH = "acceptance", "shadow", "canary", "watch"
WORKLOADS: Final = (ACCEPTANCE, SHADOW, CANARY, WATCH)
SCORECARD: Final = "scorecard"
SUITES: Final = "suites"
NOISE: Final = 60
BOUNDS: Final[Mapping[str, int]] = {
    "accuracy": 8_500,
    "calibration_error": 1_500,
    "noisy_accuracy": 7_000,
    "worst_class_recall": 6_000,
    "confident_errors": 700,
    "bytes": 20_000,
    "multiplications": 4_000,
}
"""What the suites ask, in ten-thousandths, bytes and multiplications; frozen with the rows that they are asked on."""
MOST: Final = 32
"""Artifacts in one delegation."""


class Suite(NamedTuple):
    """A frozen suite: its artifact, and its package on disk."""

    record: Record
    folder: Path


def freeze(lab: Premises) -> dict[str, Suite]:
    """Record vendor B's own policy and its suites, each pinned by its content hash; return them by workload."""
    agent = lab.evaluator
    own = agent.policy("evaluation", capabilities=[EVALUATE], document=agent.blob(json.dumps(dict(BOUNDS)).encode()))
    agent.adopt(own)
    name, seed = lab.settings["data"], lab.settings["seed"]
    x, y = data.loaded(name)
    parts = data.parts(x, y, seed)
    frozen = {}
    with tempfile.TemporaryDirectory(prefix="tslg-suites-") as scratch:
        for part in WORKLOADS:
            rows, labels = parts[part]
            about = {"suite": part, "bounds": dict(BOUNDS) if part == ACCEPTANCE else {}, "noise": [seed, NOISE]}
            made = data.write(Path(scratch) / part, rows, labels, about)
            licences = [data.LICENCE]
            record = premises.take_in(
                lab.folder, agent, made, f"{name}/{part}", type="suite", licences=licences, policy=own
            )
            frozen[part] = Suite(record, lab.package(record))
    return frozen


def work(lab: Premises, frozen: Mapping[str, Suite]) -> Callable[[Agent, Record, Any], Awaitable[Record]]:
    """Return what vendor B does for a delegation: it names its suites, or judges the artifacts that are named."""

    async def judge(agent: Agent, delegation: Record, progress: Any) -> Record:
        task = delegation.body["task"]
        if task.get("list") == SUITES:
            return await agent.decide(
                SUITES,
                "frozen",
                evidence=[one.record for one in frozen.values()],
                delegation=delegation,
                uses=[EVALUATE],
            )
        suite = frozen.get(task.get("suite", ""))
        ids = task.get("artifacts")
        if suite is None or not isinstance(ids, list | tuple) or not 0 < len(ids) <= MOST:
            raise Declined(f"a task names one of {', '.join(frozen)} and 1 to {MOST} artifacts")
        found = []
        for number, id in enumerate(ids):
            if not isinstance(id, Link):
                raise Declined("an artifact is named by its id")
            report = await lab.b.fetch(id, list(lab.a.addresses))
            if report.verdict != VALID:
                raise Declined(f"the record of artifact {number} is {report.verdict}")
            progress(number, len(ids))
            found.append(report.records[id])
        return await trio.to_thread.run_sync(_record, lab, agent, delegation, suite, found)

    return judge


def _record(lab: Premises, agent: Agent, delegation: Record, suite: Suite, targets: list[Record]) -> Record:
    """Judge artifacts and record each evaluation, under a policy of one's own that narrows the grant."""
    blocking = agent.blocking
    narrowed = blocking.policy(
        "evaluation",
        capabilities=[EVALUATE],
        not_after=delegation.body["expires"],
        under=delegation.body["grant"],
        delegation=delegation,
    )
    evaluations = []
    outcomes = {}
    for target in targets:
        judged, report = judge(suite, lab.package(target), target)
        one = blocking.evaluation(
            target,
            suite=str(suite.record.body["name"]),
            suite_digest=suite.record.body["package"]["digest"],
            scores=judged.scores,
            passed=judged.passed,
            failed=judged.failed,
            report=blocking.blob(json.dumps(report, sort_keys=True).encode(), "application/json"),
            evidence=suite.record,
            policy=narrowed,
            delegation=delegation,
        )
        evaluations.append(one)
        outcomes[target.body["name"][:80]] = ", ".join(judged.failed) or "nothing failed"
    return blocking.decide(
        SCORECARD,
        "judged",
        evidence=evaluations,
        delegation=delegation,
        policy=narrowed,
        uses=[EVALUATE],
        data={"failed": outcomes},
    )


def judge(suite: Suite, folder: Path, target: Record) -> tuple[measuring.Judged, dict[str, Any]]:
    """Hash a package and the suite, and measure the one on the other. What is no model fails compatibility alone."""
    from tslg.simulations.lab.operators import BadModel, load, rows

    if hash_folder(suite.folder).digest != suite.record.body["package"]["digest"]:
        raise Declined("a frozen suite is not what it was")
    if hash_folder(folder).digest != target.body["package"]["digest"]:
        return measuring.Judged({}, [], ["compatibility"]), {"why": "the package is not what its record says"}
    about = json.loads((suite.folder / "data.json").read_bytes())
    x, y = rows(suite.folder)
    try:
        model = load(folder)
        if model["mean"].shape[0] != x.shape[1] or model["b2"].shape[0] <= int(y.max()):
            raise BadModel(f"it takes {model['mean'].shape[0]} features and knows {model['b2'].shape[0]} classes")
    except BadModel as error:
        return measuring.Judged({}, [], ["compatibility"]), {"why": str(error)}
    bounds = about["bounds"]
    noise = data.noisy(x, *about["noise"]) if bounds else None
    scores = measuring.measured(model, x, y, noise)
    if not bounds:
        return measuring.Judged(scores, ["compatibility"], []), {"rows": len(y)}
    judged = measuring.judged(scores, bounds)
    return judged, {"rows": len(y), "why": measuring.broken(bounds, scores, judged.failed)}
