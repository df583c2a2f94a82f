"""What a verification leaves behind so that a later one can go deeper: the ids of the records that it verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tslg.node.cli.files import write_replacing

if TYPE_CHECKING:
    from tslg.node.sources import Source
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record
    from tslg.protocol.report import Report

_TYPE: Final = "tslg verified records"
_FIELDS: Final = frozenset(("type", "target", "federation", "signatures", "records"))
_FILE_BYTES: Final = 128 * 1024 * 1024
"""A million ids of 59 characters, and room."""


def write(path: Path, report: Report) -> None:
    """Write the ids of the verified records of a report to a file. Raises UsageError if it cannot be written."""
    from tslg.protocol.cid import to_text

    value = {
        "type": _TYPE,
        "target": to_text(report.target),
        "federation": to_text(report.federation),
        "signatures": report.signatures,
        "records": [to_text(id) for id in report.records],
    }
    write_replacing(path, (json.dumps(value) + "\n").encode())


def read(path: Path, source: Source, target: Link, federation: Link, signatures: str) -> dict[Link, Record]:
    """Return the records that an earlier walk to the same target verified, taken from `source` by their ids.

    Whoever can write the file decides which seals are not checked: it is one's own.

    Raises:
        UsageError: it is no such file, or of another walk.
    """
    from tslg.protocol.cid import from_text
    from tslg.protocol.errors import TslgError, UsageError
    from tslg.protocol.record import parse_as

    try:
        with path.open("rb") as file:
            value: Any = json.loads(file.read(_FILE_BYTES))
        if not isinstance(value, dict) or value.keys() != _FIELDS or value["type"] != _TYPE:
            raise ValueError("other fields")
        ids = [from_text(text) for text in value["records"]]
        same = from_text(value["target"]) == target and from_text(value["federation"]) == federation
    except (ValueError, TypeError, RecursionError) as error:
        raise UsageError(f"{path} was not written by --save", mend="verify without --resume") from error
    if not same or value["signatures"] != signatures:
        raise UsageError(
            f"{path} is of another target or federation, or of signatures={value['signatures']!s:.10}",
            mend="verify without --resume, or with the options of then",
        )
    known = {}
    for id, pair in source.pairs(ids).items():
        try:
            known[id] = parse_as(id, pair[0])
        except TslgError:
            # It changed since: the walk is handed the record itself and will say what is wrong with it.
            continue
    return known
