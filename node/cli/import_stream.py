"""`tslg import transcripts` line by line, or judged: conversations as steps, as `--stream` and `--policy` ask."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import data_dir
from tslg.node.cli.output import emit, note, printable
from tslg.node.cli.terminal import counting

if TYPE_CHECKING:
    from tslg.node.adapters.transcripts.streaming import Stream, Streamed
    from tslg.node.home import Home

POLL_SECONDS: Final = 0.5
"""How often a file that is followed is looked at."""
_MOST: Final = 20


def import_streams(files: Sequence[Path], options: Mapping[str, Any]) -> None:
    """Import files line by line, or follow one. Raises UsageError, AdapterError, and what recording raises."""
    from tslg.node.adapters.transcripts.streaming import Stream
    from tslg.node.home import Home
    from tslg.protocol.errors import UsageError

    follow: bool = options["follow"]
    if follow and (len(files) > 1 or str(files[0]) == "-"):
        raise UsageError("one file is followed at a time", mend="name one file; standard input needs no `--follow`")
    started = time.perf_counter()
    name = options["assistant"]
    with Home.open(data_dir(options["data"]), federation=options["federation"], name=name) as home:
        recorder = _recorder(home, options)
        done = []
        with counting("recorded") as tick:
            for path in files:
                stream = Stream(
                    home.store,
                    recorder,
                    "stdin" if str(path) == "-" else str(path.resolve()),
                    model=options["model"] or _unstated(),
                    lenient=options["lenient"],
                    warn=lambda text: note(f"warning: {printable(text)}"),
                )
                _read(stream, path, options, tick)
                done.append((str(path), stream.done))
        agent = home.agent(name)
        about = {"id": _text_of(agent.id), "name": name}
    data = _document(done, about, time.perf_counter() - started)
    emit(data, options["as_json"], lambda: _text(data))


def _recorder(home: Home, options: Mapping[str, Any]) -> Any:
    agent = home.agent(options["assistant"])
    if options["policy"] is None:
        return agent
    from tslg.node.governing.gate import Gate

    return Gate(agent, options["policy"], tier=options["tier"])


def _read(stream: Stream, path: Path, options: Mapping[str, Any], tick: Callable[[int], None] | None) -> None:
    from tslg.protocol.limits import DEFAULT

    follow, by_line = options["follow"], options["stream"]

    def count() -> None:
        if tick is not None:
            tick(stream.done.verdicts.total())

    def wait() -> bool:
        count()
        time.sleep(POLL_SECONDS)
        return True

    with click.open_file(str(path), "rb") as file:
        try:
            if str(path) == "-":
                stream.feed(file)
            elif not by_line and not follow and not str(path).endswith((".jsonl", ".ndjson")):
                stream.whole(file.read(DEFAULT.transcript_bytes + 1))
            else:
                stream.read(file, wait=wait if follow else None)
        except KeyboardInterrupt:
            if not follow:
                raise
            # That is how following ends: all that was read is recorded.
            stream.stopped()
        count()


def _unstated() -> str:
    from tslg.node.adapters.seen.steps import UNSTATED

    return UNSTATED


def _text_of(id: Any) -> str:
    from tslg.protocol.cid import to_text

    return to_text(id)


def _document(done: Sequence[tuple[str, Streamed]], agent: dict[str, str], seconds: float) -> dict[str, Any]:
    verdicts: dict[str, int] = {}
    for _, one in done:
        for verdict, count in one.verdicts.items():
            verdicts[verdict] = verdicts.get(verdict, 0) + count
    return {
        "files": [{"file": name, "lines": one.lines, "conversations": one.conversations} for name, one in done],
        "agent": agent,
        "conversations": sum(one.conversations for _, one in done),
        "verdicts": dict(sorted(verdicts.items())),
        "already": sum(one.already for _, one in done),
        "left_out": sum(one.left_out for _, one in done),
        "targets": [
            {"file": file, "conversation": name, "target": _text_of(made.record.id), "verdict": made.verdict}
            for file, one in done
            for name, made in one.last.items()
        ],
        "seconds": round(seconds, 6),
    }


def _text(data: dict[str, Any]) -> str:
    lines = [
        f"{printable(one['file'])}: lines: {one['lines']}, conversations: {one['conversations']}"
        for one in data["files"]
    ]
    listed = ", ".join(f"{count} {verdict}" for verdict, count in data["verdicts"].items())
    lines.append(f"recorded: {sum(data['verdicts'].values())}" + (f", of these {listed}" if listed else ""))
    lines.append(f"recorded before: {data['already']}")
    if data["left_out"]:
        lines.append(f"left out: {data['left_out']}")
    lines += [f"agent {printable(data['agent']['name'])}: {data['agent']['id']}", ""]
    targets = data["targets"]
    lines += [
        f"{printable(one['conversation'] or '-'):<12}  {one['verdict']:<10}  {one['target']}" for one in targets[:_MOST]
    ]
    if len(targets) > _MOST:
        lines.append(f"… {len(targets) - _MOST} more, see --json")
    return "\n".join(lines)
