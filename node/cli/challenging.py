"""`tslg challenge`: was this record ever in its log? With a proof that a stranger checks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tslg.node.cli.access import FILE, data_option, find_record, read_home, whole_id
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.protocol.challenge import Answer
    from tslg.protocol.record import Record

_SAYS = {
    "here": "is here, at position {seq} of its log",
    "pruned": "was here, at position {seq} of its log, and was pruned",
    "redacted": "was here, at position {seq} of its log, and was redacted",
    "never": "was never here: position {seq} of that log holds another record",
}


@click.command()
@click.argument("record", metavar="[ID]", required=False)
@click.option("--file", type=FILE, help="The record in question: its bytes, or a bundle whose target it is.")
@click.option("--out", type=FILE, help="Where to write the proof.")
@click.option("--check", type=FILE, help="Check the proof in this file instead of making one.")
@click.option("--for", "reader", metavar="READER", help="Only if this agent, or a `stranger`, may read what is shown.")
@click.option("--federation", help="With --check: the federation's id, the only thing that is trusted.")
@data_option
@json_option
def challenge(
    record: str | None,
    file: Path | None,
    out: Path | None,
    check: Path | None,
    reader: str | None,
    federation: str | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Say whether the record ID, or the one in --file, is, was, or never was in its log.

    Exit code: 0 it is or was, 1 it never was or the proof does not hold, 2 it cannot be told.
    """
    from tslg.node import challenging
    from tslg.node.access import gatekeeper
    from tslg.node.cli.files import write_replacing
    from tslg.node.cli.reading import reader_of
    from tslg.protocol.errors import UsageError

    if check is not None:
        if federation is None or record is not None or file is not None:
            raise UsageError("a proof is checked against a federation alone", mend="give --check FILE --federation ID")
        return _check(check, federation, as_json)
    if (record is None) == (file is None):
        raise UsageError("give either an ID or --file FILE", mend="see `tslg challenge --help`")
    with read_home(data) as home:
        claimed = None if file is None else read_record(home, file)
        id = claimed.id if claimed is not None else find_record(home.store, record or "")
        try:
            given = challenging.answer(home.store, home.federation, id, claimed, now_ms=home.clock())
            if reader is not None:
                challenging.for_reader(given, gatekeeper(home).gate_of(reader_of(home, reader)))
        except UsageError as error:
            if error.code != "TSLG-U-CHALLENGE":
                raise
            emit({"verdict": "unknown", "detail": error.detail}, as_json, f"unknown  {error.detail} ({error.mend})")
            return 2
    if out is not None:
        write_replacing(out, given.to_bytes())
    return _tell(given, None if out is None else str(out), as_json)


def read_record(home: Home, path: Path) -> Record:
    """Read a record from its bytes or from a bundle; nothing of it is believed."""
    import io

    from tslg.protocol import bundle
    from tslg.protocol.errors import BundleError, TslgError, UsageError
    from tslg.protocol.record import parse, parse_as

    with path.open("rb") as stream:
        content = stream.read()
    try:
        held = bundle.read(io.BytesIO(content))
        return parse_as(held.targets[0], held.records[held.targets[0]][0])
    except (BundleError, KeyError):
        pass
    try:
        return parse(content, home.manifest.envelope.hash)
    except TslgError as error:
        detail = f"{path} holds no record: {error.detail}"
        raise UsageError(detail, code="TSLG-U-FILE", mend="give a record's bytes or a bundle") from error


def _check(path: Path, federation: str, as_json: bool) -> int:
    from tslg.node import challenging
    from tslg.node.home import wall_clock
    from tslg.protocol.challenge import read

    given = read(path.read_bytes())
    wrong = challenging.check(given, whole_id(federation), wall_clock())
    if wrong is None:
        return _tell(given, str(path), as_json)
    emit({"verdict": "invalid", "detail": wrong}, as_json, f"invalid  {wrong}")
    return 1


def _tell(given: Answer, file: str | None, as_json: bool) -> int:
    from tslg.protocol.challenge import EXIT_CODES
    from tslg.protocol.cid import to_text

    told = {
        "verdict": given.verdict,
        "record": to_text(given.record),
        "agent": to_text(given.agent),
        "seq": given.seq,
        "head": to_text(given.head),
        "prune": None if given.prune is None else to_text(given.prune),
        "redaction": None if given.redaction is None else to_text(given.redaction),
        "file": file,
    }
    emit(told, as_json, f"{given.verdict}  {told['record']} {_SAYS[given.verdict].format(seq=given.seq)}")
    return EXIT_CODES[given.verdict]
