"""Those who spoil what others ask for: withholders, liars, flooders, eclipsers, and whoever prunes and denies."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tslg.node import challenging, pruning
from tslg.node.net.errors import NotAvailable
from tslg.protocol import challenge
from tslg.protocol.codec import Link
from tslg.protocol.exchange import (
    LOG,
    WALK,
    HeadReply,
    HeadRequest,
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkEnd,
    WalkRequest,
    read_log_request,
)
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof
from tslg.protocol.record import Record, parse_as
from tslg.simulations.adversaries.hand import Hostile
from tslg.simulations.member import Member
from tslg.simulations.scenario import Group

_FLOOD: Final = 40


class Withholder(Hostile):
    """Records and announces like everybody, and hands over nothing of what it is asked for."""

    def act(self, member: Member) -> None:
        """Record something, and tell of it."""
        made = self.lawful(member, n=member.chance.getrandbits(8))
        member.world.notice(made.id, member.id, member)
        member.announce_own()

    def instead(self, member: Member, source: int, protocol: str, payload: bytes) -> list[bytes] | None:
        """Say that it withholds what was asked for."""
        if protocol == WALK:
            asked = WalkRequest.from_bytes(payload)
            return [WalkEnd(tuple((id, "withheld") for id in asked.roots)).to_bytes()]
        if protocol == LOG:
            raise NotAvailable("withheld")
        return None


class Liar(Hostile):
    """Claims heads that no log has, and hands over proofs that prove nothing."""

    def act(self, member: Member) -> None:
        """Record something, and tell of it."""
        made = self.lawful(member, n=member.chance.getrandbits(8))
        member.world.notice(made.id, member.id, member)

    def instead(self, member: Member, source: int, protocol: str, payload: bytes) -> list[bytes] | None:
        """Answer questions about logs with lies."""
        if protocol != LOG:
            return None
        asked = read_log_request(payload)
        take = member.chance.randbytes
        if isinstance(asked, HeadRequest):
            entry = member.disk.get(member.id)
            assert entry is not None
            return [HeadReply(HeadClaim(asked.agent, member.id, 1_000, take(32)), (entry.data, entry.seal)).to_bytes()]
        if isinstance(asked, ProofsRequest):
            inclusion = [InclusionProof(id, 1_000, (take(32),)) for id in asked.needs.inclusion]
            spans = [ConsistencyProof(asked.agent, old, new, (take(32),)) for old, new in asked.needs.consistency]
            return [ProofsReply(tuple(inclusion), tuple(spans)).to_bytes()]
        if isinstance(asked, RangeRequest):
            return []
        return None


class Flooder(Hostile):
    """Sends its neighbours all that they will take: garbage, repeats, and requests for everything."""

    def act(self, member: Member) -> None:
        """Flood."""
        chance = member.chance
        for peer in member.peers:
            for _ in range(_FLOOD):
                member.send_news(peer, chance.randbytes(64))
            for number in range(_FLOOD):
                request = WalkRequest((member.world.federation,), None, None).to_bytes()
                member.send_request(peer, 1_000_000 + number, WALK, request)


class Eclipser(Hostile):
    """Has whoever looks for a victim find itself, and shows the victim's log as it was long ago, or nothing."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self._victim: Link | None = None

    def act(self, member: Member) -> None:
        """Take a victim's place in the directory."""
        victim = self.victim(member)
        self._victim = victim.id
        others = [one.index for one in member.world.members if one.group == member.group]
        member.world.directory.spoil(victim.id, others)

    def instead(self, member: Member, source: int, protocol: str, payload: bytes) -> list[bytes] | None:
        """Say that nothing more of the victim is there."""
        if protocol == LOG and self._victim is not None and bytes(self._victim) in payload:
            raise NotAvailable("that log is not held whole here")
        return None


class Denier(Hostile):
    """Prunes its log, and denies that what it pruned was ever there."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self._gone: list[Record] = []

    def act(self, member: Member) -> None:
        """Record, prune, and answer a challenge with a lie, which an honest member is to see through."""
        for number in range(6):
            self.lawful(member, n=number)
        manifest = member.ledger.context.manifest(member.ledger.manifest)
        assert manifest is not None
        world = member.world
        if manifest.envelope.gc is not None:
            planned = pruning.plan(member.disk, member.id, manifest, now_ms=member.clock())
            entries = member.disk.get_many(planned.pruned.ids[:4])
            self._gone = [parse_as(id, entry.data) for id, entry in sorted(entries.items())]
            pruned = pruning.prune(member.ledger, planned)
            entry = member.disk.get(pruned.id)
            assert entry is not None
            world.oracle.true(pruned, entry.seal)
        for record in self._gone:
            truth = challenging.answer(member.disk, world.federation, record.id, record, now_ms=member.clock())
            for lie in (
                replace(truth, verdict=challenge.NEVER, prune=None, member=None),
                replace(truth, verdict=challenge.NEVER, found=truth.head, prune=None, member=None),
            ):
                world.oracle.denied(self.victim(member), record, lie)
