"""The private PostgreSQL server: it syncs, and nothing of it outlives whoever started it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tslg.node.bench import cluster as clusters
from tslg.node.bench.figures import MeasurementError

ROOT = Path(__file__).resolve().parents[3]
KILLED = """
from tslg.node.bench.cluster import Cluster
made = Cluster()
print(made.directory, (made.data / "postmaster.pid").read_text().split()[0], flush=True)
input()
"""


def test_it_keeps_what_it_acknowledges(cluster):
    with psycopg.connect(cluster.dsn) as db:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            assert db.execute("SELECT current_setting(%s)", (setting,)).fetchone() == ("on",)


@pytest.mark.thorough
def test_a_killed_process_leaves_no_server_behind():
    command = [sys.executable, "-c", KILLED]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        directory, server = process.stdout.readline().split()
        assert Path(directory).exists() and Path(f"/proc/{server}").exists()
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 60
    while (Path(directory).exists() or Path(f"/proc/{server}").exists()) and time.monotonic() < until:
        time.sleep(0.02)
    assert not Path(directory).exists() and not Path(f"/proc/{server}").exists()


def test_where_no_server_is_installed_it_says_what_to_install(monkeypatch):
    monkeypatch.setattr(clusters, "binaries", lambda: None)
    with pytest.raises(MeasurementError) as caught:
        clusters.Cluster()
    assert "apt-get install postgresql" in caught.value.mend
