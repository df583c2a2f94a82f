"""Questions to the graph of artifacts against recursive queries in SQLite, and what one artifact inherits.

The many artifacts are rows in the store's own tables, without records or signatures: what is measured is the graph.
Those of which properties are computed are real records, unsigned.
"""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from tslg.node.artifacts.properties import properties
from tslg.node.bench.figures import CPU, MILLI, MeasurementError, Row, Side, Target, interleave
from tslg.node.bench.lineage import SEED
from tslg.node.bench.setting import Setting
from tslg.node.store.sqlite import SqliteStore
from tslg.protocol import cid
from tslg.protocol import record as records
from tslg.protocol.codec import Link
from tslg.protocol.lifecycle import PACKAGE
from tslg.protocol.record import Edge, Head, Record

LARGE: Final = 1_000_000
"""Artifacts with --large."""
LINE: Final = 10_000
"""Artifacts of one line: each derives from up to four of the last ones of its line, a few also from another's first."""
NEAR: Final = 50
ANCESTORS: Final = 10_000
"""Ancestors of the artifact whose properties are computed."""
_PARENT: Final = "parent"

_WALK: Final = """
    WITH RECURSIVE {name} (id) AS (
        SELECT {to} FROM edge WHERE {of} = (SELECT id FROM record WHERE cid = :{root}) AND class = :class
        UNION SELECT edge.{to} FROM {name} JOIN edge ON edge.{of} = {name}.id AND edge.class = :class
    )"""
_UP: Final = _WALK.format(name="found", to="parent", of="child", root="one")
_DOWN: Final = _WALK.format(name="found", to="child", of="parent", root="one")
_OTHER: Final = _WALK.format(name="other", to="parent", of="child", root="other").replace("WITH RECURSIVE", ",")
_NAMED: Final = " SELECT record.cid FROM found CROSS JOIN record ON record.id = found.id"
_BARE: Final = {
    "ancestors": _UP + _NAMED,
    "descendants": _DOWN + _NAMED,
    "shared": _UP
    + _OTHER
    + """ SELECT record.cid FROM (SELECT id FROM found INTERSECT SELECT id FROM other) AS both
        CROSS JOIN record ON record.id = both.id""",
}


def artifacts(setting: Setting) -> list[Row]:
    """Ancestors, descendants and shared ancestors among many artifacts, and the properties of one."""
    rows = _graph(setting, setting.records)
    if setting.large:
        rows += _graph(setting, LARGE)
    return [*rows, _properties(setting)]


