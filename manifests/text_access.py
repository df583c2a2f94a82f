"""The entry `access` of an envelope as people write it, and back. Normative text: docs/spec/access.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tslg.manifests.text_reader import Reader, either, record_id, shown
from tslg.protocol import cid
from tslg.protocol.access_rules import ANYONE
from tslg.protocol.fields import READER_GROUPS


def read(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
    """Return the entry of a body; what the text leaves out lets anybody read, and nobody grant."""
    path = ("envelope", "access")
    if value is None or value == {}:
        return {}
    table = reader.table(value, path, ("default", "grantable", "guaranteed", "rules"))
    rules = table.get("rules", [])
    if not isinstance(rules, list):
        reader.problem((*path, "rules"), f"must be a list of tables, not {shown(rules)}")
        rules = []
    return {
        "default": read_readers(reader, table.get("default", [ANYONE]), (*path, "default")),
        "grantable": read_readers(reader, table.get("grantable", []), (*path, "grantable")),
        "guaranteed": read_readers(reader, table.get("guaranteed", []), (*path, "guaranteed")),
        "rules": [_read_rule(reader, rule, (*path, "rules", at)) for at, rule in enumerate(rules)],
    }


def _read_rule(reader: Reader, value: Any, path: Sequence[str | int]) -> dict[str, Any]:
    table = reader.table(value, path, ("agents", "fields", "kinds", "readers"), ("readers",))
    read: dict[str, Any] = {"readers": read_readers(reader, table.get("readers", []), (*path, "readers"))}
    read["agents"] = _read_ids(reader, table["agents"], (*path, "agents")) if "agents" in table else None
    for name in ("fields", "kinds"):
        read[name] = sorted(reader.names(table[name], (*path, name))) if name in table else None
    return read


def read_readers(reader: Reader, value: Any, path: Sequence[str | int]) -> dict[str, Any]:
    """Return readers given as a list of groups, or as a table that names agents and peer sets too."""
    table = reader.table({"groups": value} if isinstance(value, list) else value, path, ("agents", "groups", "peers"))
    groups = reader.names(table.get("groups", []), (*path, "groups"))
    for group in groups:
        if group not in READER_GROUPS:
            reader.problem(path, f"must be some of {either(READER_GROUPS)}, not {shown(group)}")
    return {
        "agents": _read_ids(reader, table.get("agents", []), (*path, "agents")),
        "groups": sorted(group for group in groups if group in READER_GROUPS),
        "peers": _read_ids(reader, table.get("peers", []), (*path, "peers")),
    }


def _read_ids(reader: Reader, value: Any, path: Sequence[str | int]) -> list[cid.Link]:
    texts = reader.names(value, path)
    ids = (record_id(reader, text, (*path, at)) for at, text in enumerate(texts))
    return sorted(id for id in ids if id is not None)


def write(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the entry of a text; None where anybody reads everything."""
    if not value:
        return None
    rules = [
        {name: _write_names(rule[name]) for name in ("agents", "kinds", "fields") if rule[name] is not None}
        | {"readers": write_readers(rule["readers"])}
        for rule in value["rules"]
    ]
    return {name: write_readers(value[name]) for name in ("default", "grantable", "guaranteed")} | {"rules": rules}


def write_readers(value: Mapping[str, Any]) -> Any:
    """Return readers as a list of groups, or as a table where they are more than groups."""
    if not value["agents"] and not value["peers"]:
        return list(value["groups"])
    return {name: _write_names(value[name]) for name in ("agents", "groups", "peers") if value[name]}


def _write_names(value: Sequence[Any]) -> list[str]:
    return [cid.to_text(item) if isinstance(item, cid.Link) else item for item in value]
