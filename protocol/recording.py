"""The entry `recording` of an envelope: what is kept of a model's steps, for how long, by whose keys, and who reads it.

A *plaintext* never stands in a record: its digest does, and the bytes are in the author's vault. Of what rules of
admission can see, a record shows that its digests are there or not. Normative text: docs/spec/recording.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tslg.protocol.access_rules import MEMBERS, Readers
from tslg.protocol.codec import Link
from tslg.protocol.fields import is_readers
from tslg.protocol.limits import DEFAULT

STEPS: Final = ("composite", "decomposition", "inference", "rejection")
"""Kinds of records of a model's steps: those that the entry is about."""

KEPT_OF: Final = (*STEPS, "observation")
"""Kinds of records that plaintexts are kept of: steps, and results that came after them."""

NONE, DIGEST, PLAINTEXT = "none", "digest", "plaintext"
LEVELS: Final = (NONE, DIGEST, PLAINTEXT)
"""What can be kept of something: nothing; its digest in the record; that, and the bytes in the vault."""

MANDATORY: Final = ("inputs", "output")
"""What a step always has the digests of, so that only the bytes can be kept or not."""
OPTIONAL: Final = ("activations", "facts", "scratch", "tools")
"""Body fields that are there if, and only if, the manifest says so."""

BINDINGS: Final = ("tenant", "platform", "hardware")
"""What can hold a key, the least first."""

SILENT, RECORDED = "silent", "recorded"
EXPIRIES: Final = (SILENT, RECORDED)
"""Whether a plaintext that has had its time is destroyed without a word, or a redaction says so."""

_KEYS: Final = frozenset((*MANDATORY, *OPTIONAL, "binding", "expiry", "keep_ms", "readers", "readings"))


@dataclass(frozen=True, slots=True)
class Recording:
    """What a manifest says of the records of models' steps.

    Attributes:
        levels: by each of `MANDATORY` and `OPTIONAL`, one of `LEVELS`.
        binding: what must at least hold the key that seals such a record.
        keep_ms: how long after its record's time a plaintext is kept at most; None for no end.
        expiry: one of `EXPIRIES`.
        readers: who beside its author may read the plaintexts of a record that they may read.
        readings: whether every reading of a plaintext is recorded.
    """

    levels: Mapping[str, str]
    binding: str = BINDINGS[0]
    keep_ms: int | None = None
    expiry: str = SILENT
    readers: Readers = field(default_factory=Readers)
    readings: bool = False

    @property
    def plaintexts(self) -> frozenset[str]:
        """What is kept in the vault."""
        return frozenset(name for name, level in self.levels.items() if level == PLAINTEXT)

    @property
    def digests(self) -> tuple[str, ...]:
        """The optional fields that a record of a step has."""
        return tuple(name for name in OPTIONAL if self.levels[name] != NONE)


NOTHING_MORE: Final = Recording(dict.fromkeys(MANDATORY, DIGEST) | dict.fromkeys(OPTIONAL, NONE))
"""What `{}` says: digests of inputs and output, and no more."""


def read_recording(value: Any, envelope: Mapping[str, Any]) -> Recording:
    """Read the entry of an envelope whose other entries have been judged.

    Raises:
        ValueError: it is malformed, or asks for what the rest of the envelope rules out.
    """
    if value == {}:
        return NOTHING_MORE
    _need(isinstance(value, dict) and value.keys() == _KEYS, f"`recording` is {{}} or {{{', '.join(sorted(_KEYS))}}}")
    for name in MANDATORY:
        _need(value[name] in (DIGEST, PLAINTEXT), f"`recording.{name}` is digest or plaintext")
    for name in OPTIONAL:
        known = isinstance(value[name], str) and value[name] in LEVELS
        _need(known, f"`recording.{name}` is none, digest or plaintext")
    keep, readers = value["keep_ms"], value["readers"]
    _need(isinstance(value["binding"], str) and value["binding"] in BINDINGS, "`recording.binding`")
    _need(isinstance(value["expiry"], str) and value["expiry"] in EXPIRIES, "`recording.expiry` is silent or recorded")
    _need(keep is None or (type(keep) is int and 0 < keep <= DEFAULT.integer), "`recording.keep_ms` is from 1, or null")
    _need(is_readers(readers), "`recording.readers` names readers by {agents, groups, peers}")
    _need(type(value["readings"]) is bool, "`recording.readings` is true or false")
    levels = {name: value[name] for name in (*MANDATORY, *OPTIONAL)}
    said = Recording(levels, value["binding"], keep, value["expiry"], Readers.of(readers), value["readings"])
    wrong = _contradiction(said, envelope)
    _need(wrong is None, f"`recording`: {wrong}")
    return said


def _contradiction(said: Recording, envelope: Mapping[str, Any]) -> str | None:
    """Tell which of its wishes the other entries of the envelope make impossible, if any."""
    if said.binding == "hardware" and "hardware" not in envelope["rotation"]:
        return "no key is bound to hardware unless `rotation.hardware` says which"
    if MEMBERS in said.readers.groups and envelope["genesis"]["anchors"] == 0:
        return "it names `members`, so `genesis.anchors` must be the threshold"
    if said.keep_ms is None:
        return "without `keep_ms` nothing expires" if said.expiry == RECORDED else None
    least = max(envelope["retention"].get(kind, 0) for kind in KEPT_OF)
    if said.keep_ms < least:
        return f"`keep_ms` is shorter than the {least} ms for which `retention` has such records kept whole"
    redaction = envelope["redaction"]
    lets = not redaction or (redaction["by"] == "author" and set(KEPT_OF) <= set(redaction["kinds"]))
    if said.expiry == RECORDED and not lets:
        return "authors must be let redact steps and observations, by `redaction`, for their expiry to be recorded"
    return None


def reading_peers(value: Any) -> list[Link]:
    """Return the peer sets that an entry `recording` names, in their order; not judged yet."""
    readers = value.get("readers") if isinstance(value, dict) else None
    return sorted(Readers.of(readers).peers) if readers is not None and is_readers(readers) else []


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
