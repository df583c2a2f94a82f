"""What a gate raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tslg.protocol.errors import TslgError

if TYPE_CHECKING:
    from tslg.protocol.record import Record


class Rejected(TslgError):
    """A step that was not admitted; a rejection that says so is on record.

    Attributes:
        step: the rejection.
        stage, rule, reason: what it says.
    """

    code = "TSLG-G-REJECTED"

    def __init__(self, step: Record, stage: str, rule: str, reason: str) -> None:
        super().__init__(f"{stage}: {reason}", mend="do something else, or have the policy changed", record=step.id)
        self.step, self.stage, self.rule, self.reason = step, stage, rule, reason


class Unrecorded(TslgError):
    """A step that did not take effect because it could not be recorded or anchored. The semantic state is as before.

    A rejection that names the failure follows as soon as the log can be written again. `record` is the step's own
    record where that is on disk and was not anchored.
    """

    code = "TSLG-G-UNRECORDED"


class GatePolicyError(TslgError, ValueError):
    """A policy that a gate cannot be run by, as it is written or in this federation."""

    code = "TSLG-G-POLICY"
