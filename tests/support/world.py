"""A small federation in memory whose every key is at hand: builds any record, right or wrong, and seals it as told.

Everything follows from the seed and from the clock that a test sets; nothing is random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from tslg.manifests import genesis as geneses
from tslg.manifests import text, threshold
from tslg.manifests.agent_keys import SigningKey, sign_seats
from tslg.manifests.genesis import FoundedFederation
from tslg.node.sources import NewestRecord
from tslg.node.verifying import verify
from tslg.protocol import admission, attachments, committed, disclosure, signatures
from tslg.protocol import record as records
from tslg.protocol import seal as seals
from tslg.protocol.admission import RULES
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.exchange import Pair
from tslg.protocol.flat import flatten, recover
from tslg.protocol.governing.state import Semantic
from tslg.protocol.keys import Key, Revocations, key_of, revocations_in
from tslg.protocol.kinds import KINDS
from tslg.protocol.lifecycle import place
from tslg.protocol.log import Tree
from tslg.protocol.logproof import Needs
from tslg.protocol.manifest import Manifest
from tslg.protocol.past import Past
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof, PrunedProof
from tslg.protocol.record import Edge, Head, Record
from tslg.protocol.report import Report
from tslg.protocol.rules.context import Pruned, Rule, Tail
from tslg.protocol.rules.seals import seats
from tslg.protocol.seal import Signature, to_be_signed
from tslg.protocol.signatures import Alg, ed25519_secret, ed25519_sign

NOW = 1_700_000_000_000

ONE = """
[federation]
name = "One"
[anchors]
scheme = "multisig"
threshold = 1
members = ["a"]
[envelope]
classes = ["internal", "public"]
tiers = ["low", "high"]
[envelope.genesis]
anchors = {attested}
"""

HYBRID = ONE.format(attested=0).replace("[envelope]", '[envelope]\naddress = { hybrid = "blake3" }')
MERKLE = ONE.format(attested=0).replace("[envelope]", '[envelope]\naddress = "merkle"')

THREE = """
[federation]
name = "Three"
[anchors]
scheme = "{scheme}"
threshold = 2
members = ["a", "b", "c"]
[envelope]
classes = ["internal", "public"]
tiers = ["low", "high"]
[envelope.genesis]
anchors = 2
"""


def source(seed: str) -> Callable[[int], bytes]:
    """Return a source of bytes that the seed alone determines."""
    count = 0

    def take(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(f"{seed}/{count}".encode()).digest()[:size]

    return take


@cache
def founded(toml: str, seed: str) -> FoundedFederation:
    """Return the federation of a manifest text, made once for each seed."""
    return geneses.found_federation(text.parse(toml), random_bytes=source(seed), time_ms=NOW)


@dataclass
class Author:
    """One log, its keys by the record that registers each, and the ids of its records in order."""

    owner: Link
    keys: dict[Link, SigningKey | bytes] = field(repr=False)
    key: Link | None
    log: list[Record]
    tree: Tree = field(default_factory=Tree)

    @property
    def last(self) -> Record:
        return self.log[-1]

    @property
    def prior(self) -> Record:
        """The newest state, or the genesis: what a flat federation's records derive from."""
        return next(record for record in reversed(self.log) if record.kind in ("state", "genesis"))

    def push(self, record: Record) -> None:
        self.log.append(record)
        self.tree.append(record.id)

    def fork(self, size: int) -> Author:
        """Return the same author as it was after `size` records, to write another history."""
        return Author(self.owner, dict(self.keys), self.key, self.log[:size], Tree(r.id for r in self.log[:size]))


