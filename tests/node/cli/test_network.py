"""`tslg node run` and `tslg audit` as processes on one machine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser

import pytest
from breach import OPEN
from world import World

from tslg.node.home import Home
from tslg.protocol.cid import compute, to_text

ENV = os.environ | {"PYTHONPATH": "src", "TSLG_DATA": ""}
NOBODY = "12D3KooWQJdMWo3en8i3xayUppir8Urmf8U9kvxZkQ3ytWG9kVP3"


def start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tslg.node.cli", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)


@contextmanager
def node(data) -> Iterator[dict]:
    process = start("node", "run", "--data", data, "--listen", "/ip4/127.0.0.1/tcp/0", "--json")
    try:
        yield json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")


@pytest.fixture(scope="module")
def served(made):
    with node(made.data) as said:
        yield said


def test_a_node_says_where_it_is_in_one_line(served, made):
    assert served.keys() == {"peer_id", "addresses", "federation"}
    assert served["federation"] == made.federation
    (address,) = served["addresses"]
    assert address.startswith("/ip4/127.0.0.1/tcp/") and address.endswith(f"/p2p/{served['peer_id']}")


def test_an_audit_by_somebody_who_knows_nobody(served, made, cli, tmp_path):
    car, page = tmp_path / "a.car", tmp_path / "a.html"
    arguments = ["audit", made.target, "--peer", served["addresses"][0], "--federation", made.federation]
    report = cli.json(*arguments, "--export", car, "--report", page)
    assert report["verdict"] == "valid" and report["round_trips"] <= 10
    assert {item["from"] for item in report["freshness"]} == {"peer"}
    offline = cli.json("verify", car, "--federation", made.federation)
    assert (offline["verdict"], offline["edges"]) == ("valid", report["edges"])
    check_page(page.read_text(), made)


def check_page(text: str, made) -> None:
    """The page names the verdict and every agent, and refers to nothing outside itself."""

    class Links(HTMLParser):
        def handle_starttag(self, tag, attrs):
            assert tag not in ("script", "link", "img", "iframe", "object", "embed", "base", "form", "a")
            assert not {"src", "href", "style", "onload"} & {name for name, _ in attrs}

    Links().feed(text)
    assert "http:" not in text and "https:" not in text and "url(" not in text
    assert '<h1 class="valid">valid</h1>' in text and made.target in text and "decision scan: clean" in text


def test_an_audit_in_text_starts_with_the_verdict(served, made, cli):
    arguments = ["audit", made.target, "--peer", served["addresses"][0], "--federation", made.federation]
    text = cli.text(*arguments, "--depth", 2)
    assert text.startswith("valid  ") and "stopped    " in text and "at most 2 edges" in text


def test_an_audit_with_a_store_uses_its_records_and_remembers_heads(served, made, world, cli):
    from tslg.node.home import Home
    from tslg.protocol.cid import from_text

    arguments = ["audit", world.target[:20], "--peer", served["addresses"][0], "--data", world.data]
    assert cli.json(*arguments)["verdict"] == "valid"
    with Home.read(world.data) as home:
        assert [head.source for head in home.store.heads(from_text(made.beta))] == ["peer"]
    assert "belongs to federation" in cli.error(*arguments, "--federation", made.target)


def test_the_data_directory_of_a_running_node_is_locked(served, made, cli):
    assert "TSLG-D-LOCKED" in cli.error("node", "run", "--data", made.data)


def test_a_port_in_use_is_one_line(served, cli, tmp_path):
    listen = served["addresses"][0].partition("/p2p/")[0]
    assert "TSLG-N-LISTEN" in cli.error("node", "run", "--data", tmp_path / "d", "--listen", listen)


@pytest.mark.parametrize("listen", ["hello", "/ip4/127.0.0.1/udp/1", "/dns4/localhost/tcp/0"])
def test_addresses_that_cannot_be_listened_on(cli, tmp_path, listen):
    assert "TSLG-N-LISTEN" in cli.error("node", "run", "--data", tmp_path / "d", "--listen", listen)


def test_a_node_checks_the_federation_that_it_is_told(world, made, cli, tmp_path):
    run = ["node", "run", "--data"]
    assert "belongs to federation" in cli.error(*run, world.data, "--federation", made.target)
    assert "no federation yet" in cli.error(*run, tmp_path / "new", "--federation", made.federation)
    assert not (tmp_path / "new").exists()
    assert "TSLG-C-CID" in cli.error(*run, world.data, "--federation", "hello")
    (tmp_path / "file").write_text("no manifest")
    assert "TSLG-M-FILE" in cli.error(*run, tmp_path / "new", "--federation", tmp_path / "file")


def test_an_interrupt_ends_a_node_in_order(world):
    process = start("node", "run", "--data", world.data)
    assert "/p2p/" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 0 and "Traceback" not in err


@pytest.mark.thorough
def test_a_node_starts_again_on_the_same_directory(world):
    with node(world.data) as first:
        pass
    with node(world.data) as again:
        assert again["peer_id"] == first["peer_id"]


@contextmanager
def server(behaviour) -> Iterator[str]:
    """A TCP server that is no tslg node."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    behaviour(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"/ip4/127.0.0.1/tcp/{listening.getsockname()[1]}/p2p/{NOBODY}"
        listening.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def plaintext(connection: socket.socket) -> None:
    """Agree to speak plaintext and nothing else."""
    connection.sendall(b"\x13/multistream/1.0.0\n\x11/plaintext/2.0.0\n")
    connection.recv(1000)


