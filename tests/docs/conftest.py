"""A place where a page's commands run as a reader's would."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import fork_server
import pytest
from console_pages import Runner

ROOT = Path(__file__).resolve().parents[2]
STRANGERS = ("README.md", "quickstart.md")
"""Pages whose every command is started as a stranger's is; those of the others are forked from a loaded program."""


@pytest.fixture(scope="session")
def forking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A script in place of `tslg` that need not load the program."""
    folder = tmp_path_factory.mktemp("forking")
    # A socket's path must be short, and that of pytest's folders is not.
    with tempfile.TemporaryDirectory(prefix="tslg-", dir="/tmp") as short:
        path = Path(short) / "s"
        server = subprocess.Popen(
            [sys.executable, fork_server.__file__, str(path)],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
            stderr=(folder / "stderr").open("w"),
            text=True,
        )
        assert server.stdout is not None
        assert server.stdout.readline() == "up\n", (folder / "stderr").read_text()
        yield fork_server.CLIENT.format(python=sys.executable, socket=str(path))
        server.terminate()
        server.wait()


@pytest.fixture
def runner(tmp_path: Path, forking: str, request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Runs examples in a directory with nothing but `docs/examples`; `tslg` and `python` are this interpreter's."""
    real, forked, work = (tmp_path / name for name in ("bin", "forked", "work"))
    for folder in (real, forked, work):
        folder.mkdir()
    for name, arguments in (("tslg", "-m tslg.node.cli"), ("python", "")):
        (real / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
    (forked / "tslg").write_text(forking, encoding="utf-8")
    for script in (*real.iterdir(), *forked.iterdir()):
        script.chmod(0o755)
    # Pages speak of the examples as seen from a checkout.
    (work / "docs").mkdir()
    (work / "docs" / "examples").symlink_to(ROOT / "docs" / "examples")
    page = request.node.callspec.params.get("page") if hasattr(request.node, "callspec") else None
    stranger = page is not None and page.name in STRANGERS
    made = Runner(work, real, ROOT / "src", real if stranger else forked)
    yield made
    made.close()
