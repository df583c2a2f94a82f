"""The node: one data directory, its agents, and a place on the network where it serves, asks and delegates.

async with Node.open(path, listen="/ip4/127.0.0.1/tcp/0") as node:
    agent = await node.agent("scanner")
    node.on_delegation(agent, inspect)          # called in a thread for every delegation to that agent
    await trio.sleep_forever()
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import trio

from tslg.node.access import WITHHELD, Gatekeeper, gatekeeper
from tslg.node.adopting import keep
from tslg.node.agent import Agent, BlockingAgent
from tslg.node.anchoring_task import kept_anchored
from tslg.node.api.place import OFF
from tslg.node.auditor import Auditor
from tslg.node.authoring import Reference, reference_id
from tslg.node.blocks import RecordBlocks
from tslg.node.catching_up import CaughtUp, catch_up
from tslg.node.config import NodeConfig
from tslg.node.delegating.inbox import Inbox
from tslg.node.delegating.outbox import Handle, Outbox
from tslg.node.delegating.service import Delegating
from tslg.node.delegating.site import Site
from tslg.node.delegating.works import Work, Worker
from tslg.node.engines.following import TakingUp
from tslg.node.engines.intake import Intake
from tslg.node.finding.book import Source
from tslg.node.finding.finder import keep_book
from tslg.node.finding.service import Finding
from tslg.node.following import follow_federation
from tslg.node.heads.service import HeadService
from tslg.node.home import Home, wall_clock
from tslg.node.net.reach import read_scope
from tslg.node.net.seam import Network, running
from tslg.node.presenting import presenting
from tslg.node.replication.catching import replicate
from tslg.node.replication.report import SyncReport
from tslg.node.replication.service import FEDERATION, Replication
from tslg.node.services import Service, at_work
from tslg.node.serving import Server
from tslg.node.status import status_of
from tslg.node.verifying import Tick, Walked
from tslg.node.withholding import withholding
from tslg.protocol.access import STRANGER
from tslg.protocol.cid import from_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, UsageError
from tslg.protocol.exchange import LOG, WALK, Pair
from tslg.protocol.heard import Heard
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record
from tslg.protocol.report import VALID, Report

LOOK_BACK_SECONDS: Final = 2.0
"""How long a node that starts waits for others to say what they hold of its own logs."""


class Node:
    """A running node. Open it with `Node.open`; every method is for trio."""

    def __init__(
        self,
        home: Home,
        network: Network | None,
        limits: Limits,
        keeper: Gatekeeper,
        settings: NodeConfig | None = None,
    ) -> None:
        self._settings = settings or NodeConfig()
        self.replication: Replication | None = None
        """Follows logs and feeds those who follow; None for a node without a network."""
        self.home = home
        self.network = network
        self._limits = limits
        self._delegating: Delegating | None = None
        self.finding = Finding(home, self._settings, limits)
        """How this node finds others and is found."""
        self._services: list[Service] = [self.finding]
        self.opened = time.monotonic()
        self.heads: HeadService | None = None
        """What it heard of the heads of logs, for a node that takes part in that."""
        self.intake = Intake(home, limits)
        """Takes what engines of others hand in for this node's agents."""
        self.gatekeeper = keeper
        """Decides what leaves this node; whatever serves records asks it."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: str | os.PathLike[str],
        *,
        federation: str | os.PathLike[str] | None = None,
        name: str | None = None,
        listen: str | None = None,
        network: Network | None = None,
        clock: Callable[[], int] = wall_clock,
        random_bytes: Callable[[int], bytes] = os.urandom,
        limits: Limits = DEFAULT,
        withhold: Iterable[str] = (),
        config: NodeConfig | None = None,
    ) -> AsyncIterator[Node]:
        """Open a data directory and, with `listen` or `network`, take part in the network while the block runs.

        Args:
            path: the data directory; made, with a federation of its own, if it is not there.
            federation: file with the sealed root manifest of a federation to join instead.
            name: the name of a federation that is founded here.
            listen: a multiaddr such as `/ip4/0.0.0.0/tcp/4101`.
            network: a network to use instead of libp2p.
            clock: ms since 1970 UTC.
            random_bytes: a source of secret random bytes.
            limits: bounds on what comes from outside.
            withhold: committed fields that peers do not get, each `KIND/FIELD` with `*` for any.
            config: all settings; `listen` and `withhold` stand above it.

        Raises:
            StoreError: the directory cannot be used. NetworkError: the address cannot be had.
        """
        joined = None if federation is None else Path(federation)
        given = {"listen": None if listen is None else [listen], "withhold": list(withhold) or None}
        settings = (config or NodeConfig()).with_values(given)
        shown = withholding(settings.withhold) if settings.withhold else None
        home = await trio.to_thread.run_sync(
            lambda: Home.open(Path(path), federation=joined, name=name, clock=clock, random_bytes=random_bytes)
        )
        try:
            keeper = gatekeeper(home, shown, limits)
            if network is None and settings.listen:
                network = _libp2p(home, settings, limits, keeper)
            network = None if network is None else presenting(network, home, limits)
            node = cls(home, network, limits, keeper, settings)
            if settings.gossip:
                node.heads = HeadService(home, node._locate, node.follow, node._public, limits)
                node._services.append(node.heads)
            async with kept_anchored(home, limits), at_work(node._local(settings)):
                if network is None:
                    yield node
                else:
                    node._serve(network)
                    async with running(network), at_work(node._services):
                        await node._look_back()
                        await node._delegations().begin()
                        yield node
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(home.close)

    @property
    def federation(self) -> Link:
        """The federation's id."""
        return self.home.federation

    @property
    def addresses(self) -> tuple[str, ...]:
        """The addresses at which others can reach this node, each ending in `/p2p/<id>`."""
        return () if self.network is None else self.network.addresses

    async def agent(self, name: str) -> Agent:
        """Return the agent of this name, made if there is none."""
        return Agent(await trio.to_thread.run_sync(self.home.agent, name))

    def auditor(self) -> Auditor:
        """Return an auditor that asks over this node's network, its own store first."""
        clock, store, finder = self.home.clock, self.home.store, self.finding.finder
        return Auditor(self._network(), self.federation, clock=clock, store=store, finder=finder, limits=self._limits)

    async def knows(self, agent: Reference, addresses: Iterable[str]) -> None:
        """Remember where an agent's node can be reached, to tell those who ask."""
        self.finding.finder.hear(addresses, Source.TOLD, reference_id(agent))
        await keep_book(self.home.store, self.finding.finder.book)

    async def fetch(
        self, target: Reference, peers: Sequence[str] = (), *, depth: int | None = None, tick: Tick | None = None
    ) -> Report:
        """Audit another agent's record and, if it is valid, keep what was verified, so that it can be cited.

        `peers` are asked first; whoever else may have something is looked for after them.
        The edge that cites it will disclose how far this node verified: all, or the edges within `depth`.
        """
        walked = await self.auditor().walk(reference_id(target), peers, depth=depth, tick=tick)
        return await self._keep(walked, peers)

    async def _keep(self, walked: Walked, peers: Sequence[str]) -> Report:
        """Keep what a valid walk verified, and where it came from."""
        if walked.report.verdict == VALID:
            now_ms = self.home.clock()
            await trio.to_thread.run_sync(lambda: keep(self.home.ledger, walked, source="peer", now_ms=now_ms))
        newest = walked.report.manifest
        if newest is not None and newest.version > self.home.manifest.version:
            await self.follow(peers)
        return walked.report

    async def catch_up(self, agent: Agent | BlockingAgent, peers: Sequence[str]) -> CaughtUp:
        """Fetch back what peers hold of the log of an agent of this node, as after a restart from an old copy.

        Raises:
            NetworkError: nobody answered.
        """
        return await catch_up(self._network(), self.home.ledger, agent.id, peers, self._limits)

    async def _look_back(self) -> None:
        """Ask the nodes that this one knows what they hold of its own logs, before anything is appended to them."""
        logs = await trio.to_thread.run_sync(self.home.store.logs)
        finder, own = self.finding.finder, set(self.addresses)
        peers = {address for log in logs for address in finder.usable(finder.known(log.owner))} - own
        if not peers:
            return
        with trio.move_on_after(LOOK_BACK_SECONDS):
            for agent in self.home.agents:
                with suppress(NetworkError):
                    await self.catch_up(agent, sorted(peers))

    async def follow(self, peers: Sequence[str]) -> list[Record]:
        """Learn from peers what the federation recorded since, and go on under its newest manifest version.

        Returns the records of its log that were new here. `fetch` does it by itself when it meets a newer version.
        """
        return await follow_federation(self._network(), self.home, peers, self._limits)

    async def replicate(
        self, agents: Iterable[Reference] | None, peers: Sequence[str] = (), *, tick: Tick | None = None
    ) -> SyncReport:
        """Hold these agents' logs whole as far as they can be had, and say what could not; None for all of theirs.

        Every record is verified as it arrives and stays, whatever happens then. For logs that are to be followed as
        they grow there is `NodeConfig.replicate`.
        """
        ids = None if agents is None else [reference_id(agent) for agent in agents]
        return await replicate(
            self._network(),
            self.home.ledger,
            ids,
            peers,
            candidates=self._known_peers,
            limits=self._limits,
            tick=tick,
        )

    async def offer(
        self,
        agent: Agent | BlockingAgent,
        to: Reference,
        task: Mapping[str, Any],
        grant: Reference,
        *,
        peer: str | None = None,
        expires: int,
        hops: int = 0,
    ) -> Handle:
        """Record a delegation and see to it that the delegate's node gets it, now or when it is there, over restarts.

        Args:
            agent, to, task, grant, expires, hops: as for `BlockingAgent.delegate`.
            peer: the address of the delegate's node; None to look where the agent was last.

        Raises:
            Refusal: an admission rule refuses it. UsageError: `TSLG-U-BUSY`: too many are under way.
        """
        outbox = self._delegations().outbox
        blocking = agent.blocking if isinstance(agent, Agent) else agent
        made = await trio.to_thread.run_sync(lambda: blocking.delegate(to, task, grant, expires=expires, hops=hops))
        if peer is not None:
            await self.knows(to, [peer])
        return await outbox.offer(made, [] if peer is None else [peer])

    async def delegate(
        self,
        agent: Agent | BlockingAgent,
        to: Reference,
        task: Mapping[str, Any],
        grant: Reference,
        *,
        peer: str,
        expires: int,
        hops: int = 0,
        tick: Callable[[int, int | None], None] | None = None,
    ) -> tuple[Record, Link]:
        """Record a delegation, hand it to the delegate's node at `peer`, and wait for the result's id.

        Returns the delegation and the id of the delegate's answer, which `fetch` verifies.

        Raises:
            PeerError: the peer cannot be reached or does not take it on, or the delegation ended without a result. The
                delegation stays recorded; `offer` is for delegates that may be away.
        """
        handle = await self.offer(agent, to, task, grant, peer=peer, expires=expires, hops=hops)
        result = await self._delegations().outbox.result(handle.delegation.id, tick, patient=False)
        return handle.delegation, result

    async def handed_out(self, delegation: Reference) -> Handle | None:
        """Return the handle of a delegation that `offer` handed out, also before a restart; None for any other."""
        record = await trio.to_thread.run_sync(self.home.ledger.context.record, reference_id(delegation))
        return None if record is None else await self._delegations().outbox.handle(record)

    def on_delegation(
        self, agent: Agent | BlockingAgent, work: Work, *, again: bool = False, at_once: int | None = None
    ) -> None:
        """Do `work` for every delegation to an agent of this node, once a delegation, after it was verified.

        Args:
            agent: the agent.
            work: `work(agent, delegation, progress) -> Record`, called in a thread, or an `async def` one; it records
                under the delegation and returns the record that answers it. What it raises is told to the delegator in
                one line; `Declined` refuses the delegation.
            again: whether it may be begun again if the node stops in the middle of it; otherwise that has failed.
            at_once: how many are done at a time; `Limits.works_per_agent` if None.
        """
        blocking = agent.blocking if isinstance(agent, Agent) else agent
        most = self._limits.works_per_agent if at_once is None else at_once
        self._delegations().inbox.serve(Worker(blocking, work, again, most))

    def _delegations(self) -> Delegating:
        if self._delegating is None:
            raise UsageError("this node is on no network", mend="open it with `listen`")
        return self._delegating

    def status(self) -> dict[str, Any]:
        """Return what this node is doing, for people and programs that watch over it."""
        return status_of(self)

    def _local(self, config: NodeConfig) -> list[Service]:
        """Return the parts of the node that need no network."""
        if config.api == OFF:
            return []
        # Imported here for those who embed a node and write through it alone.
        from tslg.node.api.service import LocalInterface
        from tslg.node.metrics import Metrics

        return [LocalInterface(self.home, config.api, self.status, self._limits, Metrics(self).text, self.intake)]

    def _network(self) -> Network:
        if self.network is None:
            raise UsageError("this node is on no network", mend="open it with `listen`")
        return self.network

    def _serve(self, network: Network) -> None:
        server = Server(self.home.store, self._locate, self._limits, keeper=self.gatekeeper)
        self._delegating = self._delegates(network)
        network.serve(WALK, server.walk)
        network.serve(LOG, server.log)
        self.replication = self._replication(server)
        taking_up = TakingUp(self.intake, self.home.ledger, self.replication.following)
        self._services += [self.replication, taking_up, self._delegating]
        self.finding.also_provide(self._held_whole)
        if self.heads is not None:
            self.heads.listen(self._hint)
        for service in self._services:
            service.serve(network)

    def _public(self, id: Link, pair: Pair) -> bool:
        """Tell whether anybody at all gets a record from this node."""
        return self.gatekeeper.gate_of(STRANGER).cut(id, pair) is not WITHHELD

    def _hint(self, agent: Link, head: Heard) -> None:
        """Have a log that is followed here compared with whoever announced or handed on a newer head of it."""
        for peer in dict.fromkeys((head.peer, head.via)):
            if self.replication is not None:
                self.replication.hint(agent, head.size, peer)

    def _replication(self, server: Server) -> Replication:
        chosen = self._settings.replicate
        return Replication(
            self.home.ledger,
            owners=[from_text(one) for one in chosen if one != FEDERATION],
            everything=FEDERATION in chosen,
            peers=self._settings.replicate_from,
            offer_to=self._settings.offer_to,
            cut=self.gatekeeper.cut,
            close=server.close,
            candidates=self._known_peers,
            submit=self.intake.submit,
            limits=self._limits,
        )

    async def _known_peers(self, agent: Link) -> list[str]:
        finder = self.finding.finder
        known = finder.usable(await trio.to_thread.run_sync(finder.known, agent)) or await finder.providers(agent)
        return [address for address in known if address not in self.addresses]

    def _held_whole(self) -> list[Link]:
        """Return the logs of others that can be asked for here as at their own nodes, since they are followed."""
        store, writes = self.home.store, self.home.ledger.writes
        if self.replication is None or not self.replication.following:
            return []
        held = [log.owner for log in store.logs() if not writes(log.owner) and store.log_state(log.owner) is not None]
        return held[: self._limits.provider_records_per_peer // 2]

    def _delegates(self, network: Network) -> Delegating:
        finder = self.finding.finder

        async def known(agent: Link) -> list[str]:
            return finder.usable(await trio.to_thread.run_sync(finder.known, agent))

        site = Site(
            ledger=self.home.ledger,
            network=network,
            clock=self.home.clock,
            walk=self.auditor().walk,
            keep=self._keep,
            known=known,
            search=finder.providers,
            limits=self._limits,
            chance=random.random,
        )
        return Delegating(site, Inbox(site), Outbox(site, self.home.retract))

    def _locate(self, agent: Link) -> list[str]:
        if self.home.ledger.writes(agent):
            return list(self.addresses)
        return self.finding.finder.known(agent)


def _libp2p(home: Home, config: NodeConfig, limits: Limits, keeper: Gatekeeper) -> Network:
    # Imported here because it costs half a second, which a node without a network need not wait for.
    from tslg.node.net.libp2p.config import Libp2pConfig
    from tslg.node.net.libp2p.network import Libp2pNetwork

    return Libp2pNetwork(
        Libp2pConfig(
            seed=home.peer_seed(),
            listen=config.listen,
            announce=config.announce,
            limits=limits,
            discovery=config.discovery,
            gossip=config.gossip,
            blocks=RecordBlocks(home.store, keeper) if config.bitswap else None,
            reach=read_scope(config.reach),
        )
    )
