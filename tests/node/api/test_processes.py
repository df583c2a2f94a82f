"""Several processes write one log through a node in a process of its own: nothing is lost, doubled or out of order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from tslg.node.api.client import LocalNode
from tslg.node.api.place import Place
from tslg.node.config import NodeConfig
from tslg.node.home import Home
from tslg.node.node import Node
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.errors import NetworkError, Refusal, UsageError
from tslg.protocol.record import Record, parse_as

pytestmark = pytest.mark.thorough

WRITERS, RECORDS = 8, 40
SOURCES = str(Path(__file__).parents[3] / "src")
WRITER = """
import json, sys
from tslg.node.api.client import LocalNode
from tslg.protocol.errors import NetworkError
data, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
acked = []
try:
    with LocalNode(data) as node:
        agent = node.agent("shared")
        for number in range(count):
            acked.append(agent.state({"writer": name, "number": number}).seq)
except NetworkError as error:
    acked.append(error.code)
print(json.dumps(acked))
"""


@pytest.fixture
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    # A short path: unix sockets take 107 bytes.
    return tmp_path_factory.mktemp("n") / "d"


@pytest.fixture
def node(data: Path) -> Iterator[subprocess.Popen[str]]:
    """A node as users run it, and it alone in its process."""
    command = [sys.executable, "-m", "tslg.node.cli", "node", "run", "--data", str(data), "--json"]
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["addresses"]
    yield process
    if process.poll() is None:
        process.terminate()
    process.communicate(timeout=20)


def writers(data: Path, count: int) -> list[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": SOURCES}
    return [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(data), str(number), str(count)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for number in range(WRITERS)
    ]


def states(data: Path) -> list[Record]:
    """Return the states in the one agent's log, which is verified whole."""
    with Home.read(data) as home:
        (agent,) = [log.owner for log in home.store.logs() if log.owner != home.federation]
        end = home.store.log_state(agent)
        assert end is not None
        report = verify(StoreSource(home.store), end.last, home.federation, now_ms=home.clock(), log="full")
        assert report.verdict == "valid"
        rows = home.store.log_range(agent, 0, end.size)
        assert len(rows) == end.size
        records = [parse_as(id, entry.data) for id, entry in rows]
        return [record for record in records if record.kind == "state"]


def test_eight_writers_lose_and_reorder_nothing(node: subprocess.Popen[str], data: Path) -> None:
    with LocalNode(data) as local:
        local.agent("shared")
    acked = [json.loads(writer.communicate(timeout=120)[0]) for writer in writers(data, RECORDS)]
    assert all(len(one) == RECORDS and one == sorted(one) for one in acked), "a writer's records are out of its order"
    assert len({seq for one in acked for seq in one}) == WRITERS * RECORDS
    node.terminate()
    node.communicate(timeout=20)
    held = {record.seq: record.body["data"] for record in states(data)}
    for name, seqs in enumerate(acked):
        assert [held[seq] for seq in seqs] == [{"writer": str(name), "number": n} for n in range(RECORDS)]
    assert len(held) == WRITERS * RECORDS


def test_what_was_acknowledged_survives_the_node_s_sudden_end(node: subprocess.Popen[str], data: Path) -> None:
    with LocalNode(data) as local:
        local.agent("shared")
        running = writers(data, 5_000)
        while local.status()["agents"][0]["records"] < 5 * WRITERS:
            time.sleep(0.05)
    node.send_signal(signal.SIGKILL)
    acked = [json.loads(writer.communicate(timeout=60)[0]) for writer in running]
    assert all(one[-1] in ("TSLG-N-OUTCOME", "TSLG-N-NO-NODE") for one in acked), "a writer was not told"
    done = {seq for one in acked for seq in one[:-1]}
    assert done
    held = {record.seq for record in states(data)}
    assert done <= held
    assert len(held - done) <= WRITERS, "more was recorded than was under way"


async def test_errors_keep_their_types_and_what_is_not_offered_is_said(data: Path) -> None:
    async with Node.open(data, config=NodeConfig(api="unix")):

        def ask() -> None:
            with LocalNode(data) as local:
                agent = local.agent("one")
                assert local.status()["agents"][0]["name"] == "one"
                with pytest.raises(UsageError, match="end the node first"):
                    agent.rotate()
                with pytest.raises(Refusal) as refused:
                    agent.act("x", uses=["what no policy grants"])
                assert refused.value.code.startswith("TSLG-A-")
                made = agent.batch([("state", {"data": {"n": 1}}), ("state", {"data": {"n": 2}})])
                assert [one.seq for one in made] == [made[0].seq, made[0].seq + 1]
                assert agent.blob(b"content")["size"] == 7
                assert agent.observe("a sensor", {"x": 1}, evidence=made).preds["evidence"]

        await trio.to_thread.run_sync(ask)
    with pytest.raises(NetworkError, match="no node answers"):
        LocalNode(data)


@pytest.mark.parametrize("where", ["0.0.0.0:0", "192.0.2.1:80", "localhost", "127.0.0.1", "127.0.0.1:99999", ""])
async def test_the_interface_is_never_open_to_other_hosts(data: Path, where: str) -> None:
    with pytest.raises(UsageError):
        async with Node.open(data, config=NodeConfig(api=where)):
            raise AssertionError


async def test_it_serves_on_loopback_too(data: Path) -> None:
    async with Node.open(data, config=NodeConfig(api="127.0.0.1:0")):
        found = Place(data).find()
        assert found is not None and found[0].startswith("http://127.0.0.1:")

        def ask() -> Any:
            with LocalNode(data) as local:
                return local.agent("one").state({}).body["data"]

        assert await trio.to_thread.run_sync(ask) == {}
    assert Place(data).find() is None


def test_a_directory_that_is_too_deep_for_a_socket_is_said_so(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100)

    async def open_there() -> None:
        async with Node.open(deep, config=NodeConfig(api="unix")):
            raise AssertionError

    with pytest.raises(UsageError, match="too long for a unix socket"):
        trio.run(open_there)


def test_what_is_private_is_the_user_s_alone(node: subprocess.Popen[str], data: Path) -> None:
    place = Place(data)
    assert place.folder.stat().st_mode & 0o077 == 0
    assert (place.folder / "token").stat().st_mode & 0o077 == 0


def test_a_node_that_is_started_again_keeps_its_token(tmp_path: Path) -> None:
    place = Place(tmp_path)
    assert place.prepare() == Place(tmp_path).prepare() != ""
