"""`tslg bench`: how fast this machine verifies, appends and audits, as ratios to what tslg rests on."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from tslg.node.bench import machine
from tslg.node.bench.figures import Row, Side, Target
from tslg.node.bench.setting import Setting
from tslg.node.bench.table import BENCHES, document, missed, run
from tslg.node.cli.output import emit, json_option, note
from tslg.node.cli.terminal import print_table

MISSED: Final = 1
"""Exit code with --check if a target is missed."""
COLUMNS: Final = ("row", "ours", "reference", "figure", "target", "met")


@click.command()
@click.option("--only", metavar="NAME", type=click.Choice(list(BENCHES)), multiple=True, help="One benchmark; repeat.")
@click.option("--records", type=click.IntRange(16, 1_000_000), default=10_000, show_default=True, help="How many.")
@click.option(
    "--repeat", type=click.IntRange(1, 1_000), default=5, show_default=True, help="Rounds of each measurement."
)
@click.option("--large", is_flag=True, help="Also ten times as many records where that says something new.")
@click.option(
    "--folder", type=click.Path(path_type=Path, file_okay=False), help="Where to write.  [a temporary folder]"
)
@click.option("--postgresql", metavar="DSN", help="A PostgreSQL database to measure on.  [a server of its own]")
@click.option("--check", is_flag=True, help="Exit with 1 if a target is missed.")
@json_option
def bench(
    only: Sequence[str],
    records: int,
    repeat: int,
    large: bool,
    folder: Path | None,
    postgresql: str | None,
    check: bool,
    as_json: bool,
) -> int:
    """Measure tslg against what it rests on: bare libsodium, bare SQLite, a local verification.

    Both sides take turns in one run, so ratios hold on any machine. The folder should lie on the disk that counts.
    """
    about = machine.describe()
    with tempfile.TemporaryDirectory(prefix="tslg-bench-", dir=folder) as path:
        setting = Setting(Path(path), records=records, repeat=repeat, large=large, say=say, postgresql=postgresql)
        rows = run(setting, only or BENCHES)
    if as_json:
        emit(document(setting, rows, about), True, "")
    else:
        print_table(COLUMNS, [cells(row) for row in rows])
        for name, why in setting.left_out.items():
            click.echo(f"not measured: {name}: {why}")
        click.echo(_about_text(about))
    return MISSED if check and missed(rows) else 0


def say(doing: str) -> None:
    """Show on a terminal what is being measured; as plain lines, since what redraws itself would be measured too."""
    if sys.stderr.isatty():
        note(f"{doing} …")


def cells(row: Row) -> tuple[str, ...]:
    """Return a row's cells for people: medians, and the figure's spread behind it."""
    figure = f"{_number(row.figure.median)} {row.unit}".strip()
    spread = f"{_number(min(row.figure.values))}–{_number(max(row.figure.values))}"
    met = "–" if row.met is None else "yes" if row.met else "no"
    reference = "–" if row.reference is None else f"{_taken(row.reference)}, {row.reference.what}"
    return row.title, _taken(row.ours), reference, f"{figure} ({spread})", _target(row), met


def _taken(side: Side | None) -> str:
    return "–" if side is None else f"{_number(side.series.median)} {side.unit}"


def _target(row: Row) -> str:
    target: Target | None = row.target
    if target is None:
        return "–"
    text = f"{'≥' if target.at_least else '≤'} {_number(target.bound)} {row.unit}".strip()
    return text if target.gates else f"{text} (aim)"


def _number(value: float) -> str:
    """Return a number with three significant digits, whole from a hundred on."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


def _about_text(about: dict[str, Any]) -> str:
    python = about["python"]
    built = ", ".join(name.upper() for name in ("pgo", "lto") if python[name]) or "neither PGO nor LTO"
    version = f"{python['implementation']} {python['version']} ({built})"
    return f"{about['cpu']}, {about['cores']} cores, load {about['load'][0]}; {version}; {about['system']}"
