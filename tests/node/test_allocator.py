"""Threads share what the C library keeps for them: in a process of its own, so that this one stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WORK = """
import threading
from tslg.node.allocator import bound_arenas

assert bound_arenas() is {bound}
barrier = threading.Barrier(16)
def work():
    barrier.wait()
    kept = [bytes(70_000) for _ in range(50)]
    barrier.wait()
threads = [threading.Thread(target=work) for _ in range(16)]
[one.start() for one in threads]
[one.join() for one in threads]
import ctypes
ctypes.CDLL(None).malloc_info(0, ctypes.c_void_p.in_dll(ctypes.CDLL(None), "stdout"))
ctypes.CDLL(None).fflush(None)
"""


def arenas(code: str) -> int:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50, env=env)
    return done.stdout.count("<heap nr=")


def test_sixteen_threads_share_two_arenas():
    assert arenas(WORK.format(bound=True)) <= 2
    unbound = WORK.replace("assert bound_arenas() is {bound}", "")
    assert arenas(unbound) > 2
