"""Both vendors at work: vendor A's node in this process, vendor B's in a process of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import trio

from tslg.node.agent import BlockingAgent
from tslg.node.demo import federation as federations
from tslg.node.demo import release, scanner
from tslg.node.demo.children import Child, child
from tslg.node.demo.federation import Federation
from tslg.node.demo.story import Story
from tslg.node.node import Node
from tslg.protocol import cid
from tslg.protocol.codec import Link

START_SECONDS: Final = 30.0
"""How long vendor B's process may take to say where it is."""


@dataclass(frozen=True, slots=True)
class Vendors:
    """Both vendors at work: A's node and agent in this process, B's process with its agent and its place."""

    federation: Federation
    node: Node
    agent: BlockingAgent
    scanner_data: Path
    scanner_id: Link
    scanner_peer: str
    scanner_address: str

    def peer(self, agent: Link) -> str:
        """Return the peer id of an agent's node."""
        assert self.node.network is not None
        return self.scanner_peer if agent == self.scanner_id else self.node.network.peer_id


@asynccontextmanager
async def at_work(story: Story, folder: Path, scratch: Path, federation: Federation) -> AsyncIterator[Vendors]:
    """Run vendor B's node in a process of its own, and vendor A's in this one, while the block runs."""
    data = folder / scanner.NAME
    arguments = ["--data", str(data), "--federation", str(federation.sealed)]
    async with AsyncExitStack() as stack:
        with story.step("Two vendors join it, each with a process and a node of its own"):
            started = child("vendor B's scanner", "tslg.node.demo.scanner", arguments, scratch)
            process = await stack.enter_async_context(started)
            # In a thread, since it takes half a second and an interrupted import fails in strange ways.
            await trio.to_thread.run_sync(import_module, "tslg.node.net.libp2p.network")
            opened = Node.open(folder / release.NAME, federation=federation.sealed, listen=scanner.LOOPBACK)
            node = await stack.enter_async_context(opened)
            agent = await federations.join(node.home, release.NAME, partial(_attest, federation))
            there = await _greet(process, federation)
            vendors = Vendors(
                federation,
                node,
                agent,
                data,
                cid.from_text(there["agent"]),
                there["peer_id"],
                there["addresses"][0],
            )
            story.tell(f"{release.NAME:<17} {cid.short(agent.id)}  {node.addresses[0]}")
            story.tell(f"{there['name']:<17} {cid.short(vendors.scanner_id)}  {vendors.scanner_address}")
            story.tell("each genesis is signed by the agent and by two anchors, who were only shown a request")
        yield vendors


async def _attest(federation: Federation, request: bytes) -> bytes:
    return await trio.to_thread.run_sync(federation.attest, request)


async def _greet(process: Child, federation: Federation) -> dict[str, Any]:
    """Have the anchors attest the scanner's genesis, and return where it is to be found."""
    asked = await process.receive(START_SECONDS)
    await process.send({"seal": (await _attest(federation, bytes.fromhex(asked["attest"]))).hex()})
    there: dict[str, Any] = await process.receive(START_SECONDS)
    return there
