"""The machine that figures were taken on: what a reader needs to tell why his own differ."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sqlite3
import sysconfig
from pathlib import Path
from typing import Any, Final

LIBRARIES: Final = ("blake3", "cbor2", "cbrrr", "click", "libp2p", "py-arkworks-bls12381", "pynacl", "trio")


def describe() -> dict[str, Any]:
    """Return processor, cores, system, interpreter and its build, and versions, as JSON."""
    options = str(sysconfig.get_config_var("CONFIG_ARGS") or "")
    return {
        "cpu": _cpu_model(Path("/proc/cpuinfo")),
        "cores": os.cpu_count(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": {
            "implementation": platform.python_implementation(),
            "version": platform.python_version(),
            "compiler": platform.python_compiler(),
            "pgo": "--enable-optimizations" in options,
            "lto": "--with-lto" in options,
        },
        "libraries": {name: _version(name) for name in LIBRARIES} | {"sqlite": sqlite3.sqlite_version},
        "tslg": _version("tslg"),
    }


def _cpu_model(path: Path) -> str:
    """Return the processor's name as Linux gives it; elsewhere what the platform says."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
