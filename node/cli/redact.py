"""`tslg redact`: destroy fields or blobs of a record of one's own, and record that."""

from __future__ import annotations

from typing import Any

import click

from tslg.node.cli.access import find_record
from tslg.node.cli.output import emit, note
from tslg.node.cli.recording import author_of, common


@click.command()
@click.argument("target", metavar="ID")
@click.option("--field", "fields", multiple=True, metavar="NAME", help="A field to destroy; repeat.")
@click.option("--blob", "blobs", multiple=True, metavar="HEX", help="The SHA-256 of a blob to destroy; repeat.")
@click.option("--reason", required=True, help="Why, for everybody to read.")
@click.option("--policy", metavar="ID", help="The policy under which it is done.  [the agent's own]")
@common
def redact(target: str, fields: tuple[str, ...], blobs: tuple[str, ...], reason: str, **options: Any) -> None:
    """Destroy fields or blobs of the record ID, wherever this data directory keeps them, and record who had it done.

    The record, its id and every proof stay valid. What was handed over before is out of reach: others are told by the
    record of the redaction, whose id this prints.
    """
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    try:
        digests = [bytes.fromhex(blob) for blob in blobs]
    except ValueError as error:
        raise UsageError("a blob is named by 64 hexadecimal digits", mend="`tslg show` has them") from error
    with author_of(options) as author:
        id = find_record(author.home.store, target)
        policy = None if options["policy"] is None else find_record(author.home.store, options["policy"])
        made = author.agent.redact(id, fields=fields, blobs=digests, reason=reason, policy=policy)
    printed = to_text(made.id)
    told = {"record": printed, "target": to_text(id), "fields": sorted(fields), "blobs": sorted(blobs)}
    if not options["as_json"]:
        note(f"destroyed here: {', '.join([*sorted(fields), *sorted(blobs)])} of {to_text(id)}")
    emit(told, options["as_json"], printed)
