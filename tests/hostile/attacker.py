"""A hostile peer as a process: `python attacker.py ATTACK VICTIM FEDERATION`, until it is ended.

It says `{"attacker": peer id, "addresses": [...]}` first. Attacks that answer requests wait for the victim to ask.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.peer.id import ID
from libp2p.stream_muxer.yamux import yamux
from multiaddr import Multiaddr

from tslg.node.net.libp2p.config import Libp2pConfig
from tslg.node.net.libp2p.network import Libp2pNetwork
from tslg.node.net.libp2p.streams import RequestStream
from tslg.node.net.seam import peer_id_of, running
from tslg.protocol import codec, frames
from tslg.protocol import record as records
from tslg.protocol.cid import compute, from_text
from tslg.protocol.errors import NetworkError
from tslg.protocol.exchange import DELEGATE, LOG, WALK, records_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Edge, Head

PUSH: Final = "/tslg/push/1"
HEADS: Final = "/tslg/heads/1"
ASKED: Final = (
    WALK,
    LOG,
    DELEGATE,
    PUSH,
    HEADS,
    "/ipfs/bitswap/1.2.0",
    "/tslg/kad/1.0.0",
    "/meshsub/1.2.0",
    "/ipfs/id/1.0.0",
)
GONE: Final = (NetworkError, BaseLibp2pError, OSError, trio.BrokenResourceError, trio.ClosedResourceError)
FLOOD_BYTES: Final = 400 * 1024 * 1024
BAIT: Final = (
    b"",
    b"\x00",
    b"\xff" * 64,
    b"\x81" * 5_000,
    b"\x9f",
    b"\xa1\x62op\x64head",
    codec.encode({"op": "head", "agent": compute(b"nobody")}),
    codec.encode({"op": "range", "agent": compute(b"nobody"), "start": 0, "stop": 2**53 - 1}),
    codec.encode(
        {"op": "proofs", "agent": compute(b"nobody"), "inclusion": [compute(b"x")] * 1_000, "consistency": []}
    ),
    codec.encode({"roots": [compute(b"x")] * 1_000, "classes": None, "edges": None, "have": []}),
    codec.encode({"roots": [], "classes": [], "edges": -1, "have": [{"agent": 3, "size": "x"}]}),
    codec.encode({"delegation": compute(b"x"), "addresses": ["/ip4/127.0.0.1/tcp/1/p2p/x"] * 64}),
    codec.encode({"offer": {"delegation": compute(b"x"), "addresses": ["\x00"]}}),
    codec.encode({"subscribe": {"logs": [{"agent": compute(b"x"), "size": 2**53 - 1}] * 500, "live": True}}),
    codec.encode({"epoch": b"\xff" * 32, "since": 2**53 - 1}),
    os.urandom(60_000),
)


class Attacker:
    """One peer, and the node that it attacks."""

    def __init__(self, network: Libp2pNetwork, victim: str, federation: str) -> None:
        self.network, self.victim, self.federation = network, victim, federation
        self.peer = ID.from_string(peer_id_of(victim))

    async def stream(self, protocol: str) -> RequestStream:
        """Open a stream to the victim that says what it is for with the first bytes."""
        opened = await self.network._dialer.open_stream(self.peer, Multiaddr(self.victim), DEFAULT)
        return RequestStream(opened, DEFAULT, protocol, str(self.peer))

    async def unread(self) -> None:
        """Push 400 MiB into a stream, whatever the window says."""
        sent = 0
        data = bytes(60_000)
        while sent < FLOOD_BYTES:
            with suppress(*GONE):
                own = await self.stream(WALK)
                await own.send(frames.encode_varint(900_000))
                muxed = own._stream
                header = struct.pack(yamux.YAMUX_HEADER_FORMAT, 0, 0, 0, muxed.stream_id, len(data))
                while sent < FLOOD_BYTES and not muxed.conn.is_closed:
                    await muxed.conn._write_frame(header + data)
                    sent += len(data)
            await trio.sleep(0.05)

    async def drip(self) -> None:
        """Send requests of which a byte comes now and then."""
        async with trio.open_nursery() as nursery:
            for _ in range(DEFAULT.streams_per_connection - 8):
                nursery.start_soon(self._drip_one)
                await trio.sleep(0.01)

    async def _drip_one(self) -> None:
        while True:
            with suppress(*GONE):
                own = await self.stream(LOG)
                for byte in frames.encode_request(bytes(500)):
                    await own.send(bytes([byte]))
                    await trio.sleep(1)
            await trio.sleep(1)

    async def bait(self) -> None:
        """Ask everything that can be asked for with whatever might bring a handler down."""
        while True:
            for protocol in ASKED:
                for payload in BAIT:
                    with suppress(*GONE), trio.move_on_after(2):
                        own = await self.stream(protocol)
                        await own.send(frames.encode_request(payload))
                        await own.send_eof()
                        while await own.receive():
                            pass
            await trio.sleep(0.05)

    async def cancelled(self) -> None:
        """Begin requests, and be gone before they are whole."""
        while True:
            with suppress(*GONE):
                own = await self.stream(WALK)
                await own.send(frames.encode_request(bytes(5_000))[:2_000])
                await own.abort()
            await trio.sleep(0)

    async def replayed(self) -> None:
        """Offer one delegation again and again."""
        payload = codec.encode({"delegation": compute(b"none"), "addresses": []})
        while True:
            with suppress(*GONE):
                async with self.network.request(self.victim, DELEGATE, payload) as chunks:
                    async for _ in chunks:
                        pass
            await trio.sleep(0)

    async def gossip(self) -> None:
        """Announce heads that nobody signed."""
        topic = f"/tslg/heads/1/{self.federation}"
        await self.network.subscribe(topic, lambda payload, peer: True)
        await trio.sleep(2)
        number = 0
        while True:
            for _ in range(50):
                number += 1
                note = b"tslg/%d\n5\n%s\n\n" % (number, b"A" * 43 + b"=")
                forged = {"head": {"checkpoint": note, "keys": [[b"x", b"y"]], "since": 0, "path": []}}
                with suppress(*GONE):
                    await self.network.announce(topic, codec.encode(forged))
            await trio.sleep(0.05)

    async def connections(self) -> None:
        """Open a thousand connections and leave them in the handshake, and open new ones where they end."""
        host, port = (
            Multiaddr(self.victim).value_for_protocol("ip4"),
            int(Multiaddr(self.victim).value_for_protocol("tcp")),
        )
        async with trio.open_nursery() as nursery:
            for _ in range(1_000):
                nursery.start_soon(self._hold, str(host), port)

    async def _hold(self, host: str, port: int) -> None:
        while True:
            with suppress(*GONE):
                async with await trio.open_tcp_stream(host, port) as stream:
                    await stream.send_all(b"\x13/multistream/1.0.0\n")
                    while await stream.receive_some(100):
                        pass
            await trio.sleep(1)

    async def half_open(self) -> None:
        """Hold streams open and say nothing; the test stops this process without closing anything."""
        with suppress(*GONE):
            for _ in range(50):
                own = await self.stream(WALK)
                await own.send(b"\x80")
        await trio.sleep_forever()

    async def wait(self) -> None:
        """Answer what is asked."""
        await trio.sleep_forever()


def record_like(number: int) -> bytes:
    """Return bytes that look like a record, and are none that anybody asked for."""
    return codec.encode({"v": 1, "kind": "state", "number": number, "data": bytes(3_000)})


async def wrong_block(request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
    """Answer with another record than was asked for."""
    yield records_chunk([(record_like(0), b"seal")])


async def unasked(request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
    """Answer with well-formed records of another lineage, for as long as they are taken."""
    number = 1
    while True:
        yield records_chunk([(unasked_record(number + place), b"seal") for place in range(200)])
        number += 200


def unasked_record(number: int) -> bytes:
    """Return a record with all that a record has."""
    return records.build(
        kind="state",
        agent=compute(b"agent"),
        seq=number,
        prev=compute(b"prev"),
        time=1,
        manifest=compute(b"manifest"),
        key=compute(b"key"),
        log=Head(number, bytes(32)),
        preds={"prior": [Edge(compute(b"prior"))]},
        body={"data": {"number": number, "text": "x" * 3_000}},
        hash_name="sha2-256",
    ).data


async def endless(request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
    """Answer for ever."""
    number = 0
    while True:
        yield records_chunk([(record_like(number + place), b"seal") for place in range(200)])
        number += 200


async def slow(request: bytes, peer: str) -> AsyncGenerator[bytes, None]:
    """Answer a little at a time, just often enough to look alive."""
    while True:
        yield records_chunk([])
        await trio.sleep(5)


ANSWERS: Final = {"wrong_block": wrong_block, "endless": endless, "unasked": unasked, "slow": slow}
"""What is answered to whoever asks, in place of lineage."""


async def main(attack: str, victim: str, federation: str) -> None:
    """Attack until ended."""
    config = Libp2pConfig(seed=os.urandom(32), gossip=attack == "gossip", bootstrap=(victim,))
    network = Libp2pNetwork(config)
    for protocol in (WALK, LOG) if attack in ANSWERS else ():
        network.serve(protocol, ANSWERS[attack])
    async with running(network):
        said: dict[str, Any] = {"attacker": network.peer_id, "addresses": list(network.addresses)}
        sys.stdout.write(json.dumps(said) + "\n")
        sys.stdout.flush()
        from_text(federation)
        await getattr(Attacker(network, victim, federation), "wait" if attack in ANSWERS else attack)()
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
