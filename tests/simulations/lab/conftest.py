"""One small lab that the tests share: two rounds on the digits, one that promotes and one that changes nothing."""

from __future__ import annotations

import shutil
from typing import NamedTuple

import pytest

from tslg.simulations.lab.run import run


class Ran(NamedTuple):
    """A lab's folder, and what its run said."""

    folder: object
    document: dict


@pytest.fixture(scope="session")
def ran(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labs") / "lab"
    return Ran(folder, run(folder, rounds=2, seed=3))


@pytest.fixture
def copy(ran, tmp_path):
    """A copy of that lab which may be spoilt."""
    shutil.copytree(ran.folder, tmp_path / "lab")
    return tmp_path / "lab"
