"""A stand-in for a gate, for what no real one does on demand: being slow, failing, telling when it was asked."""

from __future__ import annotations

import threading
from types import SimpleNamespace

from tslg.protocol import cid


class Books:
    """Admits all calls but those of `refused` tools.

    Attributes:
        written: what was asked for, in order: `("call", intent)` and `("result", intent)`.
        fails: raised instead, by `call` or `result`.
        held: judging waits for it.
    """

    def __init__(self, *refused):
        self.refused = refused
        self.written = []
        self.candidates = []
        self.fails = {}
        self.held = threading.Event()
        self.held.set()

    def submit(self, candidate):
        assert self.held.wait(10)
        self._write("call", candidate.intent)
        self.candidates.append(candidate)
        refused = candidate.intent in self.refused
        return SimpleNamespace(
            verdict="rejected" if refused else "admitted",
            admitted=not refused,
            record=self._record("call", candidate.intent),
            stage="rule:house" if refused else None,
            reason="not in this house" if refused else None,
            intent=candidate.intent,
        )

    def finish(self, outcome, output):
        self._write("result", outcome.intent)
        return self._record("result", outcome.intent)

    def _write(self, what, intent):
        if what in self.fails:
            raise self.fails[what]
        self.written.append((what, intent))

    @staticmethod
    def _record(what, intent):
        return SimpleNamespace(id=cid.compute(f"{what} {intent}".encode()))
