"""`tslg simulate`: runs a scenario on one seed or many, and says what came of it."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from tslg.node.cli.output import emit, json_option, note
from tslg.node.cli.terminal import print_table, progress_bar
from tslg.protocol.errors import UsageError

if TYPE_CHECKING:
    from tslg.simulations.run import Outcome
    from tslg.simulations.scenario import Scenario

BROKEN: Final = 1
"""Exit code where an invariant does not hold."""


class Seeds(click.ParamType[range]):
    """`A..B`: the seeds from A to B, both included."""

    name = "A..B"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> range:
        """Return the seeds."""
        if isinstance(value, range):
            return value
        first, dots, last = str(value).partition("..")
        if not dots or not first.isdecimal() or not last.isdecimal() or int(last) < int(first):
            self.fail(f"{value!r} is not of the form A..B, such as 1..100", param, ctx)
        return range(int(first), int(last) + 1)


@click.command()
@click.argument("scenario", required=False)
@click.option("--list", "listing", is_flag=True, help="List the scenarios that come with the package.")
@click.option("--seed", type=click.IntRange(0), help="The seed of a run.  [default: 1]")
@click.option("--seeds", type=Seeds(), help="Many runs, one for each seed from A to B.")
@click.option("--agents", type=click.IntRange(1, 1_000_000), help="How many agents, in place of the scenario's.")
@click.option("--hours", type=click.FloatRange(0, 8_760), help="Simulated hours, in place of the scenario's.")
@click.option(
    "--signatures", type=click.Choice(("real", "modelled")), help="Real signatures, or stand-ins at their cost."
)
@click.option("--workers", type=click.IntRange(1, 1_024), help="Processes for many seeds.  [one for each core]")
@click.option("--ray", "on_ray", is_flag=True, help="Spread many seeds over a Ray cluster.")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.parquet", help="Keep each run's outcome."
)
@click.option(
    "--minimise",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE.toml",
    help="Write the shortest scenario that was found to fail as the first failing seed does.",
)
@click.option("--nodes", is_flag=True, help="Run real nodes under a virtual clock: honest members, up to 1,000.")
@click.option(
    "--study",
    "into",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Measure what depth, population and pruning come to on these seeds, and write figures there.",
)
@json_option
def simulate(
    scenario: str | None,
    listing: bool,
    seed: int | None,
    seeds: range | None,
    agents: int | None,
    hours: float | None,
    signatures: str | None,
    workers: int | None,
    on_ray: bool,
    out: Path | None,
    minimise: Path | None,
    nodes: bool,
    into: Path | None,
    as_json: bool,
) -> int:
    """Run a population of agents, honest and hostile, on one seed: the same seed gives the same run, bit for bit.

    SCENARIO is a .toml file, or the name of a scenario that comes with the package. Whatever a scenario does to its
    members, some things must never happen; the first that does ends the run.

    Exit codes: 0 everything held, 1 an invariant was broken, 3 usage or environment.
    """
    from tslg.simulations import scenario as scenarios

    if listing:
        return _list(as_json)
    if into is not None:
        return _study(seeds or range(1, 6), workers, into, as_json)
    if scenario is None:
        raise UsageError("no scenario is named", mend="`tslg simulate --list` shows which there are")
    if seed is not None and seeds is not None:
        raise UsageError("one seed or many", mend="give --seed or --seeds")
    given = scenarios.load(scenario).changed(agents=agents, hours=hours, signatures=signatures)
    changes = [*_given(("--agents", agents), ("--hours", hours), ("--signatures", signatures)), *["--nodes"] * nodes]
    if nodes and (seeds is not None or minimise is not None):
        raise UsageError("nodes are run on one seed", mend="leave --seeds and --minimise away")
    if seeds is not None:
        document, failed = _many(scenario, given, seeds, changes, Spread(workers, on_ray, out))
    else:
        document, failed = _one(scenario, given, 1 if seed is None else seed, changes, nodes)
    if failed is not None and minimise is not None:
        document["minimised"] = _minimised(given, failed, minimise)
    emit(document, as_json, "" if as_json else (summary(document) if seeds is None else summary_of_many(document)))
    return 0 if failed is None else BROKEN


class Spread(NamedTuple):
    """How many seeds are spread: over so many processes, or over Ray; and where their outcomes are kept."""

    workers: int | None
    on_ray: bool
    out: Path | None


def _list(as_json: bool) -> int:
    from tslg.simulations import scenario as scenarios

    rows = [(name, scenarios.load(name).description) for name in scenarios.names()]
    if as_json:
        emit({"scenarios": [{"name": name, "description": said} for name, said in rows]}, True, "")
    else:
        print_table(("scenario", "what it is"), rows)
    return 0


def _study(seeds: range, workers: int | None, into: Path, as_json: bool) -> int:
    """Run the study. Raises UsageError without matplotlib."""
    from tslg.simulations.study import study

    try:
        document = study(seeds, workers, into, say)
    except ImportError:
        raise UsageError("matplotlib is not installed", mend="pip install 'tslg[simulate]'") from None
    emit(document, as_json, f"written to {into}: study.json and the figures")
    return 0


def _given(*options: tuple[str, Any]) -> list[str]:
    return [part for name, value in options if value is not None for part in (name, str(value))]


def command(scenario: str, seed: int, changes: Sequence[str]) -> str:
    """Return the command that repeats a run."""
    return shlex.join(["tslg", "simulate", scenario, "--seed", str(seed), *changes])


def _one(
    name: str, given: Scenario, seed: int, changes: Sequence[str], nodes: bool
) -> tuple[dict[str, Any], Outcome | None]:
    if nodes:
        from tslg.simulations.nodes import run_nodes as run
    else:
        from tslg.simulations.run import run

    with progress_bar(f"{given.name}, seed {seed}") as bar:
        outcome = run(given, seed, None if bar is None else lambda share: bar(round(100 * share), 100))
    document = outcome.to_json() | {"command": command(name, seed, changes)}
    return document, None if outcome.broken is None else outcome


def _many(
    name: str, given: Scenario, seeds: range, changes: Sequence[str], spread: Spread
) -> tuple[dict[str, Any], Outcome | None]:
    from tslg.simulations.sweeping import sweep, sweep_on_ray, together

    outcomes: list[Outcome] = []
    with (
        _keeping(spread.out) as keep,
        progress_bar(f"{given.name}, {len(seeds)} seeds") as bar,
    ):
        for outcome in (
            sweep_on_ray(given, seeds, spread.workers) if spread.on_ray else sweep(given, seeds, spread.workers)
        ):
            outcomes.append(outcome)
            if keep is not None:
                keep(outcome)
            if bar is not None:
                bar(len(outcomes), len(seeds))
    document = {"scenario": given.name} | together(outcomes)
    for broken in document["broken"]:
        broken["command"] = command(name, broken["seed"], changes)
    failed = sorted((one for one in outcomes if one.broken is not None), key=lambda one: one.seed)
    return document, failed[0] if failed else None


def _keeping(out: Path | None) -> AbstractContextManager[Callable[[Outcome], None] | None]:
    """Return what keeps outcomes in a file, or nothing. Raises UsageError without pyarrow."""
    if out is None:
        return nullcontext()
    try:
        from tslg.simulations.outcomes import parquet
    except ImportError:
        raise UsageError("pyarrow is not installed", mend="pip install 'tslg[simulate]'") from None
    return parquet(out)


def _minimised(given: Scenario, failed: Outcome, path: Path) -> dict[str, Any]:
    """Write the smallest scenario that still fails; return what it takes to see it fail."""
    from tslg.simulations.minimising import minimise
    from tslg.simulations.writing import to_text

    smallest, outcome = minimise(given, failed.seed, failed, say)
    path.write_text(to_text(smallest), encoding="utf-8")
    return {"command": command(str(path), failed.seed, ()), "broken": outcome.broken}


def summary(document: dict[str, Any]) -> str:
    """Return what came of one run, for people."""
    counts, traffic = document["counts"], document["traffic"]
    rate = document["events"] / max(document["processor_s"], 1e-6)
    lines = [
        f"scenario    {document['scenario']}, seed {document['seed']}, {document['agents']} agents,"
        f" {document['hours']:g} h, {document['signatures']} signatures",
        f"events      {document['events']:,} in {document['seconds']:.1f} s ({rate:,.0f}/s of processor time)",
        f"traffic     {traffic['messages']:,} messages, {traffic['lost']:,} lost, {traffic['bytes']:,} bytes",
        *(f"{'':12}{count:,} {name}" for name, count in counts.items()),
        f"digest      {document['digest']}",
    ]
    broken = document["broken"]
    if broken is None:
        lines.append("outcome     every invariant held")
    else:
        lines += [
            f"outcome     BROKEN after {broken['at_s']:.3f} s, at event {broken['event']:,}: {broken['invariant']}",
            f"            {broken['explanation']}",
            f"again       {document['command']}",
        ]
    return "\n".join([*lines, *_shortest(document)])


def summary_of_many(document: dict[str, Any]) -> str:
    """Return what came of many runs, for people."""
    lines = [
        f"scenario    {document['scenario']}, {document['runs']} seeds",
        f"events      {document['events']:,} in {document['seconds']:.1f} s of processor time",
        *(f"{'':12}{count:,} {name}" for name, count in document["counts"].items()),
    ]
    for broken in document["broken"]:
        lines += [
            f"BROKEN      seed {broken['seed']}, after {broken['at_s']:.3f} s: {broken['invariant']}",
            f"            {broken['explanation']}",
            f"again       {broken['command']}",
        ]
    if not document["broken"]:
        lines.append("outcome     every invariant held, on every seed")
    return "\n".join([*lines, *_shortest(document)])


def _shortest(document: dict[str, Any]) -> list[str]:
    return [f"shortest    {document['minimised']['command']}"] if "minimised" in document else []


def say(line: str) -> None:
    """Say something on stderr where people look at it."""
    if sys.stderr.isatty():
        note(line)
