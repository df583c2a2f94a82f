"""Files of anchors' keys: the secret one of each, which only its owner can read, and the public one of all.

Both are written once. No secret is ever shown: not in a repr, a message or a log.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tslg.manifests import bls
from tslg.manifests.files import (
    PRIVATE_MODE,
    encode_message,
    is_bytes,
    is_count,
    is_text,
    read_bytes,
    read_message,
    write_once,
)
from tslg.manifests.text import KEY_BYTES, POSSESSION_BYTES, SCHEMES, AnchorKeys, ManifestText
from tslg.protocol.errors import ManifestError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Anchors, Member

ANCHORS_FILE: Final = "anchors.cbor"
"""Name of the file in a shared folder that a ceremony ends with."""

_TYPE: Final = "tslg anchor key"
_ANCHORS: Final = "tslg anchors"
_FIELDS: Final = frozenset(("type", "ceremony", "member", "scheme", "public", "secret"))
_FILE_BYTES: Final = 16 * 1024


@dataclass(frozen=True, slots=True)
class AnchorKey:
    """What one anchor signs with: a share of the group's key, or a key of its own under multisig.

    Attributes:
        ceremony: name of the ceremony that made it.
        member: the anchor's name.
        scheme: COSE number of the anchors' scheme.
        secret: 32 bytes, big-endian; never in a repr.
    """

    ceremony: str
    member: str
    scheme: int
    secret: bytes = field(repr=False)

    @property
    def public(self) -> bytes:
        """The 48-byte public key, by which a manifest names this anchor."""
        return bls.public_key(self.secret)


def write_key(path: Path, key: AnchorKey) -> bool:
    """Write a key file with mode 0600; False if the same key is already there.

    Raises:
        ManifestError: another key is there (`TSLG-M-EXISTS`), or the file cannot be written.
    """
    scheme = next(name for name, number in SCHEMES.items() if number == key.scheme)
    value = {
        "type": _TYPE,
        "ceremony": key.ceremony,
        "member": key.member,
        "scheme": scheme,
        "public": key.public.hex(),
        "secret": key.secret.hex(),
    }
    return write_once(path, (json.dumps(value, indent=2) + "\n").encode(), PRIVATE_MODE)


def read_key(path: Path) -> AnchorKey:
    """Read a key file.

    Raises:
        ManifestError: `TSLG-M-KEY` if it is not one, is damaged, or is open to others; no part of it is repeated.
    """
    data = read_bytes(path, _FILE_BYTES)
    if path.stat().st_mode & 0o077:
        raise ManifestError(
            f"{path} can be read by others",
            code="TSLG-M-KEY",
            mend="chmod 600 it; replace the key if others had it",
        )
    try:
        return _key(json.loads(data))
    except (ValueError, RecursionError, TypeError):
        # The parser's own message would repeat parts of the file.
        raise ManifestError(
            f"{path} is not an anchor's key file, or is damaged", code="TSLG-M-KEY", mend="restore it from your backup"
        ) from None


def _key(value: Any) -> AnchorKey:
    if type(value) is not dict or value.keys() != _FIELDS or value["type"] != _TYPE:
        raise ValueError("fields")
    ceremony, member, scheme = value["ceremony"], value["member"], value["scheme"]
    if type(ceremony) is not str or type(member) is not str or scheme not in SCHEMES:
        raise ValueError("names")
    key = AnchorKey(ceremony, member, SCHEMES[scheme], bytes.fromhex(value["secret"]))
    if key.public.hex() != value["public"]:
        raise ValueError("the secret is not that of the public key")
    return key


def encode_anchors(scheme: int, threshold: int, keys: AnchorKeys, transcript: bytes | None) -> bytes:
    """Return the content of an anchors file: what a ceremony made, for the manifest to name.

    Args:
        scheme: COSE number of the anchors' scheme.
        threshold: how many sign together.
        keys: members' names, keys and proofs, and the group's key.
        transcript: 32-byte digest that all members of a threshold ceremony compared; None for multisig.
    """
    members = [{"name": m.name, "key": m.key, "possession": m.possession} for m in keys.members]
    return encode_message(
        _ANCHORS,
        {
            "scheme": scheme,
            "threshold": threshold,
            "members": members,
            "group_key": keys.group_key,
            "transcript": transcript,
        },
    )


def read_anchors(path: Path, wanted: ManifestText) -> AnchorKeys:
    """Read an anchors file for a manifest text that names the same anchors.

    Raises:
        ManifestError: `TSLG-M-FILE` for a damaged file, `TSLG-M-KEYS` if it is for another scheme or threshold.
    """
    fields = read_message(path, _ANCHORS, _ANCHORS_FIELDS)
    if fields["scheme"] != wanted.scheme or fields["threshold"] != wanted.threshold:
        raise ManifestError(
            f"{path} holds anchors of another scheme or threshold than the manifest's text",
            code="TSLG-M-KEYS",
            mend=f"its ceremony was for {fields['threshold']} of {len(fields['members'])}; change the text",
        )
    members = tuple(Member(item["name"], item["key"], item["possession"]) for item in fields["members"])
    return AnchorKeys(members, fields["group_key"])


def read_group(path: Path) -> Anchors:
    """Read an anchors file for agents who authorise together by the keys of that ceremony.

    Raises:
        ManifestError: `TSLG-M-FILE` for a damaged file.
    """
    fields = read_message(path, _ANCHORS, _ANCHORS_FIELDS)
    members = tuple(Member(item["name"], item["key"], item["possession"]) for item in fields["members"])
    return Anchors(fields["scheme"], fields["threshold"], members, fields["group_key"])


def _are_members(value: Any) -> bool:
    return (
        type(value) is list
        and 0 < len(value) <= DEFAULT.anchors
        and all(
            type(item) is dict
            and item.keys() == {"name", "key", "possession"}
            and is_text(item["name"])
            and is_bytes(KEY_BYTES)(item["key"])
            and is_bytes(POSSESSION_BYTES)(item["possession"])
            for item in value
        )
    )


_ANCHORS_FIELDS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "scheme": lambda value: value in SCHEMES.values(),
    "threshold": is_count,
    "members": _are_members,
    "group_key": lambda value: value is None or is_bytes(KEY_BYTES)(value),
    "transcript": lambda value: value is None or is_bytes(32)(value),
}
