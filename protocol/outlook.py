"""What heads from elsewhere say of the logs that a walk read: the part of a walker that looks beyond its records.

Normative text: docs/spec/verification.md, docs/spec/anchoring.md.
"""

from __future__ import annotations

from collections.abc import Mapping

from tslg.protocol import anchoring, freshness, vouching
from tslg.protocol.checkpoint import Signed
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError
from tslg.protocol.handing_on import HandingOn
from tslg.protocol.keys import revocations_in
from tslg.protocol.logproof import LogCheck
from tslg.protocol.manifest import Manifest
from tslg.protocol.note import VerifierKey
from tslg.protocol.report import Freshness, NewestManifest, Undetermined
from tslg.protocol.vouching import Vouched


class Outlook(HandingOn):
    """The half of a walker that holds logs against heads known from elsewhere. `Walker` judges the records."""

    _manifests: dict[Link, Manifest | None]
    _unjudged: set[Link]

    def _freshness(self, checks: Mapping[Link, LogCheck]) -> tuple[list[Freshness], list[Undetermined]]:
        """Hold what was handed in against every head known from elsewhere; say so where none is known."""
        self._refuse_dead_keys()
        fresh, tails = [], []
        anchored = any(one is not None and one.envelope.anchoring is not None for one in self._manifests.values())
        for agent, records in self._by_agent().items():
            check = checks.get(agent)
            end = None if check is None else check.end
            log = freshness.Log(self._without_witnesses(records), end, self._consistency.get(agent, {}))
            source = self._ends[agent][1] if agent in self._ends else "nobody"
            entry = Freshness(agent, log.size, source, None if source == "nobody" else 0)
            vouched = self._vouched(agent)
            heads = [*self._outside.get(agent, ()), *(one.head for one in vouched)]
            for head in sorted(heads, key=lambda head: (head.size, head.source == "witness", -head.age_ms)):
                doubt = None if check is None and head.size <= log.size else freshness.hold_against(head, log)
                # What was announced a moment ago may not have come here yet.
                whole = source == "log" and not (head.source == "gossip" and head.size > log.size)
                if doubt is not None and (doubt.certain or whole):
                    self._findings.setdefault(log.newest.id, (doubt.code, doubt.detail))
                elif doubt is not None and agent == self.federation and doubt.reason == "tail":
                    tails.append(Undetermined(agent, f"frozen: {doubt.detail}"))
                elif doubt is not None:
                    tails.append(Undetermined(log.newest.id, f"{doubt.reason}: {doubt.detail}"))
                if head.size >= entry.size:
                    entry = Freshness(agent, head.size, head.source, head.age_ms)
            fresh.append(entry)
            if anchored and agent != self.federation:
                visited = [record for record in records if record.id in self._traversal.visited]
                tails.extend(vouching.unanchored(visited, log, vouched, self._manifests))
        return fresh, tails

    def cosigned(self) -> list[Signed]:
        """Return the checkpoints of logs that were met which a quorum of a manifest's witnesses cosigned."""
        return [one.signed for agent in self.met() for one in self._vouched(agent) if one.version]

    def witnesses(self) -> list[VerifierKey]:
        """Return the witnesses that manifest versions which were met name, each once."""
        asked = [one.envelope.anchoring for one in self._manifests.values() if one is not None]
        return [*dict.fromkeys(key for one in asked if one is not None for key in one.policy.witnesses)]

    def checkpoints(self) -> list[bytes]:
        """Return these checkpoints as bytes, for a bundle."""
        return [signed.to_bytes() for signed in self.cosigned()[: self.limits.checkpoints]]

    def _refuse_dead_keys(self) -> None:
        """Refuse what the reader itself handed over, if no key signed it that was in force at that size.

        Raises:
            CheckpointError: `TSLG-K-SIGNATURE`. To go on would be to claim a freshness that nobody vouches for.
        """
        for agent, heads in self._outside.items():
            ends = revocations_in(self._revocations.get(agent, {}).values()).ends
            for head in heads:
                if head.signed is not None and not anchoring.own(head.signed, self.keys.values(), ends):
                    raise CheckpointError(
                        f"the checkpoint of {head.size} records is signed by a key that was not in force by then",
                        code="TSLG-K-SIGNATURE",
                        mend="get a checkpoint from its agent's node again, or verify without it",
                        record=agent,
                    )

    def _vouched(self, agent: Link) -> list[Vouched]:
        """Return the heads of a log that its agent signed, and witnesses or another agent's record vouch for."""
        self._sift()
        if not self._claims.heads(agent):
            return []
        keys = [key for id, key in self.keys.items() if key.owner == agent and self._vouches(id)]
        manifests = [manifest for manifest in self._manifests.values() if manifest is not None]
        ends = revocations_in(self._revocations.get(agent, {}).values()).ends
        return self._claims.judge(agent, keys, ends, manifests, self._findings, self.now_ms)

    def _vouches(self, id: Link) -> bool:
        return id not in self._findings and id not in self._unjudged and self._sealed.get(id) is True

    def _newest_manifest(self) -> NewestManifest | None:
        """Return the newest version that holds, by its number and then its id."""
        known = [manifest for manifest in self._manifests.values() if manifest is not None]
        newest = max(known, key=lambda manifest: (manifest.version, manifest.id), default=None)
        return None if newest is None else NewestManifest(newest.id, newest.version, newest.expires)

    def _expired(self) -> list[Undetermined]:
        """Say so if even the newest manifest version known has expired: a newer one may be withheld."""
        newest = self._newest_manifest()
        if newest is None or newest.expires is None or self.now_ms <= newest.expires:
            return []
        reason = f"expired: manifest version {newest.version} expired at {newest.expires}, and no newer one is known"
        return [Undetermined(newest.record, reason)]
