"""An anchor's secret key and the file that keeps it: readable by its owner alone, written once, never shown."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tslg.manifests import bls
from tslg.manifests.files import PRIVATE_MODE, read_bytes, write_once
from tslg.manifests.text import SCHEMES
from tslg.protocol.errors import ManifestError

_TYPE: Final = "tslg anchor key"
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
