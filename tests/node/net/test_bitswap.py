"""The gateway for IPFS clients: a block by its CID, a plain answer for what is not there, and limits for the rest."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace

import pytest
import trio
from libp2p.bitswap import BitswapClient
from libp2p.bitswap.cid import parse_cid
from libp2p.bitswap.messages import create_wantlist_entry, create_wantlist_message
from libp2p.network.stream.exceptions import StreamEOF
from libp2p.peer.id import ID
from multiaddr import Multiaddr

from tslg.node.blocks import RecordBlocks
from tslg.node.home import Home
from tslg.node.net.libp2p.bitswap import PROTOCOLS
from tslg.protocol.frames import encode_varint
from tslg.protocol.limits import DEFAULT

PREFIX = b"\x01\x71\x12\x20"
BLOCK = b"a block of many bytes" * 40
CID = PREFIX + hashlib.sha256(BLOCK).digest()
OTHER = PREFIX + bytes(32)


def gateway(asked):
    def blocks(cid, peer):
        asked.append((cid, peer))
        return BLOCK if cid == CID else None

    return {"blocks": blocks}


async def reach(client, served):
    await client._dialer.connect(ID.from_string(served.peer_id), Multiaddr(served.addresses[0]))
    return ID.from_string(served.peer_id)


@pytest.mark.spec("BLK-1")
async def test_a_client_gets_a_block_that_is_there(libp2p_world, nursery):
    asked = []
    served = await libp2p_world.start("served", settings=gateway(asked))
    client = await libp2p_world.start("client")
    peer = await reach(client, served)
    bitswap = BitswapClient(client._host)
    bitswap.set_nursery(nursery)
    await bitswap.start()
    await bitswap.want_block(CID)
    await bitswap._send_wantlist_to_peer(peer, [CID])
    with trio.fail_after(10):
        while await bitswap.block_store.get_block(parse_cid(CID)) is None:
            await trio.sleep(0.01)
    assert await bitswap.block_store.get_block(parse_cid(CID)) == BLOCK
    assert asked == [(CID, client.peer_id)]
    await bitswap.stop()


async def answers(client, peer, data, replies):
    """Send bytes as one stream of Bitswap, and collect what the gateway sends on streams of its own."""

    async def collect(stream):
        read = b""
        with suppress(StreamEOF):
            while part := await stream.read(65_536):
                read += part
        await replies.send(read)

    client._host.set_stream_handler(PROTOCOLS[0], collect)
    stream = await client._host.new_stream(peer, list(PROTOCOLS))
    await stream.write(data)
    await stream.close()


def framed(message):
    data = message.SerializeToString()
    return encode_varint(len(data)) + data


@pytest.mark.spec("BLK-3")
async def test_what_is_not_there_is_said_only_to_those_who_want_to_hear_it(libp2p_world):
    served = await libp2p_world.start("served", settings=gateway([]))
    client = await libp2p_world.start("client")
    peer = await reach(client, served)
    send, receive = trio.open_memory_channel(4)
    silent = create_wantlist_message([create_wantlist_entry(OTHER)])
    telling = create_wantlist_message([create_wantlist_entry(OTHER, want_type=1, send_dont_have=True)])
    await answers(client, peer, framed(silent) + framed(telling), send)
    with trio.fail_after(10):
        reply = await receive.receive()
    assert OTHER in reply and BLOCK not in reply
    with pytest.raises(trio.WouldBlock):
        receive.receive_nowait()


@pytest.mark.spec("BLK-4")
@pytest.mark.parametrize("data", [b"\xff" * 200, encode_varint(1 << 30) + b"x", encode_varint(9) + b"\xff" * 9])
async def test_what_is_no_message_ends_its_stream_and_nothing_else(libp2p_world, caplog, data):
    served = await libp2p_world.start("served", settings=gateway([]))
    client = await libp2p_world.start("client")
    peer = await reach(client, served)
    send, receive = trio.open_memory_channel(4)
    with caplog.at_level("WARNING"):
        await answers(client, peer, data, send)
        with trio.fail_after(10):
            while client.peer_id not in caplog.text:
                await trio.sleep(0.01)
    await answers(client, peer, framed(create_wantlist_message([create_wantlist_entry(CID)])), send)
    with trio.fail_after(10):
        assert BLOCK in await receive.receive()


@pytest.mark.spec("BLK-4")
async def test_wants_beyond_the_limit_are_left_out(libp2p_world):
    asked = []
    served = await libp2p_world.start("served", replace(DEFAULT, block_wants=3), settings=gateway(asked))
    client = await libp2p_world.start("client")
    peer = await reach(client, served)
    send, receive = trio.open_memory_channel(4)
    wants = [create_wantlist_entry(CID, send_dont_have=True) for _ in range(50)]
    await answers(client, peer, framed(create_wantlist_message(wants)), send)
    with trio.fail_after(10):
        assert BLOCK in await receive.receive()
    assert len(asked) == 3


@pytest.mark.spec("BLK-2")
def test_only_records_are_blocks(tmp_path):
    with Home.open(tmp_path / "a") as home:
        record = home.agent("one").state({"x": 1})
        blocks = RecordBlocks(home.store)
        assert blocks(record.id, "somebody") == record.data
        for id in (b"", b"\x00" * 36, OTHER, b"\x01\x55" + record.id[2:]):
            assert blocks(id, "somebody") is None
