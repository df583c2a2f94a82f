"""Homes of one federation that says who may read what, and what a server of one of them answers to a peer."""

from __future__ import annotations

from typing import Any

from homes import anchor, opened, sealed_by_anchors
from world import NOW

from tslg.manifests import signing, versions
from tslg.node.access import Gatekeeper
from tslg.node.agent import BlockingAgent
from tslg.node.binding import Bindings, peer_bytes
from tslg.node.home import Home
from tslg.node.net.seam import Network
from tslg.node.presenting import credentials
from tslg.node.serving import Server
from tslg.protocol.exchange import LOG, WALK, WalkEnd, read_walk_chunk
from tslg.protocol.presenting import PresentReply, PresentRequest
from tslg.protocol.record import Record, parse

TOML = """
[federation]
name = "Guarded"
[anchors]
scheme = "multisig"
threshold = 1
members = ["a"]
[envelope]
address = "{address}"
[envelope.genesis]
anchors = 1
{access}
"""


def toml(access: str = "", address: str = "flat") -> str:
    """A manifest with these lines of `[envelope.access]`; without any, anybody reads everything."""
    return TOML.format(address=address, access=f"[envelope.access]\n{access}" if access else "")


def home(path: Any, text: str, seed: str) -> Home:
    """Open a directory of the federation whose clock goes on a millisecond with every look."""
    ticks = iter(range(NOW, NOW + 10**9))
    return opened(path / seed, text, seed=seed, clock=lambda: next(ticks))


def amend(at: Home, text: str, **envelope: Any) -> Record:
    """Put the next manifest version into force in a directory, by the federation's anchors."""
    history, manifest = at.federation_log(), at.manifest_record
    body = dict(manifest.body) | {"version": at.manifest.version + 1}
    body["envelope"] = dict(body["envelope"]) | envelope
    made = versions.amendment(history, body, time_ms=at.clock())
    seal = sealed_by_anchors(signing.propose(made, versions.support(history, made)), text)[1]
    at.follow_federation([(made, seal)])
    return made


def member(at: Home, text: str, name: str) -> BlockingAgent:
    """Make an agent whose genesis the anchors attest."""
    return at.create_agent(name, anchors=anchor(text))


class Desk:
    """A node's server, asked without a network."""

    def __init__(self, at: Home, **how: Any) -> None:
        ledger = at.ledger
        self.keeper = Gatekeeper(
            ledger.context, at.store, lambda: ledger.manifest, Bindings(ledger.context, at.store), **how
        )
        self._server = Server(at.store, lambda agent: (), keeper=self.keeper)

    def serve(self, network: Network) -> None:
        """Answer on a network."""
        network.serve(WALK, self._server.walk)
        network.serve(LOG, self._server.log)

    async def walk(self, request: Any, peer: str = "stranger") -> list[bytes]:
        """Return the chunks of the reply to a walk."""
        return [chunk async for chunk in self._server.walk(request.to_bytes(), peer)]

    async def log(self, request: Any, peer: str = "stranger") -> list[bytes]:
        """Return the chunks of the reply to a question about a log."""
        return [chunk async for chunk in self._server.log(request.to_bytes(), peer)]

    async def present(self, reader: Home, peer: str) -> tuple[Any, ...]:
        """Have a peer present what binds it to a directory's agents; return those it is bound to."""
        reply = await self.log(PresentRequest(tuple(credentials(reader, peer))), peer)
        return PresentReply.from_bytes(b"".join(reply)).agents


def bind(agent: BlockingAgent, peer: str) -> Record:
    """Register a peer for an agent."""
    return agent.register_peer(peer_bytes(peer))


def read(chunks: list[bytes]) -> tuple[list[Record], WalkEnd | None]:
    """Return the records and the end of a reply."""
    parts = [read_walk_chunk(chunk) for chunk in chunks]
    records = [parse(pair[0], "sha2-256") for part in parts if not isinstance(part, WalkEnd) for pair in part]
    return records, next((part for part in parts if isinstance(part, WalkEnd)), None)
