"""`tslg summary check`: a single step of a summarised stretch, checked again when its bytes are brought back."""

from __future__ import annotations

from pathlib import Path

import click

from tslg.node.cli.access import FILE, data_option, held_record, read_home
from tslg.node.cli.output import emit, json_option


@click.group()
def summary() -> None:
    """Check steps against the summaries that stand for them."""


@summary.command()
@click.argument("id", metavar="SUMMARY")
@click.argument("file", type=FILE)
@data_option
@json_option
def check(id: str, file: Path, data: Path | None, as_json: bool) -> int:
    """Check that the record in FILE (its bytes, or a bundle's target) is a step that SUMMARY stands for.

    Exit code: 0 it is, 1 it is not.
    """
    from tslg.node.cli.challenging import read_record
    from tslg.protocol.cid import to_text
    from tslg.protocol.commitment import stretch_proof, verify_in_stretch
    from tslg.protocol.errors import UsageError

    with read_home(data) as home:
        made = held_record(home.store, id)
        if made.kind != "summary":
            raise UsageError(f"{id} is a {made.kind}", mend="name a summary")
        step = read_record(home, file)
        first, size = made.body["first"], made.body["last"] - made.body["first"] + 1
        ids = home.store.leaves(made.owner, made.body["last"] + 1)[first:]
        place = step.seq - first
        inside = step.owner == made.owner and 0 <= place < size
        proof = stretch_proof(ids, place) if inside else []
        holds = inside and verify_in_stretch(step.id, place, size, proof, made.body["root"])
    verdict = "valid" if holds else "invalid"
    told = {"verdict": verdict, "record": to_text(step.id), "summary": to_text(made.id), "seq": step.seq}
    told["proof"] = [item.hex() for item in proof]
    what = f"step {step.seq} of the stretch {first} to {made.body['last']}"
    emit(told, as_json, f"{verdict}  {to_text(step.id)} is {'' if holds else 'not '}{what}")
    return 0 if holds else 1
