"""Collection of cycles while a run lasts: seldom, and never of what was there when it began."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SELDOM: Final = (100_000, 50, 100)
"""Thresholds of `gc`. An audit leaves some hundreds of objects in cycles; a run holds millions that are in use."""


@contextmanager
def collecting() -> Iterator[None]:
    """Collect seldom for the length of a block, in this process, and at its end all that the block left.

    Where the caller froze something, nothing is frozen here: it could not be told apart.
    """
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    if not frozen:
        gc.freeze()
    gc.set_threshold(*_SELDOM)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.collect()
        if not frozen:
            gc.unfreeze()
