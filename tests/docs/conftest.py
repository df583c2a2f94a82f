"""A place where a page's commands run as a reader's would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_pages import Runner

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    """Runs examples in an empty directory; `tslg` and `python` are this interpreter's, installed or not."""
    bin, work = tmp_path / "bin", tmp_path / "work"
    for folder in (bin, work):
        folder.mkdir()
    for name, arguments in (("tslg", "-m tslg.node.cli"), ("python", "")):
        (bin / name).write_text(f'#!/bin/sh\nexec "{sys.executable}" {arguments} "$@"\n', encoding="utf-8")
        (bin / name).chmod(0o755)
    made = Runner(work, bin, ROOT / "src")
    yield made
    made.close()
