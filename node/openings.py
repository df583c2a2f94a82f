"""Openings of confidential policies: kept beside the keys, handed to delegates as files, never part of a record.

One file an opening (mode 0600), named by the digest of the commitments that it opens, so that it is on disk before the
record that holds them is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tslg.manifests.files import PRIVATE_MODE, read_bytes, write_once
from tslg.protocol import codec
from tslg.protocol.errors import CodecError, StoreError, UsageError
from tslg.protocol.limits import DEFAULT

if TYPE_CHECKING:
    from tslg.protocol.zk.commitments import Opening

_TYPE: Final = "tslg policy opening"
_FIELDS: Final = frozenset(("type", "capabilities", "limits", "secret"))
_FILE_BYTES: Final = 256 * 1024
Commitments = Mapping[str, Any]
"""The body field `commitments` of a policy."""


class Openings:
    """The openings that a node holds, in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(self, commitments: Commitments, opening: Opening) -> None:
        """Keep an opening, durably.

        Raises:
            UsageError: `TSLG-U-OPENING` if it does not open these commitments.
        """
        if not opens(opening, commitments):
            raise UsageError(
                "that is not the opening of this policy", code="TSLG-U-OPENING", mend="ask the policy's author for it"
            )
        path = self._path(commitments)
        if not path.exists():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write(path, opening)

    def find(self, commitments: Commitments) -> Opening | None:
        """Return the opening of these commitments, None if it is not held. Raises StoreError."""
        path = self._path(commitments)
        return read(path) if path.exists() else None

    def _path(self, commitments: Commitments) -> Path:
        return self._folder / f"{hashlib.sha256(codec.encode(dict(commitments))).hexdigest()}.json"


def opens(opening: Opening, commitments: Commitments) -> bool:
    """Tell whether an opening opens the commitments of a policy."""
    try:
        return commit(commitments["vocabulary"], opening) == commitments
    except ValueError:
        return False


def commit(vocabulary: list[str], opening: Opening) -> dict[str, Any]:
    """Return the body field `commitments` of a policy. Raises ValueError if the opening does not fit the vocabulary."""
    from tslg.protocol.zk.narrowing import hide

    hidden = hide(vocabulary, opening)
    return {
        "vocabulary": list(vocabulary),
        "capabilities": b"".join(hidden.capabilities),
        "limits": dict(hidden.limits),
    }


def write(path: Path, opening: Opening) -> None:
    """Write an opening's file, which its owner alone can read. Raises ManifestError if it cannot be written."""
    value = {
        "type": _TYPE,
        "capabilities": sorted(opening.capabilities),
        "limits": dict(sorted(opening.limits.items())),
        "secret": opening.secret.hex(),
    }
    write_once(path, (json.dumps(value, indent=2) + "\n").encode(), PRIVATE_MODE)


def read(path: Path) -> Opening:
    """Read an opening's file.

    Raises:
        StoreError: `TSLG-D-OPENING` if the file is none.
    """
    from tslg.protocol.zk.commitments import Opening

    try:
        value = json.loads(read_bytes(path, _FILE_BYTES))
        if not isinstance(value, dict) or value.keys() != _FIELDS or value["type"] != _TYPE:
            raise ValueError("other fields")
        codec.encode({"capabilities": value["capabilities"], "limits": value["limits"]})
        capabilities, limits = value["capabilities"], value["limits"]
        if not isinstance(capabilities, list) or not all(isinstance(name, str) for name in capabilities):
            raise ValueError("capabilities")
        if not isinstance(limits, dict) or not all(type(limit) is int for limit in limits.values()):
            raise ValueError("limits")
        if len(capabilities) > DEFAULT.vocabulary or len(limits) > DEFAULT.hidden_limits:
            raise ValueError("too many")
        secret = bytes.fromhex(value["secret"])
        if len(secret) != 32:
            raise ValueError("secret")
    except (ValueError, TypeError, CodecError, RecursionError):
        # The cause is left out on purpose: it could quote the file.
        raise StoreError(
            f"{path.name} is not the opening of a policy", code="TSLG-D-OPENING", mend="ask the policy's author for it"
        ) from None
    return Opening(frozenset(capabilities), limits, secret)
