"""Nodes whose manifests keep plaintexts, and steps of models whose plaintexts are kept there."""

from __future__ import annotations

from hashlib import sha256

import pytest
from world import NOW, ONE, founded, source

from tslg.node.drafting import Draft
from tslg.node.home import Home
from tslg.node.vault.parts import field_of
from tslg.protocol.record import Edge


def keeping(*lines: str, then: str = "") -> str:
    """A manifest without classes and tiers that keeps inputs, output and tools, with these lines besides."""
    entry = ['inputs = "plaintext"', 'output = "plaintext"', 'tools = "plaintext"', *lines]
    plain = "".join(line for line in ONE.splitlines(keepends=True) if not line.startswith(("classes", "tiers")))
    return plain.format(attested=0) + then + "\n[envelope.recording]\n" + "\n".join(entry) + "\n"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        self.now += 1
        return self.now


def drafted(home, agent, contents, **fields):
    """The draft of a step with the digests of these contents."""
    digests = {name: sha256(content).digest() for name, content in contents.items()}
    inputs = {name.partition("/")[2]: digest for name, digest in digests.items() if field_of(name) == "inputs"}
    body = {"model": "m", "model_version": "1", "intent": "act", "inputs": inputs}
    body |= {name: digest for name, digest in digests.items() if field_of(name) != "inputs"}
    body.setdefault("output", sha256(b"").digest())
    body.setdefault("tools", sha256(b"").digest())
    preds = {"prior": [Edge(home.ledger.prior(agent.id))], "policy": [Edge(agent._policy)]}
    return Draft("inference", body | fields, preds)


def record_step(home, agent, contents, **fields):
    """Record a step as a gate does: its plaintexts first, then the record, then whose they are."""
    kept = home.plaintexts.keep(agent.id, contents)
    made = home.ledger.append(agent.id, drafted(home, agent, contents, **fields))
    home.plaintexts.bind(kept, made.id)
    return made


@pytest.fixture
def step():
    return record_step


@pytest.fixture
def draft():
    return drafted


@pytest.fixture
def manifest():
    return keeping


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(autouse=True)
def no_keys_of_others(monkeypatch):
    for name in ("TSLG_VAULT_KEY", "TSLG_VAULT_PASSPHRASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def node(tmp_path, clock):
    """Open the node of a manifest; it may be opened again."""

    def open_again(toml=None, name="home"):
        made = None if toml is None else founded(toml, "keeping")
        joined = None if made is None else (made.manifest_record, made.seal)
        return Home.open(tmp_path / name, federation=joined, clock=clock, random_bytes=source(name))

    return open_again


@pytest.fixture
def home(node):
    with node(keeping()) as made:
        yield made
