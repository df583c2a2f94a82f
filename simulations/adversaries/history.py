"""Two histories of one log: equivocators, to everyone and to a few, and thieves of keys who rewrite what was."""

from __future__ import annotations

from tslg.manifests.agent_keys import SigningKey
from tslg.node.heads.making import told_of
from tslg.node.serving import Server
from tslg.node.store.interface import LogState
from tslg.node.store.memory import MemoryStore
from tslg.protocol.announcing import HeadNews
from tslg.protocol.checkpoint import Checkpoint, encode
from tslg.protocol.codec import Link
from tslg.protocol.exchange import LOG, WALK
from tslg.protocol.log import Peaks
from tslg.protocol.record import Record
from tslg.protocol.signatures import ed25519_secret
from tslg.simulations.adversaries.hand import Hostile, own_records, seal, write
from tslg.simulations.member import Member, peer_name
from tslg.simulations.scenario import Group


class OtherHistory:
    """A second history of a log, up to some record the same as the first, with a server of its own.

    Args:
        member: who writes it.
        owner: whose log.
        size: where it parts from the first.
        count: how many records it has from there.
        key: the key that seals it.
    """

    def __init__(self, member: Member, owner: Member, size: int, count: int, key: SigningKey) -> None:
        self.store = MemoryStore()
        self.owner = owner
        for record, sealed in member.world.founding.log:
            self.store.append([(record, sealed)])
        self._append(own_records(owner)[:size])
        self.made: list[tuple[Record, bytes]] = []
        shadow = _Shadow(owner, self.store)
        for number in range(count):
            made = write(member, "observation", {"source": "other", "data": {"n": number}}, owner=shadow)  # type: ignore[arg-type]
            pair = (made, seal(made, key))
            self.made.append(pair)
            self._append([pair])
        self.server = Server(self.store, lambda agent: ())

    def _append(self, log: list[tuple[Record, bytes]]) -> None:
        state = self.store.log_state(self.owner.id)
        peaks = Peaks() if state is None else state.peaks.copy()
        for record, _ in log:
            peaks.append(record.id)
        last = log[-1][0]
        self.store.append(log, [LogState(self.owner.id, last.seq + 1, last.id, last.time, peaks)])

    def head(self) -> tuple[int, bytes]:
        """Return the size and root of the log as it has it."""
        state = self.store.log_state(self.owner.id)
        assert state is not None
        return state.size, state.peaks.root()

    def news(self, key: SigningKey) -> bytes:
        """Return the announcement of its head, signed."""
        size, root = self.head()
        note = encode(Checkpoint.of(self.owner.id, size, root), ed25519_secret(key.seed))
        return HeadNews(note, told_of(self.store, self.owner.id)).to_bytes()


class _Shadow:
    """An owner whose log is as another store has it."""

    def __init__(self, owner: Member, store: MemoryStore) -> None:
        self.id: Link = owner.id
        self.disk = store


class Equivocator(Hostile):
    """Writes two histories of its own log, and shows one half of the world one and the other half the other."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self.other: OtherHistory | None = None

    def shows_other(self, member: Member, source: int) -> bool:
        """Tell whether a peer is shown the second history."""
        return source % 2 == 1

    def act(self, member: Member) -> None:
        """Part the histories, once; after that write on in the first."""
        oracle = member.world.oracle
        if self.other is not None:
            self.lawful(member, n=2)
            member.announce_own()
            return
        state = member.disk.log_state(member.id)
        assert state is not None
        self.lawful(member, n=0)
        self.other = OtherHistory(member, member, state.size, 1, member.key)
        first = member.disk.log_state(member.id)
        assert first is not None
        for record, sealed in self.other.made:
            oracle.true(record, sealed)
        oracle.forked(member.id, {(first.size, first.peaks.root()): 0, self.other.head(): 1})
        own, others = self._own_news(member), self.other.news(member.key)
        for peer in member.peers:
            payload = others if self.shows_other(member, peer) else own
            member.send_news(peer, payload)
        member.world.notice(self.other.made[0][0].id, member.id, member)

    def _own_news(self, member: Member) -> bytes:
        state = member.disk.log_state(member.id)
        assert state is not None
        note = encode(Checkpoint.of(member.id, state.size, state.peaks.root()), ed25519_secret(member.key.seed))
        return HeadNews(note, told_of(member.disk, member.id)).to_bytes()

    def instead(self, member: Member, source: int, protocol: str, payload: bytes) -> list[bytes] | None:
        """Serve the second history to those who are shown it."""
        if self.other is None or protocol not in (WALK, LOG) or not self.shows_other(member, source):
            return None
        return list(self.other.server.answer(protocol, payload, peer_name(source)))


class Splitter(Equivocator):
    """Shows its second history to one neighbour alone."""

    def shows_other(self, member: Member, source: int) -> bool:
        """Tell whether a peer is the one."""
        return bool(member.peers) and source == member.peers[0]


class Rewriter(Hostile):
    """Steals an honest member's key, once, rewrites the end of its log, and goes on sealing once the key is revoked."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self.other: OtherHistory | None = None
        self._stolen: SigningKey | None = None

    def act(self, member: Member) -> None:
        """Rewrite a victim's last records with its key, or write on in its name after it revoked that."""
        if self.other is not None:
            self._haunt(member, self.other.owner)
            return
        victim = self.victim(member)
        state = victim.disk.log_state(victim.id)
        if state is None or state.size < 4 or not victim.up or victim.disk.by_kind("registration", victim.id, limit=1):
            return
        self._stolen = victim.key
        cut = max(2, state.size - 3)
        other = self.other = OtherHistory(member, victim, cut, state.size - cut, victim.key)
        oracle = member.world.oracle
        for record, sealed in other.made:
            oracle.true(record, sealed)
            oracle.readings.made(record, "in a log that a thief of its key rewrote", member.world.loop.now)
        oracle.stolen(victim, {other.head(): 1})
        payload = other.news(victim.key)
        for peer in member.peers:
            member.send_news(peer, payload)
        member.world.notice(other.made[-1][0].id, victim.id, member)

    def _haunt(self, member: Member, victim: Member) -> None:
        """Append to the victim's log, as it is now, under the key that it revoked."""
        revoked = victim.disk.by_kind("revocation", victim.id, limit=1)
        state = victim.disk.log_state(victim.id)
        if not revoked or state is None or self._stolen is None:
            return
        self.other = OtherHistory(member, victim, state.size, 1, self._stolen)
        made = self.other.made[0][0]
        why = "the key that sealed it was revoked before it"
        member.world.oracle.condemn(made, why, behind=revoked, by_holding=True)
        member.world.notice(made.id, victim.id, member)

    def instead(self, member: Member, source: int, protocol: str, payload: bytes) -> list[bytes] | None:
        """Serve the victim's log as the thief has it."""
        if self.other is None or protocol not in (WALK, LOG):
            return None
        named = (self.other.owner.id, *(record.id for record, _ in self.other.made))
        if not any(bytes(id) in payload for id in named):
            return None
        return list(self.other.server.answer(protocol, payload, peer_name(source)))
