"""`tslg demo`: two vendors, three anchors and a stranger, on the environment that this program runs in."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from tslg.node.cli.output import fail, json_option
from tslg.protocol.errors import TslgError, UsageError

FAILED = 1


@click.command()
@json_option
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep the bundle, both nodes' data and the anchors' files in this new directory.",
)
def demo(as_json: bool, keep: Path | None) -> None:
    """Show all of it on real input: may the Python environment that this runs in ship?

    Vendor A's release agent delegates the inspection to vendor B's scanner in another process; a stranger in a third
    process audits the decision; then somebody tampers. The bundle is written to tslg-demo.car, or to DIR/demo.car.

    Exit codes: 0 everything came out as it should, 1 something did not, 3 usage or environment.
    """
    from tslg.node.demo.orchestration import run
    from tslg.node.demo.story import Story

    try:
        document = run(Story(sys.stderr if as_json else sys.stdout), keep)
    except UsageError:
        raise
    except TslgError as error:
        fail(error)
        raise SystemExit(FAILED) from error
    if as_json:
        click.echo(json.dumps(document))
