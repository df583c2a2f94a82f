"""The study: what readers of each depth paid and found, summed up right, and drawn."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tslg.simulations.run import run
from tslg.simulations.scenario import load
from tslg.simulations.study import depth_study


@pytest.fixture(scope="module")
def outcome():
    return run(load("constrained-readers").changed(hours=0.02, signatures="modelled"), 2)


def test_a_deeper_reader_pays_more_and_finds_more(outcome):
    rows = depth_study([outcome])
    assert [row["depth"] for row in rows] == [0, 1, 2, 4, 16, None]
    assert rows[0]["records"] == 1 < rows[-1]["records"] and rows[0]["bytes"] < rows[-1]["bytes"]
    assert all(found["share"] == 0 for found in rows[0]["found"].values())
    assert rows[-1]["found"] and all(found["share"] == 1 for found in rows[-1]["found"].values())


def test_outcomes_of_several_seeds_count_by_what_they_met(outcome):
    wrongs = [{"depth": 1, "wrong": "x", "met": 3, "found": 3}]
    others = [{"depth": 1, "wrong": "x", "met": 1, "found": 0}]
    costs = [{"depth": 1, "audits": 2, "requests": 2, "bytes": 20, "edges": 2, "records": 4}]
    one, two = (
        replace(outcome, readings={"costs": costs, "wrongs": some, "first_found": []}) for some in (wrongs, others)
    )
    (row,) = depth_study([one, two])
    assert row["found"] == {"x": {"met": 4, "share": 0.75}} and row["audits"] == 4 and row["bytes"] == 10


def test_figures_are_drawn_as_png_and_svg(tmp_path, outcome):
    plots = pytest.importorskip("tslg.simulations.plots")
    document = {
        "depths": depth_study([outcome]),
        "traffic": [{"agents": 10, "bytes_per_agent_s": 1.0}, {"agents": 20, "bytes_per_agent_s": 1.1}],
        "storage": {"kept": [{"minutes": 1, "bytes": 10}], "pruned": [{"minutes": 1, "bytes": 5}]},
    }
    json.dumps(document)
    written = plots.draw(document, tmp_path)
    assert {path.suffix for path in written} == {".png", ".svg"} and len(written) == 10
    assert all(path.stat().st_size > 1_000 for path in written)
