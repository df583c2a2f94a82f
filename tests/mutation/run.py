"""Mutation testing of protocol/ and manifests/: `python tests/mutation/run.py` (needs the extra `mutation`).

Each mutant is one small change of one file: another comparison, a negated condition, another number, a loop that does
not run. It is killed if a test fails (or takes five times as long, or more memory than there is). First all tests run
once under coverage; a mutant is then shown only to the tests that run its statement (or, if the import runs it, any
line of its file; of a file that only an import runs, to the tests of both packages): first those of the test files
that are about this file, then all others that fit into eight seconds. What no test runs survives.

Left out, because no test could or should tell them from the original: annotations and names of types; arguments of
`dataclass` and `lru_cache`; the sizes in protocol/limits.py and of caches; numbers inside sentences for people; `is`
put for `==` and the reverse. Of operators that fit the same place a sample takes one, and of every file a few.

The mutated source never touches the disk: a process forked from one that has the libraries loaded imports it.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import json
import os
import pickle
import resource
import signal
import sys
import time
from collections import Counter, defaultdict
from importlib.machinery import SourceFileLoader
from importlib.util import spec_from_file_location
from itertools import accumulate
from pathlib import Path
from typing import Any

from covering import Covering, cover
from mutants import ROOT, Mutant, mutants, mutated, sample, statement

TESTS = ("tests/protocol", "tests/manifests", "tests/e2e/test_independent_*.py", "tests/node/test_*.py")
OF_TABLES = TESTS[:2]
"""The tests of files that run only when they are imported."""
LIBRARIES = (
    "blake3",
    "cbor2",
    "cbrrr",
    "cryptography",
    "hypothesis",
    "nacl.bindings",
    "pytest",
    "py_ecc",
    "libp2p",
    "tomlkit",
)
OPTIONS = ("-x", "-q", "-p", "no:cacheprovider")
CLOSEST, FIRST_SECONDS, LAST_SECONDS = 3, 5.0, 8.0
"""How many test files are asked first, and for how long; and for how long all others, the quickest tests first."""

PASSED = (0, 5)
"""What pytest ends with if no test fails, and if none runs."""
MEMORY = 8 << 30
"""Bytes of address space for one mutant: what builds without end is stopped before the machine is."""


class _Loader(SourceFileLoader):
    """Loads the mutated source as if it stood in the file."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> Any:
        return compile(self.source, self.path, "exec")


class _Finder:
    """Finds the mutated module before anybody else does."""

    def __init__(self, path: str, source: str) -> None:
        self.file, self.source = str(ROOT / "src/tslg" / path), source
        self.name = "tslg." + path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.name:
            return None
        return spec_from_file_location(name, self.file, loader=_Loader(name, self.file, self.source))


class _Only:
    """A pytest plugin: only the tests named, in the order of their names."""

    def __init__(self, tests: list[str]) -> None:
        self.rank = {test: rank for rank, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = sorted((item for item in items if item.nodeid in self.rank), key=lambda item: self.rank[item.nodeid])


def settled() -> None:
    """Have hypothesis draw the same examples each time, and not look for smaller ones."""
    from hypothesis import Phase, settings

    settings.register_profile(
        "mutation", derandomize=True, database=None, deadline=None, phases=(Phase.explicit, Phase.generate)
    )
    settings.load_profile("mutation")


def covered(kept: Path | None) -> Covering | None:
    """Return what a process of its own saw of the unmutated tests, or a file kept of an earlier run."""
    if kept is not None and kept.exists():
        return Covering(*pickle.loads(kept.read_bytes()))
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        settled()
        files = [path.relative_to(ROOT).as_posix() for pattern in TESTS for path in sorted(ROOT.glob(pattern))]
        found = cover([*OPTIONS, *files])
        with os.fdopen(writing, "wb") as pipe:
            pickle.dump(found and (found.seconds, found.lines), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        found = pickle.load(pipe)
    os.waitpid(pid, 0)
    if found and kept:
        kept.write_bytes(pickle.dumps(found))
    return found and Covering(*found)


def batches(mutant: Mutant, seen: Covering) -> list[list[str]]:
    """Return the tests that could notice, those most about the file first; within a batch the quickest first."""
    lines = statement(mutant)
    tests = seen.of(mutant.path, lines) if lines is not None else set()
    if lines is None or (not tests and seen.imported(mutant.path, lines)):
        tests = seen.of_file(mutant.path) or {test for test in seen.seconds if test.startswith(OF_TABLES)}
    quickest = sorted(tests, key=lambda test: (seen.seconds[test], test))
    by_file = defaultdict(list)
    for test in quickest:
        by_file[test.partition("::")[0]].append(test)
    named = f"/test_{Path(mutant.path).stem}.py"
    closest = set(
        sorted(by_file, key=lambda file: (not file.endswith(named), -seen.closeness(file, mutant.path)))[:CLOSEST]
    )
    first = _within(FIRST_SECONDS, [test for test in quickest if test.partition("::")[0] in closest], seen)
    asked = set(first)
    rest = _within(LAST_SECONDS, [test for test in quickest if test not in asked], seen)
    return [batch for batch in (first, rest) if batch]


def _within(seconds: float, tests: list[str], seen: Covering) -> list[str]:
    """Return as many of the tests, from the first, as take so long together."""
    spent = accumulate(seen.seconds[test] for test in tests)
    return [test for test, so_far in zip(tests, spent, strict=True) if so_far <= seconds]


def start(mutant: Mutant, tests: list[str], source: str) -> int:
    """Fork a process that runs the tests with this source for the mutant's file; it ends with 0 if they all pass."""
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        sys.meta_path.insert(0, _Finder(mutant.path, source))
        import pytest

        settled()
        code = int(
            pytest.main([*OPTIONS, *sorted({test.partition("::")[0] for test in tests})], plugins=[_Only(tests)])
        )
    finally:
        os._exit(code)


def misled(chosen: list[Mutant], seen: Covering) -> list[str]:
    """Return the files whose tests fail the way they are run here when nothing is changed."""
    failed = []
    for mutant in {mutant.path: mutant for mutant in chosen if batches(mutant, seen)}.values():
        pid = start(mutant, batches(mutant, seen)[0], (ROOT / mutant.path).read_text(encoding="utf-8"))
        if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]):
            failed.append(mutant.path)
    return failed


