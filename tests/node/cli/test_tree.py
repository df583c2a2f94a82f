"""The tree of an ancestry: graphs, large ones, and what could not be verified."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tslg.node.cli.tree import tree_lines
from tslg.protocol.cid import to_text
from tslg.protocol.record import Edge, Record
from tslg.protocol.report import AgentSummary, Finding, Report, Undetermined

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from lineage import LogBuilder


def report(met: Iterable[Record], **changes) -> Report:
    listed = list(met)
    fields = {
        "target": listed[0].id,
        "federation": listed[0].id,
        "depth": None,
        "signatures": "all",
        "log": "visited",
        "edges": 0,
        "agents": (AgentSummary(listed[0].owner, "alpha", None, len(listed)),),
        "findings": (),
        "undetermined": (),
        "frontier": (),
        "freshness": (),
        "records": {record.id: record for record in listed},
    }
    return Report(**(fields | changes))


def short(record: Record) -> str:
    return to_text(record.id)[:16]


def observe(log: LogBuilder, evidence: Iterable[Record], **body) -> Record:
    preds = {"prior": [Edge(log.owner)], "evidence": [Edge(record.id) for record in evidence]}
    return log.add("observation", {name: edges for name, edges in preds.items() if edges}, {"source": "s", **body})


def test_a_record_that_several_cite_is_drawn_once():
    log = LogBuilder("alpha")
    base = observe(log, [])
    left, right = observe(log, [base]), observe(log, [base])
    top = observe(log, [left, right])
    lines = tree_lines(report([top, left, right, base, log.records[0]]))
    assert lines[0] == f"alpha: observation s  {short(top)}"
    mentions = [line for line in lines if short(base) in line]
    assert len(mentions) == 2 and sum("see above" in line for line in mentions) == 1
    assert {line.lstrip("│├└─ ").split()[0] for line in lines[1:]} == {"on", "after"}


def test_what_could_not_be_verified_says_why():
    log = LogBuilder("alpha")
    absent, broken, deeper = observe(log, []), observe(log, [], data={"n": 1}), observe(log, [], data={"n": 2})
    top = observe(log, [absent, broken, deeper])
    lines = tree_lines(
        report(
            [top],
            undetermined=(Undetermined(absent.id, "absent"),),
            findings=(Finding("TSLG-A-SEAL", broken.id, (), "no\x1b good"),),
        )
    )
    assert f"on (absent)  {short(absent)}" in "\n".join(lines)
    assert f"on (TSLG-A-SEAL: no\ufffd good)  {short(broken)}" in "\n".join(lines)
    assert lines[0].endswith("… 2 more") and short(deeper) not in "\n".join(lines)


def test_a_target_that_is_not_verified_is_all_there_is():
    log = LogBuilder("alpha")
    top = observe(log, [])
    assert tree_lines(report([top], records={}, undetermined=(Undetermined(top.id, "absent"),))) == [
        f"(absent)  {short(top)}"
    ]


def test_ten_thousand_records_take_a_screen_or_four():
    log = LogBuilder("alpha")
    for _ in range(10_000):
        log.add()
    lines = tree_lines(report(reversed(log.records)))
    assert len(lines) < 250 and max(map(len, lines)) < 200
    assert lines[-1] == f"… {10_001 - (len(lines) - 1)} more records"


def test_wide_graphs_are_cut_to_the_nearest():
    log = LogBuilder("alpha")
    seen = [observe(log, [], data={"n": n}) for n in range(500)]
    layers = [observe(log, seen[start : start + 250]) for start in (0, 250)]
    top = observe(log, layers)
    lines = tree_lines(report([top, *layers, *seen]), most=50)
    assert len(lines) <= 101
    assert all(short(layer) in "\n".join(lines) for layer in layers)


@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=30), st.integers(1, 40))
def test_every_graph_is_drawn_once_each_within_its_bounds(shape, most):
    log = LogBuilder("alpha")
    made: list[Record] = []
    for number, cited in enumerate(shape):
        made.append(observe(log, {at: made[at] for at in cited if at < number}.values(), data={"n": number}))
    records = [*reversed(made), log.records[0]]
    lines = tree_lines(report(records), most=most, levels=5)
    assert len(lines) <= 2 * most + 1
    for record in records:
        drawn = [line for line in lines if short(record) in line and "see above" not in line]
        assert len(drawn) <= 1
