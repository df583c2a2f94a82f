"""A witness answers as C2SP tlog-witness says, and signs one history of a log, whoever asks however often at once."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from tslg.node.witness import key as keyfile
from tslg.node.witness.state import WitnessState
from tslg.node.witness.witness import Witness, introduction
from tslg.protocol import checkpoint, cosignature, note
from tslg.protocol.errors import StoreError
from tslg.protocol.limits import Limits

ADD = "/add-checkpoint"


def cosignatures(response, signed, keys):
    assert response.status == 200, response
    lines = note.parse_signatures(response.body.decode())
    return {
        key.type: cosignature.verify(key.public, signed.checkpoint, line)
        for key in keys
        for line in lines
        if key.public.made(line)
    }


@pytest.mark.spec("ANC-4", "ANC-5")
def test_a_checkpoint_is_cosigned_by_every_key(witness, log, keys, clock):
    response = witness.answer("POST", ADD, log.request(0, 5))
    assert cosignatures(response, log.signed(5), keys) == {4: clock.now, 6: clock.now}
    assert witness.answer("POST", ADD, log.request(5, 5)).status == 200
    assert witness.answer("POST", ADD, log.request(5, 9)).status == 200


@pytest.mark.spec("ANC-4")
def test_a_conflict_says_the_size(witness, log):
    witness.answer("POST", ADD, log.request(0, 5))
    for old in (0, 4):
        response = witness.answer("POST", ADD, log.request(old, 9))
        assert response == (409, "text/x.tlog.size", b"5\n")


@pytest.mark.spec("ANC-4")
def test_another_history_is_never_signed(witness, log, another_history):
    witness.answer("POST", ADD, log.request(0, 5))
    for old, size in ((5, 9), (5, 5), (4, 9), (0, 9), (5, 64)):
        assert witness.answer("POST", ADD, another_history.request(old, size)).status in (409, 422)
    assert witness.answer("POST", ADD, log.request(5, 9)).status == 200


@pytest.mark.spec("ANC-3")
def test_strangers_are_told_apart(witness, log, keys):
    other = type(log)("example.com/other")
    assert witness.answer("POST", ADD, other.request(0, 1)).status == 404
    log.secret = b"x" * 32 + log.secret[32:]
    assert witness.answer("POST", ADD, log.request(0, 1)).status == 403
    assert witness.answer("POST", ADD, b"old 0\n\nnonsense").status == 400
    assert witness.answer("POST", ADD, log.request(0, 5) + b"trailing").status == 400
    assert witness.answer("GET", ADD, b"").status == 405
    assert witness.answer("POST", "/else", b"").status == 404


@pytest.mark.spec("ANC-6")
def test_the_latest_checkpoint_is_served_with_both_signatures(witness, log, keys):
    path = f"/{hashlib.sha256(log.origin.encode()).hexdigest()}/checkpoint"
    assert witness.answer("GET", path, b"").status == 404
    witness.answer("POST", ADD, log.request(0, 5))
    served = checkpoint.parse(witness.answer("GET", path, b"").body)
    assert served.checkpoint == log.signed(5).checkpoint and checkpoint.verify(served, log.secret[32:])
    for key in keys:
        assert list(cosignature.cosigned(served, cosignature.policy_of([key.public], 1))) == [key.public]
    assert witness.answer("POST", path, b"").status == 405
    assert witness.answer("GET", path.upper(), b"").status == 404


def test_lines_of_others_are_not_served_as_the_logs(witness, log):
    signed = log.signed(5)
    more = signed._replace(signatures=(*signed.signatures, note.NoteSignature("evil", b"abcd", b"x")))
    body = b"old 0\n\n" + more.to_bytes()
    assert witness.answer("POST", ADD, body).status == 200
    path = f"/{hashlib.sha256(log.origin.encode()).hexdigest()}/checkpoint"
    names = [line.name for line in checkpoint.parse(witness.answer("GET", path, b"").body).signatures]
    assert names == [log.origin, "w.example/w", "w.example/w"]


@pytest.mark.spec("ANC-5")
def test_time_never_goes_back(witness, log, keys, clock):
    witness.answer("POST", ADD, log.request(0, 5))
    then = clock.now
    clock.now -= 1000
    response = witness.answer("POST", ADD, log.request(5, 6))
    assert set(cosignatures(response, log.signed(6), keys).values()) == {then}


def test_each_log_has_its_rate(state, log, clock):
    other = type(log)("example.com/other")
    for one in (log, other):
        state.learn(one.origin, [one.key])
    witness = Witness([keyfile.WitnessKey("w", 4, bytes(32))], state, clock=clock, a_minute=4)
    assert [witness.answer("POST", ADD, log.request(n, n + 1)).status for n in range(2)] == [200, 429]
    assert witness.answer("POST", ADD, other.request(0, 1)).status == 200
    clock.now += 15
    assert witness.answer("POST", ADD, log.request(1, 2)).status == 200


@pytest.mark.spec("ANC-5")
def test_requests_at_once_do_not_fork_it(tmp_path, log, another_history, clock, keys):
    """Two histories, eight threads, two processes' worth of state: all that is signed lies in one of them."""
    states = [WitnessState(tmp_path / "witness.sqlite") for _ in range(2)]
    states[0].learn(log.origin, [log.key])
    witnesses = [Witness(keys[:1], state, clock=clock, a_minute=100_000) for state in states]
    signed = []

    def attack(number: int) -> None:
        mine, witness, size = (log, another_history)[number % 2], witnesses[number // 2 % 2], 0
        for step in range(1, 16):
            response = witness.answer("POST", ADD, mine.request(size, step))
            if response.status == 409:
                size = int(response.body)
                response = witness.answer("POST", ADD, mine.request(size, max(size, step)))
            if response.status == 200:
                signed.append((mine, size))
                size = max(size, step)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(attack, range(8)))
    assert len({mine.tree.root(1) for mine, _ in signed}) == 1
    for state in states:
        state.close()


