"""A federation in one process for a run: its manifest, its log, its anchors' keys, and the agents' first records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tslg.manifests import genesis as geneses
from tslg.manifests import text, threshold, versions
from tslg.manifests.agent_keys import SigningKey
from tslg.protocol import seal as seals
from tslg.protocol.codec import Link
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.seal import Signature, to_be_signed
from tslg.protocol.signatures import Alg
from tslg.simulations import chance
from tslg.simulations.engine import EPOCH_MS

Sealed = tuple[Record, bytes]

_TEXT = """
[federation]
name = "simulated"
[anchors]
scheme = "{scheme}"
threshold = {threshold}
members = [{members}]
[envelope]
classes = ["internal", "public"]
tiers = ["low", "high"]
verify_depth = {depth}
[envelope.genesis]
anchors = {attested}
"""


class Founding:
    """A federation, and all its secrets.

    Args:
        seed: what everything derives from.
        scheme: `multisig` or `threshold`.
        anchors, quorum: how many anchors there are, and how many of them sign.
        depth: D_verify of the manifest, None for unbounded.
        attested: how many anchors attest a genesis.
        more: what else the manifest's text says.
    """

    def __init__(
        self,
        seed: int,
        *,
        scheme: str = "multisig",
        anchors: int = 1,
        quorum: int = 1,
        depth: int | None = None,
        attested: int = 0,
        more: str = "",
    ) -> None:
        self._seed = seed
        self.quorum = quorum
        members = ", ".join(f'"anchor-{index}"' for index in range(anchors))
        bound = '"unbounded"' if depth is None else str(depth)
        source = _TEXT.format(scheme=scheme, threshold=quorum, members=members, depth=bound, attested=attested)
        made = geneses.found_federation(
            text.parse(source + more), random_bytes=chance.bytes_of(seed, "federation"), time_ms=EPOCH_MS - 1_000
        )
        self.keys = made.anchor_keys
        self.root = made.manifest_record
        self.log: list[Sealed] = [(made.manifest_record, made.seal)]
        self.attested = attested

    @property
    def id(self) -> Link:
        """The federation's id."""
        return self.root.id

    @property
    def manifest(self) -> Manifest:
        """The manifest version in force."""
        return Manifest.from_record(self.manifest_record)

    @property
    def manifest_record(self) -> Record:
        """The record of the manifest version in force."""
        found: Record = next(one for one, _ in reversed(self.log) if one.kind in ("manifest", "manifest-amendment"))
        return found

    def agent(self, name: str) -> tuple[Record, bytes, SigningKey]:
        """Return a sealed genesis and its key."""
        take = chance.bytes_of(self._seed, "agent", name)
        key = SigningKey.generate(int(Alg.ED25519), take)
        genesis = geneses.build_genesis(self.manifest, name=name, nonce=take(16), time_ms=EPOCH_MS, key=key)
        return genesis, geneses.attest_genesis(genesis, key, self.manifest_record, self.keys), key

    def amend(self, envelope: Mapping[str, Any], now_ms: int, signers: Sequence[int] | None = None) -> Sealed:
        """Return the next manifest version as these anchors seal it (by index; as few as it needs, if none are named).

        It is appended to the log only by `publish`: too few signers make what no honest node admits.
        """
        body = dict(self.manifest_record.body)
        body["version"] += 1
        body["envelope"] = dict(body["envelope"]) | dict(envelope)
        record = versions.amendment([one for one, _ in self.log], body, time_ms=max(now_ms, self.log[-1][0].time))
        chosen = range(self.quorum) if signers is None else signers
        old = record.preds["amends"][0].cid
        entries = [self.by_anchors(record, old, chosen), self.by_anchors(record, record.id, chosen)]
        return record, seals.encode(entries)

    def gc_policy(self, horizon_ms: int, kinds: Sequence[str], now_ms: int) -> None:
        """Have the federation allow that records of these kinds are let go of, and name that in its manifest."""
        body = {"name": "gc", "horizon_ms": horizon_ms, "kinds": sorted(kinds)}
        history = [one for one, _ in self.log]
        record = versions.federation_record(history, "gc-policy", body, time_ms=max(now_ms, history[-1].time))
        assert record.manifest is not None
        signature = self.by_anchors(record, record.manifest, range(self.quorum), many=False)
        self.publish((record, seals.encode([signature])))
        self.publish(self.amend({"gc": {"policy": record.id}}, now_ms))

    def publish(self, sealed: Sealed) -> None:
        """Append a record to the federation's log."""
        self.log.append(sealed)

    def by_anchors(self, record: Record, kid: Link, signers: Sequence[int], many: bool = True) -> Signature:
        """Return the entry of these anchors in a seal, whether they are enough or not."""
        scheme = self.manifest.anchors.scheme
        message = to_be_signed(record.data, scheme, many=many)
        partials = {index: threshold.partial_sign(self.keys[index].secret, message) for index in signers}
        if scheme == Alg.BLS_MULTISIG:
            value, bitmap = threshold.combine_multisig(partials, len(self.keys))
            return Signature(scheme, kid, value, bitmap)
        members = [member.key for member in self.manifest.anchors.members]
        return Signature(scheme, kid, threshold.combine(partials, len(partials), members, message))
