"""Which tests run which lines of protocol/ and manifests/, and how long each takes: one run under coverage."""

from __future__ import annotations

import functools
import gc
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import coverage
import pytest

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("protocol", "manifests")


@dataclass
class Covering:
    """What one run showed: seconds by test, and by file and line the names of the tests that ran it.

    A name that ends before `::` is that of a file or directory whose tests share a fixture that ran the line.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    lines: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    _runs: dict[str, Counter[str]] = field(default_factory=dict)

    def of(self, path: str, lines: range) -> set[str]:
        """Return the tests that run any of the lines."""
        held = self.lines.get(path, {})
        return self._tests({name for line in lines for name in held.get(line, ())})

    def imported(self, path: str, lines: range) -> bool:
        """Tell whether an import runs any of the lines."""
        return any(line in self.lines.get(path, {}) for line in lines)

    def of_file(self, path: str) -> set[str]:
        """Return the tests that run any line of the file after its import."""
        return self._tests({name for names in self.lines.get(path, {}).values() for name in names})

    def closeness(self, tests: str, path: str) -> float:
        """Return how much a file of tests is about a file of the packages: much of it run, and little else."""
        if not self._runs:
            for ran, lines in self.lines.items():
                for names in lines.values():
                    for file in {name.partition("::")[0] for name in names}:
                        self._runs.setdefault(file, Counter())[ran] += 1
        runs = self._runs.get(tests, Counter())
        return float(runs[path] ** 2 / max(1, runs.total()))

    def _tests(self, names: set[str]) -> set[str]:
        shared = tuple(name for name in names if "::" not in name)
        return {test for test in self.seconds if test in names or test.startswith(shared)}


class _Recorder:
    """A pytest plugin: tells the tracer which test runs, and empties caches, so that each test runs all it needs."""

    def __init__(self, tracer: coverage.Coverage, found: Covering) -> None:
        self.tracer, self.found, self.caches = tracer, found, list[Any]()

    def pytest_collection_finish(self) -> None:
        wrappers = [kept for kept in gc.get_objects() if isinstance(kept, functools._lru_cache_wrapper)]
        self.caches = [
            kept for kept in wrappers if str(kept.__module__).split(".")[0] in ("tslg", "world", "federations")
        ]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        for kept in self.caches:
            kept.cache_clear()
        began = time.perf_counter()
        self.tracer.switch_context(item.nodeid)
        yield
        self.tracer.switch_context("")
        self.found.seconds[item.nodeid] = time.perf_counter() - began

    @pytest.hookimpl(hookwrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        if fixturedef.scope == "function":
            yield
            return
        self.tracer.switch_context(fixturedef.baseid)
        yield
        self.tracer.switch_context(request._pyfuncitem.nodeid)


def cover(arguments: list[str]) -> Covering | None:
    """Run pytest with the arguments under coverage; None if a test fails."""
    found = Covering()
    tracer = coverage.Coverage(data_file=None, config_file=False, include=[f"{ROOT / layer}/*" for layer in LAYERS])
    tracer.start()
    code = pytest.main(arguments, plugins=[_Recorder(tracer, found)])
    tracer.stop()
    if code:
        return None
    data = tracer.get_data()
    for name in data.measured_files():
        by_line = data.contexts_by_lineno(name).items()
        lines = {line: {sys.intern(context) for context in contexts if context} for line, contexts in by_line}
        found.lines[Path(name).resolve().relative_to(ROOT).as_posix()] = lines
    return found
