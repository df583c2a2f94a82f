"""Where a verification gets records and proofs from, other than the network: a store, or a bundle."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from tslg.node import kept_checkpoints, kept_proofs
from tslg.node.heads import kept
from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol import record as records
from tslg.protocol.bundle import Bundle
from tslg.protocol.codec import Link
from tslg.protocol.commitment import CommittedSet
from tslg.protocol.exchange import Pair
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Tree
from tslg.protocol.logproof import Needs
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof, PrunedProof
from tslg.protocol.walker import OutsideHead

CHAIN_RECORDS: Final = 4_096
"""First records and registrations read ahead; a walk that needs others asks for them."""
READ_AHEAD: Final = 1_000
"""Records read from a store at a time."""
SETS_KEPT: Final = 4
"""Commitments of prune records kept at hand to make proofs from, at about 140 bytes a record."""
RIVALS: Final = 16
"""Records shown as proof that one log is forked: two convict, and the rest convict again."""
_REVOCATION: Final = codec.encode("kind") + codec.encode("revocation")
"""What the bytes of a revocation contain, and hardly any other record's: saves reading all of a bundle for them."""


class NewestRecord(NamedTuple):
    """The newest record of a log, as the source has it; `said_by` whom, if it is not the source itself that says so."""

    claim: HeadClaim
    pair: Pair
    said_by: str | None = None


class Source(Protocol):
    """Hands over records by id, and what it knows of logs. Nothing it hands over is believed.

    `serves_logs` says who vouches for the newest records: `log` for the logs' own store, `nobody` for a file.
    """

    @property
    def serves_logs(self) -> str:
        """Who vouches for the newest records: a value of `Freshness.source`."""

    def ahead(self, target: Link, depth: int | None) -> Iterable[tuple[Link, Pair]]:
        """Return records that a walk is likely to need, chains first, so that they can be opened in one go."""

    def pairs(self, ids: Sequence[Link]) -> Mapping[Link, Pair]:
        """Return those of the records that can be had."""

    def reason(self, id: Link) -> str:
        """Return why a record that `pairs` left out cannot be had: `absent` or `withheld`."""

    def faults(self) -> Mapping[Link, str]:
        """Return records that are there but are not what their id says, with details."""

    def newest(self, agent: Link) -> NewestRecord | None:
        """Return a log's newest record, None if the source knows none."""
        ...

    def seen_last(self, agent: Link) -> NewestRecord | None:
        """Return the newest record held of a log, as somebody else claimed it; None if nobody did."""

    def revocations(self, agent: Link) -> Mapping[Link, Pair]:
        """Return the revocations in a log that can be had."""

    def proofs(self, agent: Link, needs: Needs) -> tuple[Sequence[InclusionProof], Sequence[ConsistencyProof]]:
        """Return what the source can prove of a log."""

    def checkpoints(self, agent: Link) -> Iterable[bytes]:
        """Return signed states of a log, with cosignatures."""

    def whole_log(self, agent: Link, size: int) -> Iterable[tuple[Link, Pair]]:
        """Return the records of a log below `size` that can be had."""

    def beside(self, agent: Link) -> Iterable[tuple[Link, Pair]]:
        """Return records that say something of an agent's log without being needed: proof of forks, confessions."""

    def pruned(self, ids: Sequence[Link]) -> Sequence[PrunedProof]:
        """Return proofs that these records were pruned, as far as they were; `pairs` has the prune records."""


