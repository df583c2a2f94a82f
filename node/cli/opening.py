"""`tslg opening`: hand over, take and look at what opens a confidential policy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE, data_option, find_record, read_home, write_home
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.openings import Commitments
    from tslg.protocol.codec import Link
    from tslg.protocol.zk.commitments import Opening


@click.group()
def opening() -> None:
    """Hand over, take and show what opens a confidential policy.

    Whoever has it knows what the policy allows, and can act under it as far as delegations allow.
    """


@opening.command()
@click.argument("policy", metavar="POLICY")
@click.argument("file", type=FILE)
@data_option
@json_option
def export(policy: str, file: Path, data: Path | None, as_json: bool) -> None:
    """Write what opens POLICY to FILE, for the delegate's eyes alone."""
    from tslg.node import openings
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        id, commitments = _policy(home, policy)
        openings.write(file, _held(home, commitments))
    emit({"policy": to_text(id), "file": str(file)}, as_json, to_text(id))
    note(f"hand {file} to the delegate over a channel that nobody else reads")


@opening.command()
@click.argument("policy", metavar="POLICY")
@click.argument("file", type=FILE)
@data_option
@json_option
def take(policy: str, file: Path, data: Path | None, as_json: bool) -> None:
    """Keep what opens POLICY, a confidential policy held here, from FILE."""
    from tslg.node import openings
    from tslg.protocol.cid import to_text

    with write_home(data) as home:
        id, commitments = _policy(home, policy)
        home.openings.keep(commitments, openings.read(file))
    emit({"policy": to_text(id), "file": str(file)}, as_json, to_text(id))


@opening.command()
@click.argument("policy", metavar="POLICY")
@data_option
@json_option
def show(policy: str, data: Path | None, as_json: bool) -> None:
    """Show what POLICY allows, if its opening is held here."""
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        id, commitments = _policy(home, policy)
        held = _held(home, commitments)
    allowed = {"capabilities": sorted(held.capabilities), "limits": dict(sorted(held.limits.items()))}
    lines = [*allowed["capabilities"], *(f"{name} up to {limit}" for name, limit in held.limits.items())]
    emit({"policy": to_text(id), **allowed}, as_json, "\n".join(lines) or "nothing")


def _policy(home: Home, text: str) -> tuple[Link, Commitments]:
    from tslg.protocol.errors import UsageError

    id = find_record(home.store, text)
    record = home.ledger.context.record(id)
    commitments: Any = None if record is None else record.body.get("commitments")
    if commitments is None:
        raise UsageError(
            "that is no confidential policy held here",
            code="TSLG-U-UNKNOWN",
            mend="fetch it first, or name a policy that was recorded with --confidential",
            record=id,
        )
    return id, commitments


def _held(home: Home, commitments: Commitments) -> Opening:
    from tslg.protocol.errors import UsageError

    found = home.openings.find(commitments)
    if found is None:
        raise UsageError(
            "what opens this policy is not held here", code="TSLG-U-OPENING", mend="ask the policy's author for it"
        )
    return found
