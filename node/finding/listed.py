"""What an operator wrote down about peers: addresses to keep in contact with, and peers to have nothing to do with.

`peers.toml` in the data directory, which people and `tslg peers` write, and which a running node reads again when it
changes:

known = ["/ip4/192.0.2.7/tcp/4101/p2p/12D3…"]
blocked = ["12D3…"]
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.node.net.seam import peer_id_of
from tslg.protocol.errors import UsageError

FILE: Final = "peers.toml"
"""The name of the file in the data directory."""
MOST: Final = 1_000
"""Entries of one list: the file is written by hand."""
_HEAD: Final = "# Peers of this node: see `tslg peers --help`. A running node reads this file again when it changes.\n"


class Listed(NamedTuple):
    """The two lists: addresses that end in `/p2p/<id>`, and peer ids."""

    known: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    def adding(self, address: str) -> Listed:
        """Return the lists with an address. Raises AddressError."""
        peer_id_of(address)
        return self._replace(known=tuple(dict.fromkeys([*self.known, address])))

    def forgetting(self, peer: str) -> Listed:
        """Return the lists without the addresses of a peer, named by its id or one of them. Raises AddressError."""
        gone = peer_id_of(peer)
        return self._replace(known=tuple(one for one in self.known if peer_id_of(one) != gone))

    def blocking(self, peer: str) -> Listed:
        """Return the lists with a peer blocked. Raises AddressError."""
        return self._replace(blocked=tuple(dict.fromkeys([*self.blocked, peer_id_of(peer)])))

    def unblocking(self, peer: str) -> Listed:
        """Return the lists with a peer not blocked. Raises AddressError."""
        return self._replace(blocked=tuple(one for one in self.blocked if one != peer_id_of(peer)))


def read(folder: Path) -> Listed:
    """Read the file of a data directory; empty lists if there is none.

    Raises:
        UsageError: the file cannot be read, or holds something else.
    """
    path = folder / FILE
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Listed()
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}", mend="mend or remove the file") from error
    unknown = sorted(set(values) - set(Listed._fields))
    if unknown:
        raise UsageError(f"{path}: {unknown[0]}: no such list", mend="there are known and blocked")
    known = _texts(path, "known", values.get("known", []))
    blocked = _texts(path, "blocked", values.get("blocked", []))
    for one in known:
        if not one.startswith("/"):
            raise UsageError(f"{path}: known: {one[:100]!r} is no address", mend="use /ip4/…/tcp/…/p2p/<peer id>")
    for one in (*known, *blocked):
        peer_id_of(one)
    return Listed(known, blocked)


def to_text(listed: Listed) -> str:
    """Return the file that says this."""
    lists = []
    for name, values in listed._asdict().items():
        lines = "".join(f"  {json.dumps(value)},\n" for value in values)
        lists.append(f"{name} = [\n{lines}]\n" if values else f"{name} = []\n")
    return _HEAD + "".join(lists)


def _texts(path: Path, name: str, value: Any) -> tuple[str, ...]:
    if isinstance(value, list) and len(value) <= MOST and all(isinstance(one, str) for one in value):
        return tuple(dict.fromkeys(value))
    raise UsageError(f"{path}: {name} is no list of texts", mend=f'write {name} = ["…"]')
