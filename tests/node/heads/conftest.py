"""A federation whose nodes announce heads."""

from __future__ import annotations

import pytest
from announced import Scene


@pytest.fixture
def scene(tmp_path):
    return Scene(tmp_path)