def _graph(setting: Setting, count: int) -> list[Row]:
    setting.say(f"making {count:,} artifacts")
    path = setting.scratch() / "tslg.sqlite"
    with SqliteStore.open(path):
        pass
    line = min(LINE, count)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        _fill(db, count, line)
    # Every round asks of another line, so that neither side knows the answer from before.
    first = [line * number for number in range(count // line)]
    return [_row(setting, path, what, first, line, count) for what in _BARE]


def _fill(db: sqlite3.Connection, count: int, line: int) -> None:
    """Put the artifacts and their edges into the store's tables."""
    db.execute("PRAGMA synchronous = OFF")
    db.execute("BEGIN")
    (name,) = db.execute("INSERT INTO name (text) VALUES (?) RETURNING id", (_PARENT,)).fetchone()
    db.executemany("INSERT INTO record (id, cid) VALUES (?, ?)", ((n + 1, _id(n)) for n in range(count)))
    edges = ((child + 1, name, parent + 1) for child in range(count) for parent in _parents(child, line))
    db.executemany("INSERT INTO edge (child, class, parent) VALUES (?, ?, ?)", edges)
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _parents(child: int, line: int) -> list[int]:
    """Return what an artifact derives from: one to four; only the first of a line derives from nothing."""
    start = child - child % line
    if child == start:
        return []
    take = random.Random(f"{SEED}/{child}")
    near = [take.randrange(max(start, child - NEAR), child) for _ in range(take.randint(1, 4))]
    if start and take.random() < 0.01:
        near[0] = line * take.randrange(start // line)
    # The one before is always among them, so that a line holds together.
    return sorted({*near[:3], child - 1})


def _id(number: int) -> Link:
    return cid.compute(number.to_bytes(8, "big"))


def _row(setting: Setting, path: Path, what: str, first: Sequence[int], line: int, count: int) -> Row:
    ends = [
        (_id(one + line - 1), _id(one + line - 2)) if what != "descendants" else (_id(one), _id(one)) for one in first
    ]
    with (
        SqliteStore.open(path, readonly=True) as store,
        closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as db,
    ):
        # The reference is to have as much memory as the store's own connections.
        db.execute("PRAGMA cache_size = -32000")
        (name,) = db.execute("SELECT id FROM name WHERE text = ?", (_PARENT,)).fetchone()

        def bare(one: Link, other: Link) -> list[Any]:
            given = {"one": bytes(one), "other": bytes(other), "class": name}
            return db.execute(_BARE[what], given).fetchall()

        def ours(one: Link, other: Link) -> Sequence[Link]:
            if what == "shared":
                return store.shared_ancestors(one, other, (_PARENT,))
            walk = store.ancestors if what == "ancestors" else store.descendants
            return walk(one, (_PARENT,))

        # What is compared is the query, not who reads the file first.
        hashlib.sha256(path.read_bytes())
        last = ends[-1]
        found = ours(*last)
        if {id for (id,) in bare(*last)} != set(map(bytes, found)) or len(found) < line - 3:
            raise MeasurementError(f"{what} of artifacts are not what the query finds", mend="run `tslg fsck`")
        sides = interleave(setting.repeat, _each(ours, ends), _each(bare, ends))
    own, reference = (series.times(MILLI) for series in sides)
    how = "asked for the first time" if len(ends) > setting.repeat else "asked again"
    title = f"{what} of one of {count:,} artifacts, {how}; {len(found):,} of the last one"
    name_of_row = f"artifact-{what}-{count}"
    shown = Side("tslg", own, "ms"), Side("one recursive query in SQLite", reference, "ms")
    return Row(name_of_row, title, own.over(reference), "×", *shown, Target(1.2, False))


def _each(ask: Callable[[Link, Link], object], ends: Sequence[tuple[Link, Link]]) -> Callable[[], float]:
    """Return what asks about the next of these each time, and says how long it took."""
    turns = iter(range(10**9))

    def measure() -> float:
        one, other = ends[next(turns) % len(ends)]
        started = CPU()
        ask(one, other)
        return CPU() - started

    return measure


def _properties(setting: Setting) -> Row:
    count = min(ANCESTORS, setting.records)
    with SqliteStore.open(setting.scratch() / "tslg.sqlite") as store:
        made = list(_lineage(count))
        store.append([(record, b"") for record in made])
        target = next(one.id for one in reversed(made) if one.kind == "artifact")
        del made
        found = properties(store, target)
        if len(found.inherited) + len(found.resolved) < count:
            raise MeasurementError(f"{len(found.inherited)} issues of {count} ancestors")
        (own,) = interleave(setting.repeat, _timed(lambda: properties(store, target)))
    title = f"properties of an artifact with {count:,} ancestors, each with a licence and a tenth of them judged"
    return Row("artifact-properties", title, own.times(MILLI), "ms", target=Target(1_000, False))


def _timed(work: Callable[[], object]) -> Callable[[], float]:
    def measure() -> float:
        started = CPU()
        work()
        return CPU() - started

    return measure


def _lineage(count: int) -> Iterator[Record]:
    """Yield an artifact with so many ancestors, these first, and evaluations of every tenth by somebody else."""
    ids: list[Link] = []
    breeder, judge = cid.compute(b"breeder"), cid.compute(b"judge")
    for number in range(count + 1):
        take = random.Random(f"{SEED}/{number}")
        near = {take.randrange(max(0, number - NEAR), number) for _ in range(3 if number else 0)}
        parents = sorted(ids[one] for one in near | ({number - 1} if number else set()))
        made = _record("artifact", breeder, number + 1, _artifact(number), {"parent": list(map(Edge, parents))})
        ids.append(made.id)
        yield made
        if number % 10 == 5:
            resolves = [{"origin": ids[number - 3], "what": "licence", "name": "MIT"}]
            body = _evaluation(made, resolves)
            yield _record("evaluation", judge, number + 1, body, {"evidence": [Edge(made.id, breeder, None)]})


def _record(kind: str, owner: Link, seq: int, body: dict[str, Any], preds: dict[str, Iterable[Edge]]) -> Record:
    place = {"agent": owner, "seq": seq, "prev": owner, "time": seq, "manifest": owner, "key": owner}
    edges = {name: list(cited) for name, cited in preds.items()}
    given = {name: cited for name, cited in edges.items() if cited}
    return records.build(kind=kind, log=Head(seq, bytes(32)), preds=given, body=body, **place)  # type: ignore[arg-type]


def _artifact(number: int) -> dict[str, Any]:
    digest = hashlib.sha256(number.to_bytes(8, "big")).digest()
    return {
        "name": f"model-{number}",
        "type": "model",
        "package": {"digest": digest, "size": 100, "media_type": PACKAGE},
        "files": 1,
        "bytes": 1_000,
        "operator": "train",
        "operator_version": "1",
        "licences": ["MIT"] if number % 2 else ["Apache-2.0", "MIT"],
        "restrictions": [f"restriction-{number}"] if number % 7 == 0 else [],
        "vulnerabilities": [f"V-{number}"] if number % 11 == 0 else [],
        "lifecycle": "candidate",
    }


def _evaluation(target: Record, resolves: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "target": target.id,
        "package": target.body["package"]["digest"],
        "suite": "suite",
        "suite_digest": bytes(32),
        "scores": {"accuracy": 90},
        "passed": ["safety"],
        "failed": [],
        "resolves": resolves,
    }
