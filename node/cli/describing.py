"""What records say, in a few words for people. Others wrote it, so nothing in it may steer a terminal."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Protocol

from tslg.node.cli.output import printable
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link

if TYPE_CHECKING:
    from tslg.protocol.record import Record

_MOST: Final = 120
"""Characters of one foreign text in one line."""


class Names(Protocol):
    """Names of agents and federations by id: a mapping, or what looks them up."""

    def get(self, owner: Link, /) -> str | None:
        """Return the name of an agent or federation, None if it is not known."""


def plain(text: str, most: int = _MOST) -> str:
    """Return a text as one line of printable characters, cut to `most`."""
    line = printable(text[: most + 1])
    return line if len(line) <= most else line[:most] + "…"


WITHHELD: Final = "[withheld]"
"""Stands for a field that nothing at hand discloses."""


def who(owner: Link, names: Names) -> str:
    """Return an agent's name, or the beginning of its id where the name is not known."""
    name = names.get(owner)
    return to_text(owner)[:16] if name is None else plain(name, 40)


def what(record: Record, names: Names) -> str:
    """Return what one record says in one line: its kind, and what matters most of its body."""
    body = record.body
    kind = record.kind
    if kind == "decision":
        said = f"{_field(record, 'name')}: {_field(record, 'outcome')}"
    elif kind == "delegation":
        said = f"to {who(body['delegate'], names)}: {_compact(body['task'])}"
    elif kind == "observation":
        sought = f" without {body['sought']}" if "sought" in body else ""
        said = f"{_field(record, 'source')}{sought} {_compact(_field(record, 'data'))}"
    elif kind == "state":
        said = f"{_field(record, 'name')} {_compact(_field(record, 'data'))}"
    elif kind == "policy":
        allows = "confidential" if "commitments" in body else ", ".join(body["capabilities"])
        said = f"{body['name']} [{allows}]" if allows else body["name"]
    elif kind == "verification":
        said = f"{body['verdict']} {to_text(body['target'])[:16]}"
    elif kind in ("correction", "amendment"):
        said = _compact(_field(record, "data"))
    elif kind == "consensus":
        said = f"of {body['threshold']} among {len(body['electorate'])}"
    elif kind == "answer":
        said = f"{body['outcome']} {body.get('reason', '')}"
    elif kind in ("inference", "rejection", "decomposition", "composite"):
        stage = f": {body['stage']}" if "stage" in body else ""
        said = f"{_field(record, 'intent')}{stage}"
    elif kind == "registration":
        said = str(body["purpose"])
    else:
        said = str(_field(record, "name"))
    return plain(f"{kind} {said.strip()}".strip())


def when(time_ms: int) -> str:
    """Return a claimed time as UTC text; times beyond the year 9999 stay numbers."""
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.") + f"{time_ms % 1000:03d}Z"
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"


def dag_json(value: Any) -> Any:
    """Return a decoded value as DAG-JSON has it: links as `{"/": text}`, bytes as `{"/": {"bytes": base64}}`.

    The codec has limited its depth. A map that itself looks like one of these is not told apart: programs that must
    not confuse them read the record's bytes.
    """
    from base64 import b64encode

    if isinstance(value, Link):
        return {"/": to_text(value)}
    if isinstance(value, bytes):
        return {"/": {"bytes": b64encode(value).decode().rstrip("=")}}
    if isinstance(value, dict):
        return {key: dag_json(item) for key, item in value.items()}
    return [dag_json(item) for item in value] if isinstance(value, list | tuple) else value


def _field(record: Record, name: str) -> Any:
    """Return a field, an empty text for one that the record does not have, and a mark for one that it withholds."""
    return record.body.get(name, WITHHELD if name in record.withheld else "")


def _compact(value: Any) -> str:
    """Return a map as short text, `key=value` each; what is no map, as it is."""
    if not isinstance(value, dict):
        return str(value)
    return " ".join(f"{key}={_scalar(item)}" for key, item in list(value.items())[:8])


def _scalar(value: Any) -> str:
    if isinstance(value, str):
        return value[:_MOST]
    return json.dumps(dag_json(value), ensure_ascii=False)[:_MOST]
