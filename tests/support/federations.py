"""A small federation of two vendors with real keys and seals, made by hand so that a test can break any rule."""

from __future__ import annotations

import copy
import hashlib
import io
from collections.abc import Iterable, Mapping
from functools import cache

from nacl.signing import SigningKey

from tslg.manifests import bls
from tslg.protocol import bundle, committed, disclosure, logproof, seal
from tslg.protocol.chains import rests_on
from tslg.protocol.cid import Link
from tslg.protocol.kinds import KINDS
from tslg.protocol.log import Tree
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof
from tslg.protocol.record import Edge, Head, Record, build
from tslg.protocol.seal import Signature

ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
THRESHOLD, MULTISIG, ED25519 = -70001, -70002, -19
START = 1_700_000_000_000
DAY = 86_400_000


def seeded(text: str, size: int = 32) -> bytes:
    """Bytes that the text determines."""
    return hashlib.sha512(text.encode()).digest()[:size]


def scalar(number: int) -> bytes:
    return (number % ORDER).to_bytes(32, "big")


COEFFICIENTS = [int.from_bytes(seeded(f"coefficient {i}"), "big") % ORDER for i in range(2)]
"""Of the polynomial behind a threshold of two: the group's secret is its value at 0, member i's that at i + 1."""
SHARES = [scalar(COEFFICIENTS[0] + COEFFICIENTS[1] * (i + 1)) for i in range(3)]


@cache
def anchors(scheme: int) -> dict:
    """The `anchors` of a manifest: two of three."""
    members = [
        {"name": f"anchor {i}", "key": bls.public_key(share), "possession": bls.prove_possession(share)}
        for i, share in enumerate(SHARES)
    ]
    group = bls.public_key(scalar(COEFFICIENTS[0])) if scheme == THRESHOLD else None
    return {"scheme": scheme, "threshold": 2, "members": members, "group_key": group}


def envelope(**changes) -> dict:
    """The envelope of a manifest, strict where that is not in the way."""
    reserved = ("access", "anchoring", "corrections", "gc", "recording", "redaction", "retention", "rotation")
    return {
        "hash": "sha2-256",
        "address": "flat",
        "edges": "typed",
        "signatures": [ED25519],
        "post_quantum": False,
        "fan_in": {"min": 1, "max": 8},
        "verify_depth": 50,
        "cross_agent": {"kinds": ["action", "decision", "delegation", "policy"], "peers": None},
        "genesis": {"anchors": 2},
        "classes": ["high", "low"],
        "tiers": ["basic", "expert"],
        "clock_skew_ms": 60_000,
        **{name: {} for name in reserved},
        **changes,
    }


def anchors_sign(data: bytes, scheme: int, kid: bytes, *, many: bool, signers: Iterable[int] = (0, 1)) -> Signature:
    """The anchors' signature; under multisig by these signers."""
    message = seal.to_be_signed(data, scheme, many=many)
    if scheme == THRESHOLD:
        return Signature(scheme, bytes(kid), bls.sign(scalar(COEFFICIENTS[0]), message))
    value = bls.aggregate([bls.sign(SHARES[i], message) for i in signers])
    return Signature(scheme, bytes(kid), value, bytes((sum(1 << i for i in signers),)))


def key_sign(key: SigningKey, data: bytes, kid: bytes, *, many: bool = False) -> Signature:
    return Signature(ED25519, bytes(kid), key.sign(seal.to_be_signed(data, ED25519, many=many)).signature)


def policy_body(name: str, **changes) -> dict:
    return {
        "name": name,
        "capabilities": ["read", "write"],
        "limits": {"usd": 100},
        "classes": ["high", "low"],
        "tiers": ["basic", "expert"],
        "not_before": None,
        "not_after": START + 100 * DAY,
        **changes,
    }