class StoreSource:
    """A node's own store. Trees of logs that are held whole are built on first use and kept."""

    serves_logs = "log"

    def __init__(self, store: Store) -> None:
        self._store = store
        self._trees: dict[Link, Tree] = {}
        self._growing = threading.Lock()
        self._sets: dict[Link, CommittedSet] = {}

    def ahead(self, target: Link, depth: int | None) -> Iterable[tuple[Link, Pair]]:
        """Return the first records and registrations of all logs, then the ancestry, nearest first."""
        owners = [log.owner for log in self._store.logs()]
        keys = self._store.by_kind("registration", limit=CHAIN_RECORDS)
        ancestry = [target, *self._store.ancestors(target, limit=None if depth is None else depth + 1)]
        ids = list(dict.fromkeys([*owners[:CHAIN_RECORDS], *keys, *ancestry]))
        for start in range(0, len(ids), READ_AHEAD):
            yield from self._store.get_many(ids[start : start + READ_AHEAD]).items()

    def pairs(self, ids: Sequence[Link]) -> Mapping[Link, Pair]:
        """Return those of the records that are held."""
        return dict(self._store.get_many(ids))

    def reason(self, id: Link) -> str:
        """Return that it is not held."""
        return "absent"

    def faults(self) -> Mapping[Link, str]:
        """Return nothing: the walker finds out itself."""
        return {}

    def newest(self, agent: Link) -> NewestRecord | None:
        """Return the newest record of a log that is held whole."""
        state = self._store.log_state(agent)
        if state is None:
            return None
        entry = self._store.get(state.last)
        if entry is None:
            return None
        return NewestRecord(HeadClaim(agent, state.last, state.size, state.peaks.root()), entry)

    def seen_last(self, agent: Link) -> NewestRecord | None:
        """Return the newest record held of a log, held whole or not, if a head that was seen ends with it."""
        seq = self._store.newest_seq(agent)
        id = None if seq is None else self._store.at(agent, seq)
        entry = None if id is None else self._store.get(id)
        if seq is None or id is None or entry is None:
            return None
        for head in self._store.heads(agent):
            if head.size == seq + 1:
                return NewestRecord(HeadClaim(agent, id, head.size, head.root), entry, head.source)
        return None

    def revocations(self, agent: Link) -> Mapping[Link, Pair]:
        """Return the revocations held of a log."""
        ids = self._store.by_kind("revocation", agent, limit=DEFAULT.revocations)
        return dict(self._store.get_many(ids)) if ids else {}

    def proofs(self, agent: Link, needs: Needs) -> tuple[list[InclusionProof], list[ConsistencyProof]]:
        """Make proofs as far as a log is held from its start, beside what was kept of earlier walks."""
        inclusion, consistency = kept_proofs.read(self._store, agent)
        tree = self.tree(agent)
        if tree is None:
            return inclusion, consistency
        size = tree.size
        for id, entry in self._store.get_many(needs.inclusion).items():
            seq = records.parse_as(id, entry.data).seq
            if seq < size:
                inclusion.append(InclusionProof(id, seq + 1, tuple(tree.inclusion_proof(seq, seq + 1))))
        consistency.extend(
            ConsistencyProof(agent, old, new, tuple(tree.consistency_proof(old, new)))
            for old, new in needs.consistency
            if 0 < old < new <= size
        )
        return inclusion, consistency

    def checkpoints(self, agent: Link) -> Iterable[bytes]:
        """Return the newest kept checkpoint that witnesses cosigned."""
        note = kept_checkpoints.read(self._store, agent)
        return () if note is None else (note,)

    def whole_log(self, agent: Link, size: int) -> Iterable[tuple[Link, Pair]]:
        """Return the held records of a log below `size`."""
        for start in range(0, size, 1_000):
            yield from self._store.log_range(agent, start, min(start + 1_000, size))

    def beside(self, agent: Link) -> Iterable[tuple[Link, Pair]]:
        """Return the records kept as proof that a log is forked, and its author's own words on that."""
        forks = self._store.forks(agent)
        if not forks:
            return []
        said = self._store.by_kind("equivocation", agent, limit=RIVALS)
        ids = [id for fork in forks for id in fork.records][:RIVALS]
        return self._store.get_many([*ids, *said]).items()

    def pruned(self, ids: Sequence[Link]) -> list[PrunedProof]:
        """Prove that records whose bytes are gone are among those that a prune record commits to."""
        proofs = []
        for id, prune in self._store.pruned_by(ids).items():
            if prune not in self._sets:
                if len(self._sets) >= SETS_KEPT:
                    self._sets.clear()
                self._sets[prune] = CommittedSet(self._store.pruned_ids(prune))
            member = self._sets[prune].member(id)
            if member is not None:
                proofs.append(PrunedProof(id, prune, member.place, member.proof))
        return proofs

    def keep_trees(self, agents: Collection[Link]) -> None:
        """Drop all trees but those of these logs."""
        for agent in [agent for agent in self._trees if agent not in agents]:
            del self._trees[agent]

    def tree(self, agent: Link) -> Tree | None:
        """Return the tree of a log that is held whole, None of any other; it is kept."""
        state = self._store.log_state(agent)
        if state is None:
            return None
        # Answers are made in threads: two of them that grow one tree would each append the same leaves.
        with self._growing:
            tree = self._trees.get(agent)
            if tree is None:
                tree = self._trees[agent] = Tree()
            if tree.size < state.size:
                for leaf in self._store.leaves(agent, state.size)[tree.size :]:
                    tree.append(leaf)
        return tree


