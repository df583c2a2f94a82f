"""Naming artifacts in commands: by id, by name, or by where an alias points; and what questions about them take."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tslg.node.cli.access import SHORT, data_option, find_log, find_record
from tslg.node.cli.describing import plain
from tslg.node.cli.output import json_option

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])

SEARCHED: Final = 100_000
"""Artifacts among which one is looked for by its name."""


def find_artifact(store: Store, text: str) -> Link:
    """Return the artifact that is named: by id or its beginning, by AGENT:ALIAS, or by its name.

    Raises:
        UsageError: `TSLG-U-UNKNOWN` or `TSLG-U-AMBIGUOUS`.
    """
    from tslg.node.artifacts import course, graph
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import CidError, UsageError

    agent, colon, alias = text.partition(":")
    wrong = None
    if colon and agent:
        try:
            points = course.points_at(store, alias, find_log(store, agent))
        except UsageError as error:
            if error.code != "TSLG-U-UNKNOWN":
                raise
            # There are names with a colon in them.
            wrong, points = error, None
        else:
            wrong = UsageError(f"{agent[:40]} has no alias {alias[:40]!r}", code="TSLG-U-UNKNOWN", mend="see aliases")
        if points is not None:
            return points
    if _is_whole(text):
        return find_record(store, text)
    held = graph.load(store, store.by_kind("artifact", limit=SEARCHED))
    named = {id for id, one in held.items() if one.body.get("name") == text}
    try:
        # A name may look like the beginning of an id; then it must be the only thing that is meant.
        named.add(find_record(store, text))
    except (CidError, UsageError) as error:
        if error.code == "TSLG-U-AMBIGUOUS" and not named:
            raise
    if len(named) == 1:
        return named.pop()
    if not named:
        raise wrong or UsageError(
            f"no artifact here is named {text[:80]!r}", code="TSLG-U-UNKNOWN", mend="`tslg artifact list` lists them"
        )
    listed = ", ".join(to_text(id) for id in sorted(named)[:8])
    raise UsageError(f"several are meant by {text[:80]!r}: {listed}", code="TSLG-U-AMBIGUOUS", mend="give the id")


def _is_whole(text: str) -> bool:
    from tslg.protocol import cid
    from tslg.protocol.errors import CidError

    try:
        cid.from_text(text)
    except CidError:
        return False
    return True


def question(*arguments: str) -> Callable[[C], C]:
    """Add the artifacts that a question is about, and what every question is given."""

    def add(command: C) -> C:
        command = data_option(json_option(command))
        for name in reversed(arguments):
            command = click.argument(name, metavar=name.upper())(command)
        return command

    return add


believe_option = click.option(
    "--believe", "believed", multiple=True, metavar="AGENT", help="Whose evaluations count.  [all but the author's]"
)


def believed_by(home: Home, names: Sequence[str]) -> frozenset[Link] | None:
    """Return the agents whose evaluations count, None for all but the author. Raises as `find_log`."""
    return frozenset(find_log(home.store, name) for name in names) if names else None


class Labels:
    """The names of artifacts, each looked up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: dict[Link, str] = {}

    def of(self, ids: Iterable[Link]) -> list[str]:
        """Return names, or the beginning of ids where they are not known."""
        from tslg.node.artifacts import graph
        from tslg.protocol.cid import to_text

        wanted = list(ids)
        fresh = [id for id in wanted if id not in self._known]
        for id, one in graph.load(self._store, fresh).items():
            self._known[id] = plain(str(one.body.get("name", to_text(id)[:SHORT])), 40)
        return [self._known.setdefault(id, to_text(id)[:SHORT]) for id in wanted]
