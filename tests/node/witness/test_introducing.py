"""A witness follows an agent to keys that it registered later, by what the agent shows, and by nothing else."""

from __future__ import annotations

import pytest

from tslg.node.checkpoints import introduction_of, sign_head
from tslg.node.home import Home
from tslg.node.witness.client import Witnesses
from tslg.node.witness.witness import Witness, introduction
from tslg.protocol import checkpoint, codec, introducing
from tslg.protocol.errors import NetworkError
from tslg.protocol.limits import Limits
from tslg.protocol.witnessing import Request

pytestmark = pytest.mark.spec("ANC-7")


@pytest.fixture
def home(tmp_path):
    with Home.open(tmp_path / "d", name="One") as opened:
        yield opened


@pytest.fixture
def agent(home):
    """An agent that went over to a second, a third and a fourth key, and revoked the first."""
    made = home.agent("one")
    for _ in range(3):
        made.rotate()
    made.revoke(made.id, "lost")
    return made


def signed_by(home, agent):
    return sign_head(home.store, agent.id, home.keyring.note_key(agent.id))


def test_a_witness_follows_an_agent_to_its_newer_keys(home, agent, state, clock, keys):
    origin, genesis = checkpoint.origin_of(agent.id), home.store.get(agent.id).data
    witness = Witness(keys, state, clock=clock, open_to_all=True)
    signed = signed_by(home, agent)
    assert witness.answer("POST", "/tslg/add-log", introduction(origin, genesis)).status == 200
    assert witness.answer("POST", "/add-checkpoint", Request(0, (), signed).to_bytes()).status == 403
    client = Witnesses({})

    def post(key, path, body):
        response = witness.answer("POST", path, body)
        return response.status, response.body

    client._post = post
    for shown in (None, genesis):
        with pytest.raises(NetworkError, match="no key of the log signed"):
            client.ask(keys[0].public, signed, lambda old, new: [], shown)
    assert client.ask(keys[0].public, signed, lambda old, new: [], introduction_of(home.store, signed))
    assert len(state.keys(origin)) == 4
    client.close()


def test_an_introduction_that_leads_nowhere_shows_no_key(home, agent):
    origin, genesis = checkpoint.origin_of(agent.id), home.store.get(agent.id).data
    whole = codec.decode(introduction_of(home.store, signed_by(home, agent)))
    other = home.agent("two")
    foreign = other.rotate()
    theirs = [foreign.data, home.store.get(foreign.id).seal]
    revocation = home.store.get(home.store.by_kind("revocation", agent.id, limit=1)[0])
    shown = introducing.keys(origin, codec.encode(whole))
    assert len(shown) == 4 and introducing.keys(origin, codec.encode(whole[:2])) == shown[:2]
    assert introducing.keys(origin, genesis) == shown[:1]
    first, second, third = whole[1:]
    for broken in (
        [],
        [genesis, second],
        [genesis, first, third],
        [genesis, first, second[::-1]],
        [genesis, [first[0], second[1]]],
        [genesis, [first[0], first[1][:-1] + bytes((first[1][-1] ^ 1,))]],
        [genesis, first, theirs],
        [genesis, first, [revocation.data, revocation.seal]],
        [genesis, first[0]],
        [genesis, [*first, b""]],
        [genesis, [genesis, first[1]]],
        [first[0], first],
        [{"genesis": genesis}, first],
    ):
        assert introducing.keys(origin, codec.encode(broken)) == []
    for junk in (b"", b"\x80", b"\x9f", codec.encode(whole)[:-1], codec.encode(whole) + b"\x00", genesis + b"x"):
        assert introducing.keys(origin, junk) == []
    assert introducing.keys("tslg/else", codec.encode(whole)) == []
    assert introducing.keys(checkpoint.origin_of(other.id), codec.encode(whole)) == []


def test_a_witness_learns_no_more_keys_of_a_log_than_it_wants_to(home, agent, state, clock, keys):
    origin, shown = checkpoint.origin_of(agent.id), introduction_of(home.store, signed_by(home, agent))
    witness = Witness(keys, state, clock=clock, open_to_all=True, limits=Limits(witness_keys=3))
    assert witness.answer("POST", "/tslg/add-log", introduction(origin, shown)).status == 429
    assert state.keys(origin) is None
    genesis, *led = codec.decode(shown)
    short = introducing.encode(genesis, [tuple(pair) for pair in led[:2]])
    assert witness.answer("POST", "/tslg/add-log", introduction(origin, short)).status == 200
    assert witness.answer("POST", "/tslg/add-log", introduction(origin, shown)).status == 429
    assert len(state.keys(origin)) == 3