class Log:
    """One log with its keys. `add` makes the next record, seals it and keeps both."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.key = SigningKey(seeded(f"key of {name}"))
        self.key_record: Link | None = None
        self.manifest: Record | None = None
        self.records: list[Record] = []
        self.seals: dict[Link, bytes] = {}
        self.attachments: dict[Link, bytes] = {}

    @property
    def owner(self) -> Link:
        return self.records[0].id

    @property
    def last(self) -> Record:
        return self.records[-1]

    def tree(self) -> Tree:
        return Tree(record.id for record in self.records)

    def keep(self, record: Record, sealed: bytes) -> Record:
        self.records.append(record)
        self.seals[record.id] = sealed
        return record

    def make(self, kind: str, preds: Mapping[str, Iterable[Edge]], body: Mapping, **changes) -> Record:
        """The next record, any of whose fields can be changed."""
        seq = len(self.records)
        fields = {
            "agent": self.owner if seq else None,
            "seq": seq,
            "prev": self.last.id if seq else None,
            "time": START + seq * 1000,
            "manifest": None if self.manifest is None else self.manifest.id,
            "key": self.key_record if seq else None,
            "log": Head(seq, self.tree().root()) if seq else None,
        }
        if self.manifest is None or self.manifest.body["envelope"]["address"] != "merkle" or not KINDS[kind].committed:
            return build(kind=kind, preds=preds, body=body, **({"hash_name": self.ids} | fields | changes))
        salts = [seeded(f"salt {i} of {self.name} {seq}", 16) for i in range(len(KINDS[kind].committed))]
        shown, leaves = committed.commit(KINDS[kind], body, salts)
        record = build(kind=kind, preds=preds, body=shown, **(fields | changes))
        self.attachments[record.id] = disclosure.encode(leaves)
        return record

    @property
    def ids(self) -> str:
        """How ids are computed."""
        if self.manifest is None or type(self.manifest.body["envelope"]["address"]) is not dict:
            return "sha2-256"
        return f"sha2-256+{self.manifest.body['envelope']['address']['hybrid']}"

    def add(self, kind: str, preds: Mapping[str, Iterable[Edge]], body: Mapping, **changes) -> Record:
        record = self.make(kind, preds, body, **changes)
        if self.key_record is None:
            scheme = self.manifest.body["anchors"]["scheme"]
            return self.keep(record, seal.encode([anchors_sign(record.data, scheme, self.manifest.id, many=False)]))
        return self.keep(record, seal.encode([key_sign(self.key, record.data, self.key_record)]))

    def state(self, **changes) -> Record:
        return self.add("state", {"prior": [self.own(self.last)]}, {"data": {"step": len(self.records)}}, **changes)

    @staticmethod
    def own(record: Record) -> Edge:
        return Edge(record.id)

    @staticmethod
    def foreign(record: Record) -> Edge:
        return Edge(record.id, record.owner, None)


class Federation:
    """Two vendors, A and B, under a manifest that was amended once; A delegates to B, and decides on what B did.

    `root` and `amended` change fields of the two manifests' bodies, `signers` who signs for the amended one.
    """

    def __init__(self, root: Mapping = {}, amended: Mapping = {}, signers: Iterable[int] = (0, 2)) -> None:
        self.signers = tuple(signers)
        self.log, self.a, self.b = Log("federation"), Log("A"), Log("B")
        self.loose: dict[Link, Record] = {}
        self.root = self._manifest("manifest", 1, THRESHOLD, {}, root)
        self.log.keep(self.root, seal.encode([anchors_sign(self.root.data, THRESHOLD, self.root.id, many=False)]))
        self.log.manifest = self.root
        prior = {"prior": [Log.own(self.root)]}
        self.charter = self.log.add("policy", prior, policy_body("charter"))
        self.current = self._manifest("manifest-amendment", 2, MULTISIG, {"amends": [Log.own(self.root)]}, amended)
        both = [
            anchors_sign(self.current.data, THRESHOLD, self.root.id, many=True),
            anchors_sign(self.current.data, MULTISIG, self.current.id, many=True),
        ]
        self.log.keep(self.current, seal.encode(both))
        self.log.manifest = self.current
        self._begin(self.a)
        self._begin(self.b)
        self._act()

    def amend(self, entries: Mapping = {}, **fields) -> Record:
        """Put the next version into force, with other entries of the envelope and other fields of the body."""
        before = self.log.manifest
        body = {**before.body, "version": before.body["version"] + 1, **fields}
        body["envelope"] = {**body["envelope"], **entries}
        record = self.log.make("manifest-amendment", {"amends": [Log.own(before)]}, body)
        kids = (before.id, record.id)
        self.log.keep(record, seal.encode([anchors_sign(record.data, MULTISIG, kid, many=True) for kid in kids]))
        for log in self.logs():
            log.manifest = record
        return record

    def clone(self) -> Federation:
        """A copy whose logs can be continued without touching this one."""
        other = copy.copy(self)
        for name in ("log", "a", "b"):
            log = copy.copy(getattr(self, name))
            log.records, log.seals = list(log.records), dict(log.seals)
            log.attachments = dict(log.attachments)
            setattr(other, name, log)
        other.loose = dict(self.loose)
        return other

    def _manifest(self, kind: str, version: int, scheme: int, preds: Mapping, changes: Mapping) -> Record:
        body = {
            "nonce": seeded(f"nonce {version}", 16),
            "name": "Two vendors",
            "version": version,
            "anchors": anchors(scheme),
            "envelope": envelope(),
            **changes,
        }
        return self.log.make(kind, preds, body)

    def _begin(self, log: Log) -> None:
        log.manifest = self.current
        record = log.make("genesis", {}, self.genesis_body(log))
        entries = [
            key_sign(log.key, record.data, record.id, many=True),
            anchors_sign(record.data, MULTISIG, self.current.id, many=True, signers=self.signers),
        ]
        log.keep(record, seal.encode(entries))
        log.key_record = record.id

    @staticmethod
    def genesis_body(log: Log) -> dict:
        key = bytes(log.key.verify_key)
        nonce = seeded(f"nonce of {log.name}", 16)
        return {"nonce": nonce, "name": log.name, "alg": ED25519, "key": key, "binding": "tenant"}

    def _act(self) -> None:
        a, b = self.a, self.b
        own, foreign = Log.own, Log.foreign
        a.state()
        self.policy = a.add(
            "policy",
            {"prior": [own(a.last)], "policy": [foreign(self.charter)]},
            policy_body("A's", limits={"usd": 50}),
        )
        for _ in range(5):
            a.state()
        self.delegation = a.add("delegation", {"policy": [own(self.policy)]}, self.delegation_body(self.policy))
        b.state()
        b.state()
        self.narrow = b.add(
            "policy",
            {"prior": [own(b.last)], "policy": [foreign(self.policy)], "delegation": [foreign(self.delegation)]},
            policy_body("B's", limits={"usd": 10}, capabilities=["read"], not_after=START + 9 * DAY),
        )
        b.state()
        b.state()
        fresh = SigningKey(seeded("second key of B"))
        body = {"purpose": "signing", "alg": ED25519, "key": bytes(fresh.verify_key), "binding": "tenant"}
        self.rotation = b.add("registration", {"prior": [own(b.last)]}, body)
        b.key, b.key_record = fresh, self.rotation.id
        b.state()
        self.seen = b.add("observation", {"prior": [own(b.last)]}, {"source": "sensor", "data": {"reading": "3.5"}})
        self.action = b.add("action", self.under(evidence=[own(self.seen)]), self.action_body())
        for _ in range(3):
            b.state()
        for _ in range(4):
            a.state()
        self.target = a.add(
            "decision",
            {"policy": [own(self.policy)], "evidence": [foreign(self.action)], "prior": [own(a.last)]},
            {"name": "pay", "outcome": "approved", "uses": ["write"], "spends": {"usd": 9}, "tier": "expert"},
        )
        a.state()
        a.state()

    def delegation_body(self, grant: Record, **changes) -> dict:
        body = {"delegate": self.b.owner, "task": {"do": "check"}, "grant": grant.id, "hops": 1}
        return {**body, "expires": START + 10 * DAY, **changes}

    def under(self, **more: Iterable[Edge]) -> dict:
        """Edges of a record that B makes under A's delegation."""
        return {"policy": [Log.own(self.narrow)], "delegation": [Log.foreign(self.delegation)], **more}

    def action_body(self, **changes) -> dict:
        body = {"name": "check", "uses": ["read"], "spends": {"usd": 3}, "class": "low", "principal": self.a.owner}
        return {**body, **changes}

    # --- bundles

    def logs(self) -> list[Log]:
        return [self.log, self.a, self.b]

    def needed(self, target: Record) -> list[Record]:
        """What an unbounded verification of the target reads: its ancestry, and the chains of keys and manifests."""
        known = {record.id: record for log in self.logs() for record in log.records} | self.loose
        found: dict[Link, Record] = {}
        todo = [target.id]
        while todo:
            record = known[todo.pop()]
            if record.id not in found:
                found[record.id] = record
                todo += [edge.cid for edge in record.edges() if edge.cid in known]
        todo = [self.root.id, *(link for record in found.values() for link in chain(record))]
        while todo:
            record = known.get(todo.pop())
            if record is not None and record.id not in found:
                found[record.id] = record
                todo += chain(record)
        return list(found.values())

    def bundle(self, target: Record, *, heads: bool = True, **changes) -> bytes:
        """The bundle of one target. `changes` replace arguments of `bundle.write`."""
        records = self.needed(target)
        claims, inclusion, consistency = [], [], []
        for log in self.logs():
            mine = [record for record in records if record.owner == log.owner and record.id not in self.loose]
            if not mine:
                continue
            tree = log.tree()
            if heads:
                claims.append(HeadClaim(log.owner, log.last.id, tree.size, tree.root()))
                records += [] if log.last in mine else [log.last]
                mine += [] if log.last in mine else [log.last]
            needs = logproof.needs(mine)
            seqs = {record.id: record.seq for record in mine}
            for id in needs.inclusion:
                size = seqs[id] + 1
                inclusion.append(InclusionProof(id, size, tuple(tree.inclusion_proof(size - 1, size))))
            for old, new in needs.consistency:
                consistency.append(ConsistencyProof(log.owner, old, new, tuple(tree.consistency_proof(old, new))))
        seals = {id: sealed for log in self.logs() for id, sealed in log.seals.items()}
        arguments = {
            "federation": self.root.id,
            "manifest": self.current.id,
            "targets": [target.id],
            "heads": claims,
            "inclusion": inclusion,
            "consistency": consistency,
            "records": [(record.id, record.data, seals[record.id]) for record in records],
            "attachments": {
                record.id: log.attachments[record.id]
                for log in self.logs()
                for record in records
                if record.id in log.attachments
            },
        }
        stream = io.BytesIO()
        bundle.write(stream, **(arguments | changes))
        return stream.getvalue()


