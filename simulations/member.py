"""One node of a run: a store, a ledger, the machines of its protocols, and its place on the network."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tslg.manifests.agent_keys import SigningKey
from tslg.node.agent import BlockingAgent
from tslg.node.drafting import Draft
from tslg.node.heads.making import make
from tslg.node.keyring import Keyring
from tslg.node.ledger import Ledger
from tslg.node.net.errors import Busy, NotAvailable, Unreachable
from tslg.node.openings import Openings
from tslg.node.proving import Prover
from tslg.node.serving import Server
from tslg.protocol.announcing import ForkNews
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import LOG, WALK
from tslg.protocol.heads import UNKNOWN_MANIFEST, Heads
from tslg.protocol.heard import Outcome
from tslg.protocol.keys import key_of
from tslg.protocol.log import Peaks
from tslg.protocol.manifest import Manifest
from tslg.protocol.recalling import HEADS, Recall, Recalled
from tslg.protocol.record import Edge, Record
from tslg.protocol.signatures import Alg
from tslg.protocol.verdict import Verdict
from tslg.simulations.chance import stream
from tslg.simulations.disk import Disk, PowerLoss
from tslg.simulations.engine import EPOCH_MS, MILLISECOND, SECOND

if TYPE_CHECKING:
    from tslg.simulations.world import World

TIMER: Final = 2
_SEEN: Final = 4_096
"""Announcements that are remembered so that one is looked at once."""
_AT_ONCE: Final = 64
"""Requests that a node answers in one second of virtual time for one peer."""
_NOWHERE: Final = Path("/nonexistent")


class Ask(NamedTuple):
    """What a procedure yields to ask a peer; it is sent the chunks of the reply, or thrown a NetworkError."""

    peer: int
    protocol: str
    payload: bytes
    patience_ms: int = 10_000


class Rest(NamedTuple):
    """What a procedure yields to wait (ms)."""

    ms: int


Procedure = Generator[Ask | Rest, Any, None]
"""What a node does over several messages."""


def peer_name(index: int) -> str:
    """Return how a member is called on the network."""
    return f"member-{index}"


class Member:
    """One node with one agent.

    Args:
        world: the run.
        index: its place among the members.
        group: what the scenario calls those like it.
        agent: genesis, seal and key of its agent.
        honest: whether it keeps to the rules.
    """

    __slots__ = (
        "_acked",
        "_announced",
        "_asked",
        "_busy",
        "_chance",
        "_epoch",
        "_numbers",
        "_pending",
        "_recalled",
        "_recent",
        "_secrets",
        "_seen",
        "agent",
        "behaviour",
        "disk",
        "follows",
        "genesis",
        "group",
        "heads",
        "honest",
        "index",
        "key",
        "ledger",
        "peers",
        "seal",
        "server",
        "skew_ms",
        "up",
        "world",
    )

    def __init__(
        self, world: World, index: int, group: str, agent: tuple[Record, bytes, SigningKey], honest: bool = True
    ) -> None:
        self.world = world
        self.index = index
        self.group = group
        self.genesis, self.seal, self.key = agent
        self._secrets = {self.key.public: self.key}
        self.honest = honest
        self.up = False
        self.skew_ms = 0
        self.peers: list[int] = []
        self.follows: dict[Link, None] = {}
        self.behaviour: Any = None
        self._chance: random.Random | None = None
        self._epoch = 0
        self._busy = 0
        self._acked: list[Link] = [self.genesis.id]
        self.disk = Disk(world.journalled)
        self._found_log()
        self.start()

    # --- life --------------------------------------------------------------------------------------------------------

    def _found_log(self) -> None:
        """Write the federation's log and the agent's genesis as they are when the run begins."""
        ledger = self._ledger_on(self.disk)
        for record, seal in self.world.founding.log:
            ledger.admit(record.data, seal)
        ledger.admit(self.genesis.data, self.seal)

    def _ledger_on(self, disk: Disk) -> Ledger:
        world = self.world
        held = disk.by_kind("manifest-amendment", world.federation, limit=1)
        manifest = held[0] if held else world.federation
        return Ledger(disk, world.federation, manifest, "sha2-256", self.clock, random_bytes=self._random_bytes)

    def start(self) -> None:
        """Begin, or go on after a stop, with what the disk holds."""
        self.disk.watch = self._stored if self.honest else None
        self.ledger = self._ledger_on(self.disk)
        self.write_on()
        prover = Prover(Openings(_NOWHERE), self._random_bytes)
        keyring = Keyring(_NOWHERE, self.ledger, lambda: self.world.founding.root, lambda: (), self._random_bytes)
        self.agent = BlockingAgent(self.ledger, self.genesis, prover, keyring)
        self.heads = Heads(self.world.federation, self)
        self.server = Server(self.disk, lambda agent: ())
        self._seen: dict[bytes, None] = {}
        self._recent: list[tuple[bytes, int]] = []
        self._pending: dict[int, tuple[Procedure, int]] = {}
        self._asked: dict[int, tuple[int, int]] = {}
        self._recalled: dict[int, tuple[bytes, int]] = {}
        self._announced: Peaks | None = None
        self._numbers = 0
        self._epoch += 1
        self.up = True
        if self.world.heartbeat:
            wait = int(self.chance.random() * self.world.heartbeat)
            self.world.loop.after(wait, TIMER, self.index, self._beat, self._epoch)

    def write_on(self) -> None:
        """Write on with the newest key that the log registers."""
        newest = self.disk.by_kind("registration", self.id, limit=1)
        record = self.ledger.context.record(newest[0]) if newest else self.genesis
        key = None if record is None else key_of(record)
        assert key is not None
        self.key = self._secrets[key.public]
        self.ledger.open_log(self.id, key, self.key)

    def rotate(self) -> None:
        """Register another key, seal with it from here on, and revoke the one before."""
        fresh = SigningKey.generate(int(Alg.ED25519), self._random_bytes)
        self._secrets[fresh.public] = fresh
        before = self.disk.by_kind("registration", self.id, limit=1)
        old = before[0] if before else self.id
        preds = {"prior": [Edge(self.ledger.prior(self.id))]}
        body = {"purpose": "signing", "binding": "tenant", **fresh.fields()}
        self.acknowledge(self.ledger.append(self.id, Draft("registration", body, preds, fresh=fresh)))
        self.write_on()
        state = self.disk.log_state(self.id)
        assert state is not None
        ending = {"key": old, "from_seq": state.size + 1, "reason": "rotated"}
        self.acknowledge(self.ledger.append(self.id, Draft("revocation", ending, preds)))
        self.world.oracle.counts["rotations"] += 1
        self.announce_own()

    def stop(self) -> None:
        """Leave the network; what is under way is forgotten, what is on the disk stays."""
        self.up = False
        self._epoch += 1
        for procedure, _ in self._pending.values():
            procedure.close()
        self._pending.clear()

    def crash(self) -> None:
        """Lose power: what was not synced is gone."""
        self.stop()
        self.disk = self.disk.after_crash()

    # --- what the world gives it -------------------------------------------------------------------------------------

    @property
    def id(self) -> Link:
        """The agent's id."""
        return self.genesis.id

    @property
    def name(self) -> str:
        """What messages call it."""
        return f"{self.group}-{self.index}"

    @property
    def chance(self) -> random.Random:
        """Numbers of its own."""
        if self._chance is None:
            self._chance = stream(self.world.seed, "member", self.index)
        return self._chance

    def _random_bytes(self, size: int) -> bytes:
        return self.chance.randbytes(size)

    def clock(self) -> int:
        """Return its wall clock, ms since 1970 UTC."""
        return EPOCH_MS + self.world.loop.now // MILLISECOND + self.skew_ms

    def after(self, delay: int, method: Callable[..., None], *args: Any) -> None:
        """Have something called after a delay (µs), unless it stops before."""
        self.world.loop.after(delay, TIMER, self.index, self._due, self._epoch, method, args)

    def _due(self, epoch: int, method: Callable[..., None], args: tuple[Any, ...]) -> None:
        if epoch == self._epoch:
            self.enter(method, *args)

    def enter(self, method: Callable[..., None], *args: Any) -> None:
        """Do something as this node, which takes it time; a loss of power in the middle of it ends it."""
        try:
            method(self, *args)
        except PowerLoss:
            self.world.lost_power(self)
        self._charge()

    def _charge(self) -> None:
        disk = self.disk
        spent = self.world.spent() + disk.owed
        disk.owed = 0
        now = self.world.loop.now
        self._busy = (self._busy if self._busy > now else now) + spent

    def _send(self, peer: int, size: int, method: Callable[..., None], *args: Any) -> None:
        self._charge()
        self.world.net.send(self.index, peer, self._busy, size, method, *args)

    # --- what the heads ask of it ------------------------------------------------------------------------------------

    def manifest(self, id: Link) -> Manifest | None:
        """See `heard.Held`."""
        return self.ledger.context.manifest(id)

    def holds(self, agent: Link) -> bool:
        """See `heard.Held`."""
        return self.disk.at(agent, 0) is not None or self.disk.newest_seq(agent) is not None

    def ends(self, agent: Link) -> Mapping[Link, int]:
        """See `heard.Held`."""
        return self.ledger.context.revocations(agent).ends

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
        for peer in self.peers:
            self._send(peer, len(payload), Member.hear, payload, self.world.hops)

    def send_news(self, peer: int, payload: bytes) -> None:
        """Hand an announcement to one peer, whatever it is."""
        self._send(peer, len(payload), Member.hear, payload, self.world.hops)

    def send_request(self, peer: int, number: int, protocol: str, payload: bytes) -> None:
        """Ask a peer without waiting for what it says."""
        self._send(peer, len(payload), Member.asked, number, self._epoch, protocol, payload)

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
            size = len(payload)
            for peer in self.peers:
                if peer != source:
                    self._send(peer, size, Member.hear, payload, hops - 1)

    def _remember(self, payload: bytes) -> None:
        seen = self._seen
        if len(seen) >= _SEEN:
            del seen[next(iter(seen))]
        seen[payload] = None

    def _beat(self, epoch: int) -> None:
        """Tell one neighbour which announcements came lately, as gossip does every so often, so that none stay lost."""
        if epoch != self._epoch:
            return
        world = self.world
        recent = self._recent
        if recent and self.peers:
            peer = self.peers[int(self.chance.random() * len(self.peers))]
            self._send(peer, 20 * len(recent), Member.told, tuple(recent))
            self._recent = []
        # The event that there are most of goes the shortest way.
        world.loop.after(world.heartbeat, TIMER, self.index, self._beat, epoch)

    def told(self, source: int, news: tuple[tuple[bytes, int], ...]) -> None:
        """Learn which announcements a neighbour has, and ask for those that did not come here."""
        seen = self._seen
        for payload, hops in news:
            # What stands for its id here is the announcement itself; it is not read before it comes.
            if payload not in seen:
                self._send(source, 20, Member.wanted, payload, hops)

    def wanted(self, source: int, payload: bytes, hops: int) -> None:
        """Hand over an announcement that a neighbour lacks."""
        if payload in self._seen:
            self._send(source, len(payload), Member.hear, payload, hops)

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

    # --- requests ----------------------------------------------------------------------------------------------------

    def spawn(self, procedure: Procedure) -> None:
        """Begin a procedure."""
        self._step(procedure, None)

    def _step(self, procedure: Procedure, value: Any, error: NetworkError | None = None) -> None:
        try:
            wanted = procedure.send(value) if error is None else procedure.throw(error)
        except StopIteration:
            return
        except TslgError as failed:
            # What a procedure does not deal with ends it: it was somebody's broken reply, or a refusal.
            self.world.oracle.gave_up(self, failed)
            return
        self._numbers += 1
        if isinstance(wanted, Rest):
            self.after(wanted.ms * MILLISECOND, Member._go_on, procedure)
            return
        number = self._numbers
        self._pending[number] = (procedure, wanted.peer)
        self._send(wanted.peer, len(wanted.payload), Member.asked, number, self._epoch, wanted.protocol, wanted.payload)
        self.after(wanted.patience_ms * MILLISECOND, Member._give_up, number)

    def _go_on(self, procedure: Procedure) -> None:
        self._step(procedure, None)

    def _give_up(self, number: int) -> None:
        waiting = self._pending.pop(number, None)
        if waiting is not None:
            name = peer_name(waiting[1])
            self._step(waiting[0], None, Unreachable(f"{name} does not answer", peer=name))

    def asked(self, source: int, number: int, epoch: int, protocol: str, payload: bytes) -> None:
        """Answer a request."""
        try:
            if not self._may_ask(source):
                raise Busy("too many requests")
            reply: list[bytes] | NetworkError | Procedure = self.answer(source, protocol, payload)
        except NetworkError as error:
            reply = error
        except TslgError as error:
            reply = NotAvailable(error.detail)
        if isinstance(reply, Generator):
            self.spawn(self._reply_later(source, number, epoch, reply))
        else:
            self._reply(source, number, epoch, reply)

    def _reply(self, source: int, number: int, epoch: int, reply: list[bytes] | NetworkError) -> None:
        size = sum(map(len, reply)) if isinstance(reply, list) else 64
        self._send(source, size, Member.answered, number, epoch, reply)

    def _reply_later(self, source: int, number: int, epoch: int, procedure: Procedure) -> Procedure:
        reply: Any
        try:
            reply = yield from procedure  # type: ignore[func-returns-value]
        except NetworkError as error:
            reply = error
        except TslgError as error:
            reply = NotAvailable(error.detail)
        self._reply(source, number, epoch, reply)

    def _may_ask(self, source: int) -> bool:
        second = self.world.loop.now // SECOND
        at, count = self._asked.get(source, (second, 0))
        count = count + 1 if at == second else 1
        self._asked[source] = (second, count)
        return count <= _AT_ONCE

    def answer(self, source: int, protocol: str, payload: bytes) -> list[bytes] | Procedure:
        """Return the reply to a request, or the procedure that finds it. Raises NetworkError."""
        if not self.honest:
            lied: list[bytes] | None = self.behaviour.instead(self, source, protocol, payload)
            if lied is not None:
                return lied
        if protocol in (WALK, LOG):
            return list(self.server.answer(protocol, payload, peer_name(source)))
        if protocol == HEADS:
            return list(self._recollect(payload))
        if self.behaviour is not None:
            found = self.behaviour.answer(self, source, protocol, payload)
            return found if isinstance(found, Generator) else list(found)
        raise NotAvailable(f"nobody here speaks {protocol}")

    def answered(self, source: int, number: int, epoch: int, reply: list[bytes] | NetworkError) -> None:
        """Take the reply to a request of its own; one that nobody waits for any more is dropped."""
        waiting = self._pending.get(number) if epoch == self._epoch else None
        if waiting is None or waiting[1] != source:
            return
        del self._pending[number]
        if isinstance(reply, NetworkError):
            self._step(waiting[0], None, reply)
        else:
            self._step(waiting[0], reply)

    # --- what the oracle is told -------------------------------------------------------------------------------------

    def _stored(self, record: Record, seal: bytes) -> None:
        self.world.oracle.admitted(self, record, seal)

    def acknowledge(self, record: Record) -> Record:
        """Note that a record of its own was acknowledged to whoever wanted it."""
        self._acked.append(record.id)
        self.world.oracle.made(self, record)
        return record

    @property
    def acknowledged(self) -> list[Link]:
        """The ids of its own records that were acknowledged."""
        return self._acked
