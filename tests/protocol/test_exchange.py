"""Messages between nodes: what is seldom there is left out rather than empty, and every bound is held."""

from __future__ import annotations

import pytest

from tslg.protocol import cid, codec
from tslg.protocol.exchange import (
    DelegateRequest,
    LocateReply,
    MessageError,
    RangeRequest,
    WalkEnd,
    read_log_request,
    read_walk_chunk,
)

LINK = cid.compute(b"any")


def end(**more):
    return codec.encode({"end": codec.decode(WalkEnd().to_bytes())["end"] | more})


@pytest.mark.spec("WIR-9")
def test_what_is_seldom_there_is_left_out_rather_than_empty():
    assert read_walk_chunk(end()) == WalkEnd()
    assert read_walk_chunk(end(beside=[[b"record", b"seal"]])).beside == ((b"record", b"seal"),)
    for name in ("beside", "pruned", "checkpoints"):
        with pytest.raises(MessageError):
            read_walk_chunk(end(**{name: []}))


@pytest.mark.spec("WIR-9", "WIR-14")
@pytest.mark.parametrize("more", [{"beside": [[b"", b""]] * 1001}, {"pruned": None}, {"beside": None}, {"more": [1]}])
def test_the_end_of_a_walk_holds_nothing_else(more):
    with pytest.raises(MessageError):
        read_walk_chunk(end(**more))


@pytest.mark.spec("WIR-14")
def test_a_range_and_addresses_are_bounded():
    whole = RangeRequest(LINK, 7, 1_000_007)
    assert read_log_request(whole.to_bytes()) == whole
    for start, stop in ((7, 1_000_008), (7, 6), (-1, 3)):
        with pytest.raises(MessageError):
            read_log_request(RangeRequest(LINK, start, stop).to_bytes())
    for message in (DelegateRequest(LINK, ("a" * 512,) * 64), LocateReply(("a" * 512,) * 64)):
        assert type(message).from_bytes(message.to_bytes()) == message
        for addresses in (("a",) * 65, ("a" * 513,)):
            with pytest.raises(MessageError):
                type(message).from_bytes(message._replace(addresses=addresses).to_bytes())
