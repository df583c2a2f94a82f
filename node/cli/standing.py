"""`tslg query operative`, `considered` and `policy-at`: what holds, what was considered, which policy held."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tslg.node.cli.access import HeldNames, data_option, find_record, read_home
from tslg.node.cli.describing import plain, what, who
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record

C = TypeVar("C", bound=Callable[..., Any])

_DONE = {"amends": "amended", "corrects": "corrected", "retracts": "retracted"}


def _asked(command: C) -> C:
    return click.argument("id", metavar="ID")(data_option(json_option(command)))


@click.command()
@_asked
def operative(id: str, data: Path | None, as_json: bool) -> None:
    """Show what holds now in place of ID: corrected, amended, withdrawn, or as it was."""
    from tslg.node import standing
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        tell = Telling(home.store)
        answer = standing.operative(home.store, find_record(home.store, id))
        holds = [tell.about(one) for one in answer.holds]
        chain = [
            {"act": one.act, "target": to_text(one.target), "stands": one.stands, **tell.of(one.record)}
            for one in answer.chain
        ]
    conflicts = [
        {"about": to_text(one.about), "between": [to_text(x) for x in one.between]} for one in answer.conflicts
    ]
    told = {"record": to_text(answer.record), "holds": holds, "chain": chain, "conflicts": conflicts}
    lines = [f"holds now: {one['summary']}  by {one['name']}  {one['record']}" for one in holds]
    lines = lines or ["holds now: nothing, it was retracted"]
    for one in chain:
        no_more = "" if one["stands"] else ", which was retracted"
        lines.append(f"{_DONE[one['act']]} by {one['name']}{no_more}: {one['why'] or one['summary']}  {one['record']}")
    lines += [f"conflict: about {one['about']} between {' and '.join(one['between'])}" for one in conflicts]
    emit(told, as_json, "\n".join(lines))


@click.command()
@_asked
def considered(id: str, data: Path | None, as_json: bool) -> None:
    """Show what was before the author of ID and not gone by: alternatives, counters, absences, votes against."""
    from tslg.node import standing
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        tell = Telling(home.store)
        root = standing.held(home.store, find_record(home.store, id))
        found = [
            {"class": one.name, **(tell.about(one.id) if one.record is None else tell.of(one.record))}
            for one in standing.considered(home.store, root.id)
        ]
        told = {**tell.of(root), "considered": found}
    lines = [f"{told['summary']}  by {told['name']}" + (f": {told['why']}" if told["why"] else "")]
    for one in found:
        why = f": {one['why']}" if one["why"] else ""
        lines.append(f"{one['class']}: {one['summary']}  by {one['name']}{why}  {one['record']}")
    emit({**told, "record": to_text(root.id)}, as_json, "\n".join(lines))


@click.command("policy-at")
@_asked
def policy_at(id: str, data: Path | None, as_json: bool) -> None:
    """Show under which versions of which policies ID was made, and what ended them later."""
    from tslg.node import standing
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        tell = Telling(home.store)
        root = find_record(home.store, id)
        found = [
            {
                **tell.of(one.policy),
                "version": len(one.versions),
                "versions": [to_text(version) for version in one.versions],
                "not_before": one.policy.body["not_before"],
                "not_after": one.policy.body["not_after"],
                "ended_by": [tell.of(other) for other in one.ended_by],
            }
            for one in standing.policy_at(home.store, root)
        ]
    lines = []
    for one in found:
        lines.append(f"version {one['version']}: {one['summary']}  by {one['name']}  {one['record']}")
        lines += [f"  ended later by {other['summary']}  {other['record']}" for other in one["ended_by"]]
    emit({"record": to_text(root), "policies": found}, as_json, "\n".join(lines) or "made under no policy")


class Telling:
    """Tells of records of one store, for people and programs."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names = HeldNames(store)

    def of(self, record: Record) -> dict[str, Any]:
        """Return what a record is, who made it, and the reason that it gives."""
        from tslg.protocol.cid import to_text

        reason = record.body.get("reason", record.body.get("sought"))
        return {
            "record": to_text(record.id),
            "kind": record.kind,
            "agent": to_text(record.owner),
            "name": who(record.owner, self._names),
            "summary": what(record, self._names),
            "why": None if reason is None else plain(reason),
        }

    def about(self, id: Link) -> dict[str, Any]:
        """Return the same of a record that may not be held."""
        from tslg.protocol.cid import to_text
        from tslg.protocol.opening import disclosed

        entry = self._store.get(id)
        if entry is not None:
            return self.of(disclosed(id, entry))
        unknown = dict.fromkeys(("kind", "agent", "why"))
        return {"record": to_text(id), "name": "?", "summary": "not held here", **unknown}
