"""The lineage that all formats export."""

from __future__ import annotations

import pytest
from export_scene import Scene, build


@pytest.fixture(scope="session")
def scene(tmp_path_factory) -> Scene:
    home, made = build(tmp_path_factory.mktemp("exports") / "data")
    return Scene(home, made)
