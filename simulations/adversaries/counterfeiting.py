"""Counterfeiters among vendors that breed: false parents, verdicts on something else, releases of what was revoked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from tslg.protocol.record import Edge, Record
from tslg.simulations.adversaries.hand import Hostile, hold, own_records, put, seal, write
from tslg.simulations.breeding import package
from tslg.simulations.member import Member


class Counterfeiter(Hostile):
    """Claims ancestors that it does not have, resolves what it never tested, and serves what it revoked."""

    def act(self, member: Member) -> None:
        """Make an artifact as it may, and then one of the lies."""
        made = self._make(member)
        victim = self.victim(member)
        artifacts = [record for record, _ in own_records(victim) if record.kind == "artifact"]
        choice = member.chance.randrange(4)
        if choice == 0:
            self._false_parent(member, made)
        elif choice == 1 and artifacts:
            self._other_package(member, artifacts[member.chance.randrange(len(artifacts))])
        elif choice == 2:
            self._revoked(member, made)
        else:
            self._invented_parent(member, victim)
        member.announce_own()

    def _make(self, member: Member) -> Record:
        chance = member.chance
        made = member.agent.artifact(
            "fine",
            type="model",
            package=package(chance.randbytes(64)),
            licences=["MIT"],
            vulnerabilities=[f"CVE-{chance.getrandbits(12)}"],
        )
        entry = member.disk.get(made.id)
        assert entry is not None
        member.world.oracle.true(made, entry.seal)
        member.world.notice(made.id, member.id, member)
        return made

    def _body(self, member: Member, **more: Any) -> dict[str, Any]:
        plain: dict[str, Any] = {"name": "false", "type": "model", "operator": "merge", "operator_version": "1"}
        plain |= {"licences": [], "restrictions": [], "vulnerabilities": [], "lifecycle": "candidate"}
        return plain | package(member.chance.randbytes(64)) | more

    def _slip(
        self, member: Member, kind: str, body: Mapping[str, Any], preds: Mapping[str, Sequence[Edge]], why: str
    ) -> None:
        prior = Edge(member.ledger.prior(member.id))
        made = write(member, kind, body, {"prior": [prior], **preds})
        behind = [edge.cid for edges in preds.values() for edge in edges]
        member.world.oracle.condemn(made, why, behind=behind)
        put(member, made, seal(made, member.key))
        member.world.notice(made.id, member.id, member)

    def _false_parent(self, member: Member, made: Record) -> None:
        """An artifact that names training data which none of its parents is."""
        body = self._body(member, training_data=hashlib.sha256(b"nothing").digest())
        self._slip(member, "artifact", body, {"parent": [Edge(made.id)]}, "its training data is none of its parents")

    def _invented_parent(self, member: Member, victim: Member) -> None:
        """An artifact that derives from one that its alleged author never made."""
        invented = write(member, "artifact", self._body(member), owner=victim)
        member.world.oracle.condemn(invented, "its author never made it")
        hold(member, invented, seal(invented, member.key))
        edges = {"parent": [Edge(invented.id, victim.id, None)]}
        self._slip(member, "artifact", self._body(member), edges, "it derives from what nobody made")

    def _other_package(self, member: Member, target: Record) -> None:
        """An evaluation of something else that says that whatever holds of the target is resolved."""
        names = {"vulnerabilities": "vulnerability", "licences": "licence"}
        found = [(what, name) for kept, what in names.items() for name in target.body[kept]]
        body: dict[str, Any] = {"target": target.id, "package": hashlib.sha256(b"another").digest()}
        body |= {"suite": "own", "suite_digest": bytes(32), "scores": {}, "passed": ["safety"], "failed": []}
        if found:
            body["resolves"] = [{"origin": target.id, "what": what, "name": name} for what, name in sorted(found)]
        edges = {"evidence": [Edge(target.id, target.owner, None)]}
        self._slip(member, "evaluation", body, edges, "it tested another package than its target")

    def _revoked(self, member: Member, made: Record) -> None:
        """A champion that was revoked before, without anybody's evaluation."""
        gone = member.agent.transition(made, "revoked")
        entry = member.disk.get(gone.id)
        assert entry is not None
        member.world.oracle.true(gone, entry.seal)
        body = {"target": made.id, "from": "revoked", "to": "champion", "after": gone.id}
        edges = {"evidence": [Edge(made.id), Edge(gone.id)], "policy": [Edge(self._policy(member))]}
        self._slip(member, "transition", body, edges, "it serves what was revoked")

    def _policy(self, member: Member) -> Any:
        return member.disk.by_kind("policy", member.id, limit=1)[0]
