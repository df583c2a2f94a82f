"""What an audit makes of peers that cannot be reached, or answer with anything but records."""

from __future__ import annotations

import pytest

from tslg.node.auditor import Auditor
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.protocol.cid import compute
from tslg.protocol.exchange import WALK, records_chunk

TARGET, FEDERATION = compute(b"target"), compute(b"federation")


async def audit(hub: MemoryHub, peer: str):
    network = hub.network("auditor")
    async with running(network):
        return await Auditor(network, FEDERATION, clock=lambda: 0).audit(TARGET, [peer])


@pytest.mark.spec("VER-8", "WIR-10")
async def test_a_peer_that_cannot_be_reached_leaves_the_audit_undetermined():
    report = await audit(MemoryHub(), "/memory/nobody/p2p/nobody")
    assert report.verdict == "undetermined"
    assert {item.reason for item in report.undetermined} == {"unreachable"}


@pytest.mark.parametrize("chunk", [b"garbage", records_chunk([(b"garbage", b"garbage")])])
async def test_a_peer_that_answers_with_garbage_leaves_the_audit_undetermined(chunk):
    async def answer(request: bytes, peer: str):
        yield chunk

    hub = MemoryHub()
    hostile = hub.network("hostile")
    hostile.serve(WALK, answer)
    async with running(hostile):
        report = await audit(hub, hostile.addresses[0])
    assert report.verdict == "undetermined" and report.records == {}
