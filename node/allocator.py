"""What the C library keeps for threads: a long-lived node works in many, and each would hold on to its own pages."""

from __future__ import annotations

import ctypes
import logging
from typing import Final

_log = logging.getLogger(__name__)

_M_ARENA_MAX: Final = -8
"""From glibc's <malloc.h>."""
_ARENAS: Final = 2
"""One more than the interpreter's lock lets work at a time. With eight a core, glibc's default, a day of load kept
60 MB that nothing used any more; with two, 12."""


def bound_arenas() -> bool:
    """Let all threads of this process share two arenas; return whether the C library takes such advice.

    For the process of a node of its own. A program that embeds one decides for itself, by MALLOC_ARENA_MAX.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        _log.debug("this C library has no mallopt")
        return False
    return bool(mallopt(_M_ARENA_MAX, _ARENAS))
