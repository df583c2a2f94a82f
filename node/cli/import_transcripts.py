"""`tslg import transcripts`: chat transcripts with tool calls become the lineage of two agents, and are verified."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from tslg.node.cli.access import FILE, data_dir, data_option, owner_name
from tslg.node.cli.output import emit, json_option, note, printable
from tslg.node.cli.terminal import counting

if TYPE_CHECKING:
    from tslg.node.adapters.transcripts import Imported, Target, Transcript
    from tslg.node.home import Home
    from tslg.protocol.report import Report

_MOST: Final = 20
"""Trajectories that are listed to people; `--json` has all."""


class _Done(NamedTuple):
    """One trajectory that is in the lineage now: its file, where it ends, and its report, if it was verified."""

    file: str
    target: Target
    report: Report | None


@click.command()
@click.argument(
    "files", metavar="FILE…", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, allow_dash=True)
)
@data_option
@click.option("--federation", type=FILE, help="The federation to join with a new data directory.  [one of your own]")
@click.option("--assistant", default="assistant", show_default=True, help="Name of the agent that decides.")
@click.option("--tools", default="tools", show_default=True, help="Name of the agent that the tools are.")
@click.option("--lenient", is_flag=True, help="Leave out unknown roles and results without a call, with a warning.")
@click.option("--again", is_flag=True, help="Import also what is imported already.")
@click.option("--stream", is_flag=True, help="Record JSON Lines as they come, by the assistant alone.")
@click.option("--follow", is_flag=True, help="… and go on as the file grows; Ctrl-C ends it.")
@click.option("--policy", type=FILE, help="Judge every step by this policy, after the fact; implies --stream.")
@click.option("--tier", help="The capability tier that the steps claim.  [the policy's]")
@click.option("--model", help="The model that takes the assistant's turns, for streams.")
@click.option("--verify/--no-verify", "check", default=True, help="Verify every trajectory afterwards.  [yes]")
@json_option
@click.pass_context
def transcripts(ctx: click.Context, /, files: Sequence[Path], **options: Any) -> None:
    """Import agent transcripts in the chat-message format; `-` is standard input.

    Every FILE is imported whole or not at all, and none is if one cannot be read. It holds messages with roles, as a
    list or under `messages` or `traj`, a list of such, or JSON Lines.

    With --stream, --follow or --policy, each line is recorded as it is read: it is a conversation, or one message of
    one. What was read before is not recorded again, and nothing is verified.

    Exit code: 0 valid, 1 invalid, 2 undetermined, 3 nothing could be imported.
    """
    if options["stream"] or options["follow"] or options["policy"] is not None:
        from tslg.node.cli.import_stream import import_streams

        import_streams(files, options)
        return
    from tslg.node.adapters.transcripts import parse
    from tslg.node.home import Home
    from tslg.protocol.cid import to_text

    started = time.perf_counter()
    read = [parse(_read(path), _name(path), lenient=options["lenient"]) for path in files]
    for transcript in read:
        _warn(transcript)
    with Home.open(data_dir(options["data"]), federation=options["federation"]) as home:
        imported = _import(home, read, options)
        done = _verify(home, imported, options["check"])
        owners = dict.fromkeys(owner for item in imported for owner in (item.assistant, item.tools))
        agents = [{"id": to_text(owner), "name": owner_name(home.store, owner)} for owner in owners]
    data = _document(imported, done, agents, time.perf_counter() - started)
    emit(data, options["as_json"], lambda: _text(data, done))
    ctx.exit(max((item.report.exit_code for item in done if item.report is not None), default=0, key=(0, 2, 1).index))


def _read(path: Path) -> bytes:
    """Return a file's bytes, or enough of them to see that they are too many."""
    from tslg.protocol.limits import DEFAULT

    with click.open_file(str(path), "rb") as file:
        data: bytes = file.read(DEFAULT.transcript_bytes + 1)
    return data


def _name(path: Path) -> str:
    return "stdin" if str(path) == "-" else str(path)


