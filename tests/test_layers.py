"""The code keeps its shape: who may import whom, what stays pure, how long things get, what is declared."""

from __future__ import annotations

import ast
import fnmatch
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LAYERS = ("protocol", "manifests", "node", "simulations")
"""Lowest first: each may import itself and those before it."""
MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))

PURE = {
    *(
        "__future__",
        "abc",
        "base64",
        "binascii",
        "collections",
        "dataclasses",
        "enum",
        "functools",
        "hashlib",
        "hmac",
        "io",
        "bisect",
        "itertools",
    ),
    *("math", "operator", "re", "struct", "types", "typing"),
    *("blake3", "cbor2", "cbrrr", "coincurve", "cryptography", "nacl", "py_arkworks_bls12381", "py_ecc", "rbcl"),
}
"""All that protocol/ may import beside itself: no sockets, disk, clock, threads or randomness."""
ALSO = {"protocol/curve_reference.py": {"sys"}, "protocol/zk/group.py": {"pathlib", "tempfile"}}
"""What single files may import beside: these undo what importing py_ecc does to the recursion limit, and what importing
rbcl leaves in the temporary directory."""
IMPURE_CALLS = {"open", "input", "print", "exec", "eval", "compile", "__import__", "breakpoint"}
MOST_FILE_LINES = 500
MOST_FUNCTION_LINES = 80
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def imports(tree: ast.AST) -> tuple[tuple[int, str], ...]:
    """Return line and full module name of every import; relative ones as they stand."""
    return tuple(found_imports(tree))


def found_imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            if module in ("tslg", "importlib"):
                yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, module


def breaches_of_direction(path: Path, tree: ast.AST) -> list[str]:
    """Return the imports of a module that point upwards, or go round the package's one name."""
    allowed = LAYERS[: LAYERS.index(path.relative_to(ROOT).parts[0]) + 1]
    found = []
    for line, module in imports(tree):
        first, _, rest = module.partition(".")
        upwards = first == "tslg" and rest.partition(".")[0] in set(LAYERS) - set(allowed)
        if upwards or first in LAYERS or first == "":
            found.append(f"{name(path)}:{line} imports {module}")
    return found


