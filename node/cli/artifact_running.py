"""An operator that is a command of the user's: it makes a package again, in a process of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tslg.protocol.errors import UsageError

if TYPE_CHECKING:
    from tslg.node.artifacts.rebuilding import Operator, Recipe


def running(command: str) -> Operator:
    """Return an operator that runs a command line, without a shell. It raises UsageError if the command fails."""
    try:
        arguments = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"{command[:80]!r} is no command line: {error}", mend="quote it for the shell") from error
    if not arguments:
        raise UsageError("the command is empty", mend="give the command that makes the package")

    def operator(recipe: Recipe) -> None:
        from tslg.protocol.cid import to_text

        with tempfile.TemporaryDirectory(prefix="tslg-rebuild-") as scratch:
            parents = Path(scratch) / "parents"
            parents.mkdir()
            for id, place in recipe.parents.items():
                (parents / to_text(id)).symlink_to(place.resolve())
            config = Path(scratch) / "config"
            config.write_bytes(recipe.config or b"")
            given = {"TSLG_OUT": str(recipe.out.resolve()), "TSLG_CONFIG": str(config), "TSLG_PARENTS": str(parents)}
            try:
                ended = subprocess.run(arguments, env={**os.environ, **given}, stdout=subprocess.DEVNULL, check=False)
            except OSError as error:
                raise UsageError(f"{arguments[0][:80]}: {error.strerror}", mend="check the command") from error
            if ended.returncode != 0:
                raise UsageError(f"the command ended with {ended.returncode}", mend="see what it said")

    return operator
