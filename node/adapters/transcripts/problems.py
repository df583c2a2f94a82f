"""Collects what is wrong in one file, with line and column, up to the number that anybody reads."""

from __future__ import annotations

from tslg.node.adapters.transcripts.model import Problem
from tslg.protocol.errors import AdapterError
from tslg.protocol.limits import DEFAULT, Limits


class Problems:
    """The problems of the text `text` of the file `name`.

    Args:
        name: the file, as it is called in messages.
        text: its text; offsets point into it.
        lenient: only warn of what can be left out without loss of sense.
        limits: how many problems are kept.
    """

    def __init__(self, name: str, text: str, lenient: bool = False, limits: Limits = DEFAULT) -> None:
        self.name = name
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self.more_errors = 0
        self.more_warnings = 0
        self._text = text
        self._lenient = lenient
        self._limit = limits.import_problems

    def error(self, at: int, code: str, detail: str, mend: str = "") -> None:
        """Note why the file cannot be imported; `at` is the offset."""
        if len(self.errors) < self._limit:
            self.errors.append(self._problem(at, code, detail, mend))
        else:
            self.more_errors += 1

    def warning(self, at: int, code: str, detail: str, mend: str = "") -> None:
        """Note what whoever imports the file should know."""
        if len(self.warnings) < self._limit:
            self.warnings.append(self._problem(at, code, detail, mend))
        else:
            self.more_warnings += 1

    def skipped(self, at: int, code: str, detail: str, mend: str) -> None:
        """Note a message that has no place in the lineage: an error, or a warning that it is left out."""
        if self._lenient:
            self.warning(at, code, detail, "left out")
        else:
            self.error(at, code, detail, mend)

    def raise_errors(self) -> None:
        """Raise AdapterError if there was any error."""
        if self.errors:
            raise self.failure()

    def failure(self) -> AdapterError:
        """Return what there is to raise, once there was an error."""
        lines = [problem.text(self.name) for problem in self.errors]
        count = len(self.errors) + self.more_errors
        lines.append(f"{self.name}: {count} {'problem' if count == 1 else 'problems'}, nothing was imported")
        return AdapterError("\n".join(lines), code=self.errors[0].code)

    def _problem(self, at: int, code: str, detail: str, mend: str) -> Problem:
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        return Problem(line, column, code, detail, mend)
