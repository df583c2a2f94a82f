"""What the demonstration says when a step did not come out as it should."""

from __future__ import annotations

from tslg.protocol.errors import TslgError


class DemoError(TslgError):
    """A step of the demonstration failed, or came out otherwise than it should."""

    code = "TSLG-U-DEMO"
