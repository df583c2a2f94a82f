"""Collect every `TSLG-…` code that the source can produce, by reading the source and not by running it.

A code is either written out in a string, or put together by a small function from a fixed beginning and one of its
parameters, as in `f"TSLG-A-{code}"`; then every call of that function in the same file names the rest as a constant.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("protocol", "manifests", "node", "simulations")
CODE = re.compile(r"TSLG-[A-Z]+-[A-Z0-9]+(?:-[A-Z0-9]+)*(?![-A-Z0-9…])")
BEGINNING = re.compile(r"(TSLG-[A-Z]+-)$")


def codes_in(root: Path) -> dict[str, set[str]]:
    """Return each code in the packages below `root`, with the files that can produce it."""
    found: dict[str, set[str]] = {}
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            for code in codes_in_text(path.read_text(encoding="utf-8")):
                found.setdefault(code, set()).add(str(path.relative_to(root)))
    return found


def codes_in_text(text: str) -> set[str]:
    """Return the codes that one module can produce; ValueError if one is put together in a way that cannot be read."""
    tree = ast.parse(text)
    codes = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            codes.update(CODE.findall(node.value))
    for name, position, beginning in _makers(tree):
        for rest in _arguments(tree, name, position):
            codes.add(beginning + rest)
    return codes


def _makers(tree: ast.AST) -> Iterator[tuple[str, int, str]]:
    """Yield (function, position of the parameter that completes the code, the code's beginning)."""
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        parameters = [argument.arg for argument in function.args.args]
        for node in ast.walk(function):
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                beginning = BEGINNING.match(str(node.values[0].value))
                if beginning is None:
                    continue
                part = node.values[1]
                name = (
                    part.value.id if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) else ""
                )
                if len(node.values) != 2 or name not in parameters:
                    raise ValueError(f"line {node.lineno}: a code is put together from more than one parameter")
                yield function.name, parameters.index(name), beginning.group(1)


def _arguments(tree: ast.AST, function: str, position: int) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
            value = node.args[position] if position < len(node.args) else None
            if not isinstance(value, ast.Constant) or not isinstance(value.value, str):
                raise ValueError(f"line {node.lineno}: {function} is called with a code that is not a constant")
            yield value.value
