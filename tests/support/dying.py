"""A function for worker processes, which ends them."""

from __future__ import annotations

import os


def die(shared: object, chunk: object) -> None:
    """End the process at once, as the system does when memory runs out."""
    os._exit(9)
