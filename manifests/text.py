"""Manifests as people write them: TOML to the body of a manifest record, and back.

A text has the sections `[federation]`, `[anchors]` and `[envelope]`. `to_toml` adds `[compiled]`: what a ceremony made
(nonce, version, keys), so that its output compiles to the same body again. Normative text: docs/spec/manifest.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import tomlkit

from tslg.manifests.text_reader import Reader, shown
from tslg.protocol import cid
from tslg.protocol.envelope import ENVELOPE_KEYS, RESERVED
from tslg.protocol.errors import ManifestError
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Member
from tslg.protocol.signatures import Alg

SCHEMES: Final[Mapping[str, int]] = {"threshold": int(Alg.BLS_THRESHOLD), "multisig": int(Alg.BLS_MULTISIG)}
"""Anchor schemes by the name that a text gives them."""
SIGNATURES: Final[Mapping[str, int]] = {"Ed25519": int(Alg.ED25519)}
"""Signature schemes of agents' keys by the name that a text gives them."""
KEY_BYTES: Final = 48
POSSESSION_BYTES: Final = 96
NONCE_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class AnchorKeys:
    """What a key ceremony made: the members in their order, each with key and proof, and the group's key if any."""

    members: tuple[Member, ...]
    group_key: bytes | None


@dataclass(frozen=True, slots=True)
class Compiled:
    """What the `[compiled]` section holds: everything of a body that people do not write."""

    nonce: bytes
    version: int
    keys: AnchorKeys


@dataclass(frozen=True, slots=True)
class ManifestText:
    """A checked text.

    Attributes:
        name: the federation's name.
        scheme: COSE number of the anchors' scheme.
        threshold: how many anchors must sign.
        members: the anchors' names, in order.
        envelope: the envelope as a record's body holds it, every entry present.
        compiled: the `[compiled]` section, None in a text that a person wrote.
    """

    name: str
    scheme: int
    threshold: int
    members: tuple[str, ...]
    envelope: dict[str, Any]
    compiled: Compiled | None

    def body(
        self, keys: AnchorKeys | None = None, nonce: bytes | None = None, version: int | None = None
    ) -> dict[str, Any]:
        """Return the body of the manifest record. What is not given comes from the `[compiled]` section.

        Raises:
            ManifestError: keys or nonce are missing, or the keys are those of other members.
        """
        done = self.compiled
        keys = keys or (done.keys if done else None)
        nonce = nonce or (done.nonce if done else None)
        version = version if version is not None else (done.version if done else 1)
        if keys is None or nonce is None:
            raise ManifestError(
                "the text names anchors but holds no keys", code="TSLG-M-KEYS", mend="run the key ceremony first"
            )
        names = tuple(member.name for member in keys.members)
        if names != self.members:
            raise ManifestError(
                f"the keys are those of {', '.join(names)}, the text names {', '.join(self.members)}",
                code="TSLG-M-KEYS",
                mend="name the same members in the same order",
            )
        members = [{"name": m.name, "key": m.key, "possession": m.possession} for m in keys.members]
        anchors = {
            "scheme": self.scheme,
            "threshold": self.threshold,
            "members": members,
            "group_key": keys.group_key,
        }
        return {"nonce": nonce, "name": self.name, "version": version, "anchors": anchors, "envelope": self.envelope}


def parse(text: str, file: str = "manifest.toml") -> ManifestText:
    """Read a manifest text.

    Args:
        text: TOML, at most `Limits.manifest_text` characters.
        file: what messages call it.

    Raises:
        ManifestError: `TSLG-M-TOML` if it is not TOML, `TSLG-M-TEXT` with every problem, one a line, each beginning
            with `file:line:column:`.
    """
    reader = Reader(text, file)
    top = reader.table(
        reader.value, (), ("federation", "anchors", "envelope", "compiled"), ("federation", "anchors", "envelope")
    )
    name = _federation(reader, top["federation"]) if "federation" in top else ""
    scheme, threshold, members = _anchors(reader, top.get("anchors"))
    envelope = _envelope(reader, top.get("envelope", {}), threshold)
    compiled = _compiled(reader, top["compiled"], scheme) if "compiled" in top else None
    reader.finish()
    return ManifestText(name, scheme, threshold, members, envelope, compiled)


def _federation(reader: Reader, value: Any) -> str:
    table = reader.table(value, ("federation",), ("name",), ("name",))
    return reader.name(table["name"], ("federation", "name")) if "name" in table else ""


