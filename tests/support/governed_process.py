"""A governed agent in a process of its own that is killed at some instant, and what must hold of what it left.

The process is a fork of the one that runs the tests, so that it costs no imports. It opens the directory itself and
says of every step, once the gate has answered, which record that was.
"""

from __future__ import annotations

import os
import random
import select
import signal
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from gates import candidate, gated

from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.codec import Link
from tslg.protocol.governing.state import Semantic
from tslg.protocol.record import Record, parse_as

THREADS = 4
_TOLD = struct.Struct(">I36s")


def live(path: Path, told: int, seed: int) -> None:
    """Submit steps of every kind from several threads until somebody ends it."""
    with Home.open(path) as home:
        gate = gated(home)

        def work(number: int) -> None:
            draw = random.Random(f"{seed} {number}")
            for turn in range(10**6):
                state = {"by": number, "turn": turn, "seed": seed}
                kind = draw.randrange(6)
                if kind == 0:
                    outcome = gate.submit(candidate("drop-tables", state=state))
                elif kind == 1:
                    parts = (candidate(state=state), candidate("drop-tables"), candidate("look-up"))
                    outcome = gate.submit(candidate("clean-up", parts=parts))
                else:
                    upon = gate.state.digest if kind == 2 else None
                    outcome = gate.submit(candidate(state=state, upon=upon, output=b"x" * draw.randrange(2_000)))
                for record in outcome.records():
                    os.write(told, _TOLD.pack(record.seq, record.id))

        for number in range(THREADS):
            threading.Thread(target=work, args=(number,), daemon=True).start()
        signal.pause()


def killed(path: Path, seed: int, after: float) -> list[tuple[int, Link]]:
    """Run a governed agent, kill it so many seconds after its first answer, or after its start where that is below
    zero, and return the records that it told of.
    """
    reading, telling = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.close(reading)
            live(path, telling, seed)
        os._exit(70)
    os.close(telling)
    try:
        data = b"" if after < 0 else _drained(reading, 60.0, once=True)
        data += _drained(reading, abs(after))
        os.kill(child, signal.SIGKILL)
        data += _drained(reading, 60.0)
    finally:
        os.close(reading)
        _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL, "it ended by itself"
    return [(seq, Link(id)) for seq, id in _TOLD.iter_unpack(data[: len(data) // _TOLD.size * _TOLD.size])]


def _drained(reading: int, seconds: float, once: bool = False) -> bytes:
    """Read until the time is up, or the other end is closed; with `once`, until there is anything."""
    data, until = b"", time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if select.select([reading], [], [], left)[0]:
            part = os.read(reading, 65536)
            if not part:
                break
            data += part
            if once:
                break
    return data


def instants(count: int, seed: int) -> Iterator[float]:
    """Draw when to kill: mostly in the midst of the work, now and then while the directory is still being opened."""
    draw = random.Random(seed)
    for _ in range(count):
        yield -draw.uniform(0.001, 0.25) if draw.random() < 0.2 else draw.uniform(0, 0.15)


def check(path: Path, told: list[tuple[int, Link]]) -> list[Record]:
    """Hold what is on disk against what was told, and return the log; AssertionError if anything is amiss."""
    with Home.open(path) as home:
        assert home.store.check() == []
        gate = gated(home)
        owner = gate.agent.id
        state = home.store.log_state(owner)
        entries = home.store.log_range(owner, 0, state.size)
        log = [parse_as(id, entry.data) for id, entry in entries]
        assert [record.seq for record in log] == [*range(state.size)], "a record is missing, or half there"
        assert all(log[seq].id == id for seq, id in told), "a record that was told of is not there"
        at = Semantic()
        for record in log:
            if "before" in record.body:
                assert record.body["before"] == at.digest, "a step was taken in a state that the log does not lead to"
            at = at.after(record)
        assert gate.state.digest == at.digest, "the state is not what the last record says"
        assert gate.state.data is not None, "the state itself is lost"
        parents = {record.id: record.body["parts"] for record in log if record.kind == "decomposition"}
        for record in log:
            for edge in record.preds.get("part", ()):
                parents[edge.cid] -= 1
        assert set(parents.values()) <= {0}, "a step in parts is there in part"
        assert gate.submit(candidate(upon=at.digest)).admitted
        return log


def verified(path: Path) -> None:
    """Verify the newest step with every seal, and the log it lies in from end to end."""
    with Home.open(path) as home:
        last = home.store.log_state(home.agent("bot").id).last
        found = verify(StoreSource(home.store), last, home.federation, now_ms=home.clock(), log="full")
        assert found.verdict == "valid", found.findings
