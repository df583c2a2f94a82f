"""What of the packages that are kept must stay, and what may go: records are never touched, contents are.

Kept are what serves or served, what a kept artifact derives from, what anything was done with, and what is young. Of
the rest the contents go, the record, the listing and all that was said of it stay. What people search in are
summaries, written beside and made anew whenever anybody likes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import IO, Any, Final, NamedTuple

from tslg.node.agent import BlockingAgent
from tslg.node.artifacts import course, graph
from tslg.node.artifacts.keeping import listing_of
from tslg.node.pruning import referenced
from tslg.node.store.interface import Store
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.lifecycle import TRANSITIONS
from tslg.protocol.record import Record

MOST: Final = 1_000_000
"""Artifacts that are looked at."""
GOES: Final = frozenset(("rejected", "rolled-back", "retired", "revoked", "archived"))
"""States in which the contents of a package may go."""
_SERVED: Final = frozenset(("canary", "champion"))

Tick = Callable[[int], None]


class Plan(NamedTuple):
    """What of the packages may go, and why the others stay.

    Attributes:
        goes: artifacts whose contents may go, oldest first, with their states.
        stays: by artifact, why it stays, the first reason that holds.
        contents: digests of the contents that nothing that stays needs.
    """

    goes: Mapping[Link, str]
    stays: Mapping[Link, str]
    contents: frozenset[bytes]


def plan(
    store: Store, by: Link, *, now_ms: int, horizon_ms: int, retention_ms: int = 0, beside: Collection[Link] = ()
) -> Plan:
    """Find what may go of what one agent's log says of artifacts.

    Args:
        store: holds the graph.
        by: the agent whose transitions and releases count.
        now_ms: the node's clock.
        horizon_ms: what is younger stays; `retention_ms`, the manifest's for artifacts, raises it.
        beside: other agents that keep contents in this store: what is in use by their logs stays.

    Raises:
        UsageError: there are more artifacts than are looked at.
    """
    ids = store.by_kind("artifact", limit=MOST + 1)
    if len(ids) > MOST:
        # What is left out could need contents that seem to be needed by nothing.
        raise UsageError(f"more than {MOST} artifacts", mend="spread the lineage over several data directories")
    artifacts = graph.load(store, ids)
    moved = _moved(store, by)
    states = {id: moved[id][-1] if id in moved else one.body["lifecycle"] for id, one in artifacts.items()}
    young = now_ms - max(horizon_ms, retention_ms)
    used = {row.parent for row in store.citing(artifacts, None, graph.USES)}
    pointed = _pointed(store, by)
    elsewhere: dict[Link, str] = {}
    for other in sorted(set(beside) - {by}):
        pointed |= _pointed(store, other)
        elsewhere |= {id: way[-1] for id, way in _moved(store, other).items() if way[-1] not in GOES}
    stays: dict[Link, str] = {}
    for id, one in artifacts.items():
        reason = _stays(states[id], moved.get(id, ()), one.time > young, id in used, id in pointed)
        if reason is None and id in elsewhere:
            reason = f"another agent here has it as {elsewhere[id]}"
        if reason is not None:
            stays[id] = reason
    todo = list(stays)
    while todo:
        for parent in graph.own_parents(artifacts[todo.pop()]):
            if parent in artifacts and parent not in stays:
                stays[parent] = "something that stays derives from it"
                todo.append(parent)
    going = sorted((one for id, one in artifacts.items() if id not in stays), key=lambda one: (one.time, one.id))
    contents = _contents(store, going) - _contents(store, (artifacts[id] for id in stays))
    return Plan({one.id: states[one.id] for one in going}, stays, frozenset(contents))


def _stays(state: str, moved: Iterable[str], young: bool, used: bool, pointed: bool) -> str | None:
    if state not in GOES:
        return f"it is {state}"
    if _SERVED & set(moved):
        return "it served"
    if pointed:
        return "an alias points at it, or would go back to it"
    if used:
        return "something was done with it"
    return "it is young" if young else None


def _moved(store: Store, by: Link) -> dict[Link, list[str]]:
    """Return the states into which an agent moved artifacts, in order."""
    found: dict[Link, list[str]] = {}
    for one in sorted(graph.load(store, store.by_kind("transition", by, limit=MOST)).values(), key=lambda one: one.seq):
        found.setdefault(one.body["target"], []).append(one.body["to"])
    return found


def _pointed(store: Store, by: Link) -> set[Link]:
    newest = course.aliases(store, by)
    return {one.body[name] for one in newest for name in ("target", "rollback") if name in one.body}


def _contents(store: Store, records: Iterable[Record]) -> set[bytes]:
    """Return the digests of the files in packages whose listings are kept."""
    packages = (listing_of(store, record) for record in records)
    return {entry.digest for package in packages if package is not None for entry in package.files.values()}


def carry_out(agent: BlockingAgent, store: Store, planned: Plan, reason: str, tick: Tick | None = None) -> int:
    """Record what goes as archived, and drop its contents; return how many contents were dropped.

    First everything is recorded, durably, then dropped: a crash between leaves contents that the next plan finds again.

    Raises:
        Refusal: the manifest does not allow it; nothing was dropped then.
    """
    with agent.batch():
        for id, state in planned.goes.items():
            if state == "archived":
                continue
            if "archived" not in TRANSITIONS[state]:
                agent.transition(id, "retired", reason=reason)
            agent.transition(id, "archived", reason=reason)
    # What else than packages names a content, such as a report, keeps it.
    going = planned.contents - referenced(store)
    dropped = store.drop_blobs(going)
    if tick is not None:
        tick(dropped)
    return dropped


def summaries(store: Store, by: Link | None = None) -> Iterator[dict[str, Any]]:
    """Yield a summary of every artifact, newest first, for searching: nothing in it is evidence."""
    moved = {} if by is None else _moved(store, by)
    ids = store.by_kind("artifact", limit=MOST)
    for start in range(0, len(ids), _STEP):
        part = graph.load(store, ids[start : start + _STEP])
        said = graph.said(store, part)
        for id in [id for id in ids[start : start + _STEP] if id in part]:
            body = part[id].body
            yield {
                "record": to_text(id),
                "content": body["package"]["digest"].hex(),
                "name": body.get("name"),
                "type": body.get("type"),
                "operator": body.get("operator"),
                "state": moved[id][-1] if id in moved else body["lifecycle"],
                "by": to_text(part[id].owner),
                "time": part[id].time,
                "parents": len(graph.own_parents(part[id])),
                "licences": body.get("licences"),
                "scores": {one.body.get("suite", "?"): one.body.get("scores") for one in said.evaluations.get(id, ())},
            }


_STEP: Final = 1_000


def write_summaries(store: Store, file: IO[str], by: Link | None = None) -> int:
    """Write summaries as JSON Lines; return how many."""
    count = 0
    for one in summaries(store, by):
        file.write(json.dumps(one, ensure_ascii=False) + "\n")
        count += 1
    return count
