"""The row of simulated populations, from what the command says."""

from __future__ import annotations

import json

import pytest

from tslg.node.bench import populations
from tslg.node.bench.figures import MeasurementError
from tslg.node.bench.setting import Setting


def said(monkeypatch, broken=None):
    asked = []

    def python(*arguments):
        asked.append(arguments)
        return json.dumps({"events": 300_000, "processor_s": 2.0, "broken": broken})

    monkeypatch.setattr(populations, "python", python)
    return asked


def test_a_row_for_each_size(monkeypatch, tmp_path):
    asked = said(monkeypatch)
    setting = Setting(tmp_path, records=500, repeat=1, large=True, say=lambda doing: None, postgresql=None)
    rows = populations.events(setting)
    assert [row.name for row in rows] == ["simulation-50", "simulation-10000"]
    assert [row.figure.median for row in rows] == [150_000, 150_000] and rows[0].met
    assert [arguments[arguments.index("--agents") + 1] for arguments in asked] == ["50", "10000"]


def test_a_population_that_does_not_hold_is_no_measurement(monkeypatch, tmp_path):
    said(monkeypatch, {"explanation": "something broke"})
    setting = Setting(tmp_path, records=100, repeat=1, large=False, say=lambda doing: None, postgresql=None)
    with pytest.raises(MeasurementError, match="something broke"):
        populations.events(setting)
