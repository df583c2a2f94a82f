"""A log that grows, a witness that knows it, and the requests between them, without a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tslg.node.home import Home
from tslg.node.witness.key import WitnessKey
from tslg.node.witness.state import WitnessState
from tslg.node.witness.witness import Witness
from tslg.protocol import checkpoint, note
from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.log import Tree
from tslg.protocol.note import COSIGNATURE, COSIGNATURE_ML_DSA_44
from tslg.protocol.signatures import ed25519_secret
from tslg.protocol.witnessing import Request


class GrowingLog:
    """A log of any size, which can also show other histories of itself."""

    def __init__(self, origin: str = "example.com/log", history: bytes = b"") -> None:
        self.origin = origin
        self.secret = ed25519_secret(bytes(32))
        self.key = checkpoint.log_key(origin, self.secret[32:])
        self.tree = Tree(history + bytes([n]) for n in range(64))

    def signed(self, size: int) -> Signed:
        head = Checkpoint(self.origin, size, self.tree.root(size))
        return Signed(head, (note.sign(head.text, self.origin, self.secret),))

    def proof(self, old: int, size: int) -> tuple[bytes, ...]:
        return tuple(self.tree.consistency_proof(old, size)) if 0 < old <= size else ()

    def request(self, old: int, size: int) -> bytes:
        return Request(old, self.proof(old, size), self.signed(size)).to_bytes()


KEYS = [WitnessKey("w.example/w", COSIGNATURE, b"w" * 32), WitnessKey("w.example/w", COSIGNATURE_ML_DSA_44, b"p" * 32)]


class Clock:
    def __init__(self) -> None:
        self.now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log() -> GrowingLog:
    return GrowingLog()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def state(tmp_path: Path) -> Iterator[WitnessState]:
    with WitnessState(tmp_path / "witness.sqlite") as opened:
        yield opened


@pytest.fixture
def witness(state: WitnessState, log: GrowingLog, clock: Clock) -> Witness:
    state.learn(log.origin, [log.key])
    return Witness(KEYS, state, clock=clock)


@pytest.fixture
def keys() -> list[WitnessKey]:
    return KEYS


@pytest.fixture
def another_history() -> GrowingLog:
    return GrowingLog(history=b"other")


@pytest.fixture(scope="session")
def made_genesis(tmp_path_factory) -> tuple[str, bytes, bytes]:
    """An agent's origin, the bytes of its genesis, and its public key."""
    with Home.open(tmp_path_factory.mktemp("agent") / "d", name="One") as home:
        agent = home.agent("one")
        entry = home.store.get(agent.id)
        assert entry is not None
        return checkpoint.origin_of(agent.id), entry.data, home.agent_key(agent.id).genesis.body["key"]
