"""`tslg prune`: let go of the bytes of old records, and commit to what they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tslg.node.cli.access import data_option, find_log, write_home
from tslg.node.cli.given import given_moment, given_span
from tslg.node.cli.output import emit, json_option


@click.command()
@click.argument("agent", metavar="NAME|ID")
@click.option("--before", metavar="MOMENT", help="Only what is older than this moment.")
@click.option("--older-than", metavar="SPAN", help="Only what is older than this: 90d, 12h.")
@click.option("--dry-run", is_flag=True, help="Say what would go, and change nothing.")
@data_option
@json_option
def prune(
    agent: str, before: str | None, older_than: str | None, dry_run: bool, data: Path | None, as_json: bool
) -> None:
    """Let go of old records of an agent's log, as far as the federation's gc policy allows it.

    Their ids and places stay, so that everything else can be verified as before, and claims about what was there can be
    proved and disproved: `tslg challenge`.
    """
    from tslg.node import pruning
    from tslg.node.cli.terminal import counting
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    if before is not None and older_than is not None:
        raise UsageError("--before and --older-than say the same thing", mend="give one of them")
    with write_home(data) as home:
        now = home.clock()
        cutoff = None if before is None else given_moment(before, now)
        if older_than is not None:
            cutoff = now - given_span(older_than)
        owner = find_log(home.store, agent)
        home.agent_key(owner)
        planned = pruning.plan(home.store, owner, home.manifest, now_ms=now, cutoff_ms=cutoff)
        told: dict[str, Any] = {
            "agent": to_text(owner),
            "policy": to_text(planned.policy),
            "before": planned.before,
            "count": len(planned.pruned.ids),
            "kept": planned.kept,
            "record": None,
        }
        if not dry_run:
            with counting("pruned") as tick:
                told["record"] = to_text(pruning.prune(home.ledger, planned, tick).id)
    text = f"{told['count']} records before position {planned.before}; {planned.kept} of them are kept"
    emit(told, as_json, f"would prune {text}" if dry_run else f"{told['record']}\npruned {text}")
