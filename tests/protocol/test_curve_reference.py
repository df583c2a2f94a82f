"""The reference curve must leave the interpreter as it found it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"


def test_importing_it_does_not_raise_the_recursion_limit() -> None:
    code = "import sys; before = sys.getrecursionlimit(); import tslg.protocol.curve_reference as _; "
    code += "print(before == sys.getrecursionlimit())"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={"PYTHONPATH": str(SOURCE)}, check=True
    )
    assert run.stdout == "True\n"
