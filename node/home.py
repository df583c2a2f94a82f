"""A node's data directory: the lock, the store, the keys, and the federation that it belongs to.

DIR/lock              held by the one process that writes
DIR/tslg.sqlite       records, seals, edges, blobs
DIR/keys/ID.json      one file an agent: its first key and genesis (mode 0600)
DIR/keys/ID.*.key     one file for each further key of an agent (mode 0600)
DIR/keys/anchor.json  the anchor's key, where this node founded a federation of its own
DIR/keys/peer         the 32-byte seed of the node's peer id
DIR/openings/…        what opens confidential policies, one file each (mode 0600)
DIR/vault/…           plaintexts of models' steps, encrypted, and their keys, wrapped
DIR/keys/vault.key    the vault's master key, unless it is elsewhere or a passphrase (mode 0600)
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Self

from tslg.manifests import genesis as geneses
from tslg.manifests.agent_keys import SigningKey
from tslg.manifests.files import PRIVATE_MODE, is_text, read_bytes, write_once
from tslg.manifests.keys import AnchorKey, read_key, write_key
from tslg.manifests.signing import Sealed, read_sealed
from tslg.node import keyfile, pruning, redacting
from tslg.node.agent import BlockingAgent
from tslg.node.anchoring import Anchorer, Asker
from tslg.node.checkpoints import sign_head
from tslg.node.keyfile import AgentKey
from tslg.node.keyring import NAMES, TENANT, Binding, Keyring, attested
from tslg.node.ledger import Ledger
from tslg.node.openings import Openings
from tslg.node.proving import Prover
from tslg.node.store.interface import Store
from tslg.node.store.lock import DataDirLock
from tslg.node.store.opening import open_store
from tslg.node.vault.keeping import Plaintexts
from tslg.protocol.cid import short, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import AnchoringError, StoreError, UsageError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record, parse_as
from tslg.protocol.rules.bodies import rule_attestation
from tslg.protocol.rules.context import MANIFEST_KINDS, refuse

FEDERATION_META = "federation"
DEFAULT_POLICY = "default"


def wall_clock() -> int:
    """Return the time in ms since 1970 UTC."""
    return time.time_ns() // 1_000_000


def default_data_dir(name: str) -> Path:
    """Return where an agent's data lies if nothing is said: `$TSLG_HOME/name`, or below the user's data directory."""
    base = os.environ.get("TSLG_HOME")
    if base:
        return Path(base) / name
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "tslg" / name


class Home:
    """An open data directory. One process at a time writes it; use it as a context manager."""

    def __init__(
        self,
        path: Path,
        lock: DataDirLock | None,
        store: Store,
        federation: Link,
        clock: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.path = path
        self.store = store
        self.federation = federation
        self.clock = clock
        self._lock = lock
        self._random_bytes = random_bytes
        self.openings = Openings(path / "openings")
        self._agents: dict[str, BlockingAgent] = {}
        manifest = self._newest_manifest()
        self.ledger = Ledger(store, federation, manifest.id, manifest.envelope.ids, clock, random_bytes=random_bytes)
        self.keyring = Keyring(path / "keys", self.ledger, lambda: self.manifest_record, self._own_anchor, random_bytes)
        self.witnesses: Asker | None = None
        """Who is asked for cosignatures; made on first use."""
        self.anchorer = Anchorer(
            store,
            lambda: self.manifest.envelope.anchoring,
            lambda agent: sign_head(store, agent, self.keyring.note_key(agent)),
            self._ask_witnesses,
            clock,
        )
        self.plaintexts = Plaintexts(self)
        """What is kept of models' steps beside their digests."""
        if lock is not None:
            self.ledger.gate = self.anchorer
            self.ledger.plaintexts = self.plaintexts
            self.ledger.beside = path / "waiting"

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        federation: Path | Sealed | None = None,
        name: str | None = None,
        clock: Callable[[], int] = wall_clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> Self:
        """Open a data directory for writing; a new one joins `federation`, or founds one of a single organisation.

        Args:
            path: the directory; it is made if it is not there.
            federation: the federation's sealed root manifest, or the file with it, pinned on first use.
            name: the name of a federation that is founded here.
            clock: ms since 1970 UTC.
            random_bytes: a source of secret random bytes.

        Raises:
            StoreError: the directory cannot be used, or another process has it open.
            UsageError: it belongs to another federation already.
        """
        _make_dir(path)
        lock = DataDirLock(path)
        lock.acquire()
        try:
            store = open_store(path)
            try:
                pinned = store.get_meta(FEDERATION_META)
                sealed = read_sealed(federation) if isinstance(federation, Path) else federation
                if pinned is None:
                    if sealed is None:
                        sealed = _found(path, name or path.name or "tslg", clock, random_bytes)
                    _pin(store, sealed, clock)
                elif sealed is not None and sealed[0].id != pinned:
                    raise UsageError(
                        f"{path} belongs to federation {to_text(Link(pinned))}", mend="use another data directory"
                    )
                home = cls(path, lock, store, Link(store.get_meta(FEDERATION_META) or b""), clock, random_bytes)
                home.ledger.carry_out(redacting.recorded(store))
                home.plaintexts.catch_up()
                home._open_agents()
                for agent in home.agents:
                    pruning.go_on(store, agent.id)
            except BaseException:
                store.close()
                raise
        except BaseException:
            lock.release()
            raise
        return home

    @classmethod
    def read(cls, path: Path, *, clock: Callable[[], int] = wall_clock) -> Self:
        """Open an existing data directory for reading, also while another process writes it.

        Raises:
            StoreError: there is none, or it cannot be read.
        """
        store = open_store(path, readonly=True)
        pinned = store.get_meta(FEDERATION_META)
        if pinned is None:
            store.close()
            raise StoreError(f"{path} belongs to no federation yet", mend="create an agent in it first")
        return cls(path, None, store, Link(pinned), clock, os.urandom)

    def close(self) -> None:
        """Close the store and let the directory go."""
        if self.witnesses is not None:
            self.witnesses.close()
        self.plaintexts.close()
        self.store.close()
        if self._lock is not None:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def retract(self, agent: Link, target: Link, reason: str) -> Record:
        """Withdraw a record by an agent of this node. Raises UsageError."""
        for own in self.agents:
            if own.id == agent:
                return own.retract(target, reason=reason)
        raise UsageError("that agent is not of this node", record=agent)

    # --- agents ----------------------------------------------------------------------------------------------------

    @property
    def agents(self) -> list[BlockingAgent]:
        """The agents whose keys are here, by name."""
        return [self._agents[name] for name in sorted(self._agents)]

    def agent(self, name: str) -> BlockingAgent:
        """Return the agent of this name, with a key, a genesis and a default policy made if there is none.

        Raises:
            UsageError: the federation's anchors must attest its genesis, and they are not here.
        """
        found = self._agents.get(name)
        return found if found is not None else self.create_agent(name)

    def create_agent(
        self,
        name: str,
        *,
        anchors: tuple[AnchorKey, ...] = (),
        alg: int | None = None,
        binding: Binding = TENANT,
    ) -> BlockingAgent:
        """Make an agent, with the anchors whose keys are at hand attesting it if the manifest asks for it.

        Args:
            name: its name.
            anchors: the anchors' keys; those of this directory if none are given.
            alg: COSE number of its key; None for the first that the manifest lists.
            binding: what holds its key; with evidence, the prepared key that it is about is used.
        """
        anchors = anchors or self._own_anchor()
        if self.manifest.envelope.genesis_anchors > len(anchors):
            raise UsageError(
                f"the anchors of federation {short(self.federation)} attest every genesis",
                mend=f"run `tslg agent request {name}`, have the anchors sign it, then `tslg agent join`",
            )
        key = self.request_agent(name, alg, binding=binding)
        seal = geneses.attest_genesis(key.genesis, key.key, self.manifest_record, anchors)
        return self.join_agent(key, seal)

    def request_agent(
        self,
        name: str,
        alg: int | None = None,
        *,
        federations: Iterable[Link] = (),
        binding: Binding = TENANT,
    ) -> AgentKey:
        """Make an agent's key and genesis, not yet sealed. An unfinished one of that name is taken up again.

        The anchors of `federations` shall attest it beside those of the node's own.

        Raises:
            UsageError: the name is taken, the manifest allows no such key, or the evidence is about no prepared one.
            Refusal: `TSLG-A-ATTESTATION`: the manifest does not admit a key so bound.
        """
        for key in self.agent_keys():
            if key.genesis.body["name"] == name and not self.store.has(key.genesis.id):
                return key
        folder = self._key_dir()
        prepared = keyfile.read_prepared(folder, name)
        if binding.attestation is not None:
            signer = attested(prepared, binding.attestation)
        else:
            signer = self._first_key(name, alg)
        genesis = geneses.build_genesis(
            self.manifest,
            name=name,
            key=signer,
            nonce=self._random_bytes(16),
            time_ms=self.clock(),
            binding=binding.kind,
            attestation=binding.attestation,
            federations=tuple(federations),
        )
        # Judged before it is written, since a genesis that is on disk is taken up again under its name.
        refusal = rule_attestation(genesis, b"", self.ledger.context)
        if refusal is not None:
            raise refusal
        key = AgentKey(genesis, signer)
        keyfile.write(folder, key)
        return key

    def prepare_agent(self, name: str, alg: int | None = None) -> SigningKey:
        """Make the first key of an agent that is made later, so that hardware can attest it; or return it again.

        Raises:
            UsageError: the name is taken, or the manifest allows no such key.
        """
        folder = self._key_dir()
        wanted = alg or self.manifest.envelope.signatures[0]
        for key in keyfile.read_prepared(folder, name):
            if key.alg == wanted and name not in self._agents:
                return key
        key = self._first_key(name, alg)
        keyfile.write_prepared(folder, name, key)
        return key

    def _first_key(self, name: str, alg: int | None) -> SigningKey:
        if not is_text(name):
            raise UsageError("an agent's name is a text of 1 to 256 characters", mend="choose another name")
        if name in self._agents:
            raise UsageError(f"there is an agent {name!r} here already", mend="choose another name")
        envelope = self.manifest.envelope
        if alg is not None and alg not in envelope.signatures:
            allowed = ", ".join(NAMES[number] for number in envelope.signatures)
            raise UsageError(f"the manifest allows no keys of {NAMES.get(alg, alg)}", mend=f"choose {allowed}")
        number = alg or envelope.signatures[0]
        return SigningKey.generate(number, self._random_bytes, post_quantum=envelope.post_quantum)

    def join_record(self, record: Record, seal: bytes) -> None:
        """Append a registration or revocation of an agent of this node that the anchors have sealed.

        Raises:
            UsageError: it is none. Refusal: the seal does not do, or the log has grown since the request was made.
        """
        if record.kind not in ("registration", "revocation"):
            raise UsageError(f"that is a {record.kind}, which is not joined", mend="check which file it is")
        self.keyring.complete(record, seal)

    def join_agent(self, key: AgentKey, seal: bytes) -> BlockingAgent:
        """Start an agent's log with its sealed genesis and a default policy. Raises Refusal if the seal does not do."""
        self.ledger.admit(key.genesis.data, seal)
        agent = self._open_agent(key.genesis)
        self._give_policy(agent)
        return agent

    def agent_key(self, id: Link) -> AgentKey:
        """Return the secret key and genesis of an agent that was made or requested here.

        Raises:
            UsageError: its key is not in this directory. StoreError: the key file cannot be read.
        """
        path = self.path / "keys" / f"{to_text(id)}.json"
        if not path.exists():
            raise UsageError(
                f"the key of {to_text(id)} is not in {self.path}", mend="name the data directory of its node", record=id
            )
        return keyfile.read(path)

    def agent_keys(self) -> list[AgentKey]:
        """Return the keys of all agents that were made or requested here, by id."""
        return [keyfile.read(path) for path in sorted((self.path / "keys").glob("b*.json"))]

    def peer_seed(self) -> bytes:
        """Return the 32-byte seed of the node's peer id, made on first use."""
        path = self._key_dir() / "peer"
        if not path.exists():
            write_once(path, self._random_bytes(32), PRIVATE_MODE)
        return read_bytes(path, 32)

    @property
    def writable(self) -> bool:
        """Whether this process may write the directory."""
        return self._lock is not None

    @property
    def manifest(self) -> Manifest:
        """The manifest version in force: the newest that is held."""
        manifest = self.ledger.context.manifest(self.ledger.manifest)
        assert manifest is not None
        return manifest

    def federation_log(self) -> list[Record]:
        """Return the federation's log as far as it is held from its start, root manifest first."""
        state = self.store.log_state(self.federation)
        size = 0 if state is None else state.size
        return [parse_as(id, entry.data) for id, entry in self.store.log_range(self.federation, 0, size)]

    def follow_federation(self, records: Iterable[Sealed]) -> list[Record]:
        """Append records of the federation's log, in order, each through admission; return those that were new.

        A manifest version among them is in force here from then on.

        Raises:
            Refusal: an admission rule refuses one of them; those before it stay.
        """
        fresh = []
        for record, seal in records:
            if record.owner != self.federation:
                raise UsageError("that is no record of this node's federation", record=record.id)
            state = self.store.log_state(self.federation)
            before = 0 if state is None else state.size
            self.ledger.admit(record.data, seal)
            if record.seq >= before:
                fresh.append(record)
        return fresh

    @property
    def manifest_record(self) -> Record:
        """The record of the manifest version in force."""
        record = self.ledger.context.record(self.manifest.id)
        assert record is not None
        return record

    def _newest_manifest(self) -> Manifest:
        """Return the manifest version with the highest number that is held."""
        held = [record for record in self.federation_log() if record.kind in MANIFEST_KINDS]
        if not held:
            raise StoreError("the federation's manifest is not in the store", mend="restore the directory")
        return Manifest.from_record(held[-1])

    def _open_agents(self) -> None:
        for key in self.agent_keys():
            if self.store.has(key.genesis.id):
                agent = self._open_agent(key.genesis)
                self.keyring.go_over(agent.id)
                if self.store.get_meta(f"policy/{to_text(agent.id)}") is None:
                    # Whether witnesses answer is for whoever appends; the directory can be opened all the same.
                    with suppress(AnchoringError):
                        self._give_policy(agent)
        for id in self.keyring.recovered():
            self._open_agent(parse_as(id, self.store.get_many([id])[id].data))

    def _give_policy(self, agent: BlockingAgent) -> None:
        """Let an agent act under a policy of its own, which is recorded if it has none. Raises AnchoringError."""
        try:
            if not self.store.by_kind("policy", agent.id, limit=1):
                agent.policy(DEFAULT_POLICY)
        finally:
            for policy in self.store.by_kind("policy", agent.id, limit=1):
                agent.adopt(policy)

    def _ask_witnesses(self) -> Asker:
        if self.witnesses is None:
            # Imported here because an HTTP client takes longer to load than most nodes take to open.
            from tslg.node.witness.client import Witnesses
            from tslg.node.witness.urls import read_urls

            self.witnesses = Witnesses(read_urls(self.store), clock=lambda: self.clock() / 1000)
        return self.witnesses

    def _open_agent(self, genesis: Record) -> BlockingAgent:
        self.keyring.open(genesis.id)
        prover = Prover(self.openings, self._random_bytes)
        agent = BlockingAgent(self.ledger, genesis, prover, self.keyring)
        self._agents[agent.name] = agent
        return agent

    def _key_dir(self) -> Path:
        return _make_dir(self.path / "keys")

    def _own_anchor(self) -> tuple[AnchorKey, ...]:
        path = self._key_dir() / "anchor.json"
        return (read_key(path),) if path.exists() else ()


