"""What becomes of artifacts: their states, where aliases point and pointed, and the whole lineage record of one.

States and aliases are an agent's own: whoever asks says whose log counts, or is shown all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from tslg.node.agent import BlockingAgent
from tslg.node.artifacts import graph
from tslg.node.store.interface import Store
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record


class RolledBack(NamedTuple):
    """The records of a rollback: the artifact that left service, the one that came back, and the alias."""

    left: Record
    came_back: Record
    release: Record


def transitions(store: Store, id: Link, by: Link | None = None) -> list[Record]:
    """Return the transitions of an artifact (in one agent's log), in the order of each log, oldest first."""
    return _about(store, id, "transition", by)


def releases(store: Store, id: Link, by: Link | None = None) -> list[Record]:
    """Return the releases that pointed an alias at an artifact (in one agent's log), oldest first."""
    return _about(store, id, "release", by)


def states(store: Store, id: Link) -> dict[Link, str]:
    """Return the state of an artifact by each agent whose log says one; by its author's record where none does."""
    found = {one.owner: str(one.body["to"]) for one in transitions(store, id)}
    record = graph.artifact(store, id)
    return found or {record.owner: record.body["lifecycle"]}


def state(store: Store, id: Link, by: Link) -> str:
    """Return the state of an artifact by one agent's log."""
    moved = transitions(store, id, by)
    return str(moved[-1].body["to"] if moved else graph.artifact(store, id).body["lifecycle"])


def history(store: Store, alias: str, by: Link | None = None) -> list[Record]:
    """Return every release of an alias (by one agent), oldest first in each log: the last one says where it points."""
    found = graph.load(store, store.by_kind("release", by, limit=DEFAULT.releases)).values()
    return sorted((one for one in found if one.body["alias"] == alias), key=lambda one: (one.owner, one.seq))


def aliases(store: Store, by: Link | None = None) -> list[Record]:
    """Return the newest release of every alias of every agent (or one)."""
    newest: dict[tuple[Link, str], Record] = {}
    for one in graph.load(store, store.by_kind("release", by, limit=DEFAULT.releases)).values():
        held = newest.get((one.owner, one.body["alias"]))
        if held is None or held.seq < one.seq:
            newest[one.owner, one.body["alias"]] = one
    return [newest[key] for key in sorted(newest)]


def points_at(store: Store, alias: str, by: Link) -> Link | None:
    """Return the artifact at which an agent's alias points, None if it has no such alias."""
    released = history(store, alias, by)
    target: Link | None = released[-1].body["target"] if released else None
    return target


def approvals(store: Store, id: Link) -> list[Record]:
    """Return the decisions about this very artifact on which a release or transition of it rests."""
    resting = [*releases(store, id), *transitions(store, id)]
    cited = {edge.cid for one in resting for edge in one.preds["evidence"]}
    deciding = {row.child for row in store.citing([id], ("evidence",), ("decision",))}
    return sorted(graph.load(store, cited & deciding).values(), key=lambda one: (one.time, one.id))


def roll_back(agent: BlockingAgent, store: Store, alias: str, reason: str, **under: Any) -> RolledBack:
    """Take what an alias points at out of service, and point it at what its release named as the way back.

    Where that was once released with a way back of its own, which still stands by, it keeps it.

    Raises:
        UsageError: the alias is not the agent's, or its last release names no way back. Refusal: the states do not
            allow it.
    """
    released = history(store, alias, agent.id)
    if not released or "rollback" not in released[-1].body:
        detail = f"no release of {alias[:80]!r} by {agent.name} names what to go back to"
        raise UsageError(detail, mend="release it with a rollback target")
    last, back = released[-1], released[-1].body["rollback"]
    with agent.batch():
        left = agent.transition(last.body["target"], "rolled-back", reason=reason, **under)
        came_back = agent.transition(back, "champion", reason=reason, evidence=left, **under)
        further = _way_back(store, released, back, agent.id)
        release = agent.release(alias, back, rollback=further, reason=reason, evidence=[left, came_back], **under)
    return RolledBack(left, came_back, release)


def _way_back(store: Store, released: Sequence[Record], target: Link, by: Link) -> Link | None:
    """Return what an artifact could be rolled back to when it was released last, if that still stands by."""
    named = [one.body.get("rollback") for one in released if one.body["target"] == target]
    known = named[-1] if named else None
    return known if known is not None and state(store, known, by) == "standby" else None


def lineage_record(store: Store, id: Link) -> dict[str, Any]:
    """Return the minimum lineage record of an artifact: each field with what the graph says of it.

    What several agents say, such as evaluations, approvals and states, names who says it.
    """
    record = graph.artifact(store, id)
    body = record.body
    said = graph.said(store, [id])
    back = [one for one in releases(store, id) if "rollback" in one.body]
    return {
        "artifact_id": f"sha256:{body['package']['digest'].hex()}",
        "record": to_text(id),
        "name": body.get("name"),
        "type": body.get("type"),
        "parent_ids": list(map(to_text, graph.own_parents(record))),
        "operator": body.get("operator"),
        "operator_version": body.get("operator_version"),
        "operator_config_hash": _digest(body.get("config", {}).get("digest")),
        "base_family": body.get("family"),
        "tokenizer_id": _digest(body.get("tokenizer")),
        "training_data_manifest": _digest(body.get("training_data")),
        "licences": body.get("licences"),
        "restrictions": body.get("restrictions"),
        "vulnerabilities": body.get("vulnerabilities"),
        "evaluations": [_evaluation(one) for one in said.evaluations.get(id, ())],
        "created_at_utc": _utc(record.time),
        "created_by": to_text(record.owner),
        "approvals": [
            {"record": to_text(one.id), "by": to_text(one.owner), "name": one.body.get("name")}
            for one in approvals(store, id)
        ],
        "rollback_target": to_text(back[-1].body["rollback"]) if back else None,
        "lifecycle_state": {to_text(by): one for by, one in states(store, id).items()},
        "cohort": to_text(body["cohort"]) if "cohort" in body else None,
        "files": body.get("files"),
        "bytes": body.get("bytes"),
        "withheld": sorted(record.withheld),
    }


def _evaluation(one: Record) -> dict[str, Any]:
    body = one.body
    return {
        "evaluation_suite_id": body.get("suite"),
        "suite_digest": _digest(body.get("suite_digest")),
        "evaluation_evidence_id": to_text(one.id),
        "report": _digest(body.get("report", {}).get("digest")),
        "by": to_text(one.owner),
        "passed": body["passed"],
        "failed": body["failed"],
    }


def _digest(value: bytes | None) -> str | None:
    return None if value is None else f"sha256:{value.hex()}"


def _utc(time_ms: int) -> str | None:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _about(store: Store, id: Link, kind: str, by: Link | None) -> list[Record]:
    held: Sequence[Record] = list(
        graph.load(store, (row.child for row in store.citing([id], ("evidence",), (kind,)))).values()
    )
    own = [one for one in held if one.body["target"] == id and (by is None or one.owner == by)]
    return sorted(own, key=lambda one: (one.owner, one.seq))
