"""What every command says and how it ends: one JSON document or text on stdout, everything else on stderr."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

import click

from tslg.protocol.errors import TslgError

USAGE_OR_ENVIRONMENT: Final = 3
"""Exit code for what could not be carried out; 0, 1 and 2 are verdicts."""

P = ParamSpec("P")
R = TypeVar("R")

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
"""The option that every command has."""


def emit(data: Any, as_json: bool, text: str | Callable[[], str]) -> None:
    """Print a result on stdout: `data` as one JSON document, or `text` for people (computed only if needed)."""
    if as_json:
        click.echo(json.dumps(data))
    else:
        click.echo(text if isinstance(text, str) else text())


def note(message: str) -> None:
    """Print a line for people on stderr."""
    click.echo(message, err=True)


def printable(text: str) -> str:
    """Return foreign text on one line, with what could steer a terminal or hide other text made visible."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def fail(error: TslgError) -> None:
    """Print an error on stderr as `error: CODE: detail (mend)`, a line for each problem if it holds several."""
    *before, last = error.detail.splitlines() or [""]
    for line in before:
        note(f"error: {error.code}: {printable(line)}")
    note(f"error: {error.code}: {printable(last)}" + (f" ({printable(error.mend)})" if error.mend else ""))


def errors_to_exit(command: Callable[P, R]) -> Callable[P, R]:
    """Make a command end with exit code 3 and its error on stderr where it raises one of ours."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except TslgError as error:
            fail(error)
            raise SystemExit(USAGE_OR_ENVIRONMENT) from error

    return wrapped
