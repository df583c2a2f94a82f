"""Rules of artifacts: what they are made of, what evaluations and advisories are about, and how their lives go on."""

from __future__ import annotations

from collections.abc import Iterator

from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.lifecycle import COURSES, DEPLOYABLE, FIRST, NEEDED, PACKAGE, SERVING, TRANSITIONS, place
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, refuse


def rule_artifact(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """An artifact begins as candidate or source; a source has no parents; its training data is one of its parents."""
    if record.kind != "artifact":
        return None
    body, parents = record.body, record.preds.get("parent", ())
    if body["lifecycle"] not in FIRST:
        mend = f"record it as {' or '.join(FIRST)}, and what becomes of it as transitions"
        return refuse("TSLG-A-ARTIFACT", record, f"no artifact begins as {body['lifecycle']!r:.80}", mend)
    if body["lifecycle"] == "source" and parents:
        return refuse("TSLG-A-ARTIFACT", record, "a source that derives from others", "record it as candidate")
    if body["package"]["media_type"] != PACKAGE:
        return refuse("TSLG-A-ARTIFACT", record, "its package is no listing of files", f"name a listing as {PACKAGE}")
    cohort = body.get("cohort")
    if cohort is not None and not _cites(record, cohort):
        return refuse("TSLG-A-ARTIFACT", record, "its cohort is not among its evidence", "cite the cohort as evidence")
    data = body.get("training_data")
    if data is None:
        return None
    held = [context.record(edge.cid) for edge in parents]
    if any(one is not None and one.kind == "artifact" and one.body["package"]["digest"] == data for one in held):
        return None
    if None in held and not context.complete:
        return None
    mend = "record the data set or its manifest as an artifact, and derive from it"
    return refuse("TSLG-A-ARTIFACT", record, "its training data is the package of none of its parents", mend)


def rule_evaluation(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """An evaluation or advisory cites the artifact that it is about, and says something of that very package."""
    if record.kind not in ("evaluation", "advisory"):
        return None
    body = record.body
    about = _about(record, body["target"], context)
    if about is not None:
        return about
    if record.kind == "advisory":
        if body["restrictions"] or body["vulnerabilities"] or body["withdrawn"]:
            return None
        mend = "name restrictions, vulnerabilities or licences"
        return refuse("TSLG-A-EVALUATION", record, "an advisory that names nothing", mend)
    both = sorted(set(body["passed"]) & set(body["failed"]))
    if both:
        detail = f"it both passed and failed {', '.join(both)[:200]}"
        return refuse("TSLG-A-EVALUATION", record, detail, "state each once")
    if body.get("resolves") and not body["passed"]:
        return refuse("TSLG-A-EVALUATION", record, "it resolves something and passed nothing", "state what it passed")
    target = context.record(body["target"])
    if target is None or target.body["package"]["digest"] == body["package"]:
        return None
    return refuse("TSLG-A-EVALUATION", record, "it tested another package than its target", "test the exact package")


def rule_transition(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A transition goes from the state that the artifact is in, in this log, to one that may follow it."""
    if record.kind != "transition":
        return None
    body = record.body
    before, after = body["from"], body["to"]
    if after not in TRANSITIONS.get(before, ()):
        following = ", ".join(sorted(TRANSITIONS.get(before, ()))) or "nothing"
        detail = f"{after!r:.80} does not follow {before!r:.80}"
        return refuse("TSLG-A-TRANSITION", record, detail, f"{following} may follow that state")
    about = _about(record, body["target"], context) or _followed(record, context)
    if about is not None:
        return about
    previous = context.record(body.get("after", body["target"]))
    state = None if previous is None else previous.body.get("to", previous.body.get("lifecycle"))
    if state is not None and state != before:
        detail = f"it starts from {before!r:.80}, and the artifact is {state!r:.80} here"
        return refuse("TSLG-A-TRANSITION", record, detail, "start from the state that it is in")
    lacking = [name for name in NEEDED if not _passed(record, body["target"], name, context)]
    if after not in SERVING or not lacking:
        return None
    detail = f"nothing that it cites says that this very package passed {' and '.join(lacking)}"
    return refuse("TSLG-A-TRANSITION", record, detail, "evaluate the package, and cite the evaluation as evidence")


def rule_release(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """A release follows the last one of its alias, and would be rolled back to what is proven deployable."""
    if record.kind != "release":
        return None
    body = record.body
    target, rollback = body["target"], body.get("rollback")
    about = _about(record, target, context) or _followed(record, context)
    if about is not None or rollback is None:
        return about
    if rollback == target:
        return refuse("TSLG-A-RELEASE", record, "it would be rolled back to itself", "name another artifact")
    if not _cites(record, rollback) or not _is_artifact(rollback, context):
        detail = "what it would be rolled back to is no artifact among its evidence"
        return refuse("TSLG-A-RELEASE", record, detail, "cite that artifact as evidence")
    if _passed(record, rollback, DEPLOYABLE, context):
        return None
    detail = f"nothing that it cites says that what it would be rolled back to passed {DEPLOYABLE}"
    return refuse("TSLG-A-RELEASE", record, detail, "cite an evaluation of that package as evidence")


def _about(record: Record, target: Link, context: Context) -> Refusal | None:
    """Refuse a record whose target is no artifact among its evidence."""
    if _cites(record, target) and _is_artifact(target, context):
        return None
    code = {"release": "RELEASE", "transition": "TRANSITION"}.get(record.kind)
    detail, mend = "its target is no artifact among its evidence", "cite the artifact as evidence"
    if code == "RELEASE":
        return refuse("TSLG-A-RELEASE", record, detail, mend)
    if code == "TRANSITION":
        return refuse("TSLG-A-TRANSITION", record, detail, mend)
    return refuse("TSLG-A-EVALUATION", record, detail, mend)


def _followed(record: Record, context: Context) -> Refusal | None:
    """Refuse a record that does not follow the last one about its subject in its own log."""
    assert record.kind in COURSES
    after = record.body.get("after")
    if after is not None:
        held = context.record(after)
        own = any(edge.cid == after and edge.agent is None for edge in record.preds["evidence"])
        last = None if held is None else held.kind == record.kind and place(held)[2] == place(record)[2]
        if not own or last is False:
            detail = "what it follows is no earlier one about its subject, cited as evidence"
            return _misplaced(record, detail, "cite the last one about it in this log")
    taken = context.taken(record) if context.complete else None
    if taken is None:
        return None
    detail = f"{cid.short(taken.id)} comes before it about the same subject"
    return _misplaced(record, detail, "follow the last one about it in this log")


def _misplaced(record: Record, detail: str, mend: str) -> Refusal:
    if record.kind == "release":
        return refuse("TSLG-A-RELEASE", record, detail, mend)
    return refuse("TSLG-A-TRANSITION", record, detail, mend)


def _cites(record: Record, id: Link) -> bool:
    return any(edge.cid == id for edge in record.preds.get("evidence", ()))


def _is_artifact(id: Link, context: Context) -> bool:
    held = context.record(id)
    return held is None or held.kind == "artifact"


def _passed(record: Record, target: Link, what: str, context: Context) -> bool:
    """Tell whether an evaluation among the evidence says that an artifact passed something, or may say so."""
    for held in _evidence(record, context):
        if held is None:
            if not context.complete:
                return True
        elif held.kind == "evaluation" and held.body["target"] == target and what in held.body["passed"]:
            return True
    return False


def _evidence(record: Record, context: Context) -> Iterator[Record | None]:
    return (context.record(edge.cid) for edge in record.preds.get("evidence", ()))