def impurities(path: Path, tree: ast.AST) -> list[str]:
    """Return what a module of protocol/ imports or calls that could reach the world."""
    found = [
        f"{name(path)}:{line} imports {module}"
        for line, module in imports(tree)
        if module.partition(".")[0] not in PURE | {"tslg"} | ALSO.get(name(path), set())
        or module.startswith(("nacl.signing", "nacl.utils"))
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            found.append(f"{name(path)}:{node.lineno} calls {node.func.id}")
    return found


def undocumented(path: Path, tree: ast.Module) -> list[str]:
    """Return public classes and functions without a docstring; nested functions and overrides of dunders aside."""
    found = []
    for scope in [tree, *(node for node in tree.body if isinstance(node, ast.ClassDef))]:
        if isinstance(scope, ast.ClassDef) and scope.name.startswith("_"):
            continue
        for node in scope.body:
            if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_"):
                overload = any("overload" in ast.dump(item) for item in node.decorator_list)
                if not overload and ast.get_docstring(node) is None:
                    found.append(f"{name(path)}:{node.lineno} {node.name}")
    return found


def long_functions(path: Path, tree: ast.AST) -> list[str]:
    """Return the functions of more lines than fit a screen."""
    return [
        f"{name(path)}:{node.lineno} {node.name} has {node.end_lineno - node.lineno + 1} lines"
        for node in ast.walk(tree)
        if isinstance(node, Function) and node.end_lineno - node.lineno + 1 > MOST_FUNCTION_LINES
    ]


def test_there_is_something_to_look_at():
    assert {path.relative_to(ROOT).parts[0] for path in MODULES} == set(LAYERS)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_dependencies_point_one_way(path):
    assert breaches_of_direction(path, TREES[path]) == []


@pytest.mark.parametrize("path", sorted((ROOT / "protocol").rglob("*.py")), ids=name)
def test_the_protocol_is_pure(path):
    assert impurities(path, TREES[path]) == []


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_a_module_says_first_what_it_is_for(path):
    assert ast.get_docstring(TREES[path])
    assert path.read_text(encoding="utf-8").startswith('"""')


def test_public_names_have_docstrings():
    assert [entry for path in MODULES for entry in undocumented(path, TREES[path])] == []


def test_no_two_classes_of_errors_share_a_code():
    codes = [
        item.value.value
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for item in node.body
        if isinstance(item, ast.Assign)
        and ast.unparse(item.targets[0]) == "code"
        and isinstance(item.value, ast.Constant)
    ]
    assert len(codes) > 10
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("path", MODULES, ids=name)
def test_files_stay_readable(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MOST_FILE_LINES


def test_functions_fit_a_screen():
    assert [entry for path in MODULES for entry in long_functions(path, TREES[path])] == []


def test_the_checks_find_what_they_look_for():
    path = ROOT / "protocol" / "imagined.py"
    source = (
        "import socket\nimport tslg.node.net\nfrom tslg import manifests\nimport protocol.codec\nfrom . import codec\n"
        "from nacl.utils import random\ndef public():\n    open('x')\n" + "    pass\n" * MOST_FUNCTION_LINES
    )
    tree = ast.parse(source)
    assert [line.split()[-1] for line in breaches_of_direction(path, tree)] == [
        *("tslg.node.net", "tslg.manifests", "protocol.codec", "."),
    ]
    assert {line.split()[-1] for line in impurities(path, tree)} >= {"socket", "nacl.utils", "open"}
    assert [line.split()[-1] for line in undocumented(path, tree)] == ["public"]
    assert len(long_functions(path, tree)) == 1


# --- what is declared ----------------------------------------------------------------------------------------------


def distributions(entries: list[str]) -> set[str]:
    """Return the distributions that a list of requirements names, in the form that metadata is looked up by."""
    return {re.split(r"[<>=!~\[; ]", entry)[0].lower().replace("_", "-") for entry in entries}


SHARED = {"google": "protobuf", "langgraph": "langgraph", "opentelemetry": "opentelemetry-sdk"}
"""Names that several distributions put modules under, and the one of them that is meant here."""


def imported_distributions(trees: list[ast.AST]) -> set[str]:
    """Return the distributions whose modules are imported, the standard library and our own aside."""
    providers = importlib.metadata.packages_distributions()
    names = {module.partition(".")[0] for tree in trees for _, module in imports(tree)}
    foreign = names - set(sys.stdlib_module_names) - {"tslg", *LAYERS, ""}
    chosen = {module: SHARED.get(module, providers[module][0]) for module in foreign if module in providers}
    return {distribution.lower().replace("_", "-") for distribution in chosen.values()}


def names_type_checking(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in (getattr(test, "id", None), getattr(test, "attr", None))


@cache
def outside_type_checking(path: Path) -> ast.Module:
    """Return a module without what only a type checker reads."""
    source = path.read_text(encoding="utf-8")
    if "TYPE_CHECKING" not in source:
        return TREES[path]

    class Strip(ast.NodeTransformer):
        def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
            return node.orelse if names_type_checking(node.test) else self.generic_visit(node)

    return Strip().visit(ast.parse(source))


def test_what_only_a_type_checker_reads_is_told_from_the_rest(tmp_path):
    module = tmp_path / "module.py"
    lines = [
        "import typing",
        "from typing import TYPE_CHECKING",
        "if TYPE_CHECKING:",
        "    import one",
        "else:",
        "    import two",
    ]
    lines += [
        "if typing.TYPE_CHECKING:",
        "    import three",
        "if True:",
        "    import four",
        "    if TYPE_CHECKING:",
        "        import five",
    ]
    module.write_text("\n".join(lines), encoding="utf-8")
    assert {one for _, one in imports(outside_type_checking(module))} == {"typing", "two", "four"}


OPTIONAL = {
    "a2a-sdk": ("a2a", "node/adapters/a2a/*.py"),
    "anyio": ("mcp", "node/adapters/mcp/*.py"),
    "httpx2": ("mcp", "node/adapters/mcp/http.py"),
    "langchain-core": ("langgraph", "node/adapters/langgraph/*.py"),
    "langgraph": ("langgraph", "node/adapters/langgraph/*.py"),
    "mcp": ("mcp", "node/adapters/mcp/*.py"),
    "numpy": ("lab", "simulations/lab/*.py"),
    "opentelemetry-sdk": ("otel", "node/adapters/otel/sdk/*.py"),
    "psycopg": ("postgres", "node/store/postgres*.py"),
    "matplotlib": ("simulate", "simulations/plots.py"),
    "pyarrow": ("simulate", "simulations/outcomes.py"),
    "pydantic": ("pydantic-ai", "node/adapters/pydantic_ai/*.py"),
    "pydantic-ai-slim": ("pydantic-ai", "node/adapters/pydantic_ai/*.py"),
    "ray": ("ray", "node/parallel_ray.py"),
    "scikit-learn": ("lab", "simulations/lab/data.py"),
}
"""What an extra brings, and the only modules that may need it."""

IMPORTED_AS = {
    "a2a-sdk": "a2a",
    "langchain-core": "langchain_core",
    "opentelemetry-sdk": "opentelemetry",
    "scikit-learn": "sklearn",
    "pydantic-ai-slim": "pydantic_ai",
}
"""What is not imported by the name of its distribution."""


def test_what_is_imported_is_declared_and_the_other_way_round():
    runtime = distributions(PROJECT["project"]["dependencies"])
    trees = {path: outside_type_checking(path) for path in TREES}
    imported = imported_distributions([*trees.values()])
    # What no test needs, and so need not be installed where they run, cannot be found by what provides it.
    assert imported | {"ray"} == runtime | OPTIONAL.keys()
    extras = PROJECT["project"]["optional-dependencies"]
    for distribution, (extra, modules) in OPTIONAL.items():
        assert distribution in distributions(extras[extra])
        needing = {
            name(path)
            for path, tree in trees.items()
            if any(
                module.partition(".")[0] == IMPORTED_AS.get(distribution, distribution) for _, module in imports(tree)
            )
        }
        assert needing and all(fnmatch.fnmatch(one, modules) for one in needing)


def test_what_an_extra_brings_is_imported_by_no_other_module_as_it_is_loaded():
    modules = {path: f"tslg.{name(path)[:-3].replace('/', '.')}" for path in MODULES}
    patterns = [pattern for _, pattern in OPTIONAL.values()]
    extra = {module for path, module in modules.items() if any(fnmatch.fnmatch(name(path), one) for one in patterns)}
    assert len(extra) > 5
    for path in TREES:
        at_once = [node for node in outside_type_checking(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
        found = {one for node in at_once for _, one in imports(node)} & extra
        assert modules[path] in extra or not found, name(path)


def test_what_tests_import_is_declared():
    tests = [ast.parse(path.read_text(encoding="utf-8")) for path in (ROOT / "tests").rglob("*.py")]
    extras = PROJECT["project"]["optional-dependencies"]
    declared = distributions(PROJECT["project"]["dependencies"] + [one for extra in extras.values() for one in extra])
    assert imported_distributions([*tests, *TREES.values()]) - declared == set()


# --- what is shipped -----------------------------------------------------------------------------------------------


def test_the_package_is_typed():
    assert (ROOT / "src" / "tslg" / "py.typed").is_file()


def test_the_folders_are_reached_through_links():
    for layer in LAYERS:
        link = ROOT / "src" / "tslg" / layer
        assert link.is_symlink() and link.resolve() == ROOT / layer


def test_the_wheel_takes_every_folder_with_what_lies_in_it():
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {*LAYERS, "src/tslg/__init__.py", "src/tslg/py.typed"} == set(wheel["only-include"])
    assert {layer: f"tslg/{layer}" for layer in LAYERS} | {"src/tslg": "tslg"} == wheel["sources"]
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    data = [
        path for layer in LAYERS for path in (ROOT / layer).rglob("*") if path.suffix in (".toml", ".html", ".json")
    ]
    assert any(path.parent.name == "examples" for path in data)
    # Hatchling leaves out what git ignores.
    assert [path for path in data if any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored)] == []
