"""What becomes of an announcement that a peer handed over."""

from __future__ import annotations

from enum import Enum


class Verdict(Enum):
    """What becomes of an announcement."""

    ACCEPT = "accept"
    """It is delivered, and forwarded to others."""
    IGNORE = "ignore"
    """It is dropped, and that is nobody's fault: it is stale, known, or more than there is room for."""
    REJECT = "reject"
    """It is dropped, and whoever it came by broke a rule: who looks at it the same way does not hand it on."""