class World:
    """An `admission.Context` over a graph in memory, and the keys to extend it.

    Args:
        toml: the manifest's text.
        seed: what everything derives from.
    """

    def __init__(self, toml: str = ONE.format(attested=0), seed: str = "world") -> None:
        self._take = source(seed)
        self.founded = founded(toml, seed)
        self.federation = self.founded.manifest_record.id
        self.now_ms = NOW + 1_000_000
        self.complete = True
        self.plans: dict[bytes, Pruned] = {}
        self.time = NOW
        self.held: dict[Link, Record] = {}
        self._past = (0, Past([], self))
        self.seals: dict[Link, bytes] = {}
        self.attached: dict[Link, bytes] = {}
        self.anchors = Author(self.federation, {}, None, [])
        self.authors: dict[Link, Author] = {self.federation: self.anchors}
        self._manifests: dict[Link, Manifest] = {}
        self.put(self.founded.manifest_record, self.founded.seal)

    # --- the context of the rules ----------------------------------------------------------------------------------

    def record(self, id: Link) -> Record | None:
        return self.held.get(id)

    def seal_of(self, id: Link) -> bytes | None:
        return self.seals.get(id)

    def manifest(self, id: Link) -> Manifest | None:
        held = self.held.get(id)
        if held is None or held.kind not in ("manifest", "manifest-amendment"):
            return None
        if id not in self._manifests:
            self._manifests[id] = Manifest.from_record(held)
        return self._manifests[id]

    def key(self, id: Link) -> Key | None:
        held = self.held.get(id)
        return None if held is None else key_of(held)

    def ended(self, id: Link, record: Record) -> Record | None:
        return self._known_past().ended(id, record)

    def answered(self, id: Link, record: Record) -> Record | None:
        return self._known_past().answered(id, record)

    def _known_past(self) -> Past:
        if self._past[0] != len(self.held):
            self._past = len(self.held), Past(self.held.values(), self)
        return self._past[1]

    def revocations(self, owner: Link) -> Revocations:
        author = self.authors.get(owner)
        return revocations_in(() if author is None else author.log)

    def pruned(self, root: bytes) -> Pruned | None:
        return self.plans.get(root)

    def stretch(self, owner: Link, first: int, last: int) -> Sequence[bytes] | None:
        author = self.authors.get(owner)
        return None if author is None else [record.id for record in author.log[first : last + 1]]

    def taken(self, record: Record) -> Record | None:
        author = self.authors.get(record.owner)
        before = () if author is None else author.log[: record.seq]
        return next((one for one in before if one.kind == record.kind and place(one) == place(record)), None)

    def tail(self, owner: Link) -> Tail | None:
        author = self.authors.get(owner)
        if author is None:
            return None
        return Tail(len(author.log), author.last.id, author.last.time, author.tree.root())

    def semantic(self, owner: Link) -> Semantic:
        at = Semantic()
        for record in self.authors[owner].log if owner in self.authors else ():
            at = at.after(record)
        return at

    def attachment(self, id: Link) -> bytes | None:
        return self.attached.get(id)

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        return signatures.verify(alg, public, message, signature)

    # --- making records --------------------------------------------------------------------------------------------

    def make(
        self,
        author: Author,
        kind: str,
        body: Mapping[str, Any] | None = None,
        preds: Mapping[str, Iterable[Record | Edge]] | None = None,
        as_written: Mapping[str, list[Edge]] | None = None,
        **fields: Any,
    ) -> Record:
        """Return the next record of a log; `fields` replaces any of its fields, for better or worse.

        Edges are put into the form of the manifest, unless they are given `as_written`.
        """
        newest = self.manifest(self.newest_manifest)
        flat = newest is not None and newest.envelope.edges == "flat" and author.owner != self.federation
        if preds is None:
            preds = {"prior": [author.prior if flat else author.last]}
        self.time += 10
        size = len(author.log)
        edges = {name: [self.edge(author, item) for item in items] for name, items in preds.items()}
        if flat:
            edges = flatten(edges)
        value: dict[str, Any] = {
            "kind": kind,
            "agent": author.owner,
            "seq": size,
            "prev": author.last.id,
            "time": max(self.time, author.last.time),
            "manifest": self.newest_manifest,
            "key": author.key,
            "log": Head(size, author.tree.root()),
            "preds": edges if as_written is None else as_written,
            "body": dict(BODIES.get(kind, {})) | dict(body or {}),
            "hash_name": self.founded.manifest.envelope.ids,
        }
        return self._built(value | fields)

    def _built(self, value: dict[str, Any]) -> Record:
        """Build a record, which under the address scheme `merkle` only commits to its fields; the rest is attached."""
        kind = KINDS.get(value["kind"])
        merkle = self.founded.manifest.envelope.address == "merkle"
        if not merkle or kind is None or not kind.committed or committed.ROOT in value["body"]:
            return records.build(**value)
        salts = [self._take(committed.SALT_BYTES) for _ in kind.committed]
        body, leaves = committed.commit(kind, value["body"], salts)
        record = records.build(**(value | {"body": body}))
        self.attached[record.id] = disclosure.encode(leaves)
        return attachments.check(record, self.attached[record.id])

    @property
    def newest_manifest(self) -> Link:
        return next(r.id for r in reversed(self.anchors.log) if r.kind in ("manifest", "manifest-amendment"))

    def edge(self, author: Author, item: Record | Edge) -> Edge:
        if isinstance(item, Edge):
            return item
        return Edge(item.id) if item.owner == author.owner else Edge(item.id, item.owner, None)

    def genesis(self, name: str, **body: Any) -> tuple[Record, SigningKey]:
        """Return a genesis and its key, not sealed."""
        key = self.fresh_key()
        value = {"nonce": self._take(16), "name": name, "binding": "tenant", **key.fields()}
        fields = {"agent": None, "seq": 0, "prev": None, "key": None, "log": None}
        author = Author(self.federation, {}, None, [self.founded.manifest_record])
        return self.make(author, "genesis", value | body, {}, **fields), key

    def agent(self, name: str) -> Author:
        """Admit a genesis and return its author."""
        genesis, seed = self.genesis(name)
        author = Author(genesis.id, {genesis.id: seed}, genesis.id, [])
        self.authors[genesis.id] = author
        seal = self.seal_genesis(genesis, seed)
        del self.authors[genesis.id]
        self.admit(genesis, seal, author)
        return author

    def add(
        self,
        author: Author,
        kind: str,
        body: Mapping[str, Any] | None = None,
        preds: Mapping[str, Iterable[Record | Edge]] | None = None,
        **fields: Any,
    ) -> Record:
        """Make, seal and admit the next record of a log."""
        record = self.make(author, kind, body, preds, **fields)
        self.admit(record, self.seal(record, author), author)
        return record

    def fresh_key(self, alg: int = -19, manifest: Link | None = None) -> SigningKey:
        """Make a key, with a post-quantum half if the manifest asks for one."""
        in_force = self.manifest(manifest or self.newest_manifest)
        assert in_force is not None
        return SigningKey.generate(alg, self._take, post_quantum=in_force.envelope.post_quantum)

    def rotate(self, author: Author, alg: int = -19, **fields: Any) -> Record:
        """Register another signing key, and sign with it from here on."""
        record, key = self.registration(author, alg, **fields)
        author.keys[record.id] = key
        self.admit(record, self.seal(record, author), author)
        author.key = record.id
        return record

    def registration(self, author: Author, alg: int = -19, **fields: Any) -> tuple[Record, SigningKey]:
        """Return the registration of another signing key, not sealed."""
        key = self.fresh_key(alg)
        return self.make(
            author, "registration", {"purpose": "signing", "binding": "tenant", **key.fields()}, **fields
        ), key

    def revoke(self, author: Author, key: Record | Link, from_seq: int | None = None, **fields: Any) -> Record:
        """End a key, from the next position on if none is given."""
        return self.add(author, "revocation", self.ending(author, key, from_seq), **fields)

    def ending(self, author: Author, key: Record | Link, from_seq: int | None = None) -> dict[str, Any]:
        """Return the body of a revocation that comes next in a log."""
        start = len(author.log) + 1 if from_seq is None else from_seq
        return {"key": key.id if isinstance(key, Record) else key, "from_seq": start, "reason": "lost"}

    def amend(self, **envelope: Any) -> Record:
        """Admit the next manifest version, by the same anchors."""
        body = self.amended_body(**envelope)
        newest = self.held[self.newest_manifest]
        return self.add(self.anchors, "manifest-amendment", body, {"amends": [newest]})

    def amended_body(self, **envelope: Any) -> dict[str, Any]:
        """Return the body of the next manifest version."""
        newest = self.held[self.newest_manifest]
        body = dict(newest.body)
        body["version"] += 1
        body["envelope"] = dict(body["envelope"]) | envelope
        return body

    # --- sealing ---------------------------------------------------------------------------------------------------

    def seal(self, record: Record, author: Author) -> bytes:
        """Seal a record as its place demands."""
        if record.kind == "manifest-amendment":
            old = record.preds["amends"][0].cid
            return seals.encode([self.by_anchors(record, old, True), self.by_anchors(record, record.id, True)])
        if author.owner == self.federation:
            kid = record.id if record.manifest is None else record.manifest
            return seals.encode([self.by_anchors(record, kid)])
        return self.seal_agent(record, author.keys)

    def seal_genesis(self, genesis: Record, key: SigningKey | bytes) -> bytes:
        return self.seal_agent(genesis, {genesis.id: key})

    def seal_agent(self, record: Record, keys: Mapping[Link, SigningKey | bytes]) -> bytes:
        """Seal an agent's record as its manifest asks, whoever else must sign."""
        key = key_of(record) if record.key is None else self.key(record.key)
        manifest = self.manifest(record.manifest or record.id) or self.founded.manifest
        assert key is not None
        wanted = seats(record, key, manifest)
        held = {id: key if isinstance(key, SigningKey) else SigningKey(-19, key) for id, key in keys.items()}
        entries = sign_seats(record, wanted, held)
        if wanted[-1].anchors is not None:
            entries.append(self.by_anchors(record, wanted[-1].kid, True))
        return seals.encode(entries)

    def by_anchors(self, record: Record, kid: Link, many: bool = False, signers: Sequence[int] = (0, 1)) -> Signature:
        """Return the entry of those anchors (members of the root manifest) whose indices are given."""
        anchors = self.founded.manifest.anchors
        message = to_be_signed(record.data, anchors.scheme, many=many)
        keys = self.founded.anchor_keys
        partials = {i: threshold.partial_sign(keys[i].secret, message) for i in signers if i < len(keys)}
        if anchors.scheme == Alg.BLS_MULTISIG:
            value, bitmap = threshold.combine_multisig(partials, len(keys))
            return Signature(anchors.scheme, kid, value, bitmap)
        members = [member.key for member in anchors.members]
        return Signature(anchors.scheme, kid, threshold.combine(partials, len(partials), members, message))

    # --- the graph -------------------------------------------------------------------------------------------------

    def judge(self, record: Record, seal: bytes, without: Rule | None = None) -> Refusal | None:
        """Judge a record by all rules, or by all but one."""
        return admission.judge(record, seal, self, [rule for rule in RULES if rule is not without])

    def judge_as_book(self, record: Record) -> Refusal | None:
        """Judge an unsealed record as a ledger does, by all rules of records and their predecessors."""
        return admission.RuleBook(self).refusal(record, b"")

    def admit(self, record: Record, seal: bytes, author: Author) -> None:
        """Pass a record through every rule and append it."""
        admission.admit(record, seal, self)
        self.put(record, seal, author)

    def put(self, record: Record, seal: bytes, author: Author | None = None) -> Record:
        """Hold a record whatever the rules say; in `author`'s log if one is given, else in the owner's if it fits."""
        self.held[record.id] = recover(record, self.held.get)
        self.seals[record.id] = seal
        if author is None:
            author = self.authors.get(record.owner)
        if author is not None and record.seq == len(author.log):
            author.push(record)
            self.authors.setdefault(author.owner, author)
        return record

    def slip(self, author: Author, kind: str, *args: Any, **fields: Any) -> Record:
        """Append a record that is sealed well, whatever the other rules say."""
        record = self.make(author, kind, *args, **fields)
        return self.put(record, self.seal(record, author), author)

    # --- verification ----------------------------------------------------------------------------------------------

    def supply(self) -> Supply:
        """Return a source that hands over all of the graph as it is now."""
        pairs = {id: self.pair(id) for id in self.held}
        logs = {owner: [record.id for record in author.log] for owner, author in self.authors.items()}
        supply = Supply(pairs, logs)
        for owner, author in self.authors.items():
            supply.revoking[owner] = [record.id for record in author.log if record.kind == "revocation"]
        return supply

    def pair(self, id: Link) -> Pair:
        """Return a record as it travels."""
        plain = (self.held[id].data, self.seals[id])
        return (*plain, self.attached[id]) if id in self.attached else plain

    def verify(self, target: Record, supply: Supply | None = None, **how: Any) -> Report:
        """Verify a record's ancestry from a source, by default from all of the graph."""
        how = {"now_ms": self.now_ms} | how
        return verify(supply if supply is not None else self.supply(), target.id, self.federation, **how)


