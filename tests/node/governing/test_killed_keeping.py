"""Processes killed at any instant: no record is without its plaintexts, and no plaintext without its record."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from homes import opened
from world import ONE

from tslg.node.home import Home
from tslg.node.vault.database import KEPT
from tslg.node.vault.parts import parts
from tslg.protocol.cid import to_text

PROGRAM = Path(__file__).resolve().parents[2] / "support" / "keeping_process.py"
ENV = os.environ | {"PYTHONPATH": "src"}
KEEPING = (
    ONE.format(attested=0).replace('["low", "high"]', '["assistant", "autonomous"]')
    + '\n[envelope.recording]\ninputs = "plaintext"\noutput = "plaintext"\n'
)


def killed(data, seconds):
    """Let the process run for so long after its first step, kill it, and return what its callers were told."""
    command = [sys.executable, str(PROGRAM), str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENV) as process:
        first = process.stdout.readline()
        time.sleep(seconds)
        process.kill()
        rest = process.stdout.read()
    whole = [line for line in (first + rest).splitlines(keepends=True) if line.endswith("\n")]
    return dict(line.strip().split(" ", 1) for line in whole)


def look(data, told):
    """Open what is left, and hold that records and plaintexts belong together."""
    with Home.open(data) as home:
        vault = home.plaintexts.unlock()
        kept = {(entry.record, entry.name): entry for entry in vault.entries()}
        assert {entry.state for entry in kept.values()} <= {KEPT} and vault.select("state <> ?", (KEPT,)) == []
        steps = [home.ledger.context.record(id) for id in home.store.by_kind("inference", limit=10**6)]
        assert kept.keys() == {(step.id, name) for step in steps for name in parts(step)}
        assert all(kept[step.id, name].digest == digest for step in steps for name, digest in parts(step).items())
        assert [wrong for _, wrong in home.plaintexts.check() if wrong] == []
        ids = {to_text(step.id): step.id for step in steps}
        for id, output in told.items():
            assert home.plaintexts.read(ids[id], "output").decode().strip() == output
        return len(steps)


def run(tmp_path, seed, times):
    data, chance, told = tmp_path / "node", random.Random(seed), {}
    with opened(data, KEEPING):
        pass
    for _ in range(times):
        told |= killed(data, chance.uniform(0, 0.25))
        assert look(data, told) >= len(told) > 0


@pytest.mark.spec("RCD-9", "RCD-10")
def test_killed_at_some_instants(tmp_path):
    run(tmp_path, 1, 2)


@pytest.mark.slow
def test_killed_at_many_instants(tmp_path):
    run(tmp_path, 2, 60)
