"""Figures of the study, each as PNG and SVG."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

_UNBOUNDED = "∞"
_SIZE = (6.4, 4.0)


def draw(document: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw all figures of a study into a folder; return the files."""
    figures = {
        "found-by-depth": _found(document["depths"]),
        "cost-by-depth": _cost(document["depths"]),
        "time-by-depth": _time(document["depths"]),
        "traffic-by-population": _traffic(document["traffic"]),
        "storage-with-pruning": _storage(document["storage"]),
    }
    written = []
    for name, figure in figures.items():
        for kind in ("png", "svg"):
            path = folder / f"{name}.{kind}"
            # Without a date and with fixed names the same study gives the same file.
            metadata = {"Date": None} if kind == "svg" else {"Software": None}
            figure.savefig(path, metadata=metadata, dpi=120)
            written.append(path)
    return written


def _labels(rows: list[Mapping[str, Any]]) -> list[str]:
    return [_UNBOUNDED if row["depth"] is None else str(row["depth"]) for row in rows]


def _figure(title: str, x: str, y: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    return figure, axes


def _found(rows: list[Mapping[str, Any]]) -> Figure:
    figure, axes = _figure("What a reader of depth D finds", "D (edges)", "share of audits that find it")
    labels = _labels(rows)
    for why in sorted({why for row in rows for why in row["found"]}):
        points = [
            (label, row["found"][why]["share"]) for label, row in zip(labels, rows, strict=True) if why in row["found"]
        ]
        axes.plot(*zip(*points, strict=True), marker="o", label=why)
    axes.set_ylim(-0.03, 1.03)
    axes.legend(fontsize=7)
    return figure


def _cost(rows: list[Mapping[str, Any]]) -> Figure:
    figure, axes = _figure("What an audit of depth D costs", "D (edges)", "kilobytes read")
    axes.bar(_labels(rows), [row["bytes"] / 1_000 for row in rows])
    return figure


def _time(rows: list[Mapping[str, Any]]) -> Figure:
    figure, axes = _figure("How soon readers of depth D find it", "D (edges)", "seconds to the first finding (median)")
    timed = [row for row in rows if row["first_found_s"] is not None]
    axes.bar(_labels(timed), [row["first_found_s"] for row in timed])
    return figure


def _traffic(rows: list[Mapping[str, Any]]) -> Figure:
    figure, axes = _figure("Traffic and population", "agents", "bytes per agent and second")
    axes.plot([row["agents"] for row in rows], [row["bytes_per_agent_s"] for row in rows], marker="o")
    axes.set_ylim(bottom=0)
    return figure


def _storage(points: Mapping[str, list[Mapping[str, float]]]) -> Figure:
    figure, axes = _figure("Storage with and without pruning", "minutes", "kilobytes of all members")
    for name, some in points.items():
        axes.plot([one["minutes"] for one in some], [one["bytes"] / 1_000 for one in some], marker="o", label=name)
    axes.set_ylim(bottom=0)
    axes.legend()
    return figure
