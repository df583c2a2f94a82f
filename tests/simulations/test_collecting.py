"""Cycles are collected seldom while a run lasts, and the collector is as it was afterwards."""

from __future__ import annotations

import gc
import weakref

import pytest

from tslg.simulations.collecting import collecting


class Cycle:
    def __init__(self):
        self.itself = self


def test_what_a_block_leaves_is_collected_at_its_end_and_the_collector_is_as_before():
    before = gc.get_threshold()
    with pytest.raises(ValueError, match="ends"), collecting():
        assert gc.get_threshold()[0] > 10 * before[0]
        left = weakref.ref(Cycle())
        assert left() is not None
        raise ValueError("ends")
    assert left() is None
    assert gc.get_threshold() == before and gc.get_freeze_count() == 0


def test_what_the_caller_froze_stays_frozen():
    gc.freeze()
    try:
        count = gc.get_freeze_count()
        with collecting():
            pass
        assert 0 < gc.get_freeze_count() <= count
    finally:
        gc.unfreeze()
