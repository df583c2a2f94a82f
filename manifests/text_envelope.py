"""The envelope as people write it: each entry of `[envelope]` to its value in a body, and back.

Every entry has a reader and, where text and body differ, a writer of its own. Normative text: docs/spec/manifest.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tslg.manifests import text_access, text_recording
from tslg.manifests.text_reader import Reader, either, record_id, shown
from tslg.protocol import cid
from tslg.protocol.access_rules import read_access
from tslg.protocol.anchoring import read_anchoring
from tslg.protocol.attestation.demand import FORMATS, REGISTER_BYTES, ROOT_BYTES, read_hardware
from tslg.protocol.envelope import ADDRESSES, ENVELOPE_KEYS, REDACTORS
from tslg.protocol.errors import ManifestError
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT
from tslg.protocol.recording import read_recording
from tslg.protocol.signatures import Alg

SIGNATURES: Final[Mapping[str, int]] = {"Ed25519": int(Alg.ED25519), "ES256K": int(Alg.ES256K)}
"""Signature schemes of agents' keys by the name that a text gives them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """How one entry is read and written.

    Attributes:
        read: takes the reader, the value in the text (None where it is left out: TOML has no null) and the threshold
            of the anchors; returns the value of the body.
        write: takes the value of the body, returns that of the text; None leaves the entry out.
    """

    read: Callable[[Reader, Any, int], Any]
    write: Callable[[Any], Any]


def read_envelope(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
    """Return the envelope of a body with every entry; what the text leaves out has its default."""
    table = reader.table(value, ("envelope",), ENVELOPE_KEYS)
    read = {name: entry.read(reader, table.get(name), threshold) for name, entry in ENTRIES.items()}
    if read["anchoring"] and read["signatures"] == [Alg.ES256K]:
        reader.problem(
            ("envelope", "signatures"), "must list Ed25519 where anchoring is asked for: checkpoints need it"
        )
    try:
        read_access(read["access"], read["genesis"]["anchors"] > 0)
    except ValueError as error:
        reader.problem(("envelope", "access"), str(error))
    try:
        read_recording(read["recording"], read)
    except ValueError as error:
        reader.problem(("envelope", "recording"), str(error))
    return read


def write_envelope(envelope: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `[envelope]` of a text. Raises ManifestError for what a text cannot say."""
    written = {name: entry.write(envelope[name]) for name, entry in ENTRIES.items()}
    return {name: value for name, value in written.items() if value is not None}


def choice(reader: Reader, value: Any, path: Sequence[str | int], choices: Mapping[str, int]) -> int:
    """Return the number of a name, or note which names there are."""
    if isinstance(value, str) and value in choices:
        return choices[value]
    reader.problem(path, f"must be {either(choices)}, not {shown(value)}")
    return 0


def name_of(names: Mapping[str, int], number: int) -> str:
    """Return the name of a number. Raises ManifestError if it has none."""
    for name, known in names.items():
        if known == number:
            return name
    raise ManifestError(f"scheme {number} has no name in a manifest text", code="TSLG-M-TEXT")


def _word(name: str, *words: str) -> Entry:
    """An entry that is one of `words`, the first being the default."""

    def read(reader: Reader, value: Any, threshold: int) -> str:
        if value is None:
            return words[0]
        if not isinstance(value, str) or value not in words:
            reader.problem(("envelope", name), f"must be {either(words)}, not {shown(value)}")
            return words[0]
        return value

    return Entry(read, _same)


