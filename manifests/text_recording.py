"""The entry `recording` of an envelope as people write it, and back. Normative text: docs/spec/recording.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tslg.manifests.text_access import read_readers, write_readers
from tslg.manifests.text_reader import Reader, either, shown
from tslg.protocol.limits import DEFAULT
from tslg.protocol.recording import BINDINGS, DIGEST, EXPIRIES, LEVELS, MANDATORY, OPTIONAL, PLAINTEXT

_PATH = ("envelope", "recording")


def read(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
    """Return the entry of a body; what the text leaves out keeps the digests of inputs and output, and no more."""
    if value is None or value == {}:
        return {}
    known = (*MANDATORY, *OPTIONAL, "binding", "expiry", "keep_ms", "readers", "readings")
    table = reader.table(value, _PATH, known)
    if not table:
        return {}
    words = dict.fromkeys(MANDATORY, (DIGEST, PLAINTEXT)) | dict.fromkeys(OPTIONAL, LEVELS)
    words |= {"binding": BINDINGS, "expiry": EXPIRIES}
    read: dict[str, Any] = {name: _word(reader, table.get(name), name, choices) for name, choices in words.items()}
    keep = table.get("keep_ms")
    read["keep_ms"] = (
        None if keep is None else reader.integer(keep, (*_PATH, "keep_ms"), 1, DEFAULT.integer, "milliseconds")
    )
    read["readers"] = read_readers(reader, table.get("readers", []), (*_PATH, "readers"))
    readings = table.get("readings", False)
    if type(readings) is not bool:
        reader.problem((*_PATH, "readings"), f"must be true or false, not {shown(readings)}")
    read["readings"] = readings is True
    return read


def _word(reader: Reader, value: Any, name: str, choices: tuple[str, ...]) -> str:
    """Return one of the choices, of which the first is the default."""
    if value is None:
        return choices[0]
    if not isinstance(value, str) or value not in choices:
        reader.problem((*_PATH, name), f"must be {either(choices)}, not {shown(value)}")
        return choices[0]
    return value


def write(value: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the entry of a text; None where it asks for nothing more than digests of inputs and output."""
    if not value:
        return None
    written = {name: value[name] for name in (*MANDATORY, *OPTIONAL, "binding", "expiry", "readings")}
    kept = {} if value["keep_ms"] is None else {"keep_ms": value["keep_ms"]}
    return written | kept | {"readers": write_readers(value["readers"])}
