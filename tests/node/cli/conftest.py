"""The command line as tests use it, and a small lineage of two agents to point it at."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from click.testing import CliRunner, Result

from tslg.node.bundling import write_walked
from tslg.node.cli.root import tslg
from tslg.node.home import Home, wall_clock
from tslg.node.sources import StoreSource
from tslg.node.verifying import walk
from tslg.protocol.cid import to_text

ERROR = re.compile(r"error: TSLG-[A-Z]+(-[A-Z0-9-]+)?: \S.*")


class Tslg:
    """Runs `tslg` with arguments."""

    def run(self, *arguments: object, input: str | None = None) -> Result:
        """Run a command, however it ends; never with a traceback."""
        result = CliRunner().invoke(tslg, [str(argument) for argument in arguments], input=input, env={"TSLG_DATA": ""})
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert "Traceback" not in result.output
        return result

    def text(self, *arguments: object, code: int = 0) -> str:
        """Run a command that must end with `code`, and return its stdout."""
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        return result.stdout

    def json(self, *arguments: object, code: int = 0) -> Any:
        """Run a command that must end with `code`, and return its one JSON document."""
        return json.loads(self.text(*arguments, "--json", code=code))

    def error(self, *arguments: object, code: int = 3) -> str:
        """Run a command that must fail with one line on stderr and nothing on stdout, and return that line."""
        result = self.run(*arguments)
        assert result.exit_code == code, result.output
        assert result.stdout == ""
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and ERROR.fullmatch(lines[0]), result.stderr
        return lines[0]


class World(NamedTuple):
    """A data directory with the agents alpha and beta, and a bundle of the decision that rests on both."""

    data: Path
    car: Path
    federation: str
    alpha: str
    beta: str
    observation: str
    delegation: str
    target: str


@pytest.fixture(scope="session")
def cli() -> Tslg:
    return Tslg()


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> World:
    """The world as it was made; nobody may write to it."""
    folder = tmp_path_factory.mktemp("world")
    data, car = folder / "data", folder / "release.car"
    with Home.open(data, name="North Sea") as home:
        alpha, beta = home.agent("alpha"), home.agent("beta")
        grant = alpha.policy("grant", capabilities=["inspect"], limits={"files": 9})
        delegation = alpha.delegate(beta.id, {"do": "inspect"}, grant, expires=wall_clock() + 10**9)
        observation = beta.observe("scanner", {"files": 3}, delegation=delegation)
        finding = beta.decide("scan", "clean", evidence=[observation], delegation=delegation, uses=["inspect"])
        target = alpha.decide("release", "ship", evidence=[finding], reason="the scan is clean")
        walked = walk(StoreSource(home.store), target.id, home.federation, now_ms=wall_clock())
        with car.open("wb") as file:
            write_walked(file, walked)
        ids = (home.federation, alpha.id, beta.id, observation.id, delegation.id, target.id)
    return World(data, car, *map(to_text, ids))


@pytest.fixture
def world(made, tmp_path) -> World:
    """A copy of the world that a test may write to."""
    shutil.copytree(made.data, tmp_path / "data", ignore=shutil.ignore_patterns("api"))
    return made._replace(data=tmp_path / "data")
