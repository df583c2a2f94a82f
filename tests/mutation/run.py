"""Mutation testing of protocol/ and manifests/: `python tests/mutation/run.py` (needs the extra `mutation`).

Each mutant is one small change of one file: another comparison, a negated condition, another number, a loop that does
not run. It is killed if a test fails (or hangs). Every mutant that could be made is counted; which run is drawn by
`--seed`. First the tests of the same name run, then, for whoever survives those, all that could notice. Survivors are
written to a report with the change, so that each gets a test or a reason.

The mutated source never touches the disk: a process forked from one that has the libraries loaded imports it.
"""

from __future__ import annotations

import argparse
import ast
import difflib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("protocol", "manifests")
ALL_TESTS = ("tests/protocol", "tests/manifests", "tests/test_vectors.py", "tests/e2e/test_independent_reader.py")
EQUAL = (
    "_Is_Eq",
    "_Eq_Is",
    "IsNot_NotEq",
    "NotEq_IsNot",
    "Eq_IsNot",
    "NotEq_Is",
    "Is_Lt",
    "Is_Gt",
    "IsNot_Lt",
    "IsNot_Gt",
)
"""Operators whose change is none, or no comparison that the types allow."""
LEFT_OUT = ("core/RemoveDecorator", "core/VariableReplacer", "core/VariableInserter", "core/ExceptionReplacer")
FIRST_SECONDS, ALL_SECONDS = 60, 240


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the `occurrence`-th place in the file where the operator applies."""

    path: str
    operator: str
    occurrence: int
    line: int


def mutants() -> list[Mutant]:
    """Return every mutant of the two packages, those in annotations and docstrings left out."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    names = [n for n in operator_names() if n not in LEFT_OUT and not n.endswith(EQUAL)]
    found = []
    for path in sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        passive = set(_passive(ast.parse(source)))
        nodes = list(ast_nodes(get_ast(source)))
        for name in names:
            operator = get_operator(name)()
            spots = [spot for node in nodes for spot in operator.mutation_positions(node)]
            for occurrence, ((line, column), _) in enumerate(spots):
                if (line, column) not in passive:
                    found.append(Mutant(path.relative_to(ROOT).as_posix(), name, occurrence, line))
    return found


def _passive(tree: ast.Module) -> Iterator[tuple[int, int]]:
    """Yield the places of annotations, which nothing runs."""
    for node in ast.walk(tree):
        notes: list[ast.expr | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        for note in notes:
            if note is not None:
                yield from (
                    (part.lineno, column)
                    for part in ast.walk(note)
                    if hasattr(part, "lineno")
                    for column in range(part.col_offset, (part.end_col_offset or part.col_offset) + 1)
                )


def mutated(mutant: Mutant) -> str:
    """Return the file's source with the change made."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    return mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence) or source


def first_tests(mutant: Mutant) -> list[str]:
    """Return the tests of the same name as the mutated file."""
    path = Path(mutant.path)
    layer, stem = path.parts[0], path.stem
    if "rules" in path.parts:
        return ["tests/protocol/test_admission.py"]
    return [f"tests/{layer}/test_{stem}.py"] if (ROOT / f"tests/{layer}/test_{stem}.py").exists() else []


def start(mutant: Mutant, source: str, tests: list[str]) -> int:
    """Fork a process that runs the tests on the mutant; it ends with 0 if they all pass."""
    pid = os.fork()
    if pid:
        return pid
    code = 3
    try:
        os.setsid()
        quiet = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(quiet, descriptor)
        sys.meta_path.insert(0, _Finder("tslg." + mutant.path.removesuffix(".py").replace("/", "."), source))
        import pytest

        code = int(pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]))
    finally:
        os._exit(code)


def passes_unchanged(mutant: Mutant, tests: list[str]) -> bool:
    """Tell whether the tests pass the way they are run here when nothing is changed."""
    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    _, status = os.waitpid(start(mutant, source, tests), 0)
    return os.waitstatus_to_exitcode(status) == 0


class _Finder:
    """Hands out the mutated source for one module."""

    def __init__(self, name: str, source: str) -> None:
        self.name, self.source = name, source

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        from importlib.util import spec_from_loader

        if name != self.name and name + ".__init__" != self.name:
            return None
        return spec_from_loader(name, self, is_package=name != self.name)

    def create_module(self, spec: Any) -> None:
        return None

    def exec_module(self, module: Any) -> None:
        exec(compile(self.source, str(ROOT / "mutated.py"), "exec"), module.__dict__)


def run(chosen: list[Mutant], jobs: int, progress: Any) -> list[Mutant]:
    """Run the mutants and return those that survive."""
    waiting = [(mutant, True) for mutant in reversed(chosen)]
    running: dict[int, tuple[Mutant, bool, float]] = {}
    survivors, done = [], 0
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant, first = waiting.pop()
            tests = first_tests(mutant) if first else list(ALL_TESTS)
            if first and not tests:
                waiting.append((mutant, False))
                continue
            limit = time.monotonic() + (FIRST_SECONDS if first else ALL_SECONDS)
            running[start(mutant, mutated(mutant), tests)] = (mutant, first, limit)
        time.sleep(0.02)
        for pid, (mutant, first, limit) in list(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended and time.monotonic() < limit:
                continue
            if not ended:
                os.killpg(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            del running[pid]
            passed = bool(ended) and os.waitstatus_to_exitcode(status) == 0
            if passed and first:
                waiting.append((mutant, False))
                continue
            done += 1
            if passed:
                survivors.append(mutant)
            progress(done, len(survivors))
    return survivors


def change(mutant: Mutant) -> str:
    """Return the change as the lines that differ."""
    before = (ROOT / mutant.path).read_text(encoding="utf-8").splitlines()
    lines = difflib.unified_diff(before, mutated(mutant).splitlines(), lineterm="", n=0)
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=400, help="how many mutants to run; 0 for all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="files whose path contains one of these, split by commas")
    parser.add_argument("--report", type=Path, default=Path("mutation.json"))
    given = parser.parse_args()
    os.chdir(ROOT)
    import blake3  # noqa: F401
    import cbor2  # noqa: F401
    import cbrrr  # noqa: F401
    import cryptography  # noqa: F401
    import hypothesis  # noqa: F401
    import nacl.bindings  # noqa: F401
    import pytest  # noqa: F401

    wanted = given.only.split(",")
    every = [mutant for mutant in mutants() if any(part in mutant.path for part in wanted)]
    chosen = random.Random(given.seed).sample(every, min(given.sample or len(every), len(every)))
    for tests in {tuple(first_tests(mutant)) for mutant in chosen} | {ALL_TESTS}:
        if tests and not passes_unchanged(chosen[0], list(tests)):
            print(f"{' '.join(tests)} fails without any mutant: nothing could be concluded")
            return 1
    print(f"{len(every)} mutants, running {len(chosen)}", flush=True)
    began = time.monotonic()

    def progress(done: int, survived: int) -> None:
        if done % 20 == 0 or done == len(chosen):
            print(f"{done}/{len(chosen)}: {survived} survived, {time.monotonic() - began:.0f} s", flush=True)

    survivors = run(chosen, given.jobs, progress)
    rate = 1 - len(survivors) / max(1, len(chosen))
    listed = [{"path": m.path, "line": m.line, "operator": m.operator, "change": change(m)} for m in survivors]
    figures = {"mutants": len(every), "run": len(chosen), "seed": given.seed, "killed": rate, "survivors": listed}
    given.report.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    print(f"killed {rate:.1%}; survivors in {given.report}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
