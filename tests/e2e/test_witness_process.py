"""A witness as a process, killed without warning over and over: it never signs two histories of one log."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tslg.protocol import checkpoint, cosignature, note
from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.log import Tree
from tslg.protocol.signatures import ed25519_secret
from tslg.protocol.witnessing import Request

ORIGIN = "example.com/log"
SECRET = ed25519_secret(bytes(32))
LENGTH = 400


def tslg(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "tslg.node.cli", *map(str, arguments)]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "src")}


@contextmanager
def running(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = tslg("witness", "run", folder, "--rate", 1_000_000, "--json")
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment()
    ) as one:
        assert one.stdout is not None
        try:
            yield one, json.loads(one.stdout.readline())["url"]
        finally:
            one.kill()


def histories() -> list[Tree]:
    return [Tree(bytes([n]) + i.to_bytes(2, "big") for i in range(LENGTH)) for n in range(2)]


def request(tree: Tree, old: int, size: int) -> Request:
    head = Checkpoint(ORIGIN, size, tree.root(size))
    proof = tuple(tree.consistency_proof(old, size)) if 0 < old <= size else ()
    return Request(old, proof, Signed(head, (note.sign(head.text, ORIGIN, SECRET),)))


@pytest.mark.thorough
@pytest.mark.spec("ANC-5")
def test_a_killed_witness_remembers_all_that_it_signed(tmp_path):
    subprocess.run(
        tslg("witness", "new", tmp_path, "--name", "w.example/w"), check=True, env=environment(), capture_output=True
    )
    key = checkpoint.log_key(ORIGIN, SECRET[32:])
    subprocess.run(tslg("witness", "add", tmp_path, key.text), check=True, env=environment(), capture_output=True)
    shown = subprocess.run(
        tslg("witness", "show", tmp_path, "--json"), check=True, env=environment(), capture_output=True
    )
    witness_key = note.parse_key(json.loads(shown.stdout)["keys"][0])
    trees, size, signed = histories(), 0, []
    for kill_after in (3, 8, 15):
        with running(tmp_path) as (process, url), httpx.Client(base_url=url, timeout=10) as client:
            timer = None
            try:
                for step in range(1000):
                    if step == kill_after:
                        # From another thread, so that it falls into whatever the witness is just doing.
                        timer = threading.Timer(0.01, process.send_signal, (signal.SIGKILL,))
                        timer.start()
                    for number, tree in enumerate(trees):
                        asked = request(tree, size, size + 1)
                        response = client.post("/add-checkpoint", content=asked.to_bytes())
                        if response.status_code == 200:
                            (line,) = note.parse_signatures(response.text)
                            assert cosignature.verify(witness_key, asked.signed.checkpoint, line)
                            signed.append((number, size + 1))
                            size += 1
                        elif response.status_code == 409:
                            # Kept before it was killed, and not handed out.
                            assert int(response.text) in (size, size + 1)
                            size = int(response.text)
                        else:
                            assert response.status_code == 422 and size > 0
            except httpx.TransportError:
                pass
            assert timer is not None
            timer.join()
    assert len(signed) > 20
    assert len({number for number, _ in signed}) == 1
    assert [at for _, at in signed] == sorted({at for _, at in signed})
    with running(tmp_path) as (process, url), httpx.Client(base_url=url) as client:
        known = int(client.post("/add-checkpoint", content=request(trees[0], LENGTH, LENGTH).to_bytes()).text)
        assert known in (size, size + 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