def _anchors(reader: Reader, value: Any) -> tuple[int, int, tuple[str, ...]]:
    if value is None:
        return 0, 1, ()
    entries = ("scheme", "threshold", "members")
    table = reader.table(value, ("anchors",), entries, entries)
    scheme = 0
    if "scheme" in table:
        scheme = _choice(reader, table["scheme"], ("anchors", "scheme"), SCHEMES)
    members = reader.names(table["members"], ("anchors", "members")) if "members" in table else []
    if "members" in table and not 1 <= len(members) <= DEFAULT.anchors:
        reader.problem(("anchors", "members"), f"must name 1 to {DEFAULT.anchors} anchors, not {len(members)}")
    threshold = 1
    if "threshold" in table:
        count = max(len(members), 1)
        majority = f"{count // 2 + 1} of {count}"
        threshold = reader.integer(table["threshold"], ("anchors", "threshold"), 1, count, majority)
        if table["threshold"] == 1 < count and scheme == Alg.BLS_THRESHOLD:
            reader.problem(("anchors", "threshold"), f'must be 2 or more; say {majority}, or scheme = "multisig"')
    return scheme, threshold, tuple(members)


def _choice(reader: Reader, value: Any, path: Sequence[str | int], choices: Mapping[str, int]) -> int:
    if isinstance(value, str) and value in choices:
        return choices[value]
    reader.problem(path, f"must be {' or '.join(map(_quoted, choices))}, not {shown(value)}")
    return 0


def _envelope(reader: Reader, value: Any, threshold: int) -> dict[str, Any]:
    """Return the envelope with every entry; what the text leaves out has its default."""
    table = reader.table(value, ("envelope",), ENVELOPE_KEYS)
    envelope: dict[str, Any] = {name: {} for name in RESERVED}
    for name in RESERVED:
        if table.get(name, {}) != {}:
            reader.problem(("envelope", name), "is not enforced by this version; leave it out")
    envelope["hash"] = _word(reader, table, "hash", *cid.HASHES)
    envelope["address"] = _word(reader, table, "address", "flat")
    envelope["edges"] = _word(reader, table, "edges", "typed")
    envelope["signatures"] = _signatures(reader, table.get("signatures", ["Ed25519"]))
    if table.get("post_quantum", False) is not False:
        reader.problem(("envelope", "post_quantum"), "must be false in this version")
    envelope["post_quantum"] = False
    envelope["fan_in"] = _fan_in(reader, table.get("fan_in", {}))
    envelope["verify_depth"] = _depth(reader, table.get("verify_depth", "unbounded"))
    envelope["cross_agent"] = _cross_agent(reader, table.get("cross_agent", "open"))
    envelope["genesis"] = _genesis(reader, table.get("genesis", {}), threshold)
    envelope["classes"] = sorted(reader.names(table.get("classes", []), ("envelope", "classes")))
    envelope["tiers"] = reader.names(table.get("tiers", []), ("envelope", "tiers"))
    skew = table.get("clock_skew_ms", DEFAULT.clock_skew_ms)
    path = ("envelope", "clock_skew_ms")
    envelope["clock_skew_ms"] = reader.integer(skew, path, 0, DEFAULT.clock_skew_ms, "60000 for one minute")
    return envelope


def _word(reader: Reader, table: Mapping[str, Any], name: str, *words: str) -> str:
    """Return an entry that is one of `words`, the first being the default."""
    value = table.get(name, words[0])
    if not isinstance(value, str) or value not in words:
        reader.problem(("envelope", name), f"must be {' or '.join(map(_quoted, words))}, not {shown(value)}")
        return words[0]
    return value


def _signatures(reader: Reader, value: Any) -> list[int]:
    path = ("envelope", "signatures")
    return [
        _choice(reader, item, (*path, index), SIGNATURES) for index, item in enumerate(reader.names(value, path))
    ] or _empty(reader, path)


def _empty(reader: Reader, path: Sequence[str]) -> list[int]:
    reader.problem(path, f"must name at least one scheme: {', '.join(SIGNATURES)}")
    return []


def _fan_in(reader: Reader, value: Any) -> dict[str, int]:
    path = ("envelope", "fan_in")
    table = reader.table(value, path, ("min", "max"))
    low = reader.integer(table.get("min", 1), (*path, "min"), 1, DEFAULT.fan_in, "1")
    high = reader.integer(table.get("max", DEFAULT.fan_in), (*path, "max"), 1, DEFAULT.fan_in, "16 to 256")
    if low > high:
        reader.problem((*path, "max"), f"must be at least the min of {low}, not {high}; say 16 to 256")
    return {"min": low, "max": high}


