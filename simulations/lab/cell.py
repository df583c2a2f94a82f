"""Runs an operator's code behind the fence, and says what became of it: a package, or why there is none."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from tslg.protocol.errors import TslgError, UsageError
from tslg.simulations.lab import fence

CODE: Final = Path(__file__).with_name("operators.py")
"""The operators of this version."""
_FENCE: Final = Path(fence.__file__)
_SAID: Final = 300
_ROLE: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_SIGSYS, _SIGXCPU, _SIGKILL = 31, 24, 9


class CellLimits(NamedTuple):
    """What an operator may use: seconds of processor and of wall time, bytes of memory and of one file."""

    processor_s: int = 20
    wall_s: float = 40.0
    memory: int = 2 << 30
    file: int = 16 << 20


class CellError(TslgError):
    """An operator made nothing that can be taken. The code says whether it failed, overran or broke out."""

    code = "TSLG-L-FAILED"


ENVIRONMENT: Final[Mapping[str, str]] = {
    "HOME": "/nowhere",
    "LC_ALL": "C.UTF-8",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "PYTHONHASHSEED": "0",
    "TZ": "UTC",
}
"""All that an operator sees of the environment; arithmetic in several threads would add up in another order."""


def run(
    code: Path,
    config: bytes,
    inputs: Mapping[str, Path],
    out: Path,
    limits: CellLimits = CellLimits(),  # noqa: B008
) -> None:
    """Run an operator's code; what it makes lies in `out` afterwards, which is not looked into here.

    Args:
        code: a Python program that imports NumPy alone.
        config: what it reads as /in/config.json.
        inputs: packages that it reads as /in/NAME.
        out: an empty folder.
        limits: what it may use.

    Raises:
        CellError: `TSLG-L-FAILED`: it failed; `TSLG-L-NETWORK`: it asked for a socket; `TSLG-L-LIMIT`: it used more
            than it may. UsageError: `TSLG-L-FENCE`: this machine cannot fence it in, and nothing was run.
    """
    odd = [role for role in inputs if _ROLE.fullmatch(role) is None]
    if odd:
        # It is part of a path, inside as outside.
        raise CellError(f"{odd[0][:40]!r} is no name for what it is given")
    with tempfile.TemporaryDirectory(prefix="tslg-cell-") as name:
        scratch = Path(name)
        (scratch / "root").mkdir()
        (scratch / "config.json").write_bytes(config)
        shown = {"/code.py": str(code.resolve()), "/in/config.json": str(scratch / "config.json")}
        shown |= {f"/in/{role}": str(place.resolve()) for role, place in inputs.items()}
        shown["/out"] = str(out.resolve())
        request = {
            "root": str((scratch / "root").resolve()),
            "shown": shown | _interpreter(),
            "writable": "/out",
            "limits": {
                "CPU": limits.processor_s,
                "AS": limits.memory,
                "FSIZE": limits.file,
                "NOFILE": 64,
            },
            "command": [sys.executable, "-I", "-B", "/code.py"],
            "environment": dict(ENVIRONMENT),
        }
        asked = scratch / "request.json"
        asked.write_text(json.dumps(request), encoding="utf-8")
        with (scratch / "said").open("w+b") as said:
            status = _ended(asked, said.fileno(), limits)
            said.seek(0)
            words = said.read(1 << 16).decode(errors="replace").strip()
    _judge(status, words, limits)


def _ended(asked: Path, said: int, limits: CellLimits) -> int | None:
    """Return the exit status; None if it had to be ended. Its processes end with the fence's, whatever they do."""
    command = [sys.executable, "-I", "-B", str(_FENCE), str(asked)]
    if sys.platform != "linux":
        raise UsageError("operators run behind a fence that Linux alone has", code="TSLG-L-FENCE", mend="use Linux")
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said, env=dict(ENVIRONMENT)
    )
    try:
        return process.wait(timeout=limits.wall_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def _interpreter() -> dict[str, str]:
    """Return the folders that Python and NumPy need, none inside another."""
    wanted = {sys.prefix, sys.base_prefix, sysconfig.get_path("purelib"), "/usr", "/lib", "/lib64"}
    found = sorted(place for place in wanted if Path(place).is_dir() and place != "/")
    return {place: place for place in found if not any(place.startswith(f"{one}/") for one in found)}


def _judge(status: int | None, words: str, limits: CellLimits) -> None:
    """Raise what an exit status means, if it means anything."""
    last = words.splitlines()[-1][:_SAID] if words else "it said nothing"
    if status == 0:
        return
    if status == fence.REFUSED:
        raise UsageError(
            f"this machine cannot fence an operator in: {last}",
            code="TSLG-L-FENCE",
            mend="allow unprivileged user namespaces, or run the lab where they are allowed",
        )
    if status == 128 + _SIGSYS:
        raise CellError("it asked for a socket, and was ended", code="TSLG-L-NETWORK", mend="look at its code")
    if status is None:
        raise CellError(f"it ran for more than {limits.wall_s:g} s, and was ended", code="TSLG-L-LIMIT")
    if status in (128 + _SIGXCPU, 128 + _SIGKILL):
        raise CellError(f"it used more than {limits.processor_s} s of processor time", code="TSLG-L-LIMIT")
    if "MemoryError" in last or "ArrayMemoryError" in last:
        raise CellError(f"it asked for more than {limits.memory >> 20} MiB of memory", code="TSLG-L-LIMIT")
    if "File too large" in last or status == 128 + 25:
        raise CellError(f"it wrote a file of more than {limits.file >> 20} MiB", code="TSLG-L-LIMIT")
    raise CellError(last)
