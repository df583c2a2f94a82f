"""The command line. Importing it costs click alone; every command loads what it needs when it runs."""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run `tslg` with the arguments of this process and end the process."""
    from tslg.node.cli.root import tslg

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # What a record says may be in letters that this terminal's encoding lacks.
            stream.reconfigure(errors="backslashreplace")
    tslg()
