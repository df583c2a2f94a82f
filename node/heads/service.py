"""The heads of a running node: it announces its own logs, hears of others', finds forks, and tells of them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import TYPE_CHECKING, Final

import trio

from tslg.node.heads import kept
from tslg.node.heads.announcer import Announcer
from tslg.node.heads.asking import Asking
from tslg.node.heads.comparing import Comparing
from tslg.node.heads.evidence import Evidence, Public
from tslg.node.heads.recalling import Recalling
from tslg.node.home import Home
from tslg.node.net.seam import Announcement, Network
from tslg.node.schemes import Schemes
from tslg.node.services import grown
from tslg.node.tasks import background
from tslg.protocol.announcing import ForkNews, HeadNews, RecordsNews, topic_of
from tslg.protocol.cid import hash_name, short
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, TslgError, UsageError
from tslg.protocol.heads import UNKNOWN_MANIFEST, Heads
from tslg.protocol.heard import Heard, Outcome
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.manifest import Manifest
from tslg.protocol.recalling import HEADS
from tslg.protocol.verdict import Verdict

if TYPE_CHECKING:
    from trio_typing import TaskStatus

_log = logging.getLogger(__name__)

FLUSH_SECONDS: Final = 2.0
"""How long what was heard may wait until it is on disk: after a crash it is announced again."""
RETRY_SECONDS: Final = 60.0
"""How often what nobody could answer is asked again."""
RETRIED: Final = 64
"""Logs of which nothing is held that are looked into again in one go."""
FOLLOW_SECONDS: Final = 10.0
"""How long, and how often, a node looks for a newer manifest because it hears of agents under one."""
FORKS_TOLD: Final = 16
"""Proofs that are told again in one go, for those who came later."""

Listener = Callable[[Link, Heard], None]
"""`listener(agent, head)`: a log that is not written here has a newer head. Must not wait."""


class HeadService:
    """A `services.Service` that takes part in its federation's topic of heads.

    Args:
        home: the node's data directory.
        locate: says at which addresses an agent's node may be.
        follow: takes from these peers what they hold of the federation's log.
        public: tells whether anybody may read a record.
        limits: bounds on what comes from outside.
    """

    def __init__(
        self,
        home: Home,
        locate: Callable[[Link], Iterable[str]],
        follow: Callable[[list[str]], Awaitable[object]],
        public: Public,
        limits: Limits = DEFAULT,
    ) -> None:
        self.heads = Heads(home.federation, self, limits)
        self._home = home
        self._locate = locate
        self._follow = follow
        self._limits = limits
        self._topic = topic_of(home.federation)
        self._listeners: list[Listener] = []
        self._announcer = Announcer(home, self._announce_own, limits)
        self._evidence = Evidence(home, public, limits)
        self._recalling = Recalling(self.heads, self._recall, limits)
        self._network: Network | None = None
        self._todo: dict[Link, None] = {}
        self._forks: deque[tuple[Link, ForkNews, bool]] = deque()
        self._changed: dict[int, None] = {}
        self._lacking: str | None = None
        self._followed = -FOLLOW_SECONDS
        self._turn = 0
        self._wake = trio.Event()

    # --- what the heads ask of the node ------------------------------------------------------------------------------

    def manifest(self, id: Link) -> Manifest | None:
        """Return a manifest version of the federation, None if it is not held."""
        return self._home.ledger.context.manifest(id)

    def holds(self, agent: Link) -> bool:
        """Tell whether anything of a log is held."""
        return self._home.store.newest_seq(agent) is not None

    def ends(self, agent: Link) -> Mapping[Link, int]:
        """Return from which positions keys of a log are dead, by the revocations that are held."""
        return self._home.ledger.context.revocations(agent).ends

    # --- the service -------------------------------------------------------------------------------------------------

    def listen(self, listener: Listener) -> None:
        """Have somebody told of newer heads of logs that are not written here."""
        self._listeners.append(listener)

    def serve(self, network: Network) -> None:
        """See `services.Service`."""
        self._network = network
        network.serve(HEADS, self._recalling.answer)

    async def run(self, *, task_status: TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """See `services.Service`."""
        network = self._net()
        await trio.to_thread.run_sync(self._restore)
        asking = Asking(network, Schemes(hash_name(self._home.federation), self.manifest), self._limits)
        comparing = Comparing(self._home, self.heads, asking, self._locate, lambda: (network.peer_id,))
        channel = await network.subscribe(self._topic, self._judge)
        try:
            async with background() as nursery:
                nursery.start_soon(self._drain, channel)
                nursery.start_soon(self._watch)
                nursery.start_soon(self._announcer.run)
                nursery.start_soon(self._work, comparing)
                nursery.start_soon(self._recalling.run, network)
                nursery.start_soon(self._tell_again)
                nursery.start_soon(self._flush)
                task_status.started()
                await trio.sleep_forever()
        finally:
            channel.close()
            with trio.CancelScope(shield=True):
                await self._write()

    def _judge(self, announcement: Announcement) -> Verdict:
        """Judge an announcement, and note what is to be done about it. Never waits."""
        via = announcement.via
        outcome = self.heads.hear(announcement.payload, announcement.peer, via, self._home.clock())
        if outcome.over:
            _log.warning(
                "peer %s hands on more than %d new logs a minute: the rest is dropped",
                via,
                self._limits.heads_new_logs_per_minute,
                extra={"peer": via, "rule": "heads_new_logs_per_minute"},
            )
        if outcome.verdict is Verdict.REJECT:
            _log.info("an announcement by peer %s does not hold: %s", via, outcome.why, extra={"peer": via})
        if outcome.why == UNKNOWN_MANIFEST:
            self._lacking = via
            self._wake.set()
        self._note(outcome)
        if outcome.newer is not None and outcome.agent is not None:
            for listener in self._listeners:
                listener(outcome.agent, outcome.newer)
        return outcome.verdict

    def _recall(self, payload: bytes, peer: str) -> Verdict:
        """Judge what a peer says that it heard, as if it announced it now."""
        return self._judge(Announcement(payload, peer, peer))

    def _note(self, outcome: Outcome, *, own: bool = False) -> None:
        agent = outcome.agent
        if agent is None:
            return
        if outcome.fork is not None:
            # One that was announced is forwarded as it is.
            self._forks.append((agent, outcome.fork, outcome.why != "fork"))
        if outcome.newer is not None or outcome.asks or outcome.fork is not None:
            self._changed[kept.drawer_of(agent)] = None
            if not own or outcome.asks or outcome.fork is not None:
                self._look(agent)

    def _look(self, agent: Link) -> None:
        self._todo[agent] = None
        self._wake.set()

    async def _announce_own(self, news: HeadNews) -> None:
        self._note(self.heads.own(news, self._net().peer_id, self._home.clock()), own=True)
        await self._publish(news.to_bytes())

    async def _publish(self, payload: bytes) -> None:
        try:
            await self._net().announce(self._topic, payload)
        except (NetworkError, UsageError) as error:
            _log.warning("nothing could be announced: %s", error)

    async def _drain(self, channel: trio.MemoryReceiveChannel[Announcement]) -> None:
        async for _ in channel:
            """What is to be done about it was noted when it was judged."""

    async def _watch(self) -> None:
        """Announce own logs that grew, and hold others that did against what was heard of them."""
        async with aclosing(grown(self._home.ledger.growth)) as changes:
            async for agents in changes:
                self._grew(agents)

    def _grew(self, agents: Iterable[Link]) -> None:
        for agent in agents:
            if self._home.ledger.writes(agent):
                self._announcer.grew(agent)
            elif agent in self.heads.logs:
                self._look(agent)

    # --- work --------------------------------------------------------------------------------------------------------

    async def _work(self, comparing: Comparing) -> None:
        """Look into what was heard, one log after the other."""
        while True:
            with trio.move_on_after(RETRY_SECONDS) as rest:
                await self._wake.wait()
            self._wake = trio.Event()
            if rest.cancelled_caught:
                self._retry()
            while self._forks or self._todo:
                if self._forks:
                    await self._learn(*self._forks.popleft())
                else:
                    agent = next(iter(self._todo))
                    del self._todo[agent]
                    await self._look_into(comparing, agent)
            await self._follow_if_lacking()

    def _retry(self) -> None:
        """Look again into what nobody could answer: all of it that is held, and some of the rest in turn."""
        waiting = dict.fromkeys(question.agent for question in self.heads.questions())
        held = [agent for agent in waiting if self.heads.logs[agent].via is None]
        others = [agent for agent in waiting if self.heads.logs[agent].via is not None]
        self._turn = self._turn if self._turn < len(others) else 0
        self._todo.update(dict.fromkeys([*held, *others[self._turn : self._turn + RETRIED]]))
        self._turn += RETRIED

    async def _look_into(self, comparing: Comparing, agent: Link) -> None:
        """Answer what is open of a log, and hold its heads against what is held of it."""
        for question in self.heads.questions(agent):
            answered, fork = await comparing.settle(question)
            if answered:
                self._changed[kept.drawer_of(agent)] = None
                # The others are to be held against another head now.
                self._look(agent)
            if fork is not None:
                self._forks.append((agent, fork, True))
            if answered:
                break
        log = self.heads.logs.get(agent)
        if log is None or isinstance(log.fork, RecordsNews):
            return
        own = self._home.ledger.writes(agent)
        head = await comparing.contradicted(agent, log.heads)
        if own:
            await trio.to_thread.run_sync(self._evidence.own_seen, agent, log.heads, head)
        if head is not None and await comparing.part(agent, head):
            await self._tell_held_proof(agent)
        elif head is not None:
            _log.warning("the log of %s has another history than here", short(agent), extra={"agent": short(agent)})

    async def _tell_held_proof(self, agent: Link) -> None:
        news = await trio.to_thread.run_sync(self._evidence.held, agent)
        if news is not None:
            self.heads.convicted(agent, news)
            self._changed[kept.drawer_of(agent)] = None
            await self._publish(news.to_bytes())

    async def _learn(self, agent: Link, news: ForkNews, spread: bool) -> None:
        """Take in the proof that a log is forked, which holds, and tell everybody if nobody else did."""
        _log.warning("the log of %s is forked", short(agent), extra={"agent": short(agent)})
        if spread:
            await self._publish(news.to_bytes())
        if await trio.to_thread.run_sync(self.holds, agent):
            await trio.to_thread.run_sync(self._evidence.keep, agent, news, self.manifest)
            self._look(agent)

    async def _follow_if_lacking(self) -> None:
        """Look for a newer manifest version if somebody goes by one that is not held, not too often."""
        if self._lacking is None or trio.current_time() - self._followed < FOLLOW_SECONDS:
            return
        peer, self._lacking, self._followed = self._lacking, None, trio.current_time()
        with trio.move_on_after(FOLLOW_SECONDS):
            await self._follow([peer])

    async def _tell_again(self) -> None:
        """Tell of forks again, for those who came later: others do not forward what they know."""
        at = 0
        while True:
            await trio.sleep(self._limits.head_again_ms / 1000)
            proofs = [log.fork for log in self.heads.logs.values() if log.fork is not None]
            for news in proofs[at : at + FORKS_TOLD]:
                await self._publish(news.to_bytes())
            at = at + FORKS_TOLD if at + FORKS_TOLD < len(proofs) else 0

    # --- over restarts -----------------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        took = 0.0
        while True:
            # However slow the disk is, it has other things to do most of the time.
            await trio.sleep(max(FLUSH_SECONDS, 20 * took))
            began = trio.current_time()
            await self._write()
            took = trio.current_time() - began

    async def _write(self) -> None:
        drawers, self._changed = self._changed, {}
        if drawers:
            await trio.to_thread.run_sync(kept.write, self._home.store, drawers, dict(self.heads.logs))

    def _restore(self) -> None:
        for entry in kept.read(self._home.store):
            try:
                self.heads.restore(*entry)
            except (TslgError, ValueError) as error:
                _log.error("what was heard of %s cannot be read: %s", short(entry.agent), error)

    def _net(self) -> Network:
        if self._network is None:
            raise UsageError("heads are heard on a network alone", mend="open the node with `listen`")
        return self._network
