"""Example manifests, to start from: `names()` lists them, `read(name)` returns the text of one."""

from __future__ import annotations

from importlib.resources import files

from tslg.protocol.errors import UsageError


def names() -> list[str]:
    """Return the examples' names, sorted."""
    found = (entry.name for entry in files(__name__).iterdir())
    return sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml"))


def read(name: str) -> str:
    """Return an example's TOML. Raises UsageError for a name that is not in `names()`."""
    if name not in names():
        raise UsageError(f"no example {name!r}", code="TSLG-U-EXAMPLE", mend="one of " + ", ".join(names()))
    return files(__name__).joinpath(f"{name}.toml").read_text("utf-8")
