"""`tslg delegate` to a node in another thread, which answers at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio

from tslg.node.node import Node
from tslg.protocol.cid import to_text


class Answering:
    """A node of the agent bob that answers every delegation with an observation under it."""

    def __init__(self, data, federation) -> None:
        self._data = data
        self._federation = federation
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: trio.run(self._serve))
        self.address = ""
        self.bob = ""
        self._token: Any = None
        self._scope: Any = None

    def __enter__(self) -> Answering:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._token.run_sync_soon(self._scope.cancel)
        self._thread.join(20)

    async def _serve(self) -> None:
        with trio.CancelScope() as self._scope:
            async with Node.open(self._data, federation=self._federation, listen="/ip4/127.0.0.1/tcp/0") as node:
                bob = await node.agent("bob")
                node.on_delegation(bob, lambda agent, given, _: agent.observe("ears", {"n": 1}, delegation=given))
                self._token = trio.lowlevel.current_trio_token()
                self.address, self.bob = node.addresses[0], to_text(bob.id)
                self._ready.set()
                await trio.sleep_forever()


@pytest.fixture
def bob(cli, tmp_path) -> Iterator[Answering]:
    (tmp_path / "f.toml").write_text(
        '[federation]\nname = "f"\n[anchors]\nscheme = "multisig"\nthreshold = 1\nmembers = ["ann"]\n'
        "[envelope.genesis]\nanchors = 0\n"
    )
    sealed, key = tmp_path / "f.sealed", tmp_path / "ann.json"
    cli.json("federation", "new", tmp_path / "f.toml", "--single", "--out", sealed, "--key", key)
    cli.text("agent", "new", "alice", "--data", tmp_path / "alice", "--federation", sealed)
    with Answering(tmp_path / "bob", sealed) as answering:
        yield answering


def test_a_task_is_delegated_and_its_answer_verified_and_kept(bob, cli, tmp_path):
    alice = ["--data", tmp_path / "alice"]
    grant = cli.json("record", "policy", "grant", "--capability", "listen", *alice)["record"]
    arguments = ["delegate", bob.bob, "do=listen", "--grant", grant[:20], "--peer", bob.address, *alice]
    told = cli.json(*arguments)
    assert told["report"]["verdict"] == "valid" and told["report"]["target"] == told["answer"]
    shown = cli.json("show", told["answer"], *alice)
    assert shown["record"]["preds"]["delegation"][0]["cid"] == {"/": told["delegation"]}
    decided = cli.json("record", "decide", "a", "b", "--evidence", told["answer"], *alice)["record"]
    assert cli.json("verify", decided, *alice)["verdict"] == "valid"
    audited = cli.json("audit", decided, "--peer", bob.address, *alice)
    assert audited["verdict"] == "valid" and len(audited["agents"]) == 2
    assert "valid" in cli.text(*arguments)
    assert cli.json(*arguments, "--no-fetch")["report"] is None


def test_a_delegate_that_cannot_be_asked_is_one_line(bob, cli, tmp_path):
    alice = ["--data", tmp_path / "alice"]
    grant = cli.json("record", "policy", "grant", *alice)["record"]
    nobody = f"/ip4/127.0.0.1/tcp/1/p2p/{bob.address.rpartition('/')[2]}"
    assert "TSLG-N-UNREACHABLE" in cli.error("delegate", bob.bob, "--grant", grant, "--peer", nobody, *alice)
    other = cli.json("agent", "new", "carol", *alice)["agent"]
    refused = ["delegate", other, "--grant", grant, "--agent", "alice", "--peer", bob.address, *alice]
    assert "TSLG-N-NOT-AVAILABLE" in cli.error(*refused)
    assert "TSLG-N-ADDRESS" in cli.error("delegate", bob.bob, "--grant", grant, "--peer", "hello", *alice)
    absent = tmp_path / "absent"
    error = cli.error("delegate", bob.bob, "--grant", grant, "--peer", bob.address, "--data", absent)
    assert "TSLG-D-MISSING" in error and not absent.exists()


def test_a_delegation_is_left_for_later_followed_and_cancelled(bob, cli, tmp_path):
    alice = ["--data", tmp_path / "alice"]
    grant = cli.json("record", "policy", "grant", *alice)["record"]
    there = ["delegate", bob.bob, "do=listen", "--grant", grant, "--no-wait", *alice]
    nobody = f"/ip4/127.0.0.1/tcp/1/p2p/{bob.address.rpartition('/')[2]}"
    away = cli.json(*there, "--peer", nobody)
    assert away["state"] == "offered" and "TSLG-N-UNREACHABLE" in away["reason"]
    assert cli.json("delegations", *alice)["delegations"][0]["state"] == "offered"
    told = cli.json("delegations", "cancel", away["delegation"][:20], "--reason", "too late", *alice)
    assert told["state"] in ("offered", "cancelled")
    assert cli.json("show", told["retraction"], *alice)["record"]["body"] == {"reason": "too late"}
    taken = cli.json(*there, "--peer", bob.address)
    assert taken["state"] in ("accepted", "working", "answered")
    listed = cli.json("delegations", *alice)["delegations"]
    assert {one["delegation"] for one in listed} == {away["delegation"], taken["delegation"]}
    status = cli.json("delegations", "status", taken["delegation"], *alice)
    assert (status["side"], status["delegate"], status["task"]) == ("out", bob.bob, {"do": "listen"})
    assert "state " in cli.text("delegations", "status", taken["delegation"], *alice)
    assert "DELEGATION" in cli.text("delegations", *alice)
    assert "TSLG-U" in cli.error("delegations", "status", grant, *alice)
    assert "TSLG-U" in cli.error("delegations", "cancel", grant, *alice)
    assert cli.text("delegations", "--data", tmp_path / "bob").splitlines()[0].startswith("SIDE")
