"""Write docs/spec/tests.md: for every normative sentence, the tests that hold it.

A test names the sentences that it holds by `@pytest.mark.spec("REC-7", …)`, on the function or, as `pytestmark`, for a
whole file. Records that break an admission rule (`@breaks(rule, "CODE", …)` in tests/support) hold the sentences of
admission.md that give the rule's code. Run from anywhere: `python docs/tools/sentences.py`. A test holds that the page
is up to date, that every sentence has a test, and that every sentence that a test names is there.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SPEC = ROOT / "docs" / "spec"
PAGE = SPEC / "tests.md"
SENTENCE = re.compile(r"^- \[([A-Z]{3}-\d+)\] (.*?)(?=^- \[|^#|^\||^```|^$|\Z)", re.MULTILINE | re.DOTALL)
BREACHES = "tests/protocol/test_admission.py"
INTRODUCTION = """# Which test holds which sentence

Made by `python docs/tools/sentences.py` from the marks that tests carry; a test holds that no sentence is without one.
Names in parentheses are the records of `tests/support` that break the rule and no other.
"""


def sentences() -> dict[str, str]:
    """Return every normative sentence by its id, page by page in the order of the index."""
    listed = re.findall(r"^\| \[([a-z]+\.md)\]", (SPEC / "index.md").read_text(encoding="utf-8"), re.MULTILINE)
    found = {}
    for page in ["index.md", *listed]:
        if page != PAGE.name:
            found.update(SENTENCE.findall((SPEC / page).read_text(encoding="utf-8")))
    return found


@functools.cache
def marked() -> dict[str, list[str]]:
    """Return the tests that name a sentence, by its id: `path::function`, or the path for a whole file."""
    held: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        place = path.relative_to(ROOT).as_posix()
        for name, ids in _marks(ast.parse(path.read_text(encoding="utf-8"))):
            for id in ids:
                held.setdefault(id, []).append(f"{place}::{name}" if name else place)
    return held


def breaches() -> dict[str, list[str]]:
    """Return the records that break a rule, by the rule's full code."""
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "tests" / "support").glob("breaches_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            for call in getattr(node, "decorator_list", ()):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "breaks":
                    code = call.args[1]
                    assert isinstance(code, ast.Constant) and isinstance(node, ast.FunctionDef)
                    found.setdefault(f"TSLG-A-{code.value}", []).append(node.name)
    return found


def held() -> dict[str, list[str]]:
    """Return for every sentence the tests that hold it, an empty list for none."""
    marks, broken = marked(), breaches()
    table = {}
    for id, text in sentences().items():
        codes = re.findall(r"`(TSLG-A-[A-Z-]+)`", text) if id.startswith("ADM-") else ()
        by_breach = [f"{BREACHES} ({name})" for code in codes for name in broken.get(code, ())]
        table[id] = marks.get(id, []) + by_breach
    return table


def page() -> str:
    """Return the page."""
    rows = [f"| {id} | {'<br>'.join(f'`{test}`' for test in tests)} |" for id, tests in held().items()]
    return "\n".join([INTRODUCTION, "| sentence | held by |", "|---|---|", *rows, ""])


def _marks(tree: ast.Module) -> Iterator[tuple[str, list[str]]]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "pytestmark":
            marks = node.value.elts if isinstance(node.value, ast.List) else [node.value]
            yield from (("", _ids(mark)) for mark in marks)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from ((node.name, _ids(mark)) for mark in node.decorator_list)


def _ids(mark: ast.expr) -> list[str]:
    """Return the sentences of `pytest.mark.spec(…)`, none for any other decorator."""
    if not isinstance(mark, ast.Call) or ast.unparse(mark.func) != "pytest.mark.spec":
        return []
    return [ast.literal_eval(argument) for argument in mark.args]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    missing = [id for id, tests in held().items() if not tests]
    print(f"{len(missing)} sentences without a test: {' '.join(missing)}" if missing else "every sentence has a test")
