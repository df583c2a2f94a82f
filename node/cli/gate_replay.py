"""`tslg gate replay`: what a policy would have let a model do in conversations that are over."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import data_dir, data_option
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.adapters.transcripts.model import Transcript
    from tslg.node.adapters.transcripts.replaying import Replayed

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--policy", type=_FILE, required=True, help="The policy to judge by.")
@click.option(
    "--watch",
    metavar="MODULE:CLASS",
    help="What follows each conversation and tells the policy's rules their facts; found beside the policy, too.",
)
@click.option("--agent", default="assistant", show_default=True, help="The agent whose steps they are; made if needed.")
@click.option("--tier", help="The capability tier that the steps claim.  [the policy's]")
@click.option("--model", default="unstated", show_default=True, help="The model that took the assistant's turns.")
@click.option("--model-version", default="unstated", show_default=True, help="Its exact version.")
@click.option("--federation", type=_FILE, help="The file with the sealed root manifest to join, for new data.")
@data_option
@json_option
def replay(files: tuple[Path, ...], **options: Any) -> None:
    """Put every turn of recorded conversations through a gate, and count what it admits and refuses, and why.

    FILES are chat transcripts as `tslg import transcripts` reads them. Each turn is judged as it was taken, and
    recorded; `tslg query rejections` and `refinements` ask further. Two runs are two series of records.

    Exit code: 0 replayed, 3 nothing could be.
    """
    from tslg.node.adapters.transcripts import parse
    from tslg.node.adapters.transcripts.replaying import Deaf, replay
    from tslg.node.cli.terminal import progress_bar
    from tslg.node.governing import predicates
    from tslg.node.governing.gate import Gate
    from tslg.node.home import Home

    read = [parse(path.read_bytes(), str(path)) for path in files]
    sys.path.insert(0, str(options["policy"].resolve().parent))
    watcher = Deaf if options["watch"] is None else predicates.load(options["watch"])
    model = {"model": options["model"], "version": options["model_version"]}
    done: list[Replayed] = []
    with Home.open(data_dir(options["data"]), federation=options["federation"]) as home:
        gate = Gate(home.agent(options["agent"]), options["policy"], tier=options["tier"])
        for transcript in read:
            with progress_bar("conversations") as bar:
                total = len(transcript.trajectories)
                tick = None if bar is None else lambda count, bar=bar, total=total: bar(count, total)
                done.append(replay(gate, transcript, watcher, tick=tick, **model))
    told = _told(read, done)
    emit(told, options["as_json"], lambda: _text(told))


def _told(read: list[Transcript], done: list[Replayed]) -> dict[str, Any]:
    verdicts = sum((one.verdicts for one in done[1:]), done[0].verdicts)
    refused = sum((one.refused for one in done[1:]), done[0].refused)
    intents: dict[str, dict[str, int]] = {}
    for (intent, verdict), count in sorted(verdicts.items()):
        intents.setdefault(intent, {})[verdict] = count
    return {
        "files": [transcript.name for transcript in read],
        "conversations": sum(one.conversations for one in done),
        "turns": sum(one.turns for one in done),
        **{verdict: sum(one.count(verdict) for one in done) for verdict in ("admitted", "rejected", "decomposed")},
        "intents": intents,
        "refused": [{**why._asdict(), "count": count} for why, count in refused.most_common()],
    }


def _text(told: dict[str, Any]) -> str:
    lines = [f"{told['conversations']} conversations, {told['turns']} turns"]
    lines.append(f"{told['admitted']} admitted, {told['rejected']} rejected, {told['decomposed']} decomposed")
    lines += [f"{one['count']:5} × {one['intent']}: {one['rule']} ({one['reason']})" for one in told["refused"]]
    return "\n".join(lines)
