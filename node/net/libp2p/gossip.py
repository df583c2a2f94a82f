"""Announcements over gossipsub, with settings that suit them and no way for a peer to end it (defect 17)."""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio
from libp2p.abc import IHost
from libp2p.peer.id import ID
from libp2p.pubsub.gossipsub import PROTOCOL_ID_V11, PROTOCOL_ID_V12, GossipSub
from libp2p.pubsub.pb import rpc_pb2
from libp2p.pubsub.pubsub import Pubsub
from libp2p.tools.anyio_service.context import background_trio_service

from tslg.node.net.seam import Announcement, Validator
from tslg.node.net.topics import Topics, check_announcement
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)

_VERDICT_SECONDS = 1
_HEARTBEAT_SECONDS = 1
_ROOM_SECONDS = 0.5
_QUEUED = 16
_MESSAGES_PER_TOPIC_PER_SECOND = 1000.0


class GuardedPubsub(Pubsub):
    """A pubsub service that a malformed message does not end, and whose subscribers miss nothing in a burst."""

    def __init__(self, host: IHost, router: GossipSub, limits: Limits, deliver: Callable[[rpc_pb2.Message], None]):
        super().__init__(
            host,
            router,
            max_inbound_rpc_size=4 * limits.announcement_bytes,
            validation_cache_ttl=_VERDICT_SECONDS,
        )
        self._deliver = deliver

    def notify_subscriptions(self, publish_message: rpc_pb2.Message) -> None:
        """Deliver past the library's channels, which hold 32 messages and drop the rest."""
        self._deliver(publish_message)

    async def push_msg(self, msg_forwarder: ID, msg: rpc_pb2.Message) -> None:
        """Check, deliver and forward one message, or drop it.

        The library runs this as a task of the service, and an unreadable public key in a message raises in it.
        """
        try:
            await self._room()
            await super().push_msg(msg_forwarder, msg)
        except Exception as error:
            _log.debug("a message from %s was dropped: %r", msg_forwarder, error)

    async def _room(self) -> None:
        """Wait, if not for long, until no neighbour's queue is nearly full: of 32 messages, the rest is dropped."""
        with trio.move_on_after(_ROOM_SECONDS):
            while any(len(queue) > _QUEUED for queue in self.peer_queues.values()):
                await trio.sleep(0.001)


class Gossip:
    """The announcements of one node."""

    def __init__(self, host: IHost, limits: Limits) -> None:
        self._limits = limits
        self._topics = Topics()
        self._router = make_router()
        self._own_id = host.get_id()
        self._pubsub = GuardedPubsub(host, self._router, limits, self._deliver)
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
        """Join `topic`, if that was not done before, and receive what `validator` lets through."""
        joined = self._topics.wanted(topic)
        receive = self._topics.add(topic, validator)
        if not joined:
            self._pubsub.set_topic_validator(topic, self._check, is_async_validator=False)
            await self._pubsub.subscribe(topic)
        return receive

    def _check(self, _forwarder: ID, message: rpc_pb2.Message) -> bool:
        own = message.from_id == self._own_id.to_bytes()
        return own or all(self._topics.allowed(topic, _announcement(message)) for topic in message.topicIDs)

    def _deliver(self, message: rpc_pb2.Message) -> None:
        for topic in message.topicIDs:
            if message.from_id != self._own_id.to_bytes():
                self._topics.deliver(topic, _announcement(message))
            if topic in self._pubsub.topic_ids and not self._topics.wanted(topic):
                self._pubsub.manager.run_task(self._leave, topic)

    async def _leave(self, topic: str) -> None:
        if not self._topics.wanted(topic):
            await self._pubsub.unsubscribe(topic)


def make_router() -> GossipSub:
    """Defect 17: the defaults beat once in 120 s, drop the eleventh message of a second, and keep a verdict for 300 s.

    The mesh is repaired at the beat, so at 120 s a lost peer cuts a node off for two minutes; a federation of
    thousands of agents announces more than ten heads a second through one neighbour.
    """
    return GossipSub(
        protocols=[PROTOCOL_ID_V12, PROTOCOL_ID_V11],
        degree=6,
        degree_low=4,
        degree_high=12,
        heartbeat_interval=_HEARTBEAT_SECONDS,
        max_messages_per_topic_per_second=_MESSAGES_PER_TOPIC_PER_SECOND,
        adaptive_gossip_enabled=False,
    )


def _announcement(message: rpc_pb2.Message) -> Announcement:
    return Announcement(bytes(message.data), str(ID(message.from_id)))
