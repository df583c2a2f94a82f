"""Where a node's local interface is found: files in `DIR/api`, readable by the node's user alone.

DIR/api/socket     the unix socket, unless the interface is on loopback
DIR/api/address    `unix` or `http://HOST:PORT`; there while the node runs
DIR/api/token      what clients show who may do everything; made once
DIR/api/reader     … who may only read: records and streams
DIR/api/engine     … who may only submit records of engines
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from tslg.manifests.files import PRIVATE_MODE, write_once
from tslg.node.store.engine import translate_os
from tslg.protocol.errors import StoreError, UsageError

FOLDER: Final = "api"
UNIX: Final = "unix"
OFF: Final = "off"
_FOLDER_MODE: Final = 0o700
_SOCKET_PATH: Final = 107
"""Bytes of a unix socket's path, on Linux."""


class Tokens(NamedTuple):
    """What clients show: for everything, for reading alone, and for submitting engines' records alone."""

    all: str
    reader: str
    engine: str


class Place:
    """The files of one data directory's interface."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER
        self.socket = self.folder / "socket"
        self._address = self.folder / "address"
        self._token = self.folder / "token"

    def prepare(self) -> Tokens:
        """Make the folder and the tokens, if they are not there, and return the tokens. StoreError."""
        try:
            self.folder.mkdir(mode=_FOLDER_MODE, exist_ok=True)
            return Tokens(*[_token(self.folder / name) for name in ("token", *Tokens._fields[1:])])
        except OSError as error:
            raise translate_os(error, self.folder) from error

    def announce(self, address: str) -> None:
        """Say where the interface is."""
        self._address.write_text(f"{address}\n", "ascii")

    def withdraw(self) -> None:
        """Say that it is nowhere."""
        for path in (self._address, self.socket):
            with suppress(FileNotFoundError):
                path.unlink()

    def find(self) -> tuple[str, str] | None:
        """Return address and token of the node that runs on this directory, None if none says so. StoreError."""
        try:
            return self._address.read_text("ascii").strip(), self._token.read_text("ascii").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError(
                f"{self.folder}: the token cannot be read", code="TSLG-D-PERMISSION", mend="use the node's own user"
            ) from error

    def check_socket(self) -> None:
        """Raise UsageError if the socket's path is longer than the system takes."""
        if len(os.fsencode(self.socket)) > _SOCKET_PATH:
            raise UsageError(
                f"{self.socket}: too long for a unix socket",
                mend='use a shorter data directory, or put the interface on loopback: api = "127.0.0.1:PORT"',
            )


def _token(path: Path) -> str:
    if not path.exists():
        write_once(path, secrets.token_hex(32).encode() + b"\n", PRIVATE_MODE)
    return path.read_text("ascii").strip()


def loopback(text: str) -> tuple[str, int]:
    """Return host and port of a setting such as `127.0.0.1:4180` or `[::1]:4180`. UsageError if it is not loopback."""
    host, _, port = text.rpartition(":")
    with suppress(ValueError):
        if port.isdecimal() and int(port) < 65_536 and ip_address(host.strip("[]")).is_loopback:
            return host.strip("[]"), int(port)
    raise UsageError(
        f"api: {text[:80]!r} is not {UNIX!r}, {OFF!r}, or an address of this host alone", mend="say 127.0.0.1:PORT"
    )
