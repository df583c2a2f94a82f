"""One machine of a run: its disk and ledger, its clock, its life, and how it sends and asks."""

from __future__ import annotations

import random
from collections.abc import Callable, Generator, Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tslg.manifests.agent_keys import SigningKey
from tslg.node.agent import BlockingAgent
from tslg.node.drafting import Draft
from tslg.node.keyring import Keyring
from tslg.node.ledger import Ledger
from tslg.node.openings import Openings
from tslg.node.proving import Prover
from tslg.node.serving import Server
from tslg.protocol.codec import Link
from tslg.protocol.keys import key_of
from tslg.protocol.record import Edge, Record
from tslg.protocol.signatures import Alg
from tslg.simulations.chance import stream
from tslg.simulations.disk import Disk, PowerLoss
from tslg.simulations.engine import EPOCH_MS, MILLISECOND

if TYPE_CHECKING:
    from tslg.simulations.world import World

TIMER: Final = 2
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


@cache
def peer_name(index: int) -> str:
    """Return how a member is called on the network."""
    return f"member-{index}"


class Machine:
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
        "_asked",
        "_busy",
        "_chance",
        "_epoch",
        "_numbers",
        "_pending",
        "_secrets",
        "_signing",
        "agent",
        "behaviour",
        "disk",
        "follows",
        "genesis",
        "group",
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
        self._signing = world.signing
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
        self.server = Server(self.disk, lambda agent: ())
        self._pending: dict[int, tuple[Procedure, int]] = {}
        self._asked: dict[int, tuple[int, int]] = {}
        self._numbers = 0
        self._epoch += 1
        self.up = True

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
        disk, signing, now = self.disk, self._signing, self.world.loop.now
        if self._busy < now:
            self._busy = now
        if signing.owed or disk.owed:
            self._busy += signing.owed + disk.owed
            signing.owed = disk.owed = 0

    def _send(self, peer: int, size: int, method: Callable[..., None], *args: Any) -> None:
        self._charge()
        self.world.net.send(self.index, peer, self._busy, size, method, *args)

    def _send_all(self, peers: Iterable[int], size: int, method: Callable[..., None], *args: Any) -> None:
        """Send many the same."""
        self._charge()
        send, index, busy = self.world.net.send, self.index, self._busy
        for peer in peers:
            send(index, peer, busy, size, method, *args)

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
