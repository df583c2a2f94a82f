"""Attachments: refused where none belongs, dropped where they were not asked for, and carried where they hold."""

from __future__ import annotations

import pytest
from world import World

from tslg.protocol import attachments, codec
from tslg.protocol.errors import AttachmentError
from tslg.protocol.exchange import MessageError, chunked, read_walk_chunk, records_chunk, size_of
from tslg.protocol.keys import key_of
from tslg.protocol.limits import DEFAULT
from tslg.protocol.opening import Opened, attach, check_seals

pytestmark = pytest.mark.spec("ATT-1", "ATT-2")


@pytest.fixture(scope="module")
def w():
    world = World()
    world.a = world.agent("a")
    world.state = world.add(world.a, "state")
    return world


@pytest.fixture
def _any_state_takes_ok(monkeypatch):
    """Records that are states take the attachment `ok`, and show it as their name."""

    def read(record, attachment):
        if attachment != b"ok":
            raise AttachmentError("not ok")
        return record._replace(body={**record.body, "name": "shown"})

    monkeypatch.setattr(attachments, "READERS", [(lambda record: record.kind == "state", read)])


@pytest.mark.spec("ATT-3")
def test_none_belongs_to_a_plain_record(w):
    with pytest.raises(AttachmentError) as caught:
        attachments.check(w.state, b"")
    assert caught.value.code == "TSLG-T-NONE" and caught.value.record == w.state.id


@pytest.mark.spec("ATT-1")
@pytest.mark.usefixtures("_any_state_takes_ok")
def test_the_size_is_judged_first(w):
    with pytest.raises(AttachmentError) as caught:
        attachments.check(w.state, bytes(DEFAULT.attachment_bytes + 1))
    assert caught.value.code == "TSLG-T-SIZE"
    with pytest.raises(AttachmentError, match="not ok"):
        attachments.check(w.state, bytes(DEFAULT.attachment_bytes))


@pytest.mark.spec("ATT-2")
def test_what_does_not_hold_is_dropped(w):
    opened = Opened(w.state, w.seals[w.state.id])
    assert attach(opened, b"anything") is opened


@pytest.mark.usefixtures("_any_state_takes_ok")
def test_what_holds_stays_through_the_check_of_seals(w):
    opened = attach(Opened(w.state, w.seals[w.state.id]), b"ok")
    assert opened.record.body["name"] == "shown" and opened.attachment == b"ok"
    for keys in ({}, {w.a.owner: key_of(w.held[w.a.owner])}):
        (checked,) = check_seals([opened], keys)
        assert checked == (opened.record, opened.seal, True if keys else None, b"ok")


def test_a_chunk_carries_attachments_and_plain_pairs():
    pairs = [(b"record", b"seal"), (b"record 2", b"seal 2", b""), (b"record 3", b"seal 3", None)]
    assert read_walk_chunk(records_chunk(pairs)) == [pairs[0], pairs[1], (b"record 3", b"seal 3")]
    assert [size_of(pair) for pair in pairs] == [10, 14, 14]


@pytest.mark.parametrize(
    "pair",
    [
        [b"record"],
        [b"record", b"seal", None],
        [b"record", b"seal", "text"],
        [b"record", b"seal", bytes(DEFAULT.attachment_bytes + 1)],
        [b"record", b"seal", b"", b""],
    ],
)
def test_malformed_attachments_on_the_wire(pair):
    with pytest.raises(MessageError):
        read_walk_chunk(codec.encode_unchecked({"records": [pair]}))


def test_chunks_are_split_by_what_is_attached_too():
    large = (b"record", b"seal", bytes(DEFAULT.attachment_bytes))
    parts = list(chunked([large, large, large, (b"record", b"seal")], 256, DEFAULT.chunk_bytes // 2))
    assert [len(part) for part in parts] == [1, 1, 2]
    assert max(len(records_chunk(part)) for part in parts) < DEFAULT.chunk_bytes
