"""Forgers: records in others' names, altered records, seals that are not the author's."""

from __future__ import annotations

from tslg.protocol import record as records
from tslg.protocol.record import Record
from tslg.simulations.adversaries.hand import Hostile, hold, own_records, seal, write
from tslg.simulations.member import Member


class Forger(Hostile):
    """Makes up what others are to have recorded, alters what they did record, and serves both as theirs."""

    def act(self, member: Member) -> None:
        """Forge a record in one of three ways, and tell of it."""
        victim = self.victim(member)
        forged, sealed, why = (self._invented, self._altered, self._resealed)[member.chance.randrange(3)](
            member, victim
        )
        member.world.oracle.condemn(forged, why)
        hold(member, forged, sealed)
        member.world.notice(forged.id, victim.id, member)

    def _invented(self, member: Member, victim: Member) -> tuple[Record, bytes, str]:
        """A record at the end of another's log, sealed by its own key in the other's name."""
        made = write(member, "observation", {"source": "forged", "data": {"n": 1}}, owner=victim)
        return made, seal(made, member.key), "a forger made it in its author's name"

    def _altered(self, member: Member, victim: Member) -> tuple[Record, bytes, str]:
        """A record of another's with another content, under the seal of the true one."""
        log = own_records(victim)
        record, sealed = log[member.chance.randrange(1, len(log))]
        made = records.build(
            kind=record.kind,
            agent=record.agent,
            seq=record.seq,
            prev=record.prev,
            time=record.time + 1,
            manifest=record.manifest,
            key=record.key,
            log=record.log,
            preds=record.preds,
            body=record.body,
            hash_name="sha2-256",
        )
        return made, sealed, "a forger altered it"

    def _resealed(self, member: Member, victim: Member) -> tuple[Record, bytes, str]:
        """A record in another's log that names its own key, with which it is sealed."""
        made = write(member, "observation", {"source": "forged"}, owner=victim, key=member.id)
        return made, seal(made, member.key, member.id), "a forger made it in its author's name, under its own key"
