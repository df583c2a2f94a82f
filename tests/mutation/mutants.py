"""All mutants of protocol/ and manifests/, and a sample of them in which every file has its part."""

from __future__ import annotations

import ast
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("protocol", "manifests")
LEFT_OUT = ("core/RemoveDecorator", "core/VariableReplacer", "core/VariableInserter", "core/ExceptionReplacer")
FLAGS = ("dataclass", "lru_cache")
"""Decorators whose arguments choose how memory is used or which methods exist, never what holds."""
WORDS = ("refuse", "Refusal", "StepFailure")
"""Calls whose formatted strings are sentences for people."""
FEWEST = 3
"""Mutants that a sample holds of every file that has so many."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change: the `occurrence`-th place in the file where the operator applies."""

    path: str
    operator: str
    occurrence: int
    line: int
    column: int

    @property
    def place(self) -> tuple[str, int, int]:
        """Where it is; operators of one family make several mutants at one place."""
        return self.path, self.line, self.column


def mutants() -> list[Mutant]:
    """Return every mutant of the two packages but those that no test could or should tell from the original."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    names = [name for name in operator_names() if name not in LEFT_OUT and not _trivial(name)]
    found = []
    for path in sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        passive = list(_passive(ast.parse(source)))
        nodes = list(ast_nodes(get_ast(source)))
        for name in names:
            operator = get_operator(name)()
            spots = [spot for node in nodes for spot in operator.mutation_positions(node)]
            for occurrence, (begin, _) in enumerate(spots):
                if not _is_star(source, begin) and not any(first <= begin < last for first, last in passive):
                    found.append(Mutant(path.relative_to(ROOT).as_posix(), name, occurrence, *begin))
    return found


def _trivial(name: str) -> bool:
    """Tell whether the operator puts `is` for `==` or the like: no change, or one that the first call trips over."""
    before, _, after = name.rpartition("_")
    return before.endswith(("_Is", "_IsNot")) != after.startswith("Is")


def _is_star(source: str, place: tuple[int, int]) -> bool:
    """Tell whether an operator's sign stands where an operand should: it unpacks, or divides a list of parameters."""
    lines = source.splitlines(keepends=True)
    line, column = place
    if lines[line - 1][column] not in "*/":
        return False
    return (
        ("".join(lines[: line - 1]) + lines[line - 1][:column]).rstrip().endswith(("(", "[", "{", ",", ":", "lambda"))
    )


def _passive(tree: ast.Module) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
    """Yield the ranges whose change is none or cannot be known: annotations, sizes, flags and sentences."""
    for node in ast.walk(tree):
        parts: list[ast.AST | None] = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            parts += [call for call in node.decorator_list if isinstance(call, ast.Call) and _called(call) in FLAGS]
            if node.name == "Limits":
                parts += node.body
        if isinstance(node, ast.Raise) or (isinstance(node, ast.Call) and _called(node) in WORDS):
            parts += [part for part in ast.walk(node) if isinstance(part, ast.JoinedStr)]
        if isinstance(node, (ast.Assign, ast.AnnAssign)) and ast.unparse(node).startswith("_REMEMBERED"):
            parts.append(node)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            parts.append(node.test)
        for part in parts:
            if isinstance(part, (ast.expr, ast.stmt)):
                end = part.end_lineno or part.lineno, part.end_col_offset or part.col_offset
                yield (part.lineno, part.col_offset), end
    for node in tree.body:
        if isinstance(node, ast.Assign) and _is_type(node.value):
            yield (node.lineno, node.col_offset), (node.end_lineno or 0, node.end_col_offset or 0)


def _called(call: ast.Call) -> str:
    return ast.unparse(call.func).rpartition(".")[2]


def _is_type(value: ast.expr) -> bool:
    """Tell whether a module's constant is the name of a union of types."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr):
        return _is_type(value.left) and _is_type(value.right)
    return isinstance(value, (ast.Name, ast.Subscript, ast.Attribute)) or ast.unparse(value) == "None"


def sample(every: list[Mutant], size: int, seed: int) -> list[Mutant]:
    """Return `size` mutants, one at a place: of each file the fewest it must have, the others as they fall."""
    fortune = random.Random(seed)
    at = defaultdict(list)
    for mutant in sorted(every, key=lambda mutant: (mutant.place, mutant.operator, mutant.occurrence)):
        at[mutant.place].append(mutant)
    drawn = [fortune.choice(at[place]) for place in fortune.sample(sorted(at), len(at))]
    by_file = defaultdict(list)
    for mutant in drawn:
        by_file[mutant.path].append(mutant)
    chosen = dict.fromkeys(mutant for ones in by_file.values() for mutant in ones[:FEWEST])
    for mutant in drawn:
        if len(chosen) >= size:
            break
        chosen[mutant] = None
    return [mutant for mutant in drawn if mutant in chosen]


def mutated(mutant: Mutant) -> str:
    """Return the file's source with the change made."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    source = (ROOT / mutant.path).read_text(encoding="utf-8")
    return mutate_code(source, get_operator(mutant.operator)(), mutant.occurrence) or source


def statement(mutant: Mutant) -> range | None:
    """Return the lines of the mutant's statement (of a compound one its head), None if it runs at import."""
    return _statements(mutant.path).get(mutant.line)


@cache
def _statements(path: str) -> dict[int, range]:
    """Return the lines of each statement inside a function, inner ones over outer ones."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    found: dict[int, range] = {}
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    for function in functions:
        for node in (inner for outer in function.body for inner in ast.walk(outer)):
            if isinstance(node, (ast.stmt, ast.ExceptHandler)):
                body = getattr(node, "body", None)
                lines = range(node.lineno, (body[0].lineno if body else (node.end_lineno or node.lineno) + 1))
                lines = lines or range(node.lineno, node.lineno + 1)
                found |= dict.fromkeys(lines, lines)
    return found
