"""`tslg lab`: breeds small models offline, has another vendor judge them, and releases them or takes them back."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from tslg.node.cli.output import emit, json_option
from tslg.node.cli.terminal import progress_bar
from tslg.protocol.errors import UsageError

DIFFERENT: Final = 1
"""Exit code where something is not what its record says, or was refused."""

lab_option = click.option(
    "--lab",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("tslg-lab"),
    show_default=True,
    metavar="DIR",
    help="The lab's folder.",
)


@click.group()
def lab() -> None:
    """Breed small models offline, under two vendors, and keep everything that led to them.

    Vendor A makes candidates behind a fence, vendor B judges them on suites that it froze before; both keep logs.
    """


@lab.command()
@click.option("--rounds", type=click.IntRange(1, 1_000), default=10, show_default=True, help="How many rounds.")
@click.option(
    "--seed", type=click.IntRange(0, 2**31), default=1, show_default=True, help="Packages follow from it alone."
)
@click.option("--data", "data_set", default="digits", show_default=True, help="digits, breast-cancer or wine.")
@click.option("--network", is_flag=True, help="Let both nodes talk over libp2p on loopback, not within the process.")
@lab_option
@json_option
def run(rounds: int, seed: int, data_set: str, network: bool, folder: Path, as_json: bool) -> None:
    """Start a lab in a new folder, and run rounds of it."""
    from tslg.simulations.lab.run import run as run_lab

    with progress_bar(f"breeding on {data_set}, seed {seed}") as bar:
        document = run_lab(folder, rounds=rounds, seed=seed, data_set=data_set, network=network, tick=bar)
    emit(document, as_json, lambda: summary(document))


def summary(document: dict[str, Any]) -> str:
    """Return what came of a run, for people."""
    lines = []
    for one in document["rounds"]:
        lines.append(f"round {one['round']:<3} {one['outcome']}: {one['explanation']}")
        lines += [f"          {told}" for told in one["stages"]]
        lines += [
            f"          refused {refused['operator']}: {refused['code']} {refused['reason']}"
            for refused in one["refused"]
        ]
    audit = document["audit"]
    lines += [
        "",
        f"candidates  {document['candidates']}, {document['rejected']} rejected, {document['refused']} refused",
        f"rounds      {document['no_ops']} without a change, {document['promotions']} promotions, "
        f"{document['rollbacks']} rolled back",
        f"champion    {document['champion']}",
        f"release     {document['release']}",
        f"audit       {audit['verdict']}: {audit['records']} records, {audit['edges']} edges",
    ]
    for vendor, kinds in audit["reached"].items():
        lines.append(f"            {vendor}: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()))
    return "\n".join(lines)


@lab.command()
@click.argument("id", required=False)
@lab_option
@json_option
def reproduce(id: str | None, folder: Path, as_json: bool) -> int:
    """Make the artifact ID again from its record, or all that was bred, and compare bit for bit."""
    from tslg.node.home import Home
    from tslg.protocol.cid import from_text
    from tslg.simulations.lab import premises, reproducing

    premises.settings(folder)
    with Home.read(folder / premises.A) as home:
        targets = [one.id for one in reproducing.bred(home.store)] if id is None else [from_text(id)]
        found = []
        with progress_bar("making again") as bar:
            for target in targets:
                found.append(reproducing.told(reproducing.reproduce(home.store, target), target))
                if bar is not None:
                    bar(len(found), len(targets))
    differing = [one for one in found if not one["same"]]
    shown = differing if id is None else found
    lines = [f"{one['artifact']}  {'same' if one['same'] else 'DIFFERENT'}  sha256:{one['digest']}" for one in shown]
    lines.append(f"{len(found)} made again, {len(differing)} different")
    emit({"reproduced": found, "different": len(differing)}, as_json, "\n".join(lines))
    return DIFFERENT if differing else 0


@lab.command()
@lab_option
@json_option
def check(folder: Path, as_json: bool) -> int:
    """Hold every package against its record."""
    from tslg.protocol.cid import to_text
    from tslg.simulations.lab import premises, reproducing

    premises.settings(folder)
    with progress_bar("checking packages") as bar:
        found = reproducing.check(folder, bar)
    wrong = [{"artifact": to_text(one.artifact.id), "why": one.why} for one in found if not one.same]
    lines = [f"{one['artifact']}  {one['why']}" for one in wrong]
    lines.append(f"{len(found)} packages, {len(wrong)} different")
    emit({"checked": len(found), "wrong": wrong}, as_json, "\n".join(lines))
    return DIFFERENT if wrong else 0


@lab.command()
@click.option("--reason", required=True, help="Why.")
@lab_option
@json_option
def rollback(reason: str, folder: Path, as_json: bool) -> None:
    """Take the champion out of service, and put the one before back in."""
    from tslg.node.artifacts.course import roll_back
    from tslg.node.home import Home
    from tslg.protocol.cid import to_text
    from tslg.simulations.lab import premises, releasing

    premises.settings(folder)
    with Home.open(folder / premises.A) as home:
        done = roll_back(home.agent(premises.BREEDER), home.store, releasing.CHAMPION, reason)
    left, champion = to_text(done.left.body["target"]), to_text(done.release.body["target"])
    document = {"left": left, "champion": champion, "release": to_text(done.release.id)}
    emit(document, as_json, f"left      {left}\nchampion  {champion}\nrelease   {document['release']}")


@lab.command("take-in")
@click.argument("submissions", type=click.Path(path_type=Path))
@lab_option
@json_option
def take_in(submissions: Path, folder: Path, as_json: bool) -> int:
    """Take packages that others hand in into the registry: what is not what it claims is refused, on record."""
    from tslg.node.home import Home
    from tslg.protocol.cid import to_text
    from tslg.simulations.lab import intake, premises

    premises.settings(folder)
    if not submissions.is_dir():
        raise UsageError(f"{submissions} is no folder", mend="name a folder with one folder for each submission")
    with Home.open(folder / premises.A) as home:
        taken = intake.take_in(folder, home.agent(premises.BREEDER), home.store, submissions)
    rows = [
        {"name": one.name, "record": to_text(one.record.id), "code": one.code, "reason": one.reason} for one in taken
    ]
    lines = [
        f"{one['record']}  {one['name']}" + (f": {one['code']} {one['reason']}" if one["code"] else "") for one in rows
    ]
    emit({"submissions": rows}, as_json, "\n".join(lines))
    return DIFFERENT if any(one.code for one in taken) else 0
