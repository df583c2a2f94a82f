"""Tenants' keys: one for each agent and each time it was changed, wrapped by the vault's master key.

A vault that is *locked* has no master key at hand: it can destroy what it holds, and neither open nor take anything.
"""

from __future__ import annotations

import json
import os
import sqlite3
from pathlib import Path
from typing import Any, Final

from tslg.node.vault import master as masters
from tslg.node.vault.database import Database
from tslg.node.vault.master import Master
from tslg.node.vault.sealing import MARK_BYTES, bound_to, fresh_key, unwrap, wrap
from tslg.protocol.codec import Link
from tslg.protocol.errors import VaultError

_ID: Final = "vault"
_MASTER: Final = "master"
_CHECK: Final = "check"
_NEXT: Final = ".next"


class Tenants:
    """The keys of a vault's tenants.

    Args:
        db: the vault's files.
        file: where the master key's file is, unless the environment names another.
    """

    def __init__(self, db: Database, file: Path) -> None:
        self._db = db
        self._file = file
        self._master: Master | None = None
        self._known: dict[bytes, bytes] = {}
        self.vault = self._db.setting(_ID) or b""
        """What tells this vault from all others: 16 random bytes, bound to everything in it."""

    @property
    def unlocked(self) -> bool:
        """Whether the master key is at hand."""
        return self._master is not None

    @property
    def settings(self) -> dict[str, Any]:
        """What the vault says of its master key; nothing before it has one."""
        held = self._db.setting(_MASTER)
        return {} if held is None else dict(json.loads(held))

    def unlock(self, given: Master | None = None) -> None:
        """Take the master key given, that of the environment, or the default file's; a new vault gets one.

        Raises:
            VaultError: `TSLG-P-KEY` if there is none, or it is not this vault's.
        """
        if self._master is not None:
            return
        if not self.vault:
            self._found(given)
            return
        check = self._db.setting(_CHECK) or b""
        found = given or masters.of_environment(self.settings, self._file)
        if found is None or not masters.fits(found, self.vault, check):
            found = self._left_over(check) or self._refuse(found)
        self._master = found

    def _found(self, given: Master | None) -> None:
        if given is None:
            path, phrase = masters.key_path(self._file), os.environ.get(masters.PASSPHRASE_ENV)
            if phrase is not None:
                given = masters.from_passphrase(phrase)
            else:
                given = masters.from_file(path) if path.exists() else masters.write_file(path)
        vault = os.urandom(MARK_BYTES)
        with self._db.changing_keys() as keys:
            self._db.set(keys, _ID, vault)
            self._db.set(keys, _MASTER, json.dumps(given.settings).encode())
            self._db.set(keys, _CHECK, masters.check_of(given, vault))
        self.vault, self._master = vault, given

    def _left_over(self, check: bytes) -> Master | None:
        """Return the master key of a rotation that ended before its file got its name, and give it that."""
        path = masters.key_path(self._file)
        written = path.with_name(path.name + _NEXT)
        if self.settings.get("kind") != "file" or not written.exists():
            return None
        found = masters.from_file(written)
        if not masters.fits(found, self.vault, check):
            return None
        written.replace(path)
        return found

    def _refuse(self, found: Master | None) -> Master:
        by = self.settings.get("kind")
        if found is None:
            mend = f"set {masters.PASSPHRASE_ENV}" if by == "passphrase" else f"name its file by {masters.KEY_ENV}"
            raise VaultError("the vault's master key is not here", code="TSLG-P-KEY", mend=mend)
        what = "passphrase" if by == "passphrase" else "key"
        raise VaultError(f"that {what} is not this vault's", code="TSLG-P-KEY", mend="use the one it was made with")

    # --- tenants ---------------------------------------------------------------------------------------------------

    def owners(self) -> list[tuple[Link, int]]:
        """Return the tenants, each with the number of its newest key."""
        with self._db.keys() as keys:
            rows = keys.execute("SELECT owner, max(version) FROM tenant GROUP BY owner").fetchall()
        return [(Link(owner), version) for owner, version in rows]

    def key(self, keys: sqlite3.Connection, owner: Link, version: int) -> bytes:
        """Return one key of a tenant. Raises VaultError."""
        row = keys.execute("SELECT wrapped FROM tenant WHERE owner = ? AND version = ?", (owner, version)).fetchone()
        if row is None:
            raise _exchanged()
        # By what it is wrapped in, since a transaction that made it may have been undone.
        found = self._known.get(row[0])
        if found is None:
            found = unwrap(self._need().key, row[0], self._bound(owner, version))
            if found is None:
                raise _exchanged()
            self._known[row[0]] = found
        return found

    def newest(self, keys: sqlite3.Connection, owner: Link) -> tuple[int, bytes]:
        """Return the newest key of a tenant with its number; made inside the transaction under way if it has none."""
        (version,) = keys.execute("SELECT max(version) FROM tenant WHERE owner = ?", (owner,)).fetchone()
        if version is None:
            return self.add(keys, owner, 1)
        return version, self.key(keys, owner, version)

    def add(self, keys: sqlite3.Connection, owner: Link, version: int) -> tuple[int, bytes]:
        """Give a tenant a fresh key with this number, inside the transaction under way."""
        fresh = fresh_key()
        wrapped = wrap(self._need().key, fresh, self._bound(owner, version))
        keys.execute("INSERT INTO tenant(owner, version, wrapped) VALUES (?, ?, ?)", (owner, version, wrapped))
        return version, fresh

    def rotate_master(self, phrase: str | None = None, work: masters.Work = masters.MODERATE) -> None:
        """Wrap all tenants' keys by a fresh master key, in a file or derived from a passphrase.

        The new file is complete before the vault goes over to it, and gets the old one's name after that; `unlock`
        finishes what a crash leaves.
        """
        old, path = self._need(), masters.key_path(self._file)
        written = path.with_name(path.name + _NEXT)
        written.unlink(missing_ok=True)
        fresh = masters.write_file(written) if phrase is None else masters.from_passphrase(phrase, work=work)
        with self._db.changing_keys() as keys:
            for owner, version, wrapped in keys.execute("SELECT owner, version, wrapped FROM tenant").fetchall():
                bound = self._bound(Link(owner), version)
                held = unwrap(old.key, wrapped, bound)
                if held is None:
                    raise _exchanged()
                again = wrap(fresh.key, held, bound)
                keys.execute("UPDATE tenant SET wrapped = ? WHERE owner = ? AND version = ?", (again, owner, version))
            self._db.set(keys, _MASTER, json.dumps(fresh.settings).encode())
            self._db.set(keys, _CHECK, masters.check_of(fresh, self.vault))
        self._master = fresh
        if phrase is None:
            written.replace(path)
        elif old.settings["kind"] == "file":
            path.unlink(missing_ok=True)
        self._db.rewrite_keys()

    def _need(self) -> Master:
        if self._master is None:
            raise VaultError("the vault is locked", code="TSLG-P-KEY", mend="unlock it with its key or passphrase")
        return self._master

    def _bound(self, owner: Link, version: int) -> bytes:
        return bound_to("tenant-key", self.vault, owner, version)


def _exchanged() -> VaultError:
    mend = "restore the vault from a backup"
    return VaultError("a tenant's key is not the one that was kept", code="TSLG-P-BROKEN", mend=mend)
