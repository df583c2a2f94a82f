"""A breeder and an evaluator in one directory, packages on disk, and a small family of models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))

from world import NOW, source

from tslg.node.agent import BlockingAgent
from tslg.node.artifacts.keeping import register
from tslg.node.home import Home
from tslg.protocol.record import Record

SUITE = b"s" * 32


class Family(NamedTuple):
    """Two data sets, a base, a child of all of them, its quantized child, and one of the base alone."""

    personal: Record
    open: Record
    base: Record
    child: Record
    small: Record
    aside: Record


class Farm:
    """The directory, its two agents, and a folder for packages."""

    def __init__(self, home: Home, folder: Path) -> None:
        self.home, self.store, self.folder = home, home.store, folder
        self.breeder: BlockingAgent = home.agent("breeder")
        self.evaluator: BlockingAgent = home.agent("evaluator")
        self.count = 0

    def package(self, **files: str) -> Path:
        """Write a package; dots in names are given as `__`, folders as `_in_`."""
        self.count += 1
        root = self.folder / str(self.count)
        for name, content in (files or {"weights__bin": f"weights {self.count}"}).items():
            path = root / name.replace("_in_", "/").replace("__", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        return root

    def add(self, name: str, type: str = "model", files: dict[str, str] | None = None, **about) -> Record:
        return register(self.breeder, self.package(**(files or {})), name, type=type, **about)

    def made(self, name: str, *parents: Record, **about) -> Record:
        return self.add(name, parents=parents, **{"operator": "train", "operator_version": "1", **about})

    def tested(self, target: Record, *passed: str, by: BlockingAgent | None = None, **about) -> Record:
        about = {"suite": "suite", "suite_digest": SUITE, **about}
        return (by or self.evaluator).evaluation(target, passed=passed, **about)

    def family(self) -> Family:
        with self.breeder.batch():
            personal = self.add("people", "dataset", licences=["CC-BY-4.0"], restrictions=["personal"])
            free = self.add("open", "dataset", licences=["MIT"])
            base = self.add("base", licences=["Apache-2.0"], vulnerabilities=["V-1"])
            digest = personal.body["package"]["digest"]
            child = self.made("child", base, personal, free, training_data=digest)
            small = self.made("small", child, operator="quantize")
            aside = self.made("aside", base, free)
        return Family(personal, free, base, child, small, aside)


@pytest.fixture
def farm(tmp_path):
    ticks = iter(range(NOW, NOW + 10**6))
    home = Home.open(tmp_path / "home", clock=lambda: next(ticks), random_bytes=source("farm"))
    with home:
        yield Farm(home, tmp_path / "packages")


@pytest.fixture(scope="session")
def farm_type():
    """Make farms in directories of a test's own."""
    return Farm


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """A farm with a family that the tests of one file read and do not change."""
    ticks = iter(range(NOW, NOW + 10**6))
    folder = tmp_path_factory.mktemp("shared")
    with Home.open(folder / "home", clock=lambda: next(ticks), random_bytes=source("farm")) as home:
        made = Farm(home, folder / "packages")
        yield made, made.family()