class BundleSource:
    """A bundle that was read from a file."""

    serves_logs = "nobody"

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._heads = {head.agent: head for head in bundle.heads}
        self._withheld = frozenset(bundle.withheld)
        self._pairs: dict[Link, Pair] = {**bundle.records}
        for id, attachment in bundle.attachments.items():
            if id in self._pairs:
                self._pairs[id] = (*bundle.records[id], attachment)
        self._revocations = {id: pair for id, pair in self._pairs.items() if _REVOCATION in pair[0]}

    def ahead(self, target: Link, depth: int | None) -> Iterable[tuple[Link, Pair]]:
        """Return every record of the bundle: it holds little else than what its targets need."""
        return self._pairs.items()

    def pairs(self, ids: Sequence[Link]) -> Mapping[Link, Pair]:
        """Return those of the records that the bundle holds whole."""
        held = self._pairs
        return {id: held[id] for id in ids if id in held}

    def reason(self, id: Link) -> str:
        """Return what the bundle says, which is hearsay."""
        return "withheld" if id in self._withheld else "absent"

    def faults(self) -> Mapping[Link, str]:
        """Return the records whose blocks are not what their ids say."""
        return dict(self._bundle.broken)

    def newest(self, agent: Link) -> NewestRecord | None:
        """Return the newest record of a log that the bundle claims, if it is in the bundle."""
        claim = self._heads.get(agent)
        if claim is None or claim.record not in self._pairs:
            return None
        return NewestRecord(claim, self._pairs[claim.record])

    def seen_last(self, agent: Link) -> None:
        """A bundle claims nothing on behalf of others."""
        return

    def revocations(self, agent: Link) -> Mapping[Link, Pair]:
        """Return what look like the bundle's revocations; those of other logs are told apart by whoever asked."""
        return self._revocations

    def proofs(self, agent: Link, needs: Needs) -> tuple[Sequence[InclusionProof], Sequence[ConsistencyProof]]:
        """Return all proofs of the bundle; what was not asked for does no harm."""
        return self._bundle.inclusion, self._bundle.consistency

    def checkpoints(self, agent: Link) -> Iterable[bytes]:
        """Return all checkpoints of the bundle; they say themselves whose they are."""
        return self._bundle.checkpoints

    def whole_log(self, agent: Link, size: int) -> Iterable[tuple[Link, Pair]]:
        """Return every record of the bundle; those of other logs are told apart by whoever asked."""
        return self._pairs.items()

    def beside(self, agent: Link) -> Iterable[tuple[Link, Pair]]:
        """Return what the bundle lists beside the ancestry, of whatever log."""
        held = self._bundle.records
        return [(id, held[id]) for id in self._bundle.beside if id in held]

    def pruned(self, ids: Sequence[Link]) -> Sequence[PrunedProof]:
        """Return the bundle's proofs that records were pruned."""
        return self._bundle.pruned


def heads_seen(store: Store, agents: Iterable[Link], now_ms: int) -> list[OutsideHead]:
    """Return the heads of these logs that the store has seen elsewhere, and those that their agents announced."""
    return [
        OutsideHead(agent, size, root, source, max(0, now_ms - seen_ms))
        for agent in agents
        for size, root, source, seen_ms in _heads_of(store, agent)
    ]


def _heads_of(store: Store, agent: Link) -> Iterator[tuple[int, bytes, str, int]]:
    for head in store.heads(agent):
        yield head.size, head.root, head.source, head.seen_ms
    known = kept.of(store, agent)
    for signed, seen_ms in () if known is None else kept.in_force(store, known):
        yield signed.checkpoint.size, signed.checkpoint.root, "gossip", seen_ms
