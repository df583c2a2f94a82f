"""What all tests share: the interpreter as users have it."""

from __future__ import annotations

import sys

_limit = sys.getrecursionlimit()
# The reference library raises the recursion limit when it is imported; no user's process runs like that.
import py_ecc  # noqa: E402, F401

sys.setrecursionlimit(_limit)