def run(chosen: list[Mutant], seen: Covering, jobs: int, progress: Any) -> None:
    """Run the mutants, and tell `progress` of each whether it survives."""
    waiting = [(mutant, batches(mutant, seen)) for mutant in reversed(chosen)]
    running: dict[int, tuple[Mutant, list[list[str]], float]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant, left = waiting.pop()
            if not left:
                progress(mutant, True)
                continue
            limit = time.monotonic() + 30 + 5 * sum(seen.seconds[test] for test in left[0])
            running[start(mutant, left[0], mutated(mutant))] = (mutant, left[1:], limit)
        time.sleep(0.02)
        for pid, (mutant, left, limit) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() < limit:
                continue
            if not ended:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            del running[pid]
            if ended and os.waitstatus_to_exitcode(status) in PASSED:
                waiting.append((mutant, left))
            else:
                progress(mutant, False)


def change(mutant: Mutant) -> str:
    """Return the change as the lines that differ."""
    before = (ROOT / mutant.path).read_text(encoding="utf-8").splitlines()
    lines = difflib.unified_diff(before, mutated(mutant).splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


class Report:
    """What is known so far, written whenever it grows."""

    def __init__(self, every: list[Mutant], chosen: list[Mutant], given: argparse.Namespace) -> None:
        self.every, self.chosen, self.given = Counter(mutant.path for mutant in every), chosen, given
        self.run: Counter[str] = Counter()
        self.survivors: list[Mutant] = []
        self.began = time.monotonic()

    def __call__(self, mutant: Mutant, survived: bool) -> None:
        self.run[mutant.path] += 1
        if survived:
            self.survivors.append(mutant)
            print(f"{mutant.path}:{mutant.line} {mutant.operator}\n{change(mutant)}", flush=True)
        done = self.run.total()
        if done % 20 == 0 or done == len(self.chosen):
            print(
                f"{done}/{len(self.chosen)}: killed {self.killed:.1%}, {time.monotonic() - self.began:.0f} s",
                flush=True,
            )
            self.write()

    @property
    def killed(self) -> float:
        return 1 - len(self.survivors) / max(1, self.run.total())

    def write(self) -> None:
        lived = Counter(mutant.path for mutant in self.survivors)
        listed = [
            {"change": change(mutant), **{k: getattr(mutant, k) for k in Mutant.__slots__}} for mutant in self.survivors
        ]
        files = {path: [self.every[path], ran, ran - lived[path]] for path, ran in sorted(self.run.items())}
        figures = {
            "mutants": self.every.total(),
            "run": self.run.total(),
            "seed": self.given.seed,
            "killed": self.killed,
        }
        text = json.dumps({**figures, "files": files, "survivors": listed}, indent=1)
        self.given.report.write_text(text + "\n", encoding="utf-8")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=400, help="how many mutants to run; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="files whose path contains one of these, split by commas")
    parser.add_argument("--again", type=Path, help="run the survivors of this report instead of a sample")
    parser.add_argument("--covering", type=Path, help="keep in this file which test runs what, and read it from there")
    parser.add_argument("--report", type=Path, default=Path("mutation.json"))
    given = parser.parse_args()
    os.chdir(ROOT)
    recursion = sys.getrecursionlimit()
    for library in LIBRARIES:
        importlib.import_module(library)
    sys.setrecursionlimit(recursion)

    every = [mutant for mutant in mutants() if any(part in mutant.path for part in given.only.split(","))]
    chosen = sample(every, given.sample or len(every), given.seed)
    if given.again is not None:
        told = json.loads(given.again.read_text(encoding="utf-8"))["survivors"]
        again = {(one["path"], one["operator"], one["change"]) for one in told}
        named = {name[:2] for name in again}
        alike = [mutant for mutant in every if (mutant.path, mutant.operator) in named]
        chosen = [mutant for mutant in alike if (mutant.path, mutant.operator, change(mutant)) in again]
    seen = covered(given.covering)
    if seen is None:
        print("A test fails without any mutant: nothing could be concluded")
        return 1
    if failed := misled(chosen, seen):
        print(f"without any mutant, tests fail here that are about {' '.join(failed)}: nothing could be concluded")
        return 1
    print(f"{len(every)} mutants, running {len(chosen)}", flush=True)
    report = Report(every, chosen, given)
    run(chosen, seen, given.jobs, report)
    report.write()
    print(f"killed {report.killed:.1%}; survivors in {given.report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
