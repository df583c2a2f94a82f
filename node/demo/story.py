"""What the demonstration tells while it runs: numbered steps with their times, for a terminal or for plain text."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TextIO

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.status import Status

COLOURS: Final = {
    "valid": "green",
    "invalid": "red",
    "undetermined": "yellow",
    "ok": "green",
    "review": "yellow",
    "refuse": "red",
    "ship": "green",
    "hold": "yellow",
}
_WIDTH: Final = 64
_INDENT: Final = "    "


class Story:
    """Tells the story on a stream; styles, spinner and cutting to the width are for terminals alone."""

    def __init__(self, stream: TextIO) -> None:
        self._console = Console(file=stream, highlight=False)
        self._number = 0
        self._status: Status | None = None
        self._lines: list[tuple[str, bool]] = []
        self.times: list[tuple[str, float]] = []

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Tell a step: its title while it is under way, its time when it is done, then what was told of it."""
        self._number += 1
        started = time.perf_counter()
        self._lines = []
        if self._console.is_terminal:
            self._status = self._console.status(escape(f"{self._number} {title}"))
            self._status.start()
        try:
            yield
        finally:
            if self._status is not None:
                self._status.stop()
                self._status = None
        seconds = time.perf_counter() - started
        self.times.append((title, seconds))
        head = f"[bold]{self._number:>2}  {escape(title):<{_WIDTH}}[/bold] [dim]{seconds:5.1f} s[/dim]"
        self._console.print(head, soft_wrap=True)
        for line, quoted in self._lines:
            self._print(line, quoted)

    def _print(self, line: str, quoted: bool) -> None:
        """Print an indented line; on a terminal a long one is wrapped, or cut if it is part of a drawing."""
        if not self._console.is_terminal:
            self._console.print(_INDENT + line, soft_wrap=True)
        elif quoted:
            self._console.print(_INDENT + line, no_wrap=True, overflow="ellipsis", soft_wrap=False)
        else:
            self._console.print(Padding(line, (0, 0, 0, len(_INDENT))))

    def progress(self, text: str) -> None:
        """Show how far the step under way is, on a terminal."""
        if self._status is not None:
            self._status.update(escape(f"{self._number} {text}"))

    def tell(self, text: str) -> None:
        """Tell a line of the step under way."""
        self._lines.append((escape(text), False))

    def verdict(self, label: str, word: str, text: str) -> None:
        """Tell a line that begins with a label and a coloured word."""
        colour = COLOURS.get(word, "default")
        line = f"{escape(label)}[bold {colour}]{escape(word)}[/bold {colour}]  {escape(text)}"
        self._lines.append((line, False))

    def quote(self, lines: Sequence[str]) -> None:
        """Tell lines that somebody else wrote, dimmed."""
        self._lines += [(f"[dim]{escape(line)}[/dim]", True) for line in lines]

    def say(self, text: str = "") -> None:
        """Say a line outside of any step."""
        self._console.print(escape(text), soft_wrap=True)

    def title(self, text: str) -> None:
        """Say what this is."""
        self._console.print(f"[bold]{escape(text)}[/bold]\n", soft_wrap=True)