class Supply:
    """A source of records and log proofs in memory (`node.sources.Source`), to be tampered with.

    Attributes:
        pairs: records by id, as they travel.
        logs: the ids of each log in order, from which heads and proofs are made.
    """

    def __init__(self, pairs: dict[Link, Pair], logs: dict[Link, list[Link]]) -> None:
        self.handed = pairs
        self.logs = logs
        self.serves_logs = "log"
        self.faulty: dict[Link, str] = {}
        self.revoking: dict[Link, list[Link]] = {}
        self.heads = True
        self.shown: list[Link] = []
        self.gone: list[PrunedProof] = []
        self.proves = True

    def pairs(self, ids: Sequence[Link]) -> Mapping[Link, Pair]:
        return {id: self.handed[id] for id in ids if id in self.handed}

    def ahead(self, target: Link, depth: int | None) -> Iterable[tuple[Link, Pair]]:
        return ()

    def faults(self) -> Mapping[Link, str]:
        return self.faulty

    def newest(self, agent: Link) -> NewestRecord | None:
        log = self.logs.get(agent)
        if not self.heads or not log or log[-1] not in self.handed:
            return None
        return NewestRecord(HeadClaim(agent, log[-1], len(log), Tree(log).root()), self.handed[log[-1]])

    def seen_last(self, agent: Link) -> None:
        return None

    def revocations(self, agent: Link) -> Mapping[Link, tuple[bytes, bytes]]:
        return {id: self.handed[id] for id in self.revoking.get(agent, ()) if id in self.handed}

    def proofs(self, agent: Link, needs: Needs) -> tuple[Sequence[InclusionProof], Sequence[ConsistencyProof]]:
        log = self.logs.get(agent, [])
        if not self.proves:
            return [], []
        tree = Tree(log)
        inclusion = [
            InclusionProof(id, log.index(id) + 1, tuple(tree.inclusion_proof(log.index(id), log.index(id) + 1)))
            for id in needs.inclusion
            if id in log
        ]
        consistency = [
            ConsistencyProof(agent, old, new, tuple(tree.consistency_proof(old, new)))
            for old, new in needs.consistency
            if 0 < old <= new <= len(log)
        ]
        return inclusion, consistency

    def checkpoints(self, agent):
        return ()

    def whole_log(self, agent: Link, size: int) -> Iterable[tuple[Link, Pair]]:
        return [(id, self.handed[id]) for id in self.logs.get(agent, [])[:size] if id in self.handed]

    def reason(self, id: Link) -> str:
        return "absent"

    def beside(self, agent: Link) -> Iterable[tuple[Link, tuple[bytes, bytes]]]:
        return [(id, self.handed[id]) for id in self.shown]

    def pruned(self, ids: Sequence[Link]) -> Sequence[PrunedProof]:
        return self.gone