def _depth(reader: Reader, value: Any) -> int | None:
    if value == "unbounded":
        return None
    if type(value) is int and 1 <= value <= DEFAULT.integer:
        return value
    reader.problem(
        ("envelope", "verify_depth"), f'must be a count of edges from 1, or "unbounded", not {shown(value)}; say 50'
    )
    return None


def _cross_agent(reader: Reader, value: Any) -> str | dict[str, Any]:
    path = ("envelope", "cross_agent")
    if isinstance(value, str):
        if value != "open":
            reader.problem(path, f'must be "open" or a table with kinds, not {shown(value)}')
        return "open"
    table = reader.table(value, path, ("kinds",), ("kinds",))
    kinds = reader.names(table.get("kinds", []), (*path, "kinds"))
    for index, kind in enumerate(kinds):
        if kind and kind not in KINDS:
            reader.problem((*path, "kinds", index), f"no such kind; known are {', '.join(sorted(KINDS))}")
    return {"kinds": sorted(kinds), "peers": None}


def _genesis(reader: Reader, value: Any, threshold: int) -> dict[str, int]:
    path = ("envelope", "genesis")
    count = reader.table(value, path, ("anchors",)).get("anchors", threshold)
    if type(count) is not int or count not in (0, threshold):
        reader.problem(
            (*path, "anchors"),
            f"must be 0 (agents start alone) or the threshold {threshold} (anchors attest), not {shown(count)}",
        )
        return {"anchors": 0}
    return {"anchors": count}


def _compiled(reader: Reader, value: Any, scheme: int) -> Compiled:
    path = ("compiled",)
    needs_group = scheme == Alg.BLS_THRESHOLD
    required = ("nonce", "version", "members", *(("group_key",) * needs_group))
    table = reader.table(value, path, required, required)
    nonce = reader.hex(table.get("nonce", "0" * 32), (*path, "nonce"), NONCE_BYTES)
    version = reader.integer(table.get("version", 1), (*path, "version"), 0, DEFAULT.integer, "1 for the first")
    group_key = None
    if needs_group and "group_key" in table:
        group_key = reader.hex(table["group_key"], (*path, "group_key"), KEY_BYTES)
    items = table.get("members", [])
    if not isinstance(items, list):
        reader.problem((*path, "members"), "must be a list of tables")
        items = []
    members = tuple(_member(reader, item, (*path, "members", index)) for index, item in enumerate(items))
    return Compiled(nonce, version, AnchorKeys(members, group_key))


def _member(reader: Reader, value: Any, path: Sequence[str | int]) -> Member:
    entries = ("name", "key", "possession")
    table = reader.table(value, path, entries, entries)
    if table.keys() != set(entries):
        return Member("", b"", b"")
    return Member(
        reader.name(table["name"], (*path, "name")),
        reader.hex(table["key"], (*path, "key"), KEY_BYTES),
        reader.hex(table["possession"], (*path, "possession"), POSSESSION_BYTES),
    )


def to_toml(body: Mapping[str, Any]) -> str:
    """Return the text of a manifest body; parsing it gives the same body back.

    Raises:
        ManifestError: the body asks for what a text cannot say, such as an unknown scheme.
    """
    anchors = body["anchors"]
    document = tomlkit.document()
    document["federation"] = {"name": body["name"]}
    document["anchors"] = {
        "scheme": _name_of(SCHEMES, anchors["scheme"]),
        "threshold": anchors["threshold"],
        "members": [member["name"] for member in anchors["members"]],
    }
    envelope = {name: value for name, value in body["envelope"].items() if name not in RESERVED}
    envelope["signatures"] = [_name_of(SIGNATURES, alg) for alg in envelope["signatures"]]
    if envelope["verify_depth"] is None:
        envelope["verify_depth"] = "unbounded"
    if envelope["cross_agent"] != "open":
        envelope["cross_agent"] = {"kinds": envelope["cross_agent"]["kinds"]}
    document["envelope"] = envelope
    compiled: dict[str, Any] = {"nonce": body["nonce"].hex(), "version": body["version"]}
    if anchors["group_key"] is not None:
        compiled["group_key"] = anchors["group_key"].hex()
    compiled["members"] = [
        {"name": member["name"], "key": member["key"].hex(), "possession": member["possession"].hex()}
        for member in anchors["members"]
    ]
    document["compiled"] = compiled
    return tomlkit.dumps(document)


def _name_of(names: Mapping[str, int], number: int) -> str:
    for name, known in names.items():
        if known == number:
            return name
    raise ManifestError(f"scheme {number} has no name in a manifest text", code="TSLG-M-TEXT")


def _quoted(word: str) -> str:
    return f'"{word}"'
