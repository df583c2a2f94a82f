"""Governed steps: what a gate adds to a model's step that is on disk before it takes effect, alone and eight at a time.

Each step is judged by a policy with capabilities, limits and a rule, every second one moves the semantic state. The
reference inserts the same bytes, signed, into a bare table, each group of them durable as the steps were.
"""

from __future__ import annotations

import hashlib
import statistics
import threading
from collections.abc import Callable
from contextlib import closing
from typing import Final

from nacl import bindings

from tslg.node.bench.figures import MILLI, WALL, MeasurementError, Row, Series, Side, Target, interleave
from tslg.node.bench.setting import Setting
from tslg.node.bench.stores import INSERT, bare_database
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.gate import Gate
from tslg.node.home import Home
from tslg.protocol.record import Record
from tslg.protocol.seal import sign1_start, to_be_signed
from tslg.protocol.signatures import Alg, ed25519_secret

SINGLES: Final = 1_000
"""Most steps taken one by one: each waits for the disk."""
TOGETHER: Final = 8_000
CALLERS: Final = 8
POLICY: Final = b"""
name = "bench"
capabilities = ["read"]
class = "internal"
tier = "assistant"
limits = { tokens = 4000 }
[intents.answer]
uses = ["read"]
[[rules]]
name = "calm"
when = { load = { above = 9 } }
"""


class Steps:
    """Governed steps of one run, and the bytes that they left."""

    def __init__(self, setting: Setting, steps: int, callers: int) -> None:
        self._setting = setting
        self._steps = max(callers, steps // callers * callers)
        self._callers = callers
        self._secret = ed25519_secret(hashlib.sha256(b"benchmark").digest())
        self.made: list[Record] = []
        self.waits: list[Series] = []
        """Of each round, how long every step took (s)."""

    def governed(self) -> float:
        """Submit the steps, each durable before its caller goes on; return the seconds it took."""
        made: list[list[tuple[float, Record]]] = [[] for _ in range(self._callers)]
        with Home.open(self._setting.scratch()) as home:
            gate = Gate(home.agent("bench"), POLICY)
            gate.submit(_candidate(0, 0))
            work = [
                _caller(gate, number, self._steps // self._callers, made[number]) for number in range(self._callers)
            ]
            started = WALL()
            if self._callers == 1:
                work[0]()
            else:
                threads = [threading.Thread(target=one) for one in work]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
            seconds = WALL() - started
            done = [one for part in made for one in part]
            if len(done) != self._steps or not all(home.store.has(record.id) for _, record in done):
                raise MeasurementError("a step is not in the store")
        self.made = [record for _, record in done]
        self.waits.append(Series.of(wait for wait, _ in done))
        return seconds

    def bare(self) -> float:
        """Sign and insert the same bytes, as many at a time as there were callers; return the seconds it took."""
        messages = [(record.id, record.data, to_be_signed(record.data, Alg.ED25519)) for record in self.made]
        start, sign = sign1_start(self.made[0].owner), bindings.crypto_sign
        with closing(bare_database(self._setting)) as db:
            started = WALL()
            for first in range(0, len(messages), self._callers):
                db.execute("BEGIN")
                for id, data, message in messages[first : first + self._callers]:
                    db.execute(INSERT, (id, data, start + sign(message, self._secret)[:64]))
                db.execute("COMMIT")
            return WALL() - started


def _candidate(number: int, turn: int) -> Candidate:
    return Candidate(
        intent="answer",
        model="bench-model",
        version="1",
        inputs={"prompt": f"question {number} {turn}", "context": {"turn": turn}},
        output=f"answer {turn}",
        spends={"tokens": turn % 4_000},
        facts={"load": turn % 9},
        state={"caller": number, "turn": turn} if turn % 2 else None,
    )


def _caller(gate: Gate, number: int, steps: int, made: list[tuple[float, Record]]) -> Callable[[], None]:
    def work() -> None:
        for turn in range(steps):
            candidate = _candidate(number, turn)
            started = WALL()
            outcome = gate.submit(candidate).or_raise()
            made.append((WALL() - started, outcome.record))

    return work


def governed_step(setting: Setting) -> list[Row]:
    """One caller: how long a step waits until it is judged and durable."""
    steps = Steps(setting, min(setting.records, SINGLES), 1)
    governed, bare = interleave(setting.repeat, steps.governed, steps.bare)
    each = MILLI / len(steps.made)
    ours, reference = Side("tslg", governed.times(each), "ms"), Side("insert into SQLite", bare.times(each), "ms")
    p50 = Series.of(statistics.median(one.values) * MILLI for one in steps.waits)
    p99 = Series.of(_percentile(one, 0.99) * MILLI for one in steps.waits)
    return [
        Row("governed-step", "governed step, durable, p50", p50, "ms", ours, reference, Target(1, False)),
        Row("governed-step-p99", "governed step, durable, p99", p99, "ms", target=Target(5, False)),
    ]


def governed_steps(setting: Setting) -> list[Row]:
    """Eight callers at once, who share commits: how many steps a second."""
    steps = Steps(setting, min(setting.records, TOGETHER), CALLERS)
    governed, bare = interleave(setting.repeat, steps.governed, steps.bare)
    rates = [Series.of(len(steps.made) / seconds for seconds in side.values) for side in (governed, bare)]
    ours, reference = Side("tslg", rates[0], "steps/s"), Side(f"insert {CALLERS} at a time", rates[1], "steps/s")
    title = f"governed steps, durable, {CALLERS} callers"
    return [Row("governed-steps-8", title, rates[0], "steps/s", ours, reference, Target(5_000, True))]


def _percentile(series: Series, part: float) -> float:
    values = sorted(series.values)
    return values[min(len(values) - 1, int(part * len(values)))]
