"""Manifests as people write them: TOML to the body of a manifest record, and back.

A text has the sections `[federation]`, `[anchors]` and `[envelope]`. `to_toml` adds `[compiled]`: what a ceremony made
(nonce, version, keys), so that its output compiles to the same body again. Normative text: docs/spec/manifest.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import tomlkit

from tslg.manifests.record_text import moment
from tslg.manifests.text_envelope import choice, name_of, read_envelope, write_envelope
from tslg.manifests.text_reader import Reader
from tslg.protocol.errors import ManifestError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Member
from tslg.protocol.signatures import Alg

SCHEMES: Final[Mapping[str, int]] = {"threshold": int(Alg.BLS_THRESHOLD), "multisig": int(Alg.BLS_MULTISIG)}
"""Anchor schemes by the name that a text gives them."""
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
        expires: the last ms at which records may be made under it, None for no end.
    """

    name: str
    scheme: int
    threshold: int
    members: tuple[str, ...]
    envelope: dict[str, Any]
    compiled: Compiled | None
    expires: int | None = None

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
        body = {"nonce": nonce, "name": self.name, "version": version, "anchors": anchors, "envelope": self.envelope}
        return body if self.expires is None else body | {"expires": self.expires}


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
    name, expires = _federation(reader, top["federation"]) if "federation" in top else ("", None)
    scheme, threshold, members = _anchors(reader, top.get("anchors"))
    envelope = read_envelope(reader, top.get("envelope", {}), threshold)
    compiled = _compiled(reader, top["compiled"], scheme) if "compiled" in top else None
    reader.finish()
    return ManifestText(name, scheme, threshold, members, envelope, compiled, expires)


def _federation(reader: Reader, value: Any) -> tuple[str, int | None]:
    table = reader.table(value, ("federation",), ("name", "expires"), ("name",))
    name = reader.name(table["name"], ("federation", "name")) if "name" in table else ""
    return name, _expires(reader, table["expires"]) if "expires" in table else None


def _expires(reader: Reader, value: Any) -> int:
    try:
        expires = moment(value)
    except ValueError as error:
        reader.problem(("federation", "expires"), str(error))
        return 0
    say = "a time such as 2030-01-31T12:00:00Z"
    return reader.integer(expires, ("federation", "expires"), 0, DEFAULT.integer, say)


def _anchors(reader: Reader, value: Any) -> tuple[int, int, tuple[str, ...]]:
    if value is None:
        return 0, 1, ()
    entries = ("scheme", "threshold", "members")
    table = reader.table(value, ("anchors",), entries, entries)
    scheme = 0
    if "scheme" in table:
        scheme = choice(reader, table["scheme"], ("anchors", "scheme"), SCHEMES)
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
    if "expires" in body:
        document["federation"]["expires"] = _moment_text(body["expires"])
    document["anchors"] = {
        "scheme": name_of(SCHEMES, anchors["scheme"]),
        "threshold": anchors["threshold"],
        "members": [member["name"] for member in anchors["members"]],
    }
    document["envelope"] = write_envelope(body["envelope"])
    compiled: dict[str, Any] = {"nonce": body["nonce"].hex(), "version": body["version"]}
    if anchors["group_key"] is not None:
        compiled["group_key"] = anchors["group_key"].hex()
    compiled["members"] = [
        {"name": member["name"], "key": member["key"].hex(), "possession": member["possession"].hex()}
        for member in anchors["members"]
    ]
    document["compiled"] = compiled
    return tomlkit.dumps(document)


def _moment_text(ms: int) -> datetime | int:
    """Return a moment as a TOML time, or as the number where no time says it."""
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=ms)
    except OverflowError:
        return ms
