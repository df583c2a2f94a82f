"""`tslg import otel`: traces from a collector's files become a lineage, judged by a policy if one is given."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, data_dir, data_option
from tslg.node.cli.output import emit, json_option, printable
from tslg.node.cli.terminal import counting

if TYPE_CHECKING:
    from tslg.node.adapters.otel.importing import ImportedTraces
    from tslg.node.adapters.seen.steps import Span

_MOST: Final = 20
"""Traces that are listed to people; `--json` has all."""


@click.command()
@click.argument(
    "files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@data_option
@click.option("--federation", type=FILE, help="The federation to join with a new data directory.  [one of your own]")
@click.option("--agent", "name", default="traces", show_default=True, help="Name of the agent that records.")
@click.option("--policy", type=FILE, help="Judge every step by this policy.  [record without verdicts]")
@click.option("--tier", help="The capability tier that the steps claim.  [the policy's]")
@json_option
def otel(files: Sequence[Path], **options: Any) -> None:
    """Import traces of agents in the JSON of the collector's file exporter; `-` is standard input.

    Spans of generative AI are recorded, and what is above and below them counts for how they belong together. A span
    becomes a record once, however often it is imported. Verdicts are given after the fact: nothing was held back.
    """
    from tslg.node.adapters.otel.importing import import_spans
    from tslg.node.home import Home
    from tslg.protocol.cid import to_text

    started = time.perf_counter()
    with Home.open(data_dir(options["data"]), federation=options["federation"], name=options["name"]) as home:
        recorder: Any = home.agent(options["name"])
        if options["policy"] is not None:
            from tslg.node.governing.gate import Gate

            recorder = Gate(recorder, options["policy"], tier=options["tier"])
        with counting("looked at") as tick:
            found = import_spans(home, recorder, _spans(files), tick=tick)
        agent = {"id": to_text(home.agent(options["name"]).id), "name": options["name"]}
    data = _document(found, agent, files, time.perf_counter() - started)
    emit(data, options["as_json"], lambda: _text(data))


def _spans(files: Sequence[Path]) -> Iterator[Span]:
    from tslg.node.adapters.otel.otlp import read_spans

    for path in files:
        with click.open_file(str(path), "rb") as file:
            yield from read_spans(file, "stdin" if str(path) == "-" else str(path))


def _document(found: ImportedTraces, agent: dict[str, str], files: Sequence[Path], seconds: float) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    return {
        "files": [str(path) for path in files],
        "agent": agent,
        "spans": found.spans,
        "traces": found.traces,
        "verdicts": dict(sorted(found.verdicts.items())),
        "already": found.already,
        "targets": [
            {"trace": trace.hex(), "target": to_text(made.record.id), "verdict": made.verdict}
            for trace, made in found.last.items()
        ],
        "seconds": round(seconds, 6),
    }


def _text(data: dict[str, Any]) -> str:
    verdicts = Counter(data["verdicts"])
    listed = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    lines = [
        f"spans: {data['spans']}, traces: {data['traces']}",
        f"recorded: {verdicts.total()}" + (f", of these {listed}" if listed else ""),
        f"recorded before: {data['already']}",
        f"agent {printable(data['agent']['name'])}: {data['agent']['id']}",
        "",
    ]
    targets = data["targets"]
    lines += [f"{one['trace'][:16]}  {one['verdict']:<10}  {one['target']}" for one in targets[:_MOST]]
    if len(targets) > _MOST:
        lines.append(f"… {len(targets) - _MOST} more, see --json")
    return "\n".join(lines)
