"""Threads share what the C library keeps for them: in a process of its own, so that this one stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from tslg.node import allocator

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


def run(code: str) -> str:
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50, env=env)
    return done.stdout


def arenas(code: str) -> int:
    return run(code).count("<heap nr=")


def test_sixteen_threads_share_two_arenas():
    assert arenas(WORK.format(bound=True)) <= 2
    unbound = WORK.replace("assert bound_arenas() is {bound}", "")
    assert arenas(unbound) > 2


SCATTERED = """
import resource
from pathlib import Path
from tslg.node.allocator import bound_arenas, give_back

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

bound_arenas()
kept = [bytes(1_000) for _ in range(50_000)]
kept = kept[::100]
before = resident()
print(give_back(), before - resident())
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory the Linux way")
def test_free_pages_below_ones_in_use_are_given_back():
    could, bytes_back = run(SCATTERED).split()
    assert could == "True" and int(bytes_back) > 25_000_000


async def test_they_are_given_back_again_and_again(monkeypatch, autojump_clock):
    given = []

    def give_back() -> bool:
        given.append(trio.current_time())
        return len(given) < 3

    monkeypatch.setattr(allocator, "give_back", give_back)
    monkeypatch.setattr(trio.to_thread, "run_sync", in_place)
    start = trio.current_time()
    await allocator.keep_lean()
    assert given == [start + number * allocator.PAUSE_SECONDS for number in range(3)]


async def in_place(call):
    await trio.lowlevel.checkpoint()
    return call()
