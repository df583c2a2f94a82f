"""A real node under attack by a real peer: honest readers are served, memory stays bounded, the offender is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from siege import ATTACKS, MEMORY, besiege, besieged

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_node_under_attack_serves_honest_peers(attack: str, tmp_path: Path) -> None:
    with besieged(tmp_path) as (victim, reader):
        seen = besiege(attack, victim, reader, seconds=12)
    assert seen.valid, seen
    assert seen.memory < MEMORY, seen
    assert seen.named, seen
    assert seen.own in (None, "valid"), seen