def sign(
    record: Record, key: SigningKey | bytes, kid: Link, many: bool = False, alg: int = int(Alg.ED25519)
) -> Signature:
    """Return the entry of an Ed25519 key in a seal."""
    seed = key.seed if isinstance(key, SigningKey) else key
    return Signature(alg, kid, ed25519_sign(ed25519_secret(seed), to_be_signed(record.data, Alg.ED25519, many=many)))


BODIES: Mapping[str, Mapping[str, Any]] = {
    "peer-set": {"name": "peers", "members": []},
    "correction-policy": {"name": "corrections", "rules": []},
    "gc-policy": {"name": "gc", "horizon_ms": 0, "kinds": []},
    "policy": {
        "name": "policy",
        "capabilities": ["read", "write"],
        "limits": {"n": 5},
        "classes": ["internal"],
        "tiers": ["low"],
        "not_before": None,
        "not_after": None,
    },
    "state": {"data": {}},
    "action": {"name": "act"},
    "decision": {"name": "decide", "outcome": "yes"},
    "observation": {"source": "sensor"},
    "delegation": {"task": {}, "expires": NOW + 500_000, "hops": 0},
    "answer": {"outcome": "result"},
    "verification": {
        "verdict": "valid",
        "depth": None,
        "signatures": "all",
        "edges": 0,
        "records": 1,
        "report": bytes(32),
        "frontier": [],
    },
}
