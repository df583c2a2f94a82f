"""`tslg peers`, and audits that are given one address of the network and nothing else."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from tslg.node.finding.book import Outcome, Source
from tslg.node.finding.finder import BOOK_META, read_book
from tslg.node.finding.listed import FILE
from tslg.node.home import Home, wall_clock
from tslg.protocol.cid import from_text

ENV = os.environ | {"PYTHONPATH": "src", "TSLG_DATA": ""}
PEER = "12D3KooWQJdMWo3en8i3xayUppir8Urmf8U9kvxZkQ3ytWG9kVP3"
ADDRESS = f"/ip4/127.0.0.1/tcp/9/p2p/{PEER}"


@contextmanager
def node(data, *options):
    """A node as a process; yields what it says about itself."""
    command = [sys.executable, "-m", "tslg.node.cli", "node", "run", "--data", data, "--json", *options]
    process = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV
    )
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 0 and "Traceback" not in err, err


def test_peers_are_named_forgotten_blocked_and_unblocked(cli, world):
    at = ["--data", world.data]
    assert cli.json("peers", *at) == {"peers": []}
    assert cli.text("peers", *at) == "no peers are known yet\n"
    assert cli.json("peers", "add", ADDRESS, *at) == {"known": [ADDRESS], "blocked": []}
    assert cli.text("peers", "add", ADDRESS, *at) == "1 named, 0 blocked; as before\n"
    assert cli.json("peers", "block", ADDRESS, *at)["blocked"] == [PEER]
    (row,) = cli.json("peers", *at)["peers"]
    assert row["peer"] == PEER and row["blocked"] and row["addresses"] == [{"address": ADDRESS, "from": "static"}]
    assert "blocked" in cli.text("peers", *at)
    assert cli.json("peers", "unblock", PEER, *at)["blocked"] == []
    assert cli.json("peers", "forget", PEER, *at) == {"known": [], "blocked": []}
    cli.json("peers", *at, "block", PEER)
    assert [row["peer"] for row in cli.json("peers", *at)["peers"]] == [PEER]


def test_what_a_node_noted_is_listed(cli, world):
    with Home.open(world.data) as home:
        book = read_book(home.store)
        book.hear(ADDRESS, Source.TOLD, wall_clock(), from_text(world.alpha))
        book.reached(ADDRESS, wall_clock())
        book.outcome(PEER, Outcome.BROKE, wall_clock(), why="a wrong block\x1b[31m")
        home.store.set_meta(BOOK_META, book.to_bytes())
    (row,) = cli.json("peers", "--data", world.data)["peers"]
    assert row["agents"] == [world.alpha] and row["reached_ms"] and row["why"].startswith("a wrong block")
    text = cli.text("peers", "--data", world.data)
    assert "shunned: a wrong block" in text and "0 min ago" in text and "\x1b" not in text


@pytest.mark.parametrize("address", ["nonsense", PEER, "/ip4/127.0.0.1/tcp/9", f"/ip4/127.0.0.1/udp/9/p2p/{PEER}"])
def test_what_is_no_address_is_one_line(cli, world, address):
    cli.error("peers", "add", address, "--data", world.data)
    assert not (world.data / FILE).exists()


def test_the_commands_need_a_data_directory(cli, tmp_path):
    cli.error("peers", "--data", tmp_path / "nowhere")
    cli.error("peers", "add", ADDRESS, "--data", tmp_path / "nowhere")


@pytest.mark.thorough
@pytest.mark.spec("FND-14")
def test_a_node_that_runs_is_told_and_an_auditor_finds_it_through_another(cli, world, made, tmp_path):
    hub = tmp_path / "hub"
    with Home.open(hub, name="elsewhere"):
        pass
    with node(hub, "--discovery") as said:
        address = said["addresses"][0]
        unknown = cli.json("audit", world.target, "--federation", world.federation, "--bootstrap", address, code=2)
        assert {item["reason"] for item in unknown["undetermined"]} == {"absent"}
        assert unknown["asked"] == [{"peer": said["peer_id"], "outcome": "answered"}]
        with node(world.data, "--discovery") as other:
            cli.json("peers", "add", address, "--data", world.data)
            deadline = time.monotonic() + 30
            while True:
                arguments = ["audit", world.target, "--federation", world.federation, "--bootstrap", address]
                result = cli.run(*arguments, "--json")
                report = json.loads(result.stdout)
                if report["verdict"] == "valid" or time.monotonic() > deadline:
                    break
                time.sleep(0.2)
            assert report["verdict"] == "valid", report
            assert {agent["peer"] for agent in report["agents"]} == {other["peer_id"]}
            (row,) = [row for row in cli.json("peers", "--data", world.data)["peers"] if row["blocked"] is False]
            assert row["peer"] == said["peer_id"]


def test_an_audit_without_anybody_to_ask_is_one_line(cli, made):
    assert "--bootstrap" in cli.error("audit", made.target, "--federation", made.federation)


def test_a_bootstrap_that_is_not_there_is_told(cli, made):
    result = cli.run("audit", made.target, "--federation", made.federation, "--bootstrap", ADDRESS, "--json")
    report = json.loads(result.stdout)
    assert result.exit_code == 2 and "note: cannot connect" in result.stderr
    assert {"record": made.target, "reason": "unreachable"} in report["undetermined"]
    assert report["asked"] == [{"peer": PEER, "outcome": "TSLG-N-UNREACHABLE"}]


def test_the_scope_of_an_audit_may_be_said(cli, made):
    arguments = ["audit", made.target, "--federation", made.federation, "--peer", ADDRESS]
    report = json.loads(cli.run(*arguments, "--reach", "global", "--json").stdout)
    assert report["asked"] == [{"peer": PEER, "outcome": "TSLG-N-REACH"}]
    assert "reach" in cli.error(*arguments, "--reach", "everywhere")


def test_an_auditor_with_a_directory_remembers_peers(cli, world, made):
    with node(made.data) as said:
        cli.json("audit", world.target, "--peer", said["addresses"][0], "--data", world.data)
        (row,) = cli.json("peers", "--data", world.data)["peers"]
        assert row["peer"] == said["peer_id"] and row["reached_ms"] is not None and row["score"] > 0