def chain(record: Record) -> list[Link]:
    """The records that vouch for a record: its log's first, its manifest, its key, and the version it amends."""
    return [link for link in (record.agent, record.manifest, record.key, *rests_on(record)) if link is not None]


def rebuilt(data: bytes, **changes) -> bytes:
    """The same bundle with some arguments of `bundle.write` replaced by functions of what it held."""
    held = bundle.read(io.BytesIO(data))
    arguments = {
        "federation": held.federation,
        "manifest": held.manifest,
        "targets": list(held.targets),
        "heads": list(held.heads),
        "inclusion": list(held.inclusion),
        "consistency": list(held.consistency),
        "records": [(link, record, sealed) for link, (record, sealed) in held.records.items()],
        "beside": list(held.beside),
    }
    stream = io.BytesIO()
    bundle.write(stream, **(arguments | {name: change(arguments[name]) for name, change in changes.items()}))
    return stream.getvalue()


def without(data: bytes, dropped: bytes) -> bytes:
    """The same bundle without the block of one id, which stays listed."""
    whole = io.BytesIO(data)
    kept = []
    while section := _section(whole):
        if dropped not in section[:80]:
            kept.append(section)
    return b"".join(kept)


def _section(stream: io.BytesIO) -> bytes:
    start = stream.tell()
    length = shift = 0
    while byte := stream.read(1):
        length |= (byte[0] & 127) << shift
        shift += 7
        if byte[0] < 128:
            break
    stream.seek(stream.tell() + length)
    end = stream.tell()
    stream.seek(start)
    return stream.read(end - start)
