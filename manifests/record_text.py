"""A federation's own records as people write them: TOML to the body of a peer set or policy, checked by field.

Ids are written as their text, moments as TOML times or ms since 1970 UTC. A field that may be null, and that a text
leaves out, is null. Normative text of the bodies: docs/spec/kinds.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from tslg.manifests.text_reader import Reader, shown
from tslg.protocol import cid
from tslg.protocol.errors import CidError
from tslg.protocol.fields import CORRECTION_RULES, LINK, LINKS, MOMENT, NAMES, Field
from tslg.protocol.kinds import KINDS


def body_of(kind: str, text: str, file: str) -> dict[str, Any]:
    """Read the body of one of a federation's records.

    Args:
        kind: one of `request.FEDERATION_KINDS`.
        text: TOML.
        file: what messages call it.

    Raises:
        ManifestError: `TSLG-M-TOML`, or `TSLG-M-TEXT` with every problem, one a line.
    """
    reader = Reader(text, file)
    fields = KINDS[kind].fields
    nullable = {name for name, field in fields.items() if field.required and field.valid(None)}
    table = reader.table(reader.value, (), fields, KINDS[kind].required - nullable)
    body: dict[str, Any] = {}
    for name, value in table.items():
        body[name] = _read(reader, fields[name], value, name)
    reader.finish()
    return dict.fromkeys(nullable) | body


def _read(reader: Reader, field: Field, value: Any, name: str) -> Any:
    read = _READ.get(field.type)
    try:
        body = value if read is None else read(value)
    except (CidError, TypeError, ValueError, KeyError) as error:
        reader.problem((name,), f"must be a {field.type}, not {shown(value)}: {error}")
        return value
    if not field.valid(body):
        reader.problem((name,), f"must be a {field.type}, not {shown(value)}")
    return body


def moment(value: Any) -> Any:
    """Return a TOML time with its zone as ms since 1970 UTC; anything else as it is. Raises ValueError without zone."""
    if not isinstance(value, datetime):
        return value
    if value.tzinfo is None:
        raise ValueError("a time without a zone; write it as 2030-01-31T12:00:00Z")
    return (value - datetime.fromtimestamp(0, UTC)) // timedelta(milliseconds=1)


def _links(value: Any) -> list[cid.Link]:
    return sorted({cid.from_text(item) for item in value})


def _rules(value: Any) -> list[dict[str, Any]]:
    return [
        {
            **rule,
            "acts": sorted(set(rule["acts"])),
            "kinds": sorted(set(rule["kinds"])),
            "by": rule["by"] if isinstance(rule["by"], str) else _links(rule["by"]),
        }
        for rule in value
    ]


_READ: Final[Mapping[str, Callable[[Any], Any]]] = {
    LINK.type: cid.from_text,
    LINKS.type: _links,
    NAMES.type: lambda value: sorted(set(value)),
    MOMENT.type: moment,
    CORRECTION_RULES.type: _rules,
}
"""How the types of fields are written where that is not how a body holds them."""
