"""What checkpoints from anywhere say of the logs of a walk: which are believed, and which records they do not cover.

A checkpoint counts if a verified key of the log's own agent signed it. Cosigned by a quorum of a manifest version's
witnesses it vouches for what records under that version, or an older one, must be anchored by. Normative text:
docs/spec/anchoring.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from tslg.protocol import anchoring
from tslg.protocol.checkpoint import Signed, parse_log, verify
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError
from tslg.protocol.freshness import Log, OutsideHead, shows
from tslg.protocol.keys import Key
from tslg.protocol.limits import Limits
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.report import Undetermined

_PER_LOG = 64
"""Checkpoints of one log that a walk looks at: the largest of those that it was handed, and of those that are cited."""


class Claim(NamedTuple):
    """A checkpoint that nobody verified yet, and the record that cites it, if one does."""

    signed: Signed
    cited_by: Record | None = None

    def head(self, source: str, age_ms: int) -> OutsideHead:
        """Return what it states as a head known from elsewhere."""
        stated = self.signed.checkpoint
        return OutsideHead(stated.agent, stated.size, stated.root, source, age_ms)


class Vouched(NamedTuple):
    """A head that is believed, and the newest manifest version whose quorum of witnesses cosigned it; 0 for none."""

    head: OutsideHead
    version: int
    signed: Signed


class Claims:
    """The checkpoints that a walk was handed, by log."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_agent: dict[Link, list[Claim]] = {}

    def hand(self, note: bytes, keys: Mapping[Link, Sequence[Key]]) -> None:
        """Take a checkpoint that somebody handed over, who may lie: dropped unless a key of its agent signed it.

        Args:
            note: the checkpoint as it came.
            keys: by agent, the keys that the walk holds, verified or not: whoever has none cannot crowd out others.
        """
        signed = self._read(note)
        if signed is not None and any(verify(signed, key.public) for key in keys.get(signed.checkpoint.agent, ())):
            self._keep(Claim(signed))

    def cite(self, note: bytes, record: Record) -> None:
        """Take the checkpoint that a record carries."""
        signed = self._read(note)
        if signed is not None:
            self._keep(Claim(signed, record))

    def _read(self, note: bytes) -> Signed | None:
        try:
            signed = parse_log(note, self._limits)
        except CheckpointError:
            return None
        return signed

    def _keep(self, claim: Claim) -> None:
        known = self._by_agent.setdefault(claim.signed.checkpoint.agent, [])
        alike = [one for one in known if (one.cited_by is None) == (claim.cited_by is None)]
        if any(one.signed == claim.signed for one in alike):
            return
        known.append(claim)
        if len(alike) >= _PER_LOG:
            known.remove(min([*alike, claim], key=lambda one: one.signed.checkpoint.size))

    def heads(self, agent: Link) -> list[OutsideHead]:
        """Return what is claimed of a log, to ask for the proofs that hold it against the log."""
        return [claim.head("witness", 0) for claim in self._by_agent.get(agent, ())]

    def judge(
        self,
        agent: Link,
        keys: Sequence[Key],
        ends: Mapping[Link, int],
        manifests: Iterable[Manifest],
        broken: Mapping[Link, object],
        now_ms: int,
    ) -> list[Vouched]:
        """Return what is believed of a log.

        Args:
            agent: the log's agent.
            keys: verified keys of any agents.
            ends: from which position revoked keys are dead.
            manifests: the verified manifest versions.
            broken: records that break a rule: what they cite says nothing.
            now_ms: the reader's clock.
        """
        asked = [manifest for manifest in manifests if manifest.envelope.anchoring is not None]
        found = []
        for claim in self._by_agent.get(agent, ()):
            if not anchoring.own(claim.signed, keys, ends):
                continue
            version, seen = _quorum(claim.signed, asked, now_ms)
            if version:
                found.append(Vouched(claim.head("witness", max(0, now_ms - seen)), version, claim.signed))
            elif claim.cited_by is not None and claim.cited_by.id not in broken:
                found.append(Vouched(claim.head("record", max(0, now_ms - claim.cited_by.time)), 0, claim.signed))
        return found


def unanchored(
    records: Iterable[Record], log: Log, vouched: Sequence[Vouched], manifests: Mapping[Link, Manifest | None]
) -> list[Undetermined]:
    """Return, of records whose manifest asks for anchoring, the first that no cosigned checkpoint covers.

    Args:
        records: records of one agent's log, in any order.
        log: what was read of that log.
        vouched: what is believed of it.
        manifests: the manifest versions by id.
    """
    covered: dict[int, int] = {}
    for one in vouched:
        if one.version and shows(one.head, log):
            covered[one.version] = max(one.head.size, covered.get(one.version, 0))
    lacking = []
    for record in records:
        manifest = manifests.get(record.manifest) if record.manifest is not None else None
        if manifest is None or manifest.envelope.anchoring is None:
            continue
        reach = max((size for version, size in covered.items() if version >= manifest.version), default=0)
        if record.seq >= reach:
            lacking.append(record)
    if not lacking:
        return []
    first = min(lacking, key=lambda record: record.seq)
    reason = f"unanchored: no checkpoint that a quorum of witnesses cosigned covers it ({len(lacking)} of its log)"
    return [Undetermined(first.id, reason)]


def _quorum(signed: Signed, manifests: Iterable[Manifest], now_ms: int) -> tuple[int, int]:
    """Return the newest version whose quorum cosigned, and when it had; zeros if none has."""
    best = (0, 0)
    for manifest in manifests:
        assert manifest.envelope.anchoring is not None
        seen = anchoring.vouched(signed, manifest.envelope.anchoring, now_ms)
        if seen is not None:
            best = max(best, (manifest.version, seen))
    return best
