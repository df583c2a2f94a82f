"""What the C library keeps of memory that nothing uses any more, and what a long-lived node does about it.

For the process of a node of its own. A program that embeds one decides for itself, by MALLOC_ARENA_MAX and the like.
"""

from __future__ import annotations

import ctypes
import logging
from typing import Final

import trio

_log = logging.getLogger(__name__)

_M_ARENA_MAX: Final = -8
"""From glibc's <malloc.h>."""
_ARENAS: Final = 2
"""One more than the interpreter's lock lets work at a time. With eight a core, glibc's default, a day of load kept
60 MB that nothing used any more; with two, 12."""
PAUSE_SECONDS: Final = 30.0
"""How often free pages are given back: looking for them takes milliseconds, and what is freed is wanted again soon."""


def bound_arenas() -> bool:
    """Let all threads of this process share two arenas; return whether the C library takes such advice."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except AttributeError:
        _log.debug("this C library has no mallopt")
        return False
    return bool(mallopt(_M_ARENA_MAX, _ARENAS))


def give_back() -> bool:
    """Give free pages back to the system, also those below ones in use; return whether the C library can.

    By itself it gives back only what is free at an arena's end, so one small value that lives keeps all below it.
    """
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except AttributeError:
        _log.debug("this C library has no malloc_trim")
        return False
    trim(0)
    return True


async def keep_lean() -> None:
    """Give free pages back now and then, until cancelled, or at once if the C library cannot."""
    while await trio.to_thread.run_sync(give_back):
        await trio.sleep(PAUSE_SECONDS)
