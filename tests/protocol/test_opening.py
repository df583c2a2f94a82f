"""Opening: what needs no other record than the key's is decided, and nothing else is."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import ONE, World, sign

from tslg.protocol import seal as seals
from tslg.protocol.errors import RecordError
from tslg.protocol.keys import key_of
from tslg.protocol.opening import open_record


@pytest.fixture(scope="module")
def w():
    world = World()
    world.a, world.b = world.agent("a"), world.agent("b")
    world.state = world.add(world.a, "state")
    world.keys = {author.owner: key_of(world.held[author.owner]) for author in (world.a, world.b)}
    return world


def test_a_good_seal_is_told_from_one_that_was_not_looked_at(w):
    data, seal = w.state.data, w.seals[w.state.id]
    assert open_record(w.state.id, data, seal).sealed is None
    assert open_record(w.state.id, data, seal, {}).sealed is None
    assert open_record(w.state.id, data, seal, {w.b.owner: w.keys[w.b.owner]}).sealed is None
    assert open_record(w.state.id, data, seal, w.keys) == (w.state, seal, True, None)


def test_bytes_under_another_id_are_no_record(w):
    with pytest.raises(RecordError, match="another id"):
        open_record(w.a.owner, w.state.data, w.seals[w.state.id], w.keys)


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_no_altered_seal_holds(w, draw):
    seal = bytearray(w.seals[w.state.id])
    seal[draw.draw(st.integers(0, len(seal) - 1))] ^= draw.draw(st.integers(1, 255))
    assert open_record(w.state.id, w.state.data, bytes(seal), w.keys).sealed is False


def test_seals_of_another_form_or_key_do_not_hold(w):
    secret = w.a.keys[w.a.key]
    wrong = [
        seals.encode([sign(w.state, secret, w.a.key, many=True)], many=True),
        seals.encode([sign(w.state, secret, w.a.key, many=True)]),
        seals.encode([sign(w.state, secret, w.b.key)]),
        seals.encode([sign(w.state, w.b.keys[w.b.key], w.b.key)]),
        seals.encode([sign(w.state, w.b.keys[w.b.key], w.a.key)]),
        seals.encode([sign(w.state, secret, w.a.key)._replace(bitmap=b"\x01")]),
        seals.encode([sign(w.state, secret, w.a.key, alg=-47)]),
        seals.encode([sign(w.state, secret, w.a.key, many=True)] * 2),
        b"",
    ]
    assert [open_record(w.state.id, w.state.data, seal, w.keys).sealed for seal in wrong] == [False] * len(wrong)


def test_geneses_and_federation_records_are_left_to_the_rule(w):
    for record in (w.held[w.a.owner], w.founded.manifest_record):
        assert open_record(record.id, record.data, w.seals[record.id], w.keys).sealed is None


def test_an_attested_genesis_is_left_to_the_rule():
    attested = World(ONE.format(attested=1))
    genesis = attested.held[attested.agent("a").owner]
    assert open_record(genesis.id, genesis.data, b"", {genesis.id: key_of(genesis)}).sealed is None
