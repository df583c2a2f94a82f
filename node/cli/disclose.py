"""`tslg disclose`: hand over single fields of one record, each with its proof, and check such a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE, data_option, find_record, read_home, whole_id
from tslg.node.cli.describing import dag_json, plain
from tslg.node.cli.output import emit, json_option, note
from tslg.node.cli.verify import read_bundle

if TYPE_CHECKING:
    from tslg.protocol.record import Record


@click.command()
@click.argument("record", metavar="ID|FILE.car")
@click.option("--fields", help="The fields to show, with commas between them.  [none]")
@click.option("--out", type=FILE, help="The file to write.")
@click.option("--check", is_flag=True, help="Check the file that another wrote, and print what it discloses.")
@click.option("--federation", help="The federation's id, the only thing that --check trusts.")
@data_option
@json_option
def disclose(record: str, check: bool, as_json: bool, **options: Any) -> int:
    """Write single fields of the record ID to a file that proves them to anybody, without the record's other fields.

    With --check FILE.car, verify such a file and print the fields that it discloses.

    Exit code: 0 valid, 1 invalid, 2 undetermined.
    """
    if check:
        return _check(Path(record), options["federation"], as_json)
    return _write(record, options, as_json)


def _write(text: str, options: dict[str, Any], as_json: bool) -> int:
    from tslg.node.bundling import write_walked
    from tslg.node.cli.files import replacing
    from tslg.node.sources import StoreSource
    from tslg.node.verifying import walk
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    out: Path | None = options["out"]
    if out is None:
        raise UsageError("no file to write to", mend="name one with --out FILE.car")
    fields = frozenset(filter(None, (options["fields"] or "").split(",")))
    with read_home(options["data"]) as home:
        target = find_record(home.store, text)
        walked = walk(StoreSource(home.store), target, home.federation, now_ms=home.clock(), depth=0)
    report = walked.report
    found = report.records.get(target)
    if found is None:
        note("\n".join(finding.detail for finding in report.findings))
        emit({"bundle": None, "target": to_text(target), "verdict": report.verdict}, as_json, report.verdict)
        return report.exit_code or 1
    _need_fields(found, fields)
    with replacing(out) as stream:
        write_walked(stream, walked, lambda id, kind: fields if id == target else frozenset())
    told = {"bundle": str(out), "target": to_text(target), "verdict": report.verdict, "fields": sorted(fields)}
    emit(told, as_json, f"{report.verdict}  {out} discloses {', '.join(sorted(fields)) or 'no field'}")
    return report.exit_code


def _need_fields(record: Record, fields: frozenset[str]) -> None:
    """Refuse fields that the record has not, or that are withheld here too."""
    from tslg.protocol.errors import UsageError

    if record.commitment is None:
        raise UsageError(
            "the record withholds nothing: all of it is in its bytes", mend="use `tslg export car`", record=record.id
        )
    for name in sorted(fields):
        if name in record.withheld:
            raise UsageError(f"{name!r} is not disclosed here either", mend="ask its author", record=record.id)
        if name not in record.commitment.names:
            known = ", ".join(record.commitment.names)
            raise UsageError(f"{name[:60]!r} is not a field that it commits to", mend=f"there are {known}")


def _check(path: Path, federation: str | None, as_json: bool) -> int:
    from tslg.node.home import wall_clock
    from tslg.node.sources import BundleSource
    from tslg.node.verifying import verify
    from tslg.protocol.cid import to_text

    bundle = read_bundle(path)
    pinned = bundle.federation if federation is None else whole_id(federation)
    told, lines, worst = [], [], 0
    for target in bundle.targets:
        report = verify(BundleSource(bundle), target, pinned, now_ms=wall_clock(), depth=0)
        worst = max(worst, report.exit_code, key=(0, 2, 1).index)
        record = report.records.get(target)
        shown = {} if record is None or record.commitment is None else _disclosed(record)
        told.append(
            {
                "target": to_text(target),
                "verdict": report.verdict,
                "disclosed": shown,
                "withheld": [] if record is None else list(record.withheld),
            }
        )
        lines.append(f"{report.verdict}  {to_text(target)}")
        lines += [f"  {name} = {plain(_text(value))}" for name, value in shown.items()]
        lines += [f"  {name} is withheld" for name in told[-1]["withheld"]]
        lines += [f"  {finding.code}: {plain(finding.detail)}" for finding in report.findings]
    if federation is None:
        note(f"the federation {to_text(pinned)} is the one that the file names: give --federation to trust another's")
    emit({"bundle": str(path), "federation_pinned": federation is not None, "records": told}, as_json, "\n".join(lines))
    return worst


def _disclosed(record: Record) -> dict[str, Any]:
    assert record.commitment is not None
    return {name: dag_json(record.body[name]) for name in record.commitment.names if name in record.body}


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
