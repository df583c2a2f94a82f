"""One round: breed, have the candidates judged by the other vendor, decide, and release or leave things as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from tslg.node.artifacts import course, graph
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.report import VALID
from tslg.simulations.lab import data, factory, measuring, planning, releasing, viability
from tslg.simulations.lab.errors import LabError
from tslg.simulations.lab.evaluator import ACCEPTANCE, CANARY, SCORECARD, SHADOW, SUITES, WATCH
from tslg.simulations.lab.premises import Premises, in_thread
from tslg.simulations.lab.registry import Sources

HOUR_MS: Final = 3_600_000
ROUND: Final = "round"
NO_OP, PROMOTED, ROLLED_BACK, STOPPED = "no-op", "promoted", "rolled back", "stopped"


class Breeding:
    """The rounds of one lab, as vendor A sees them: champion, rival, and the suites that B froze."""

    def __init__(self, lab: Premises, sources: Sources, suites: dict[str, bytes]) -> None:
        self.lab = lab
        self.sources = sources
        self._suites = suites
        self.champion: Record = sources.code
        self.rival: Record | None = None
        self._scored: dict[Link, Record] = {}
        self._cards: dict[Link, Record] = {}

    # --- what vendor B is asked ------------------------------------------------------------------------------------

    async def judged(self, workload: str, targets: Sequence[Record]) -> dict[Link, Record]:
        """Have vendor B judge artifacts on a workload; return its evaluations by target, verified and held.

        Raises:
            LabError: what came back is not valid, or not about these packages and this frozen suite. PeerError.
        """
        task = {"suite": workload, "artifacts": [one.id for one in targets]}
        card, records = await ask(self.lab, self.sources, task)
        found = {one.body["target"]: one for one in records if one.kind == "evaluation"}
        self._cards.update({one.id: card for one in found.values()})
        for target in targets:
            one = found.get(target.id)
            right = one is not None and one.owner == self.lab.evaluator.id
            if one is None or not right or one.body["suite_digest"] != self._suites[workload]:
                raise LabError(f"vendor B did not judge {target.body['name']} on the frozen suite", record=card.id)
        return found

    async def _stage(self, workload: str, one: Record, other: Record, margin: str) -> releasing.Stage:
        """Hold a newcomer against the champion on a workload that neither was chosen on."""
        found = await self.judged(workload, [one, other])
        mine, theirs = found[one.id].body, found[other.id].body
        if "accuracy" not in mine["scores"]:
            return releasing.Stage(False, f"{workload}: it could not be measured", self._evidence(found))
        allowed = viability.POLICY[margin]
        kept = viability.holds(mine["scores"], theirs["scores"], allowed)
        told = (
            f"{workload}: accuracy {mine['scores']['accuracy']}, of the other {theirs['scores']['accuracy']}, "
            f"{allowed} behind is allowed"
        )
        return releasing.Stage(kept, told, self._evidence(found))

    def _evidence(self, found: Mapping[Link, Record]) -> list[Record]:
        """Return evaluations, and vendor B's decisions that they belong to."""
        return [*found.values(), *{card.id: card for one in found.values() if (card := self._cards[one.id])}.values()]

    # --- rounds ----------------------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """Make two founders, have them judged, and crown the better one of those that failed nothing."""
        lab = self.lab
        batch = await in_thread(lab.breeder.cohort, "founders", [self.sources.parts["base"]], input={"round": 0})
        made = [await in_thread(factory.founder, lab, self.sources, number, batch) for number in (0, 1)]
        found = await self.judged(ACCEPTANCE, made)
        self._scored.update(found)
        able = [one for one in made if not found[one.id].body["failed"]]
        if not able:
            failed = ", ".join(sorted({name for one in found.values() for name in one.body["failed"]}))
            raise LabError(f"no founder is good enough: they failed {failed}", mend="choose another seed")
        worth = {one.id: viability.worth(found[one.id].body["scores"], viability.POLICY) for one in able}
        self.champion = max(able, key=lambda one: (worth[one.id], one.body["package"]["digest"]))
        self.rival = next(one for one in made if one.id != self.champion.id)
        judged = {self.champion.id: found[self.champion.id]}
        await in_thread(releasing.crown, lab, self.champion, self._evidence(judged))

    async def round(self, number: int) -> dict[str, Any]:
        """Run one round; return what came of it."""
        lab, champion = self.lab, self.champion
        parts = {
            planning.CHAMPION: champion,
            planning.RIVAL: self.rival or champion,
            planning.FIELD: self.sources.parts["field"],
        }
        worst = await in_thread(self._worst)
        batch = await in_thread(
            lab.breeder.cohort, f"round-{number}", [champion], input={"round": number, "worst_class": worst}
        )
        made: list[Record] = []
        refused: list[factory.Refused] = []
        for attempt in planning.plan(number, lab.settings["seed"], data.SETS[lab.settings["data"]].hidden, worst):
            roles = {role: parts[name] for role, name in attempt.parents.items()}
            order = factory.Order(attempt.operator, attempt.how, roles, batch)
            one = await in_thread(factory.make, lab, self.sources, order)
            if isinstance(one, factory.Refused):
                refused.append(one)
            else:
                made.append(one)
        found = await self.judged(ACCEPTANCE, made) if made else {}
        self._scored.update(found)
        verdict = viability.select([self._told(one) for one in made], self._told(champion), viability.POLICY)
        outcome = NO_OP if verdict.chosen is None else f"put forward {verdict.chosen}"
        decision = await in_thread(
            lab.breeder.decide,
            ROUND,
            outcome,
            evidence=[batch, self._scored[champion.id], *self._evidence(found), *(one.record for one in refused)],
            reason=verdict.explanation[:1_500],
            data={
                "round": number,
                "gains": dict(verdict.gains),
                "reasons": {k: v[:500] for k, v in verdict.reasons.items()},
            },
        )
        chosen = next((one for one in made if one.body["name"] == verdict.chosen), None)
        await in_thread(self._file, made, chosen, verdict, decision)
        stages: list[str] = []
        if chosen is not None:
            outcome, stages = await self._release(chosen, decision, found[chosen.id])
        return {
            "round": number,
            "outcome": outcome,
            "explanation": verdict.explanation,
            "stages": stages,
            "candidates": [_shown(one, found[one.id], verdict) for one in made],
            "refused": [{"operator": one.operator, "code": one.code, "reason": one.reason} for one in refused],
            "decision": to_text(decision.id),
            "champion": to_text(self.champion.id),
        }

    def _told(self, one: Record) -> viability.Scored:
        body = self._scored[one.id].body
        scores, failed = body["scores"], body["failed"]
        from tslg.simulations.lab.evaluator import BOUNDS

        why = measuring.broken(BOUNDS, scores, failed) if scores else ["the package could not be measured"]
        return viability.Scored(one.body["name"], scores, failed, why)

    def _worst(self) -> int:
        """Return the class of the field's rows that the champion does worst: the failures that adapters are taught."""
        import numpy as np

        from tslg.simulations.lab.operators import load, logits, rows

        x, y = rows(self.lab.package(self.sources.parts["field"]))
        right = logits(load(self.lab.package(self.champion)), x).argmax(axis=1) == y
        return min(
            map(int, np.unique(y)), key=lambda one: (int(right[y == one].sum()) * 10_000 // int((y == one).sum()), one)
        )

    def _file(
        self, made: Sequence[Record], chosen: Record | None, verdict: viability.Verdict, decision: Record
    ) -> None:
        """Reject what failed, with the reasons; of what is left one may be a parent of the next round, as the rival."""
        kept = self.rival
        for one in made:
            reason = verdict.reasons.get(one.body["name"], "")
            if self._scored[one.id].body["failed"]:
                releasing.reject(self.lab, one, reason, [decision, self._scored[one.id]])
            elif chosen is None or one.id != chosen.id:
                if kept is not None and kept.id != self.champion.id and self._waits(kept):
                    self.lab.breeder.transition(kept, "retired", reason="another candidate is kept in its place")
                kept = one
        self.rival = kept

    def _waits(self, one: Record) -> bool:
        return course.state(self.lab.a.home.store, one.id, self.lab.breeder.id) == "candidate"

    async def _release(self, one: Record, decision: Record, evaluation: Record) -> tuple[str, list[str]]:
        """Take a candidate from shadow to champion as far as it gets; return what became of it, and what was found."""
        lab, champion = self.lab, self.champion
        await in_thread(releasing.to_shadow, lab, one, decision, [evaluation])
        shadow = await self._stage(SHADOW, one, champion, "shadow_margin")
        if not shadow.kept_up:
            await in_thread(releasing.reject, lab, one, shadow.told, shadow.evidence)
            return STOPPED, [shadow.told]
        await in_thread(releasing.to_canary, lab, one, champion, shadow)
        canary = await self._stage(CANARY, one, champion, "canary_margin")
        told = [shadow.told, canary.told]
        if not canary.kept_up:
            await in_thread(releasing.withdraw, lab, one, champion, canary)
            return ROLLED_BACK, told
        await in_thread(releasing.promote, lab, one, champion, canary)
        watch = await self._stage(WATCH, one, champion, "watch_margin")
        told.append(watch.told)
        if not watch.kept_up:
            await in_thread(releasing.roll_back, lab, watch.told)
            return f"{PROMOTED}, then {ROLLED_BACK}", told
        self.champion = one
        return PROMOTED, told


def _shown(one: Record, evaluation: Record, verdict: viability.Verdict) -> dict[str, Any]:
    name = one.body["name"]
    return {
        "id": to_text(one.id),
        "name": name,
        "operator": one.body["operator"],
        "package": one.body["package"]["digest"].hex(),
        "scores": dict(evaluation.body["scores"]),
        "failed": list(evaluation.body["failed"]),
        "gain": verdict.gains.get(name),
        "reason": verdict.reasons.get(name),
    }


async def ask(lab: Premises, sources: Sources, task: dict[str, Any]) -> tuple[Record, list[Record]]:
    """Delegate a task to vendor B; return its answer and the records that this rests on, all verified and held.

    Raises:
        LabError: the answer is not valid, or not vendor B's under this delegation. PeerError: there is none.
    """
    peer = lab.b.addresses[0]
    delegation, result = await lab.a.delegate(
        lab.breeder, lab.evaluator.id, task, sources.grant, peer=peer, expires=lab.a.home.clock() + HOUR_MS
    )
    report = await lab.a.fetch(result, [peer])
    if report.verdict != VALID:
        codes = ", ".join(sorted({one.code for one in report.findings})) or "something is missing"
        raise LabError(f"vendor B's answer is {report.verdict}: {codes}", record=result)
    answer = report.records[result]
    under = [edge.cid for edge in answer.preds.get("delegation", ())]
    if (
        answer.owner != lab.evaluator.id
        or answer.body.get("name") not in (SCORECARD, SUITES)
        or under != [delegation.id]
    ):
        raise LabError("vendor B's answer is not its own under this delegation", record=result)
    cited = await in_thread(graph.load, lab.a.home.store, [edge.cid for edge in answer.preds["evidence"]])
    return answer, list(cited.values())
