"""One side of a delegation as a process, to be killed: `delegating_process.py ROLE DIR SEALED SHARED ARGUMENT…`.

`delegate LISTEN` appends a line to SHARED/runs for every work that begins, and ends the work once SHARED/go is there.
`offer DELEGATE ADDRESS` hands a delegation out and tells its state until it is ended; `follow ID` goes on with one.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import trio

from tslg.node.node import Node
from tslg.protocol.cid import to_text


def say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")
    sys.stdout.flush()


async def delegate(data: Path, sealed: Path, shared: Path, listen: str) -> None:
    def work(agent, delegation, progress):
        with (shared / "runs").open("a") as runs:
            runs.write(to_text(delegation.id) + "\n")
        while not (shared / "go").exists():
            time.sleep(0.01)
        return agent.observe("ears", {"n": 1}, delegation=delegation)

    async with Node.open(data, federation=sealed, listen=listen) as node:
        bob = await node.agent("bob")
        node.on_delegation(bob, work)
        say(to_text(bob.id), node.addresses[0])
        await trio.sleep_forever()


async def tell(handle) -> None:
    state = ""
    while state not in ("answered", "failed", "refused", "expired", "cancelled"):
        known = state
        while (state := handle.state) == known:
            await trio.sleep(0.02)
        say(state, to_text(handle.delegation.id))


async def offer(data: Path, sealed: Path, shared: Path, to: str, address: str) -> None:
    async with Node.open(data, federation=sealed, listen="/ip4/127.0.0.1/tcp/0") as node:
        alice = await node.agent("alice")
        grant = await alice.policy("listening", capabilities=["listen"])
        expires = node.home.clock() + 3_600_000
        await tell(await node.offer(alice, to, {"do": "listen"}, grant, peer=address, expires=expires))


async def follow(data: Path, sealed: Path, shared: Path, delegation: str) -> None:
    async with Node.open(data, federation=sealed, listen="/ip4/127.0.0.1/tcp/0") as node:
        await tell(await node.handed_out(delegation))


if __name__ == "__main__":
    role, *rest = sys.argv[1:]
    trio.run({"delegate": delegate, "offer": offer, "follow": follow}[role], *map(Path, rest[:3]), *rest[3:])
