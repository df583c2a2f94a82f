"""The graph in SQLite: who cites whom, and walks that are one recursive query in the engine."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Collection, Iterable
from operator import itemgetter
from typing import Any, Final

from tslg.node.store import queries
from tslg.node.store.engine import Readers
from tslg.node.store.interface import EdgeRow, Store
from tslg.node.store.rows import in_lists
from tslg.protocol.cid import Link

FIRST: Final[Callable[[Any], Any]] = itemgetter(0)
"""The only column of a row."""
_REMEMBERED: Final = 131_072
"""Ids of rows that are remembered, about 200 bytes each."""


class SqliteGraph(Store):
    """The half of a store in SQLite that answers questions about edges."""

    def __init__(self, readers: Readers) -> None:
        self._readers = readers
        self._ids: dict[int, Link] = {}
        """Ids by row, as far as queries of the graph met them. No row is ever deleted, so none gets another id."""

    def ancestors(self, cid: Link, classes: Collection[str] | None = None, limit: int | None = None) -> list[Link]:
        """See `Store.ancestors`: one recursive query in the engine."""
        with self._readers.use() as db:
            condition, names = _class_condition(db, classes)
            values = (cid, *names, *names, -1 if limit is None else limit)
            (rows,) = db.execute(queries.ANCESTORS.format(classes=condition), values).fetchone()
            return [] if rows is None else self._ids_of(db, rows)

    def descendants(self, cid: Link, classes: Collection[str] | None = None, limit: int | None = None) -> list[Link]:
        """See `Store.descendants`: one recursive query in the engine."""
        return self._walk(queries.DESCENDANTS, (cid,), classes, (-1 if limit is None else limit,))

    def shared_ancestors(self, one: Link, other: Link, classes: Collection[str] | None = None) -> list[Link]:
        """See `Store.shared_ancestors`: one query in the engine."""
        return sorted(self._walk(queries.SHARED, (one, other), classes, ()))

    def _walk(
        self, query: str, roots: tuple[Link, ...], classes: Collection[str] | None, last: tuple[int, ...]
    ) -> list[Link]:
        """Run a recursive query, which names the classes twice behind each root, and return what it finds."""
        with self._readers.use() as db:
            condition, names = _class_condition(db, classes)
            values = [value for root in roots for value in (root, *names, *names)]
            return links(db.execute(query.format(classes=condition), (*values, *last)))

    def _ids_of(self, db: sqlite3.Connection, listed: str) -> list[Link]:
        """Return the ids of rows, in their order, asking for those alone that are not remembered."""
        known, rows = self._ids, list(map(int, listed.split(",")))
        new = [row for row in rows if row not in known]
        if not new:
            return [known[row] for row in rows]
        if len(known) + len(new) > _REMEMBERED:
            # A new table, not a cleared one, which another thread may be reading from.
            known, new = {}, rows
            if len(rows) <= _REMEMBERED:
                self._ids = known
        wanted = f"[{listed}]" if len(new) == len(rows) else json.dumps(new)
        found = links(db.execute(queries.IDS_OF_ROWS, (wanted,)))
        if len(found) == len(rows):
            if len(rows) <= _REMEMBERED:
                known.update(zip(rows, found, strict=True))
            return found
        known.update(zip(new, found, strict=True))
        return [known[row] for row in rows]

    def children(self, cid: Link, classes: Collection[str] | None = None) -> list[Link]:
        """See `Store.children`."""
        with self._readers.use() as db:
            condition, names = _class_condition(db, classes)
            return links(db.execute(queries.CHILDREN.format(classes=condition), (cid, *names)))

    def parents(self, cids: Iterable[Link], classes: Collection[str] | None = None) -> list[EdgeRow]:
        """See `Store.parents`."""
        wanted = tuple(dict.fromkeys(cids))
        found: dict[bytes, list[tuple[str, bytes]]] = {}
        with self._readers.use() as db:
            condition, names = _class_condition(db, classes)
            for marks, values in in_lists(wanted):
                query = queries.PARENTS.format(marks=marks, classes=condition)
                for child, name, parent in db.execute(query, (*values, *names)):
                    found.setdefault(child, []).append((name, parent))
        return [EdgeRow(cid, name, Link(parent)) for cid in wanted for name, parent in sorted(found.get(cid, ()))]

    def citing(
        self, cids: Iterable[Link], classes: Collection[str] | None = None, kinds: Collection[str] | None = None
    ) -> list[EdgeRow]:
        """See `Store.citing`."""
        wanted = tuple(dict.fromkeys(cids))
        found: dict[bytes, list[tuple[str, bytes]]] = {}
        with self._readers.use() as db:
            condition, names = _class_condition(db, classes)
            of_kind, made = _class_condition(db, kinds, "child.kind")
            for marks, values in in_lists(wanted):
                query = queries.CITING.format(marks=marks, classes=condition, kinds=of_kind)
                for child, name, parent in db.execute(query, (*values, *names, *made)):
                    found.setdefault(parent, []).append((name, child))
        return [EdgeRow(Link(child), name, cid) for cid in wanted for name, child in sorted(found.get(cid, ()))]


def links(rows: sqlite3.Cursor) -> list[Link]:
    """Return the ids in a query's only column; row by row, since thousands of tuples at once wake the collector."""
    return list(map(Link, map(FIRST, rows)))


def _class_condition(
    db: sqlite3.Connection, classes: Collection[str] | None, column: str = "edge.class"
) -> tuple[str, list[int]]:
    """Return the SQL that narrows edges to `classes`, and its parameters: row ids of the names that are known."""
    if classes is None:
        return "", []
    wanted = frozenset(classes)
    names = [row for text, row in db.execute("SELECT text, id FROM name") if text in wanted]
    return f"AND {column} IN ({','.join('?' * len(names))})", names
