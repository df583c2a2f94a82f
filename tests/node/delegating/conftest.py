"""Nodes of one federation, which wait hardly at all for works when they stop."""

from __future__ import annotations

import pytest
from companies import Company

from tslg.node.delegating import service


@pytest.fixture
def company(tmp_path, monkeypatch) -> Company:
    monkeypatch.setattr(service, "GRACE_SECONDS", 0.05)
    return Company(tmp_path)
