"""Those who take authority that nobody gave them: wideners of policies, inventors of delegations, colluding anchors."""

from __future__ import annotations

from typing import Any, Final

from tslg.protocol import record as records
from tslg.protocol.codec import Link
from tslg.protocol.exchange import LOG, RangeRequest, read_log_request, records_chunk
from tslg.protocol.record import Edge
from tslg.simulations.adversaries.hand import Hostile, hold, own_records, put, seal, write
from tslg.simulations.member import Member
from tslg.simulations.scenario import Group

_WIDE: Final = ["buy", "read", "scan", "sell", "sign", "write"]


class Widener(Hostile):
    """Gives itself a policy that is wider than the one it derives from, and acts beyond what it was allowed."""

    def act(self, member: Member) -> None:
        """Widen a policy and act under it, or act beyond one."""
        policy = member.disk.by_kind("policy", member.id, limit=1_000)[-1]
        state = member.disk.log_state(member.id)
        assert state is not None
        prior, choice = member.id, member.chance.random()
        if choice < 0.4:
            body: dict[str, Any] = {"name": "wide", "capabilities": _WIDE, "limits": {"spend": 10_000}}
            body |= {"classes": [], "tiers": [], "not_before": None, "not_after": None}
            wide = write(member, "policy", body, {"prior": [Edge(state.last)], "policy": [Edge(policy)]})
            self._slip(member, wide, "wider than the policy that it derives from", [policy])
            behind, policy, why = [wide.id, policy], wide.id, "under a policy that is wider than it may be"
        elif choice < 0.7:
            behind, why = [policy], "beyond the policy that it names"
        else:
            newer = member.agent.policy("work", capabilities=["buy"], limits={"spend": 10}, amends=policy)
            entry = member.disk.get(newer.id)
            assert entry is not None
            member.world.oracle.true(newer, entry.seal)
            prior, behind, why = newer.id, [policy, newer.id], "under a policy that was superseded before it"
        preds = {"prior": [Edge(prior)], "policy": [Edge(policy)]}
        uses = ["buy"] if prior != member.id else ["sign"]
        done = write(member, "action", {"name": "beyond", "uses": uses}, preds)
        self._slip(member, done, why, behind)
        member.world.notice(done.id, member.id, member)
        member.announce_own()

    def _slip(self, member: Member, record: records.Record, why: str, behind: list[Link]) -> None:
        member.world.oracle.condemn(record, why, behind=behind)
        put(member, record, seal(record, member.key))


class Inventor(Hostile):
    """Acts for others under delegations that were never made, or were made to somebody else."""

    def act(self, member: Member) -> None:
        """Invent a delegation, or take another's."""
        world, oracle = member.world, member.world.oracle
        victim = self.victim(member)
        made = [record for record, _ in own_records(victim) if record.kind == "delegation"]
        given = [record for record in made if record.body["delegate"] != member.id]
        if given:
            grant, delegation = given[-1].body["grant"], given[-1].id
            why = "under a delegation to somebody else"
            for record, sealed in own_records(victim):
                hold(member, record, sealed)
        else:
            policy = victim.disk.by_kind("policy", victim.id, limit=1)
            if not policy:
                return
            body = {"delegate": member.id, "task": {}, "grant": policy[0], "expires": member.clock() + 3_600_000}
            body["hops"] = 0
            invented = write(member, "delegation", body, {"policy": [Edge(policy[0])]}, owner=victim)
            oracle.condemn(invented, "its author never made it")
            hold(member, invented, seal(invented, member.key))
            grant, delegation, why = policy[0], invented.id, "under a delegation that was never made"
        preds = {
            "prior": [Edge(member.id)],
            "policy": [Edge(grant, victim.id, None)],
            "delegation": [Edge(delegation, victim.id, None)],
        }
        done = write(member, "action", {"name": "for you", "principal": victim.id}, preds)
        oracle.condemn(done, why, behind=[delegation])
        put(member, done, seal(done, member.key))
        world.notice(done.id, member.id, member)
        member.announce_own()


class Colluder(Hostile):
    """An anchor that, with fewer others than it takes, puts a manifest in force that opens all doors to it."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self._made: list[tuple[records.Record, bytes]] = []

    def act(self, member: Member) -> None:
        """Have too few anchors amend the manifest, and record under that."""
        founding, oracle = member.world.founding, member.world.oracle
        signers = range(founding.quorum - 1)
        if not self._made and signers:
            amended, sealed = founding.amend({"fan_in": {"min": 1, "max": 256}}, member.clock(), signers)
            oracle.condemn(amended, "fewer anchors than the threshold signed it", "threshold")
            self._made.append((amended, sealed))
            hold(member, amended, sealed)
        if not self._made:
            return
        made = write(member, "observation", {"source": "colluder"}, manifest=self._made[0][0].id)
        oracle.condemn(made, "its manifest is signed by too few anchors", "threshold")
        put(member, made, seal(made, member.key))
        member.world.notice(made.id, member.id, member)
        member.announce_own()

    def instead(self, member: Member, source: int, protocol: str, payload: bytes) -> list[bytes] | None:
        """Hand its manifest to whoever asks for the federation's log."""
        if protocol != LOG or not self._made:
            return None
        asked = read_log_request(payload)
        if isinstance(asked, RangeRequest) and asked.agent == member.world.federation:
            return [records_chunk([(record.data, sealed) for record, sealed in self._made])]
        return None


class Usurper(Colluder):
    """Anchors enough to amend, who do it behind the others' backs: a second history of the federation itself."""

    def act(self, member: Member) -> None:
        """Amend in secret, and record under that."""
        world = member.world
        if not self._made:
            amended, sealed = world.founding.amend({"fan_in": {"min": 1, "max": 200}}, member.clock())
            world.oracle.usurped(amended, sealed)
            self._made.append((amended, sealed))
            hold(member, amended, sealed)
        made = write(member, "observation", {"source": "usurper"}, manifest=self._made[0][0].id)
        sealed = seal(made, member.key)
        world.oracle.true(made, sealed)
        put(member, made, sealed)
        world.notice(made.id, member.id, member)
        member.announce_own()
