"""What happens when a record is altered, when one is dropped, and when authority is claimed that was never granted.

Each case is a bundle made from the honest one, and the report of whoever verifies it.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tslg.node.demo.errors import DemoError
from tslg.node.demo.judging import INSPECT, OK
from tslg.node.sources import BundleSource
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle as bundles
from tslg.protocol import record as records
from tslg.protocol import seal as seals
from tslg.protocol.bundle import Bundle
from tslg.protocol.codec import Link
from tslg.protocol.frames import encode_varint
from tslg.protocol.log import Tree
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof
from tslg.protocol.record import Edge, Head, Record
from tslg.protocol.report import Report
from tslg.protocol.seal import Signature, to_be_signed
from tslg.protocol.signatures import Alg, ed25519_secret, ed25519_sign

UNGRANTED = "deploy:production"
"""The authority that vendor B claims in the forged case."""


def read(content: bytes) -> Bundle:
    """Return a bundle read from its bytes. Raises BundleError."""
    return bundles.read(io.BytesIO(content))


def judged(content: bytes, now_ms: int, depth: int | None = None) -> Report:
    """Return the report of verifying a bundle's first target, in full or within `depth` edges.

    Raises:
        BundleError: it is no bundle at all.
    """
    bundle = read(content)
    return verify(BundleSource(bundle), bundle.targets[0], bundle.federation, now_ms=now_ms, depth=depth)


def altered(content: bytes, victim: Record) -> bytes:
    """Return the bundle with one bit of one byte in the victim's block turned over."""
    at = _block(content, victim)[1] - len(victim.data) // 2
    return content[:at] + bytes((content[at] ^ 1,)) + content[at + 1 :]


def dropped(content: bytes, victim: Record) -> bytes:
    """Return the bundle without the victim's block."""
    start, end = _block(content, victim)
    return content[:start] + content[end:]


def _block(content: bytes, record: Record) -> tuple[int, int]:
    """Return the offsets of a record's block in a bundle: of its length, and of its end."""
    block = encode_varint(len(record.id) + len(record.data)) + record.id + record.data
    start = content.find(block)
    if start < 0:
        raise DemoError("the bundle does not hold the record", record=record.id)
    return start, start + len(block)


# --- forging -------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Pen:
    """Writes records behind the end of a log, whether or not the log is the writer's own.

    Attributes:
        owner: the agent whose log it claims to write.
        key: the record that it names as the key's.
        seed: the 32-byte seed that it really signs with.
        ids: the log so far.
        time: of every record written, ms.
        manifest: the manifest version that it names.
    """

    owner: Link
    key: Link
    seed: bytes = field(repr=False)
    ids: list[Link]
    time: int
    manifest: Link
    written: dict[Link, tuple[bytes, bytes]] = field(default_factory=dict)

    def write(self, kind: str, body: Mapping[str, Any], **preds: Iterable[Edge]) -> Record:
        """Write and sign one record."""
        tree = self.tree()
        made = records.build(
            kind=kind,
            agent=self.owner,
            seq=tree.size,
            prev=self.ids[-1],
            time=self.time,
            manifest=self.manifest,
            key=self.key,
            log=Head(tree.size, tree.root()),
            preds=preds,
            body=body,
        )
        signature = ed25519_sign(ed25519_secret(self.seed), to_be_signed(made.data, Alg.ED25519))
        self.written[made.id] = (made.data, seals.encode([Signature(int(Alg.ED25519), self.key, signature)]))
        self.ids.append(made.id)
        return made

    def tree(self) -> Tree:
        """Return the log's tree."""
        return Tree(self.ids)


@dataclass(frozen=True, slots=True)
class Forgery:
    """The forged bundle, and which of its records are forged, by what they claim."""

    content: bytes
    policy: Link
    delegation: Link
    overreach: Link


def forged(honest: Bundle, summary: Record, delegation: Record, delegator: Pen, delegate: Pen) -> Forgery:
    """Let vendor B claim what vendor A never granted, twice, and return the bundle that proves its claim.

    First it writes into A's log, as A, a wider policy and a delegation of it to itself, and signs both with its own
    key. Then, in its own log, it decides under A's genuine delegation, but by a wider policy of its own. The bundle's
    target is a decision under the first that rests on the second.

    Args:
        honest: the bundle that everything else is taken from.
        summary: B's genuine answer, cited as evidence.
        delegation: A's genuine delegation to B.
        delegator: at the end of A's log, with B's key.
        delegate: at the end of B's log, with B's key.
    """
    a, b = delegator.owner, delegate.owner
    wide = delegator.write("policy", _policy("anything goes"), prior=[Edge(a)])
    fake = delegator.write(
        "delegation",
        {"delegate": b, "task": {"deploy": "now"}, "grant": wide.id, "expires": delegation.body["expires"], "hops": 0},
        prior=[Edge(a)],
        policy=[Edge(wide.id)],
    )
    own = delegate.write("policy", _policy("my own rules"), prior=[Edge(b)])
    overreach = delegate.write(
        "decision",
        {"name": "deploy", "outcome": OK, "uses": [UNGRANTED]},
        prior=[Edge(b)],
        policy=[Edge(own.id)],
        evidence=[Edge(summary.id)],
        delegation=[Edge(delegation.id, a, None)],
    )
    claim = delegate.write(
        "decision",
        {"name": "deploy", "outcome": OK, "uses": [UNGRANTED]},
        prior=[Edge(b)],
        policy=[Edge(wide.id, a, None)],
        evidence=[Edge(overreach.id)],
        delegation=[Edge(fake.id, a, None)],
    )
    return Forgery(_write(honest, claim, delegator, delegate), wide.id, fake.id, overreach.id)


def _policy(name: str) -> dict[str, Any]:
    empty: dict[str, Any] = {"limits": {}, "classes": [], "tiers": [], "not_before": None, "not_after": None}
    return {"name": name, "capabilities": sorted((INSPECT, UNGRANTED)), **empty}


def _write(honest: Bundle, target: Record, delegator: Pen, delegate: Pen) -> bytes:
    """Write the forged bundle with every log proof that its maker can give, so that nothing but the lie is wrong."""
    pens = {pen.owner: pen for pen in (delegator, delegate)}
    bundle = replace(
        honest,
        targets=(target.id,),
        heads=tuple(HeadClaim(owner, pen.ids[-1], len(pen.ids), pen.tree().root()) for owner, pen in pens.items()),
        inclusion=(),
        consistency=(),
        records={**honest.records, **delegator.written, **delegate.written},
    )
    walker = walk(BundleSource(bundle), target.id, honest.federation, now_ms=delegate.time).walker
    inclusion, consistency = [], []
    for owner, needs in walker.wants_proofs().items():
        tree, ids = pens[owner].tree(), pens[owner].ids
        for id in needs.inclusion:
            seq = ids.index(id)
            inclusion.append(InclusionProof(id, seq + 1, tuple(tree.inclusion_proof(seq, seq + 1))))
        for old, new in needs.consistency:
            consistency.append(ConsistencyProof(owner, old, new, tuple(tree.consistency_proof(old, new))))
    stream = io.BytesIO()
    bundles.write(
        stream,
        federation=bundle.federation,
        manifest=bundle.manifest,
        targets=bundle.targets,
        heads=bundle.heads,
        inclusion=inclusion,
        consistency=consistency,
        records=[(id, *pair) for id, pair in bundle.records.items()],
    )
    return stream.getvalue()
