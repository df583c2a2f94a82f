"""What goes wrong in a lab as a whole."""

from __future__ import annotations

from tslg.protocol.errors import TslgError


class LabError(TslgError):
    """The two vendors do not agree, or the lab cannot go on."""

    code = "TSLG-L-LAB"
