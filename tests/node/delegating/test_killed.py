"""Two processes over libp2p, each killed at the worst moment: one execution, and both agree in the end."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "support" / "delegating_process.py"
ENV = os.environ | {"PYTHONPATH": "src"}


class Processes(ExitStack):
    """Starts sides, and leaves none behind."""

    def __init__(self, company) -> None:
        super().__init__()
        self._company = company

    def start(self, role: str, *arguments: str) -> subprocess.Popen[str]:
        company = self._company
        name = "b" if role == "delegate" else "a"
        command = [sys.executable, str(SCRIPT), role, company.path / name, company.sealed, company.path, *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENV)
        self.callback(self.kill, process)
        return process

    @staticmethod
    def kill(process: subprocess.Popen[str]) -> None:
        process.kill()
        process.wait()


def said(process: subprocess.Popen[str], *states: str) -> str:
    """Read what a process says until it is one of these states, and return the id behind it."""
    assert process.stdout is not None
    for line in process.stdout:
        state, id = line.split()
        if state in states:
            return id
    raise AssertionError(f"it ended without {states}")


@pytest.mark.thorough
@pytest.mark.spec("DLG-5", "DLG-9", "DLG-10", "DLG-13")
def test_either_side_is_killed_at_work(company):
    runs = company.path / "runs"
    with Processes(company) as processes:
        b = processes.start("delegate", "/ip4/127.0.0.1/tcp/0")
        bob, address = b.stdout.readline().split()
        a = processes.start("offer", bob, address)
        first = said(a, "working")
        processes.kill(a)
        (company.path / "go").touch()
        a = processes.start("follow", first)
        assert said(a, "answered", "failed", "expired") == first
        processes.kill(a)
        (company.path / "go").unlink()
        a = processes.start("offer", bob, address)
        second = said(a, "working")
        while len(runs.read_text().split()) < 2:
            pass
        processes.kill(b)
        b = processes.start("delegate", address.partition("/p2p/")[0])
        assert b.stdout.readline().split() == [bob, address]
        assert said(a, "failed") == second
        assert runs.read_text().split() == [first, second]
