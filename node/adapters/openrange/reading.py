"""Reads a folder of OpenRange snapshots: files `<id>.json` whose `lineage` lists nodes with their parents.

Everything is read and checked before anything is recorded: types, ids, parents, circles, and that nodes which several
files tell of say the same. A node has `parent_id`, as ever, or `parent_ids`, a list; the rest of it is kept as it is.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.node.adapters.transcripts.jsontext import JsonError, JsonReader, Node, Number, skip_space
from tslg.node.artifacts.keeping import in_order
from tslg.protocol.errors import AdapterError, PackageError
from tslg.protocol.limits import DEFAULT

_TYPES: Final[Mapping[str, tuple[type, ...]]] = {
    "manifest": (dict, type(None)),
    "pack": (dict, str, type(None)),
    "prompt": (str, type(None)),
    "builder_summary": (dict, str, type(None)),
    "touched_files": (list, type(None)),
    "curriculum": (dict, type(None)),
}
"""What the further members of a node may be; others may be anything."""


class Snapshot(NamedTuple):
    """One node of the lineage.

    Attributes:
        id: its id.
        parents: ids of the nodes that it derives from, sorted.
        cohort: the batch that it was made in, if it names one.
        node: its canonical JSON: keys sorted, no blanks, numbers as they were written.
        file: the bytes of its own file, if the folder has one.
    """

    id: str
    parents: tuple[str, ...]
    cohort: str | None
    node: bytes
    file: bytes | None


def read_folder(folder: Path) -> list[Snapshot]:
    """Read every snapshot of a folder, each after its parents.

    Raises:
        AdapterError: something is wrong; one line for each file that is, and nothing of the folder may be used.
    """
    problems: list[str] = []
    found: dict[str, Snapshot] = {}
    told_by: dict[str, str] = {}
    size = 0
    for path in _files(folder):
        try:
            data, nodes = _read(path)
        except AdapterError as error:
            problems.append(error.detail)
            continue
        size += len(data)
        if size > DEFAULT.snapshot_folder_bytes:
            problems.append(f"{path.name}: with it, more than {DEFAULT.snapshot_folder_bytes} bytes in one folder")
            break
        for one in nodes:
            held = found.get(one.id)
            if held is not None and held.node != one.node:
                where = told_by[one.id]
                problems.append(f"{path.name}: {one.id[:80]!r} is told of otherwise than in {where}")
                continue
            told_by.setdefault(one.id, path.name)
            own = data if one.id == path.stem else held.file if held is not None else None
            found[one.id] = one._replace(file=own)
        if path.stem not in {one.id for one in nodes}:
            problems.append(f"{path.name}: its lineage does not hold {path.stem[:80]!r} itself")
        if len(found) > DEFAULT.snapshot_nodes:
            problems.append(f"{path.name}: with it, more than {DEFAULT.snapshot_nodes} snapshots in one folder")
            break
    if not problems:
        try:
            return [found[id] for id in in_order({id: one.parents for id, one in sorted(found.items())})]
        except PackageError as error:
            problems.append(f"{folder}: {error.detail}")
    raise _failure(folder, problems)


def _files(folder: Path) -> list[Path]:
    try:
        names = sorted(path.name for path in folder.iterdir() if path.suffix == ".json")
    except OSError as error:
        raise AdapterError(f"{folder}: {error.strerror}", mend="name the folder with the snapshots") from error
    if not names:
        raise AdapterError(f"{folder} holds no snapshots", mend="name the folder with the files `<id>.json`")
    return [folder / name for name in names]


def _read(path: Path) -> tuple[bytes, list[Snapshot]]:
    """Read one file and its nodes. Raises AdapterError."""
    data = _bytes(path)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _wrong(path, "", 0, "no UTF-8") from error
    reader = JsonReader(text, DEFAULT.transcript_nesting, DEFAULT.transcript_values)
    try:
        root = reader.read(0, len(text))
        end = skip_space(text, root.end, len(text))
        if end < len(text):
            raise JsonError(end, "something behind the value")
    except JsonError as error:
        raise _wrong(path, text, error.at, error.detail) from None
    if not isinstance(root.value, dict):
        raise _wrong(path, text, root.start, "no object")
    lineage = root.value.get("lineage")
    if lineage is None or not isinstance(lineage.value, list) or not lineage.value:
        raise _wrong(path, text, root.start if lineage is None else lineage.start, "`lineage` is no list of nodes")
    if len(lineage.value) > DEFAULT.snapshot_nodes:
        raise _wrong(path, text, lineage.start, f"more than {DEFAULT.snapshot_nodes} nodes")
    nodes = [_snapshot(path, text, node) for node in lineage.value]
    if len({one.id for one in nodes}) < len(nodes):
        raise _wrong(path, text, lineage.start, "two of its nodes have one id")
    return data, nodes


def _bytes(path: Path) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise AdapterError(f"{path.name}: no regular file", mend="leave it out")
            data = file.read(DEFAULT.snapshot_bytes + 1)
    except OSError as error:
        raise AdapterError(f"{path.name}: {error.strerror}", mend="check its rights") from error
    if len(data) > DEFAULT.snapshot_bytes:
        raise AdapterError(f"{path.name}: more than {DEFAULT.snapshot_bytes} bytes", mend="split it")
    return data


def _snapshot(path: Path, text: str, node: Node) -> Snapshot:
    if not isinstance(node.value, dict):
        raise _wrong(path, text, node.start, "a node that is no object")
    members = node.value
    id = _text(path, text, node, "id")
    if id is None:
        raise _wrong(path, text, node.start, "a node without `id`")
    for name, types in _TYPES.items():
        if name in members and not isinstance(members[name].value, types):
            raise _wrong(path, text, members[name].start, f"`{name}` of {id[:80]!r} is of the wrong type")
    touched = members.get("touched_files")
    if touched is not None and not all(_is_text(item) for item in touched.value or ()):
        raise _wrong(path, text, touched.start, f"`touched_files` of {id[:80]!r} is no list of texts")
    parents = _parents(path, text, node, id)
    return Snapshot(id, parents, _text(path, text, node, "cohort"), canonical(node), None)


def _parents(path: Path, text: str, node: Node, id: str) -> tuple[str, ...]:
    """Return the parents of a node: the one of `parent_id`, or those of `parent_ids`."""
    many = node.value.get("parent_ids")
    if many is None:
        if "parent_id" not in node.value:
            raise _wrong(path, text, node.start, f"{id[:80]!r} has neither `parent_id` nor `parent_ids`")
        one = _text(path, text, node, "parent_id")
        return () if one is None else (one,)
    if "parent_id" in node.value:
        raise _wrong(path, text, many.start, f"{id[:80]!r} has both `parent_id` and `parent_ids`")
    if not isinstance(many.value, list) or not all(_is_text(item) and item.value for item in many.value):
        raise _wrong(path, text, many.start, f"`parent_ids` of {id[:80]!r} is no list of ids")
    names = [str(item.value) for item in many.value]
    if len(set(names)) < len(names) or len(names) > DEFAULT.snapshot_parents:
        raise _wrong(path, text, many.start, f"`parent_ids` of {id[:80]!r} has an id twice, or too many")
    return tuple(sorted(names))


def _text(path: Path, text: str, node: Node, name: str) -> str | None:
    """Return a member that is a name, None for null or none."""
    member = node.value.get(name)
    if member is None or member.value is None:
        return None
    if not _is_text(member) or not 0 < len(member.value) <= 256 or not member.value.isprintable():
        raise _wrong(path, text, member.start, f"`{name}` is no text of 1 to 256 printable characters")
    return str(member.value)


def _is_text(node: Node) -> bool:
    return isinstance(node.value, str) and not isinstance(node.value, Number)


def canonical(node: Node) -> bytes:
    """Return a value as JSON with sorted keys, without blanks, numbers as they were written."""
    parts: list[str] = []
    todo: list[Node | str] = [node]
    while todo:
        one = todo.pop()
        if isinstance(one, str):
            parts.append(one)
        elif isinstance(one.value, dict):
            todo.append("}")
            for number, key in reversed(list(enumerate(sorted(one.value)))):
                comma = "," if number else ""
                todo += [one.value[key], f"{comma}{json.dumps(key, ensure_ascii=False)}:"]
            todo.append("{")
        elif isinstance(one.value, list):
            todo.append("]")
            for number, item in reversed(list(enumerate(one.value))):
                todo += [item, "," if number else ""]
            todo.append("[")
        else:
            parts.append(_scalar(one.value))
    return "".join(parts).encode()


def _scalar(value: Any) -> str:
    return str(value) if isinstance(value, Number) else json.dumps(value, ensure_ascii=False)


def _wrong(path: Path, text: str, at: int, what: str) -> AdapterError:
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return AdapterError(f"{path.name}:{line}:{column}: {what}", code="TSLG-I-SNAPSHOT")


def _failure(folder: Path, problems: Sequence[str]) -> AdapterError:
    lines = list(problems[: DEFAULT.import_problems])
    count = f"{len(problems)} {'problem' if len(problems) == 1 else 'problems'}"
    lines.append(f"{folder}: {count}, nothing was imported")
    return AdapterError("\n".join(lines), code="TSLG-I-SNAPSHOT")
