"""What a member announces and hears: heads of logs and proofs of forks, handed on from neighbour to neighbour."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tslg.node.heads.making import make
from tslg.protocol.announcing import ForkNews
from tslg.protocol.codec import Link
from tslg.protocol.heads import UNKNOWN_MANIFEST, Heads
from tslg.protocol.heard import Outcome
from tslg.protocol.keys import NO_REVOCATIONS
from tslg.protocol.log import Peaks
from tslg.protocol.manifest import Manifest
from tslg.protocol.recalling import HEADS, Recall, Recalled
from tslg.protocol.verdict import Verdict
from tslg.simulations.machine import TIMER, Ask, Machine, Procedure, peer_name

_SEEN: Final = 4_096
"""Announcements that are remembered so that one is looked at once."""


class Gossip(Machine):
    """The part of a member that takes part in its federation's announcements."""

    __slots__ = ("_announced", "_recalled", "_recent", "_seen", "heads")

    def start(self) -> None:
        """Begin, or go on after a stop: what was heard before is forgotten."""
        super().start()
        self.heads = Heads(self.world.federation, self)
        self._seen: dict[bytes, None] = {}
        self._recent: list[tuple[bytes, int]] = []
        self._recalled: dict[int, tuple[bytes, int]] = {}
        self._announced: Peaks | None = None
        if self.world.heartbeat:
            wait = int(self.chance.random() * self.world.heartbeat)
            self.world.loop.after(wait, TIMER, self.index, Gossip._beat, self, self._epoch)

    # --- what the heads ask of it ------------------------------------------------------------------------------------

    def manifest(self, id: Link) -> Manifest | None:
        """See `heard.Held`."""
        return self.ledger.context.manifest(id)

    def holds(self, agent: Link) -> bool:
        """See `heard.Held`."""
        disk = self.disk
        return disk.at(agent, 0) is not None or disk.newest_seq(agent) is not None

    def ends(self, agent: Link) -> Mapping[Link, int]:
        """See `heard.Held`."""
        return self.ledger.context.revocations(agent).ends if self.holds(agent) else NO_REVOCATIONS.ends

    # --- announcements -----------------------------------------------------------------------------------------------

    def announce_own(self) -> None:
        """Announce the newest head of its own log."""
        if self.ledger.blocked(self.id) is not None:
            return
        news, peaks = make(self.disk, self.id, self.key, self._announced)
        self._announced = peaks
        self._note(self.heads.own(news, peer_name(self.index), self.clock()))
        self.publish(news.to_bytes())

    def publish(self, payload: bytes) -> None:
        """Hand an announcement to all its neighbours."""
        self._remember(payload)
        if self.world.heartbeat:
            self._recent.append((payload, self.world.hops))
        self._send_all(self.peers, len(payload), Gossip.hear, payload, self.world.hops)

    def send_news(self, peer: int, payload: bytes) -> None:
        """Hand an announcement to one peer, whatever it is."""
        self._send(peer, len(payload), Gossip.hear, payload, self.world.hops)

    def hear(self, source: int, payload: bytes, hops: int) -> None:
        """Take an announcement from a neighbour, and hand it on if it is worth that."""
        if payload in self._seen:
            return
        self._remember(payload)
        outcome = self._judge(payload, source)
        if outcome.verdict is not Verdict.ACCEPT:
            return
        if hops > 1:
            if self.world.heartbeat:
                self._recent.append((payload, hops - 1))
            others = [peer for peer in self.peers if peer != source]
            self._send_all(others, len(payload), Gossip.hear, payload, hops - 1)

    def _remember(self, payload: bytes) -> None:
        seen = self._seen
        if len(seen) >= _SEEN:
            del seen[next(iter(seen))]
        seen[payload] = None

    def _beat(self, epoch: int) -> int | None:
        """Tell one neighbour which announcements came lately, as gossip does every so often, so that none stay lost."""
        if epoch != self._epoch:
            return None
        recent = self._recent
        if recent and self.peers:
            peer = self.peers[int(self.chance.random() * len(self.peers))]
            self._send(peer, 20 * len(recent), Gossip.told, tuple(recent))
            self._recent = []
        return self.world.heartbeat

    def told(self, source: int, news: tuple[tuple[bytes, int], ...]) -> None:
        """Learn which announcements a neighbour has, and ask for those that did not come here."""
        seen = self._seen
        for payload, hops in news:
            # What stands for its id here is the announcement itself; it is not read before it comes.
            if payload not in seen:
                self._send(source, 20, Gossip.wanted, payload, hops)

    def wanted(self, source: int, payload: bytes, hops: int) -> None:
        """Hand over an announcement that a neighbour lacks."""
        if payload in self._seen:
            self._send(source, len(payload), Gossip.hear, payload, hops)

    def _judge(self, payload: bytes, source: int) -> Outcome:
        name = peer_name(source)
        outcome = self.heads.hear(payload, name, name, self.clock())
        if outcome.why == UNKNOWN_MANIFEST and self.behaviour is not None:
            self.behaviour.lacks_manifest(self, source)
        self._note(outcome, source)
        return outcome

    def _note(self, outcome: Outcome, source: int | None = None) -> None:
        agent = outcome.agent
        if agent is None or self.behaviour is None:
            return
        self.world.oracle.heard(self, agent)
        if outcome.fork is not None:
            self.learn_fork(agent, outcome.fork, spread=outcome.why != "fork")
        if outcome.asks:
            self.behaviour.asks(self, agent)
        if outcome.newer is not None and source is not None:
            self.behaviour.heard(self, agent, outcome.newer, source)

    def learn_fork(self, agent: Link, news: ForkNews, *, spread: bool) -> None:
        """Take in the proof that a log is forked, and tell of it."""
        self.world.oracle.fork_known(self, agent)
        if spread:
            self.publish(news.to_bytes())

    def recall(self, peer: int) -> Procedure:
        """Ask a peer what it has heard, for announcements that were lost."""
        epoch, since = self._recalled.get(peer, (b"", 0))
        chunks = yield Ask(peer, HEADS, Recall(epoch, since).to_bytes())
        for chunk in chunks:
            reply = Recalled.from_bytes(chunk)
            self._recalled[peer] = (reply.epoch, reply.until)
            for payload in reply.news:
                self._judge(payload, peer)

    def _recollect(self, payload: bytes) -> Iterator[bytes]:
        asked = Recall.from_bytes(payload)
        epoch = f"{self.index}.{self._epoch}".encode()
        since = asked.since if asked.epoch == epoch else 0
        found = self.heads.since(since)[:64]
        until = found[-1][0] if found else since
        yield Recalled(epoch, until, tuple(one for _, one in found)).to_bytes()