def test_an_audit_can_be_published_by_an_agent_of_ones_own(served, made, world, cli):
    arguments = ["audit", world.target, "--peer", served["addresses"][0], "--depth", "2", "--record", "alpha"]
    report = cli.json(*arguments, "--data", world.data)
    told = cli.json("query", "verified", world.target, "--data", world.data)
    assert [(one["record"], one["depth"]) for one in told["verifications"]] == [(report["verification"], 2)]
    without = ["audit", made.target, "--peer", served["addresses"][0], "--federation", made.federation]
    assert "give its --data directory" in cli.error(*without, "--record", "alpha")


def test_an_audit_builds_on_verifications_that_it_fetches(cli, tmp_path):
    data, own = tmp_path / "shop", tmp_path / "own"
    founded = World(OPEN, "auditing").founded
    for path in (data, own):
        Home.open(path, federation=(founded.manifest_record, founded.seal)).close()
    ids = {name: cli.json("agent", "new", name, "--data", data)["agent"] for name in ("maker", "first")}
    federation = cli.json("log", "--data", data)["federation"]
    seen = cli.json("record", "observe", "sensor", "n=1", "--agent", "maker", "--data", data)["record"]
    made = cli.json("record", "decide", "go", "yes", "--evidence", seen, "--agent", "maker", "--data", data)["record"]
    shallow = cli.json("verify", made, "--depth", "1", "--record", "first", "--data", data)["verification"]
    full = cli.json("verify", made, "--full", "--record", "first", "--data", data)["verification"]
    use = cli.json("record", "decide", "use", "yes", "--evidence", made, "--agent", "maker", "--data", data)["record"]
    whole = cli.json("verify", use, "--full", "--data", data)["edges"]
    cli.text("agent", "new", "reader", "--data", own)
    with node(data) as said:
        common = ("--peer", said["addresses"][0], "--federation", federation, "--full")
        deep = cli.json("audit", made, *common, "--deepen", shallow, "--record", "reader", "--data", own)
        assert deep["verdict"] == "valid" and deep["deepened"]["confirmed"] and deep["deepened"]["record"] == shallow
        rely = ("--rely", full, "--trust", ids["first"], "--record", "reader", "--data", own)
        report = cli.json("audit", use, *common, *rely)
        assert [(one["record"], one["target"]) for one in report["relied"]] == [(full, made)]
        assert report["verdict"] == "valid" and report["edges"] < whole
        assert "nobody said to trust" in cli.error("audit", use, *common, "--rely", full)
    told = cli.json("query", "verified", made, "--trust", "reader", "--data", own)
    assert told["whole"] and [one["name"] for one in told["by"]] == ["reader"]
    (mine,) = cli.json("query", "verified", use, "--trust", "reader", "--data", own)["verifications"][:1]
    assert mine["relied"] == [full]


def test_an_interrupted_audit_ends_quietly(made):
    accepted, over = threading.Event(), threading.Event()

    def silent(connection: socket.socket) -> None:
        accepted.set()
        over.wait(20)

    with server(silent) as address:
        process = start("audit", made.target, "--peer", address, "--federation", made.federation)
        assert accepted.wait(20)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
        over.set()
    assert (process.returncode, out, err.strip()) == (130, "", "")


def garbage(connection: socket.socket) -> None:
    connection.sendall(os.urandom(4096))


def silence_at_once(connection: socket.socket) -> None:
    connection.close()


@pytest.mark.parametrize("behaviour", [plaintext, garbage, silence_at_once])
def test_peers_that_are_no_nodes_leave_an_audit_undetermined(behaviour, made, cli):
    with server(behaviour) as address:
        result = cli.run("audit", made.target, "--peer", address, "--federation", made.federation, "--json")
    assert result.exit_code == 2 and result.stderr == ""
    report = json.loads(result.stdout)
    assert {item["reason"] for item in report["undetermined"]} == {"unreachable"}


@pytest.mark.parametrize(
    "address", ["hello", "/ip4/127.0.0.1/tcp/1", "/ip4/127.0.0.1/tcp/1/p2p/", "/ip4/x/tcp/1/p2p/y"]
)
def test_addresses_that_name_no_peer(address, made, cli):
    error = cli.error("audit", made.target, "--peer", address, "--federation", made.federation)
    assert "TSLG-N-ADDRESS" in error


def test_an_audit_of_what_nobody_has(served, made, cli):
    absent = to_text(compute(b"nowhere"))
    peer = served["addresses"][0]
    report = cli.json("audit", absent, "--peer", peer, "--federation", made.federation, code=2)
    assert {"record": absent, "reason": "absent"} in report["undetermined"]
    assert "TSLG-C-CID" in cli.error("audit", "hello", "--peer", peer, "--federation", made.federation)
    assert "--federation" in cli.error("audit", absent, "--peer", peer)


def test_an_audit_that_trusts_another_federation_is_not_valid(served, made, cli):
    other = to_text(compute(b"another federation"))
    result = cli.run("audit", made.target, "--peer", served["addresses"][0], "--federation", other, "--json")
    assert result.exit_code in (1, 2)
