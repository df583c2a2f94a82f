"""The plaintexts of a data directory: what goes into its vault, who gets it out, and when it is destroyed.

    kept = home.plaintexts.keep(agent.id, {"inputs/prompt": b"…", "output": b"…"})
    record = …                                  # names their digests
    home.plaintexts.bind(kept, record.id)

    home.plaintexts.read(record.id, "output")                     # for whoever has the master key
    home.plaintexts.read(record.id, "output", Reader(agents))     # as far as the manifest lets these read it

Normative text: docs/spec/recording.md.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from tslg.node.vault.parts import field_of, held_in, names, parts
from tslg.protocol.access import Reader, reads
from tslg.protocol.cid import short, to_text
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError, VaultError
from tslg.protocol.record import Record, parse_as
from tslg.protocol.recording import RECORDED, Recording
from tslg.protocol.rules.redaction import rule_redaction

if TYPE_CHECKING:
    # Only whoever keeps plaintexts pays for loading what encrypts them.
    from tslg.node.agent import BlockingAgent
    from tslg.node.home import Home
    from tslg.node.vault.database import Entry
    from tslg.node.vault.master import Master
    from tslg.node.vault.vault import Kept, Vault

SOURCE: Final = "tslg.vault"
"""The source of observations that say that a plaintext was read."""
OPERATOR: Final = "operator"
"""The reader, where it is whoever has the master key."""
_SEEN: Final = "redactions"
_MOST: Final = 10_000_000
_AT_ONCE: Final = 1_000


class Plaintexts:
    """The vault of a data directory, held to the manifest and to the redactions. It is opened on first use."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._lock = threading.RLock()
        self._vault: Vault | None = None
        self._settled = False

    # --- opening ---------------------------------------------------------------------------------------------------

    @property
    def here(self) -> bool:
        """Whether there is a vault."""
        return self._vault is not None or (self._home.path / "vault" / "keys.sqlite").exists()

    def vault(self) -> Vault:
        """Return the vault, locked or not; made if there is none.

        Raises:
            VaultError: `TSLG-P-NONE`: there is none, and this process may not make it.
        """
        from tslg.node.vault.vault import Vault

        with self._lock:
            if self._vault is None:
                if not self.here and not self._home.writable:
                    raise VaultError("no plaintexts are kept here", code="TSLG-P-NONE")
                self._vault = Vault(self._home.path, self._home.clock, readonly=not self._home.writable)
            return self._vault

    def unlock(self, master: Master | None = None) -> Vault:
        """Return the vault, unlocked by this key, that of the environment or the default file; see `Vault.unlock`."""
        with self._lock:
            vault = self.vault()
            vault.unlock(master)
            if self._home.writable and not self._settled:
                from tslg.node.vault.settling import settle

                settle(vault, self._home.store, self._home.ledger.context)
                self._settled = True
                self.catch_up(all_of_them=True)
            return vault

    def close(self) -> None:
        """Close the vault, if it was opened."""
        with self._lock:
            if self._vault is not None:
                self._vault.close()
                self._vault = None

    @property
    def recording(self) -> Recording:
        """What the manifest version in force says."""
        return self._home.manifest.envelope.recording

    # --- putting ---------------------------------------------------------------------------------------------------

    def keep(self, owner: Link, contents: Mapping[str, bytes]) -> list[Kept]:
        """Keep those parts of a step whose plaintexts the manifest wants, before the step is recorded.

        Args:
            owner: the agent that records it.
            contents: by part, `output`, `inputs/…`, `scratch`, `activations`, `tools` or `facts`.

        Raises:
            VaultError, StoreError: they could not be kept, and the step must not be recorded.
        """
        wanted = self.recording.plaintexts
        chosen = {name: content for name, content in contents.items() if field_of(name) in wanted}
        if not chosen:
            return []
        state = self._home.store.log_state(owner)
        return self.unlock().put(owner, chosen, since=0 if state is None else state.size)

    def bind(self, kept: Sequence[Kept], record: Link) -> None:
        """Say which record plaintexts were kept for, once that is durable."""
        if kept:
            self.vault().bind(kept, record)

    def discard(self, kept: Sequence[Kept]) -> None:
        """Let go of plaintexts whose record was refused."""
        if kept:
            self.vault().discard(kept)

    def put(self, id: Link, name: str, content: Iterable[bytes]) -> Entry:
        """Keep a plaintext of a record that is there already, such as one that another engine submitted.

        Raises:
            VaultError: `TSLG-P-DIGEST`: the record has another digest of it; `TSLG-P-KEPT`: it is kept, or was.
            UsageError: the record is not held.
        """
        record = self._record(id)
        wanted = parts(record).get(name)
        vault = self.unlock()
        held = vault.entry(id, name)
        if held is not None:
            what = "kept already" if held.wrapped is not None else "destroyed, for good"
            raise VaultError(f"`{name}` of that record is {what}", code="TSLG-P-KEPT", record=id)
        if field_of(name) not in self.recording.plaintexts:
            mend = "amend `recording`"
            raise VaultError(
                f"the manifest has no plaintexts of `{field_of(name)}` kept", code="TSLG-P-DIGEST", mend=mend
            )
        if self._destroyed(record, name, wanted or b""):
            raise VaultError(f"`{name}` of that record was redacted", code="TSLG-P-KEPT", record=id)
        kept = vault.put_stream(record.owner, name, content, since=record.seq)
        if kept.entry.digest != wanted:
            vault.discard([kept])
            mend = "check which file it is"
            raise VaultError(f"that is not what the record has as `{name}`", code="TSLG-P-DIGEST", mend=mend, record=id)
        vault.bind([kept], id)
        return kept.entry

    # --- reading ---------------------------------------------------------------------------------------------------

    def read(self, id: Link, name: str, reader: Reader | None = None) -> bytes:
        """Return a plaintext whole. Arguments and errors as `open`."""
        return b"".join(self.open(id, name, reader))

    def open(self, id: Link, name: str, reader: Reader | None = None) -> Iterator[bytes]:
        """Return a plaintext in pieces, each authentic; that they are all, only the end tells.

        Args:
            id: the record.
            name: of its part.
            reader: who reads; None for whoever has the master key.

        Raises:
            UsageError: the record is not held. VaultError: `TSLG-P-NONE`: nothing is kept of that part; `TSLG-P-GONE`:
                it was destroyed or its time is over; `TSLG-P-DENIED`: this reader may not read it; `TSLG-P-BROKEN`.
        """
        record = self._record(id)
        if reader is not None and not self.may_read(reader, record, name):
            # The same whether there is anything to read or not.
            raise VaultError("that reader may not read it", code="TSLG-P-DENIED", record=id)
        entry = self.unlock().entry(id, name) if self.here else None
        if entry is None:
            mend = "`tslg vault list` says what is kept"
            raise VaultError(f"no plaintext of `{name}` is kept", code="TSLG-P-NONE", mend=mend, record=id)
        self._check(record, entry)
        if self.recording.readings:
            self._note_reading(record, entry, reader)
        return self.vault().open(entry)

    def may_read(self, reader: Reader, record: Record, name: str) -> bool:
        """Tell whether a reader may read a part of a record: its author, or who may read both record and plaintexts."""
        from tslg.node.access import gatekeeper

        if record.owner in reader.agents:
            return True
        keeper = gatekeeper(self._home)
        if not reads(reader, self.recording.readers, keeper.subject(record), keeper.members):
            return False
        found = keeper.explain(reader, record)
        return found.readable and held_in(record, name) not in found.hidden

    def expired(self, record: Record) -> bool:
        """Tell whether the time of a record's plaintexts is over."""
        keep = self.recording.keep_ms
        return keep is not None and record.time + keep < self._home.clock()

    def _check(self, record: Record, entry: Entry) -> None:
        from tslg.node.vault.sealing import broken
        from tslg.node.vault.vault import gone

        if entry.wrapped is None or self.expired(record) or self._destroyed(record, entry.name, entry.digest):
            raise gone(entry)
        if parts(record).get(entry.name) != entry.digest:
            raise broken("its record has another digest of it", record.id)

    def _note_reading(self, record: Record, entry: Entry, reader: Reader | None) -> None:
        """Record a reading before it happens, in the log of the record's author."""
        who = OPERATOR if reader is None else ", ".join(to_text(agent) for agent in sorted(reader.agents))
        data = {"name": entry.name, "digest": entry.digest, "reader": who}
        self._author(record.owner).observe(SOURCE, data, observes=record.id)

    # --- destroying ------------------------------------------------------------------------------------------------

    def carry_out(self, redactions: Iterable[Record]) -> None:
        """Destroy what redactions name; the caller has looked at who made them. Needs no key."""
        said: dict[int, Link] = {}
        chosen: list[Entry] = []
        if not self.here or not self._home.writable:
            return
        vault = self.vault()
        for redaction in redactions:
            for entry in vault.entries(record=redaction.body["target"]):
                if entry.wrapped is not None and names(redaction, entry.name, entry.digest):
                    said[entry.id] = redaction.id
                    chosen.append(entry)
        if chosen:
            vault.shred(chosen, said)

    def catch_up(self, *, all_of_them: bool = False) -> None:
        """Carry out redactions that a crash kept from being carried out, or that this vault never heard of.

        One that was restored from a backup holds what was destroyed since; it remembers how many redactions it knew.
        """
        if not self.here or not self._home.writable:
            return
        vault, ids = self.vault(), self._home.store.by_kind("redaction", limit=_MOST)
        if all_of_them or vault.db.setting(_SEEN) != str(len(ids)).encode():
            context = self._home.ledger.context
            for at in range(0, len(ids), _AT_ONCE):
                held = self._home.store.get_many(ids[at : at + _AT_ONCE])
                found = [parse_as(id, entry.data) for id, entry in held.items()]
                self.carry_out([record for record in found if rule_redaction(record, b"", context) is None])
            with vault.db.changing_keys() as keys:
                vault.db.set(keys, _SEEN, str(len(ids)).encode())
        vault.finish_shredding()

    def expire(self, *, dry: bool = False) -> list[Entry]:
        """Destroy the plaintexts whose time is over, recorded as the manifest says; return them.

        With `dry` nothing is destroyed.

        Raises:
            UsageError: the author of some is no agent of this node. Refusal: it may not redact them.
        """
        if not self.here or self.recording.keep_ms is None:
            return []
        vault = self.vault()
        over = [entry for entry, record in self._kept() if record is not None and self.expired(record)]
        if dry or not over:
            return over
        if self.recording.expiry != RECORDED:
            vault.shred(over)
            return over
        reason = f"kept for {self.recording.keep_ms} ms, as the manifest says"
        for owner in sorted({entry.owner for entry in over}):
            digests: dict[Link, list[bytes]] = {}
            for entry in over:
                if entry.owner == owner and entry.record is not None:
                    digests.setdefault(entry.record, []).append(entry.digest)
            self._author(owner).redact_plaintexts(digests, reason=reason)
        return over

    def check(self) -> Iterator[tuple[Entry, str]]:
        """Go through all plaintexts that are kept; yield each with what is wrong with it, an empty text if nothing is.

        Raises:
            VaultError: the vault cannot be unlocked.
        """
        vault = self.unlock()
        for entry, record in self._kept():
            wrong = "no record here has it" if record is None else ""
            if record is not None and parts(record).get(entry.name) != entry.digest:
                wrong = "its record has another digest of it"
            try:
                for _ in vault.open(entry):
                    pass
            except VaultError as error:
                wrong = error.detail
            yield entry, wrong

    def _kept(self) -> Iterator[tuple[Entry, Record | None]]:
        """Yield what is kept, with its record as far as that is held, without holding all of it at once."""
        vault, last = self.vault(), 0
        where = f"id > ? AND record IS NOT NULL AND wrapped IS NOT NULL ORDER BY id LIMIT {_AT_ONCE}"
        while entries := vault.select(where, (last,)):
            for entry in entries:
                yield entry, None if entry.record is None else self._home.ledger.context.record(entry.record)
            last = entries[-1].id

    def _destroyed(self, record: Record, name: str, digest: bytes) -> bool:
        """Tell whether a redaction that is held has a part of a record destroyed, carried out here or not."""
        context = self._home.ledger.context
        children = map(context.record, self._home.store.children(record.id, ("evidence", FLAT)))
        return any(
            child is not None
            and child.kind == "redaction"
            and child.body["target"] == record.id
            and names(child, name, digest)
            and rule_redaction(child, b"", context) is None
            for child in children
        )

    def _record(self, id: Link) -> Record:
        record = self._home.ledger.context.record(id)
        if record is None:
            raise UsageError(f"{short(id)} is not held here", code="TSLG-U-UNKNOWN", record=id)
        return record

    def _author(self, owner: Link) -> BlockingAgent:
        for agent in self._home.agents:
            if agent.id == owner:
                return agent
        mend = "do it where that agent's node keeps its keys, while no other process writes there"
        raise UsageError(f"no agent {short(owner)} writes here", mend=mend, record=owner)
