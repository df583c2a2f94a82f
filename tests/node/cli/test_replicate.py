"""`tslg replicate`: what it refuses before it starts, what it says, and following until it is told to stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tslg.node.home import Home

ENV = os.environ | {"PYTHONPATH": "src", "TSLG_DATA": ""}
NOBODY = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWQJdMWo3en8i3xayUppir8Urmf8U9kvxZkQ3ytWG9kVP3"


@contextmanager
def process(*arguments: object, code: int = 0):
    """Run a command until the block ends, then tell it to stop."""
    command = [sys.executable, "-m", "tslg.node.cli", *map(str, arguments)]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENV)
    try:
        yield running
    finally:
        running.send_signal(signal.SIGTERM)
        out, err = running.communicate(timeout=30)
        running.out = out
        assert running.returncode == code, err


@pytest.fixture
def replica(made, tmp_path):
    """A directory of the same federation in which no agent lives, pinned by the file of its root manifest."""
    from tslg.manifests.signing import encode_sealed

    with Home.read(made.data) as home:
        entry = home.store.get(home.federation)
        assert entry is not None
        file = tmp_path / "root.sealed"
        file.write_bytes(encode_sealed(entry.data, entry.seal))
    return file, tmp_path / "replica"


def test_what_cannot_be_done_is_said_before_anything_starts(made, cli, tmp_path, replica):
    file, data = replica
    assert "whose logs" in cli.error("replicate", "--peer", NOBODY, "--data", made.data)
    assert "whose logs" in cli.error("replicate", made.alpha, "--all", "--peer", NOBODY, "--data", made.data)
    assert "no federation yet" in cli.error("replicate", made.alpha, "--peer", NOBODY, "--data", tmp_path / "none")
    assert "TSLG-N-ADDRESS" in cli.error("replicate", made.alpha, "--peer", "/ip4/", "--data", made.data)
    assert "an agent of this node" in cli.error("replicate", made.alpha, "--peer", NOBODY, "--data", made.data)
    assert "TSLG-C-CID" in cli.error("replicate", "b123", "--peer", NOBODY, "--federation", file, "--data", data)


def test_nobody_to_ask_is_undetermined(made, cli, replica):
    file, data = replica
    found = cli.json("replicate", made.alpha, "--peer", NOBODY, "--federation", file, "--data", data, code=2)
    assert [log["state"] for log in found["logs"]] == ["behind", "behind"]
    assert list(found["unreachable"]) == [NOBODY] and "TSLG-N-UNREACHABLE" in found["unreachable"][NOBODY]


@pytest.mark.thorough
def test_all_logs_come_over_and_are_followed_until_told_to_stop(made, cli, replica):
    file, data = replica
    with process("node", "run", "--data", made.data, "--api", "off", "--json") as node:
        (address,) = json.loads(node.stdout.readline())["addresses"]
        found = cli.json("replicate", "--all", "--peer", address, "--federation", file, "--data", data)
        assert {log["agent"] for log in found["logs"]} >= {made.alpha, made.beta}
        assert {log["state"] for log in found["logs"]} == {"complete"} and found["blamed"] == []
        shutil.rmtree(data)
        cli.run("replicate", made.alpha, "--peer", NOBODY, "--federation", file, "--data", data)
        size = next(log["size"] for log in found["logs"] if log["agent"] == made.alpha)
        with process("replicate", made.alpha, "--peer", address, "--data", data, "--follow") as following:
            while f"{made.alpha}  {size} records" not in (line := following.stdout.readline()):
                assert line, following.stderr.read()
        assert f"{made.alpha[:4]}…" in following.out and "complete" in following.out
    assert len(cli.json("log", made.alpha, "--data", data)["records"]) == size