def _warn(transcript: Transcript) -> None:
    for problem in transcript.warnings:
        note(f"warning: {problem.code}: {printable(problem.text(transcript.name))}")
    if transcript.unnamed_warnings:
        note(f"warning: {printable(transcript.name)}: {transcript.unnamed_warnings} more")


def _import(home: Home, read: Sequence[Transcript], options: dict[str, Any]) -> list[Imported]:
    from tslg.node.adapters.transcripts import import_transcript

    names = {"assistant": options["assistant"], "tools": options["tools"]}
    imported = []
    for transcript in read:
        with counting("made") as tick:
            imported.append(import_transcript(home, transcript, again=options["again"], tick=tick, **names))
    return imported


def _verify(home: Home, imported: Sequence[Imported], check: bool) -> list[_Done]:
    from tslg.node.adapters.transcripts import verify_targets

    pairs = [(item.transcript.name, target) for item in imported for target in item.targets]
    if not check:
        return [_Done(name, target, None) for name, target in pairs]
    with counting("verified") as tick:
        reports = verify_targets(home, [target for _, target in pairs], tick=tick)
    return [_Done(name, target, report) for (name, target), report in zip(pairs, reports, strict=True)]


def _document(
    imported: Sequence[Imported], done: Sequence[_Done], agents: list[dict[str, Any]], seconds: float
) -> dict[str, Any]:
    kinds = sum((Counter(item.kinds) for item in imported), Counter[str]())
    verdicts = Counter(item.report.verdict for item in done if item.report is not None)
    return {
        "files": [_file(item) for item in imported],
        "agents": agents,
        "trajectories": len(done),
        "messages": sum(item.transcript.messages for item in imported),
        "records": kinds.total(),
        "kinds": dict(sorted(kinds.items())),
        "verdicts": dict(sorted(verdicts.items())),
        "targets": [_target(item) for item in done],
        "seconds": round(seconds, 6),
    }


def _file(item: Imported) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    transcript = item.transcript
    return {
        "file": transcript.name,
        "sha256": transcript.digest.hex(),
        "record": to_text(item.file),
        "already": item.already,
        "trajectories": len(item.targets),
        "messages": transcript.messages,
        "warnings": [problem._asdict() for problem in transcript.warnings],
    }


def _target(item: _Done) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    target = item.target
    entry = {"file": item.file, "index": target.position, **target.about, "target": to_text(target.record)}
    if target.records is not None:
        entry["records"] = target.records
    if item.report is not None:
        entry["verdict"] = item.report.verdict
        entry["findings"] = item.report.to_json()["findings"]
        entry["agents"] = len(item.report.agents)
    return entry


def _text(data: dict[str, Any], done: Sequence[_Done]) -> str:
    lines = []
    for file in data["files"]:
        what = f"trajectories: {file['trajectories']}, messages: {file['messages']}"
        state = "imported before, nothing added" if file["already"] else "imported"
        lines.append(f"{printable(file['file'])}: {state} ({what})")
    kinds = ", ".join(f"{count} {kind}" for kind, count in data["kinds"].items())
    if kinds:
        lines.append(f"records: {data['records']}, of these {kinds}")
    lines += [f"agent {printable(agent['name'])}: {agent['id']}" for agent in data["agents"]]
    lines += ["", *_listed(data["targets"]), ""]
    for item in done:
        if item.report is not None:
            lines += [f"{finding.code}: {printable(finding.detail)}" for finding in item.report.findings[:3]]
    verdicts = ", ".join(f"{count} {verdict}" for verdict, count in data["verdicts"].items())
    lines.append(f"verified: {verdicts or 'nothing'}; {data['seconds']:.1f} s")
    return "\n".join(lines)


def _listed(targets: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line for each of the first trajectories: its number, task, verdict and last record."""
    lines = []
    for entry in targets[:_MOST]:
        task = f"task {printable(str(entry['task_id']))}" if "task_id" in entry else ""
        parts = (f"{entry['index']:>4}", task, entry.get("verdict", ""), entry["target"])
        lines.append("  ".join(part for part in parts if part))
    if len(targets) > _MOST:
        lines.append(f"   … {len(targets) - _MOST} more, see --json")
    return lines
