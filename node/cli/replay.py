"""`tslg replay`: hold a step of a model against what was kept of it, its policy and, if one can, itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import data_option, find_record
from tslg.node.cli.output import emit, json_option, printable

if TYPE_CHECKING:
    from tslg.node.governing.replaying import Replay

_CODES: Final = {"same": 0, "other": 1, "undetermined": 2}
_STATES: Final = {"TSLG-P-NONE": "not kept", "TSLG-P-GONE": "destroyed"}
_SHOWN: Final = 2_000


@click.command()
@click.argument("target", metavar="ID")
@click.option(
    "--run", metavar="MODULE:FUNCTION", help="Do the step again: a function of its inputs, by name, as bytes."
)
@click.option("--show", is_flag=True, help="Print the plaintexts too.")
@data_option
@json_option
def replay(target: str, run: str | None, show: bool, data: Path | None, as_json: bool) -> int:
    """Replay the step ID: what was kept of it against its digests, its policy once more and, with --run, itself.

    Where the manifest has readings recorded, these are, and no other process may write the data directory.

    Exit code: 0 if all is the same, 1 if something differs, 2 if something cannot be told.
    """
    from tslg.node.cli.vault import reading_home, unlock
    from tslg.node.governing import predicates, replaying

    if run is not None:
        # Behind everything that is installed, so that no file here passes for a part of that.
        sys.path.append(str(Path.cwd()))
    function = None if run is None else predicates.load(run)
    with reading_home(data) as home:
        id = find_record(home.store, target)
        held = home.plaintexts if home.plaintexts.here else None
        if held is not None:
            unlock(home)
        own = {key.genesis.id for key in home.agent_keys()}
        found = replaying.replay(home.ledger.context, home.store, held, own, id, function)
    emit(_told(found, show), as_json, lambda: _text(found, show))
    return _CODES[found.verdict]


def _told(found: Replay, show: bool) -> dict[str, Any]:
    from tslg.node.governing.content import digest
    from tslg.protocol.cid import to_text

    judged = found.judgement
    return {
        "record": to_text(found.record.id),
        "kind": found.record.kind,
        "verdict": found.verdict,
        "parts": [
            {
                "part": part.name,
                "digest": part.digest.hex(),
                "size": None if part.content is None else len(part.content),
                "why": part.why,
                **({"text": _shown(part.content)} if show else {}),
            }
            for part in found.parts
        ],
        "output": {
            "recorded": None if found.recorded is None else found.recorded.hex(),
            "now": digest(found.output).hex() if found.ran else None,
            "same": found.same_output,
        },
        "policy": {"recorded": judged.recorded, "now": judged.now, "same": judged.same, "why": judged.why},
    }


def _text(found: Replay, show: bool) -> str:
    judged = found.judgement
    lines = [f"{found.verdict}  {found.record.kind}"]
    for part in found.parts:
        state = _STATES.get(part.why, part.why) if part.content is None else f"{len(part.content)} bytes, as recorded"
        lines.append(f"  {printable(part.name)}: {state}")
        if show and part.content:
            lines += [f"    {printable(line)}" for line in (_shown(part.content) or "").splitlines()]
    if found.ran:
        lines.append(
            "  output now: "
            + {True: "the same", False: "another", None: "nothing to hold it against"}[found.same_output]
        )
    why = f" ({printable(judged.why)})" if judged.why else ""
    lines.append(f"  policy: {printable(judged.recorded)}; now {printable(judged.now or 'undetermined')}{why}")
    return "\n".join(lines)


def _shown(content: bytes | None) -> str | None:
    if content is None:
        return None
    return content[:_SHOWN].decode("utf-8", "replace") + ("…" if len(content) > _SHOWN else "")
