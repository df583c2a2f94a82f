"""The vault of a data directory: keeps plaintexts for records, hands them out, and destroys them.

    kept = vault.put(agent, {"output": b"…"}, since=size)     # durable when it returns
    record = …                                                # names the digests; durable
    vault.bind(kept, record.id)                               # whose they are, which a crash may make it find out

A plaintext whose record never came is destroyed when the vault is next unlocked. Who may read what, and whether a
reading is recorded, is the business of `tslg.node.vault.keeping`. All methods may be called from any thread.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from tslg.node.store.group import GroupCommit
from tslg.node.vault.database import COLUMNS, FOLDER, GONE, KEPT, PENDING, SHREDDED, WRITING, Database, Entry, entry_of
from tslg.node.vault.master import Master
from tslg.node.vault.sealing import (
    MARK_BYTES,
    broken,
    fresh_key,
    of_entry,
    opened_chunks,
    sealed_chunks,
    unwrap,
    wrap,
)
from tslg.node.vault.tenants import Tenants
from tslg.protocol.codec import Link
from tslg.protocol.errors import VaultError
from tslg.protocol.limits import DEFAULT, Limits

KEY_FILE: Final = "vault.key"
_AT_ONCE: Final = 64
"""Chunks of a long plaintext in one transaction: 4 MiB."""
_REWRAPPED: Final = 1_000
"""Keys that are wrapped anew in one transaction, so that nobody waits long for it."""

Work = Callable[[sqlite3.Connection], None]


class Kept(NamedTuple):
    """A plaintext that is in the vault, its record not yet known. What it is wrapped with is secret."""

    entry: Entry
    key: bytes

    def __repr__(self) -> str:
        return f"<Kept {self.entry.name!r}>"


class Vault:
    """One data directory's vault; made on first use.

    Args:
        path: the data directory.
        clock: ms since 1970 UTC.
        readonly: whether another process writes it.
        limits: the largest plaintext.
    """

    def __init__(
        self, path: Path, clock: Callable[[], int], *, readonly: bool = False, limits: Limits = DEFAULT
    ) -> None:
        self.db = Database(path / FOLDER, readonly=readonly)
        self.tenants = Tenants(self.db, path / "keys" / KEY_FILE)
        self._clock = clock
        self._limits = limits
        self._lock = threading.Lock()
        self._next = max(self._newest(), self.db.newest_chunk())
        self._data: GroupCommit[list[tuple[int, int, bytes]]] = GroupCommit(self._commit_data)
        self._keys: GroupCommit[Work] = GroupCommit(self._commit_keys)

    def unlock(self, master: Master | None = None) -> None:
        """Take the master key: this one, that of the environment, or the default file's. Raises VaultError."""
        self.tenants.unlock(master)

    # --- putting ---------------------------------------------------------------------------------------------------

    def put(self, owner: Link, contents: Mapping[str, bytes], *, since: int) -> list[Kept]:
        """Keep plaintexts of one step that is about to be recorded; they are durable when this returns.

        Args:
            owner: the agent in whose log it will be recorded.
            contents: by name, `output` and so on.
            since: the log's size now.

        Raises:
            VaultError: `TSLG-P-SIZE`, or the vault is locked. StoreError: nothing was kept.
        """
        kept, rows = [], []
        for name, content in contents.items():
            self._check_size(len(content))
            one = self._fresh(owner, name, since)
            one = Kept(one.entry._replace(digest=sha256(content).digest(), size=len(content)), one.key)
            chunks = sealed_chunks(one.key, one.entry.mark, (content,))
            rows += [(one.entry.id, place, chunk) for place, chunk in enumerate(chunks)]
            kept.append(one)
        if kept:
            self._data.submit(rows)
            self._keys.submit(lambda keys: self._insert(keys, *kept))
        return kept

    def put_stream(self, owner: Link, name: str, content: Iterable[bytes], *, since: int) -> Kept:
        """Keep one plaintext that is too long to be held in memory; otherwise as `put`."""
        one = self._fresh(owner, name, since)
        first = Kept(one.entry._replace(state=WRITING), one.key)
        self._keys.submit(lambda keys: self._insert(keys, first))
        digest, size, rows = sha256(), 0, []

        def measured() -> Iterator[bytes]:
            nonlocal size
            for piece in content:
                size += len(piece)
                self._check_size(size)
                digest.update(piece)
                yield piece

        for place, chunk in enumerate(sealed_chunks(one.key, one.entry.mark, measured())):
            rows.append((one.entry.id, place, chunk))
            if len(rows) == _AT_ONCE:
                self._data.submit(rows)
                rows = []
        self._data.submit(rows)
        done = Kept(one.entry._replace(digest=digest.digest(), size=size), one.key)

        def finish(keys: sqlite3.Connection) -> None:
            keys.execute("DELETE FROM entry WHERE id = ?", (done.entry.id,))
            self._insert(keys, done)

        self._keys.submit(finish)
        return done

    def bind(self, kept: Sequence[Kept], record: Link) -> None:
        """Say which record plaintexts belong to, once it is durable. A power failure may forget it: see `settling`."""
        with self.db.changing_keys(durable=False) as keys:
            for one in kept:
                self._set_record(keys, one, record)

    def key_of(self, entry: Entry) -> bytes:
        """Return the key of a plaintext that waits for its record. Raises VaultError."""
        with self.db.keys() as keys:
            tenant = self.tenants.key(keys, entry.owner, entry.version)
        key = unwrap(tenant, entry.wrapped or b"", self._bound(entry, entry.record))
        if key is None:
            raise broken("its key is not the one that was kept for it", entry.record)
        return key

    def discard(self, kept: Sequence[Kept]) -> None:
        """Let go of plaintexts whose record will not come."""
        self.drop([one.entry.id for one in kept])

    def drop(self, ids: Sequence[int]) -> None:
        """Let go of entries altogether, by number."""
        if ids:
            self._keys.submit(lambda keys: _delete(keys, ids))
            self.db.drop_chunks(ids)

    # --- reading ---------------------------------------------------------------------------------------------------

    def entries(self, record: Link | None = None, owner: Link | None = None) -> list[Entry]:
        """Return what is, or was, kept for records, in the order in which it came; of one record or agent if named."""
        where, values = ["record IS NOT NULL"], []
        for column, value in (("record", record), ("owner", owner)):
            if value is not None:
                where.append(f"{column} = ?")
                values.append(value)
        return self.select(" AND ".join(where), values)

    def entry(self, record: Link, name: str) -> Entry | None:
        """Return what is, or was, kept of one part of a record."""
        return next(iter(self.select("record = ? AND name = ?", (record, name))), None)

    def open(self, entry: Entry) -> Iterator[bytes]:
        """Yield a plaintext in pieces, each once it is authentic.

        Raises:
            VaultError: `TSLG-P-GONE` if it was destroyed, `TSLG-P-BROKEN` if it is not what was kept, now or at a
                later piece; `TSLG-P-KEY` if the vault is locked.
        """
        if entry.wrapped is None:
            raise gone(entry)
        return self._checked(entry, opened_chunks(self.key_of(entry), entry.mark, self._chunks(entry.id)))

    def read(self, entry: Entry) -> bytes:
        """Return a plaintext whole. Raises as `open`."""
        return b"".join(self.open(entry))

    def _checked(self, entry: Entry, pieces: Iterable[bytes]) -> Iterator[bytes]:
        digest = sha256()
        for piece in pieces:
            digest.update(piece)
            yield piece
        if digest.digest() != entry.digest:
            raise broken("it is not what its record has the digest of", entry.record)

    def _chunks(self, entry: int) -> Iterator[bytes]:
        place = 0
        while (chunk := self.db.chunk(entry, place)) is not None:
            yield chunk
            place += 1

    # --- destroying ------------------------------------------------------------------------------------------------

    def shred(self, entries: Sequence[Entry], redactions: Mapping[int, Link] | None = None) -> int:
        """Destroy the keys of plaintexts, down to the file's pages, and then their ciphertexts; return how many.

        Works on a locked vault, and again on what a crash left undone.

        Args:
            entries: which; those that are destroyed already are left as they are.
            redactions: by entry, the record that says so.

        Raises:
            StoreError: `TSLG-D-BUSY`: another process reads it; repeat it.
        """
        ids = [one.id for one in entries if one.wrapped is not None]
        if ids:
            now, said = self._clock(), redactions or {}
            with self.db.changing_keys() as keys:
                keys.executemany(
                    f"UPDATE entry SET wrapped = NULL, state = {SHREDDED}, ended = ?, redaction = ? WHERE id = ?",
                    [(now, said.get(id), id) for id in ids],
                )
        self.finish_shredding()
        return len(ids)

    def finish_shredding(self) -> None:
        """Do what is left to do for plaintexts whose keys are destroyed."""
        left = [one.id for one in self.select(f"state = {SHREDDED}", ())]
        if not left:
            return
        self.db.rewrite_keys()
        self.db.drop_chunks(left)
        with self.db.changing_keys() as keys:
            keys.executemany(f"UPDATE entry SET state = {GONE} WHERE id = ?", [(id,) for id in left])

    # --- changing keys ---------------------------------------------------------------------------------------------

    def rotate(self, owner: Link) -> int:
        """Give a tenant a fresh key and wrap the keys of all its plaintexts by it; return how many.

        What was wrapped by the old one is then nowhere in the file. A crash leaves some by either; repeat it.
        """
        with self.db.changing_keys() as keys:
            version, _ = self.tenants.newest(keys, owner)
            older = "SELECT 1 FROM tenant WHERE owner = ? AND version < ?"
            if keys.execute(older, (owner, version)).fetchone() is None:
                version, _ = self.tenants.add(keys, owner, version + 1)
        count = 0
        while done := self._rewrap(owner, version):
            count += done
        with self.db.changing_keys() as keys:
            keys.execute("DELETE FROM tenant WHERE owner = ? AND version < ?", (owner, version))
        self.db.rewrite_keys()
        return count

    def _rewrap(self, owner: Link, version: int) -> int:
        older = (
            f"SELECT {COLUMNS} FROM entry WHERE owner = ? AND version < ? AND wrapped IS NOT NULL LIMIT {_REWRAPPED}"
        )
        with self.db.changing_keys() as keys:
            entries = [entry_of(row) for row in keys.execute(older, (owner, version)).fetchall()]
            for one in entries:
                bound = self._bound(one, one.record)
                key = unwrap(self.tenants.key(keys, owner, one.version), one.wrapped or b"", bound)
                if key is None:
                    raise broken("its key is not the one that was kept for it", one.record)
                wrapped = wrap(self.tenants.key(keys, owner, version), key, bound)
                keys.execute("UPDATE entry SET wrapped = ?, version = ? WHERE id = ?", (wrapped, version, one.id))
        return len(entries)

    # --- parts -----------------------------------------------------------------------------------------------------

    def select(self, where: str, values: Sequence[object]) -> list[Entry]:
        """Return entries by a condition of ours, in their order unless it says another."""
        order = "" if "ORDER BY" in where else " ORDER BY id"
        with self.db.keys() as keys:
            rows = keys.execute(f"SELECT {COLUMNS} FROM entry WHERE {where}{order}", values).fetchall()
        return [entry_of(row) for row in rows]

    def close(self) -> None:
        """Close the files."""
        self.db.close()

    def _newest(self) -> int:
        with self.db.keys() as keys:
            (newest,) = keys.execute("SELECT max(id) FROM entry").fetchone()
        return newest or 0

    def _fresh(self, owner: Link, name: str, since: int) -> Kept:
        if not self.tenants.unlocked:
            raise VaultError("the vault is locked", code="TSLG-P-KEY", mend="unlock it with its key or passphrase")
        with self._lock:
            self._next += 1
            id = self._next
        mark, now = os.urandom(MARK_BYTES), self._clock()
        return Kept(Entry(id, mark, owner, None, name, b"", 0, since, now, PENDING, 0, None, None, None), fresh_key())

    def _check_size(self, size: int) -> None:
        if size > self._limits.plaintext_bytes:
            most = self._limits.plaintext_bytes
            raise VaultError(
                f"a plaintext of more than {most} bytes", code="TSLG-P-SIZE", mend="record its digest alone"
            )

    def _bound(self, entry: Entry, record: Link | None) -> bytes:
        vault = self.tenants.vault
        return of_entry(vault, entry.owner, entry.mark, record, entry.name, entry.digest, entry.size)

    def _commit_data(self, works: Sequence[list[tuple[int, int, bytes]]]) -> None:
        with self.db.changing_data() as data:
            for rows in works:
                data.executemany("INSERT INTO chunk(entry, place, data) VALUES (?, ?, ?)", rows)

    def _commit_keys(self, works: Sequence[Work]) -> None:
        with self.db.changing_keys() as keys:
            for work in works:
                work(keys)

    def _insert(self, keys: sqlite3.Connection, *kept: Kept) -> None:
        """Write the entries of one agent's plaintexts, inside the transaction under way."""
        version, tenant = self.tenants.newest(keys, kept[0].entry.owner)
        wrapped = [wrap(tenant, one.key, self._bound(one.entry, None)) for one in kept]
        rows = [one.entry._replace(version=version, wrapped=key) for one, key in zip(kept, wrapped, strict=True)]
        keys.executemany(f"INSERT INTO entry({COLUMNS}) VALUES ({', '.join('?' * len(Entry._fields))})", rows)

    def _set_record(self, keys: sqlite3.Connection, one: Kept, record: Link) -> None:
        version, tenant = self.tenants.newest(keys, one.entry.owner)
        wrapped = wrap(tenant, one.key, self._bound(one.entry, record))
        # Where the record has this part already, the second copy stays without one, and is swept.
        keys.execute(
            f"UPDATE OR IGNORE entry SET record = ?, wrapped = ?, version = ?, state = {KEPT}"
            f" WHERE id = ? AND state = {PENDING}",
            (record, wrapped, version, one.entry.id),
        )


def gone(entry: Entry) -> VaultError:
    """Return the error of a plaintext that was destroyed."""
    return VaultError(
        f"`{entry.name}` was destroyed", code="TSLG-P-GONE", mend="the record and its digest stay", record=entry.record
    )


def _delete(keys: sqlite3.Connection, ids: Sequence[int]) -> None:
    keys.executemany("DELETE FROM entry WHERE id = ?", [(id,) for id in ids])