def _make_dir(path: Path) -> Path:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{path}: {error.strerror}", code="TSLG-D-PATH", mend="name a directory that can be written"
        ) from error
    return path


def _found(path: Path, name: str, clock: Callable[[], int], random_bytes: Callable[[int], bytes]) -> Sealed:
    """Found a federation of one; its root manifest and key are on disk before anything refers to them."""
    key_file = _make_dir(path / "keys") / "anchor.json"
    # A key without a pinned federation is left from a crash right here; nothing was ever signed with it that counts.
    key_file.unlink(missing_ok=True)
    founded = geneses.single_organisation(name, random_bytes=random_bytes, time_ms=clock())
    write_key(key_file, founded.anchor_keys[0])
    return founded.manifest_record, founded.seal


def _pin(store: Store, sealed: tuple[Record, bytes], clock: Callable[[], int]) -> None:
    manifest = Manifest.from_record(sealed[0])
    if sealed[0].seq != 0:
        raise UsageError("that is not a root manifest", mend="pin the federation's root manifest")
    if not manifest.proofs_hold():
        raise refuse("TSLG-A-ANCHORS", sealed[0], "an anchor's proof of possession does not hold", "do not take it up")
    ledger = Ledger(store, manifest.id, manifest.id, manifest.envelope.ids, clock)
    ledger.admit(sealed[0].data, sealed[1])
    kept = store.keep_meta(FEDERATION_META, manifest.id)
    if kept != manifest.id:
        raise UsageError(
            f"another node has just made this store one of federation {to_text(Link(kept))}", mend="open it again"
        )