def _policy(name: str) -> Entry:
    """An entry that is empty or names the policy record that governs it."""

    def read(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
        path = ("envelope", name)
        table = reader.table({} if value is None else value, path, ("policy",))
        return {"policy": record_id(reader, table["policy"], (*path, "policy"))} if "policy" in table else {}

    return Entry(read, lambda value: {"policy": cid.to_text(value["policy"])} if value else None)


def _read_anchoring(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
    path = ("envelope", "anchoring")
    if value is None or value == {}:
        return {}
    entries = ("cadence", "witnesses", "quorum")
    table = reader.table(value, path, (*entries, "epoch_ms"), entries)
    read: dict[str, Any] = dict(table)
    if isinstance(table.get("witnesses"), list) and all(isinstance(text, str) for text in table["witnesses"]):
        read["witnesses"] = sorted(table["witnesses"])
    try:
        read_anchoring(read)
    except ValueError as error:
        reader.problem(path, f"{error}; `tslg witness show` prints a witness's keys")
    return read


def _read_classes(reader: Reader, value: Any, threshold: int) -> list[str]:
    return sorted(reader.names([] if value is None else value, ("envelope", "classes")))


def _read_clock_skew(reader: Reader, value: Any, threshold: int) -> int:
    skew = DEFAULT.clock_skew_ms if value is None else value
    return reader.integer(skew, ("envelope", "clock_skew_ms"), 0, DEFAULT.clock_skew_ms, "60000 for one minute")


def _read_address(reader: Reader, value: Any, threshold: int) -> str | dict[str, str]:
    path = ("envelope", "address")
    if isinstance(value, dict):
        table = reader.table(value, path, ("hybrid",), ("hybrid",))
        preds = table.get("hybrid")
        if preds not in tuple(cid.HASHES):
            reader.problem((*path, "hybrid"), f"must be {either(tuple(cid.HASHES))}, not {shown(preds)}")
        return {"hybrid": str(preds)}
    if value is not None and value not in ADDRESSES:
        reader.problem(path, f"must be {either(ADDRESSES)}, not {shown(value)}")
    return "flat" if value is None else value


def _read_cross_agent(reader: Reader, value: Any, threshold: int) -> str | dict[str, Any]:
    path = ("envelope", "cross_agent")
    if value is None or isinstance(value, str):
        if value not in (None, "open"):
            reader.problem(path, f'must be "open" or a table with kinds, not {shown(value)}')
        return "open"
    table = reader.table(value, path, ("kinds", "peers"), ("kinds",))
    kinds = reader.names(table.get("kinds", []), (*path, "kinds"))
    for index, kind in enumerate(kinds):
        if kind and kind not in KINDS:
            reader.problem((*path, "kinds", index), f"no such kind; known are {', '.join(sorted(KINDS))}")
    peers = record_id(reader, table["peers"], (*path, "peers")) if "peers" in table else None
    return {"kinds": sorted(kinds), "peers": peers}


def _write_cross_agent(value: Any) -> Any:
    if value == "open":
        return "open"
    peers = {} if value["peers"] is None else {"peers": cid.to_text(value["peers"])}
    return {"kinds": value["kinds"], **peers}


def _read_fan_in(reader: Reader, value: Any, threshold: int) -> dict[str, int]:
    path = ("envelope", "fan_in")
    table = reader.table({} if value is None else value, path, ("min", "max"))
    low = table.get("min", 1)
    if type(low) is not int or low != 1:
        reader.problem((*path, "min"), f"must be 1, not {shown(low)}: an amendment or a new key has a single edge")
    high = reader.integer(table.get("max", DEFAULT.fan_in), (*path, "max"), 1, DEFAULT.fan_in, "16 to 256")
    return {"min": 1, "max": high}


def _read_retention(reader: Reader, value: Any, threshold: int) -> dict[str, int]:
    path = ("envelope", "retention")
    table = reader.table({} if value is None else value, path, tuple(KINDS))
    known = [kind for kind in table if kind in KINDS]
    return {kind: reader.integer(table[kind], (*path, kind), 0, DEFAULT.integer, "milliseconds") for kind in known}


def _read_genesis(reader: Reader, value: Any, threshold: int) -> dict[str, int]:
    path = ("envelope", "genesis")
    count = reader.table({} if value is None else value, path, ("anchors",)).get("anchors", threshold)
    if type(count) is not int or count not in (0, threshold):
        reader.problem(
            (*path, "anchors"),
            f"must be 0 (agents start alone) or the threshold {threshold} (anchors attest), not {shown(count)}",
        )
        return {"anchors": 0}
    return {"anchors": count}


def _read_post_quantum(reader: Reader, value: Any, threshold: int) -> bool:
    return _flag(reader, value, ("envelope", "post_quantum"))


def _read_rotation(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
    path = ("envelope", "rotation")
    table = reader.table({} if value is None else value, path, ("anchors", "recovery", "hardware"))
    if not table:
        return {}
    anchors = _flag(reader, table.get("anchors"), (*path, "anchors"))
    recovery = _flag(reader, table.get("recovery"), (*path, "recovery"))
    if recovery and not anchors:
        reader.problem((*path, "recovery"), "needs anchors = true: the anchors put keys in place of lost ones")
    read = {"anchors": anchors, "recovery": recovery}
    return read | {"hardware": _read_hardware(reader, table["hardware"])} if "hardware" in table else read


def _read_hardware(reader: Reader, value: Any) -> dict[str, Any]:
    path = ("envelope", "rotation", "hardware")
    table = reader.table(value, path, ("format", "roots", "pcrs", "required"), ("format", "roots", "pcrs"))
    if table.get("format") not in FORMATS:
        reader.problem((*path, "format"), f"must be {either(FORMATS)}, not {shown(table.get('format'))}")
    roots = reader.names(table.get("roots", []), (*path, "roots"))
    pcrs = table.get("pcrs", {})
    if not isinstance(pcrs, Mapping):
        reader.problem((*path, "pcrs"), f"must be a table, not {shown(pcrs)}")
        pcrs = {}
    read = {
        "format": table.get("format"),
        "roots": sorted(reader.hex(root, (*path, "roots", i), ROOT_BYTES) for i, root in enumerate(roots)),
        "pcrs": {str(name): reader.hex(held, (*path, "pcrs", name), REGISTER_BYTES) for name, held in pcrs.items()},
        "required": _flag(reader, table.get("required"), (*path, "required")),
    }
    try:
        read_hardware(read)
    except ValueError as error:
        reader.problem(path, str(error))
    return read


def _write_rotation(value: Mapping[str, Any]) -> dict[str, Any] | None:
    if not value:
        return None
    hardware = value.get("hardware")
    if hardware is None:
        return dict(value)
    written = {
        "format": hardware["format"],
        "roots": [root.hex() for root in hardware["roots"]],
        "pcrs": {name: held.hex() for name, held in hardware["pcrs"].items()},
        "required": hardware["required"],
    }
    return {**value, "hardware": written}


def _read_redaction(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
    path = ("envelope", "redaction")
    table = reader.table({} if value is None else value, path, ("by", "kinds"))
    if not table:
        return {}
    by, kinds = table.get("by"), table.get("kinds")
    if by not in REDACTORS:
        reader.problem((*path, "by"), f"must be {either(REDACTORS)}, not {shown(by)}")
    if not isinstance(kinds, list) or not all(isinstance(kind, str) and kind in KINDS for kind in kinds):
        reader.problem((*path, "kinds"), "must be a list of kinds of records")
        kinds = []
    return {"by": by, "kinds": sorted(set(kinds))}


def _flag(reader: Reader, value: Any, path: Sequence[str]) -> bool:
    if value is not None and type(value) is not bool:
        reader.problem(path, f"must be true or false, not {shown(value)}")
    return value is True


def _read_signatures(reader: Reader, value: Any, threshold: int) -> list[int]:
    path = ("envelope", "signatures")
    names = reader.names(["Ed25519"] if value is None else value, path)
    if not names:
        reader.problem(path, f"must name at least one scheme: {', '.join(SIGNATURES)}")
    # As a body lists them: Ed25519 (-19) before ES256K (-47).
    return sorted((choice(reader, item, (*path, i), SIGNATURES) for i, item in enumerate(names)), reverse=True)


def _read_tiers(reader: Reader, value: Any, threshold: int) -> list[str]:
    return reader.names([] if value is None else value, ("envelope", "tiers"))


def _read_depth(reader: Reader, value: Any, threshold: int) -> int | None:
    if value is None or value == "unbounded":
        return None
    if type(value) is int and 1 <= value <= DEFAULT.integer:
        return value
    reader.problem(
        ("envelope", "verify_depth"), f'must be a count of edges from 1, or "unbounded", not {shown(value)}; say 50'
    )
    return None


def _same(value: Any) -> Any:
    return value


ENTRIES: Final[Mapping[str, Entry]] = {
    "access": Entry(text_access.read, text_access.write),
    "address": Entry(_read_address, _same),
    "anchoring": Entry(_read_anchoring, lambda value: value or None),
    "classes": Entry(_read_classes, _same),
    "clock_skew_ms": Entry(_read_clock_skew, _same),
    "corrections": _policy("corrections"),
    "cross_agent": Entry(_read_cross_agent, _write_cross_agent),
    "edges": _word("edges", "typed", "flat"),
    "fan_in": Entry(_read_fan_in, _same),
    "gc": _policy("gc"),
    "genesis": Entry(_read_genesis, _same),
    "hash": _word("hash", *cid.HASHES),
    "post_quantum": Entry(_read_post_quantum, _same),
    "recording": Entry(text_recording.read, text_recording.write),
    "redaction": Entry(_read_redaction, lambda value: value or None),
    "retention": Entry(_read_retention, lambda value: value or None),
    "rotation": Entry(_read_rotation, _write_rotation),
    "signatures": Entry(_read_signatures, lambda value: [name_of(SIGNATURES, alg) for alg in value]),
    "tiers": Entry(_read_tiers, _same),
    "verify_depth": Entry(_read_depth, lambda value: "unbounded" if value is None else value),
}
"""Every entry of the envelope, by name."""