@pytest.mark.spec("ANC-7")
def test_an_open_witness_learns_logs_that_are_the_hash_of_their_genesis(made_genesis, state, clock, keys):
    origin, genesis, public = made_genesis
    shut = Witness(keys, state, clock=clock)
    assert shut.answer("POST", "/tslg/add-log", introduction(origin, genesis)).status == 403
    witness = Witness(keys, state, clock=clock, open_to_all=True, limits=Limits(witness_logs=1))
    for body in (b"", introduction("tslg/else", genesis), introduction(origin, genesis + b"x"), genesis):
        assert witness.answer("POST", "/tslg/add-log", body).status == 400
    assert witness.answer("POST", "/tslg/add-log", introduction(origin, genesis)).status == 200
    assert state.keys(origin) == (checkpoint.log_key(origin, public),)
    assert witness.answer("POST", "/tslg/add-log", introduction(origin, genesis)).status == 200
    assert not state.learn("another", [checkpoint.log_key("another", public)], 1)
    assert witness.answer("GET", "/tslg/add-log", b"").status == 405


def test_keys_are_kept_by_their_owner_alone(tmp_path, keys):
    keyfile.write(tmp_path / "k", keys)
    assert keyfile.read(tmp_path / "k") == keys
    assert (tmp_path / "k").stat().st_mode & 0o077 == 0
    assert "seed" not in repr(keys) and keys[0].seed.hex() not in repr(keys)
    for text in (
        "",
        "{}",
        "[]",
        '{"type": "tslg witness key", "keys": []}',
        '{"type": "tslg witness key", "keys": [1]}',
    ):
        (tmp_path / "bad").write_text(text)
        with pytest.raises(StoreError):
            keyfile.read(tmp_path / "bad")


def test_a_state_that_cannot_be_kept_is_an_error(tmp_path):
    (tmp_path / "no").write_bytes(b"not a database, not at all" * 100)
    with pytest.raises(StoreError):
        WitnessState(tmp_path / "no")
