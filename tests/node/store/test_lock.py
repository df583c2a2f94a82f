"""The data directory's lock: one holder, named, and free again when it is gone."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tslg.node.store.lock import DataDirLock
from tslg.protocol.errors import StoreError

HOLDER = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tslg.node.store.lock import DataDirLock
DataDirLock(sys.argv[2]).acquire() or print("held", flush=True)
time.sleep(60)
"""
SOURCE = str(Path(__file__).parents[3] / "src")


def refused(directory):
    with pytest.raises(StoreError) as caught:
        DataDirLock(directory).acquire()
    return caught.value


def test_one_holder_at_a_time_also_within_a_process(tmp_path):
    with DataDirLock(tmp_path / "data"):
        error = refused(tmp_path / "data")
        assert error.code == "TSLG-D-LOCKED" and f"process {os.getpid()}" in error.detail
    with DataDirLock(tmp_path / "data") as lock:
        lock.release()
        lock.release()
        DataDirLock(tmp_path / "data").acquire()


def test_a_killed_holder_is_named_while_it_lives_and_holds_nothing_after(tmp_path):
    command = [sys.executable, "-c", HOLDER, SOURCE, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert f"process {process.pid}" in refused(tmp_path).detail
        process.send_signal(signal.SIGKILL)
        process.wait()
    with DataDirLock(tmp_path):
        assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"


def test_a_directory_that_cannot_be(tmp_path):
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file").code == "TSLG-D-DIRECTORY"
    (tmp_path / "lock").mkdir()
    assert refused(tmp_path).code == "TSLG-D-IO"
