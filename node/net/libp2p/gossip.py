"""Announcements over gossipsub, with settings that suit them and no way for a peer to end it (defect 17)."""

from __future__ import annotations

import logging
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from itertools import islice
from typing import Any, cast

import trio
from libp2p.abc import IHost, INetStream
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.pubsub.validators import signature_validator
from libp2p.tools.anyio_service.context import background_trio_service

from tslg.node.net.libp2p.thrift import Pieces, ThriftyRouter, spare_signed_records
from tslg.node.net.neighbours import Neighbours
from tslg.node.net.seam import Announcement, Validator, Verdict
from tslg.node.net.topics import Topics, check_announcement
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_HEARTBEAT_SECONDS = 1
_ROOM_SECONDS = 0.5
_OWN_ROOM_SECONDS = 2.0
_QUEUED = 16
_REMEMBERED = 65_536
_ID_BYTES = 64
_COUNTER_BYTES = 8
_MESSAGES_PER_TOPIC_PER_SECOND = 1000.0

Judge = Callable[[str, Announcement], Verdict]


class GuardedPubsub(Pubsub):
    """A pubsub service that a malformed message does not end, and whose subscribers miss nothing in a burst."""

    def __init__(self, host: IHost, router: GossipSub, limits: Limits, judge: Judge, neighbours: Neighbours):
        super().__init__(host, router, max_inbound_rpc_size=4 * limits.announcement_bytes)
        self._judge = judge
        self._neighbours = neighbours
        self._slow: set[ID] = set()
        # Seconds, the library's start, would repeat themselves after a restart, or with a copy of this node elsewhere.
        self.counter = self._first = time.time_ns()

    async def continuously_read_stream(self, stream: INetStream) -> None:
        """Read what a neighbour sends."""
        await super().continuously_read_stream(cast(INetStream, Pieces(stream)))

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Check, deliver and forward one message, or drop it.

        In place of the library's own, which knows two verdicts, delivers through channels that hold 32 messages, and
        ends the service over an unreadable public key.
        """
        try:
            if msg_forwarder != self.my_id and not await self._takes(msg_forwarder, msg):
                return
            self._mark_msg_seen(msg)
            await self._room(_OWN_ROOM_SECONDS if msg_forwarder == self.my_id else _ROOM_SECONDS)
            await self.router.publish(msg_forwarder, msg)
        except Exception as error:
            _log.debug("a message from %s was dropped: %r", msg_forwarder, error)

    async def _takes(self, forwarder: ID, msg: rpc_pb2.Message) -> bool:
        """Judge a message of others; tell whether it is to be forwarded."""
        if self._is_msg_seen(msg) or self._is_own(msg):
            return False
        via = str(forwarder)
        if not self._neighbours.may(via, len(msg.data), _now_ms()):
            return False
        verdict = Verdict.REJECT
        if _well_formed(msg):
            (topic,) = msg.topicIDs
            verdict = self._judge(topic, Announcement(bytes(msg.data), str(ID(msg.from_id)), via))
        if verdict is Verdict.REJECT:
            await self._neighbours.offends(via, _now_ms())
            return False
        if verdict is Verdict.IGNORE:
            # Looked at once, however many neighbours bring it.
            self._mark_msg_seen(msg)
        return verdict is Verdict.ACCEPT

    def _is_own(self, msg: rpc_pb2.Message) -> bool:
        """Tell whether this very process published a message; a copy of the node would do it under the same id."""
        number = int.from_bytes(msg.seqno[:_COUNTER_BYTES], "big")
        return bool(msg.from_id == self.my_id.to_bytes()) and self._first < number <= self.counter

    def _mark_msg_seen(self, msg: rpc_pb2.Message) -> None:
        """Remember a message, of all of them so many: the library forgets by time alone."""
        super()._mark_msg_seen(msg)
        seen = self.seen_messages
        excess = seen.length() - _REMEMBERED
        if excess > 0:
            with seen.lock:
                for key in list(islice(seen.cache, excess)):
                    del seen.cache[key]

    async def _room(self, seconds: float) -> None:
        """Wait, if not for long, until no neighbour's queue is nearly full: of 32 messages, the rest is dropped.

        A neighbour that takes nothing is waited for once.
        """
        self._slow.intersection_update(self._filled())
        with trio.move_on_after(seconds) as wait:
            while self._filled() - self._slow:
                await trio.sleep(0.001)
        if wait.cancelled_caught:
            self._slow.update(self._filled())

    def _filled(self) -> set[ID]:
        return {peer for peer, queue in self.peer_queues.items() if len(queue) > _QUEUED}


class Gossip:
    """The announcements of one node."""

    def __init__(self, host: IHost, limits: Limits, cut_off: Callable[[str], Awaitable[None]]) -> None:
        spare_signed_records()
        self._limits = limits
        self._topics = Topics()
        self._router = make_router()
        self._pubsub = GuardedPubsub(host, self._router, limits, self._hear, Neighbours(limits, cut_off))
        self.ready = trio.Event()

    async def run(self) -> None:
        """Take part until cancelled."""
        async with background_trio_service(self._router), background_trio_service(self._pubsub):
            await self._pubsub.wait_until_ready()
            self.ready.set()
            await trio.sleep_forever()

    async def announce(self, topic: str, payload: bytes) -> None:
        """Publish `payload`. Raises UsageError if it is larger than `limits.announcement_bytes`."""
        check_announcement(payload, self._limits)
        await self._pubsub.publish(topic, payload)

    async def subscribe(self, topic: str, validator: Validator) -> trio.MemoryReceiveChannel[Announcement]:
        """Join `topic`, if that was not done before, and receive what `validator` accepts."""
        joined = self._topics.wanted(topic)
        receive = self._topics.add(topic, validator)
        if not joined:
            await self._pubsub.subscribe(topic)
        return receive

    def _hear(self, topic: str, announcement: Announcement) -> Verdict:
        if len(announcement.payload) > self._limits.announcement_bytes:
            return Verdict.REJECT
        verdict = self._topics.hear(topic, announcement)
        if topic in self._pubsub.topic_ids and not self._topics.wanted(topic):
            self._pubsub.manager.run_task(self._leave, topic)
        return verdict

    async def _leave(self, topic: str) -> None:
        if not self._topics.wanted(topic):
            await self._pubsub.unsubscribe(topic)


def make_router() -> GossipSub:
    """Defect 17: the defaults beat once in 120 s, drop the eleventh message of a second, and keep a verdict for 300 s.

    The mesh is repaired at the beat, so at 120 s a lost peer cuts a node off for two minutes; a federation of thousands
    of agents announces more than ten heads a second through one neighbour. A lower upper bound than 12 would have nodes
    cut each other out of small meshes, which lasts a minute.
    """
    router = ThriftyRouter(
        protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11],
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_interval=_HEARTBEAT_SECONDS,
        max_messages_per_topic_per_second=_MESSAGES_PER_TOPIC_PER_SECOND,
        adaptive_gossip_enabled=False,
    )
    # It notes the time of every message for what is turned off here, and forgets none.
    router.recent_message_deliveries = defaultdict(_forgetful)
    return router


def _now_ms() -> int:
    return int(trio.current_time() * 1000)


def _forgetful() -> Any:
    """Return a list in which nothing stays."""
    return deque(maxlen=0)


def _well_formed(msg: rpc_pb2.Message) -> bool:
    """Tell whether a message has one topic, short ids, and the signature of the peer that it says it is of."""
    if len(msg.topicIDs) != 1 or len(msg.seqno) != _COUNTER_BYTES or len(msg.from_id) > _ID_BYTES:
        return False
    try:
        return bool(signature_validator(msg))
    except Exception as error:
        _log.debug("a message whose key cannot be read: %r", error)
        return False
