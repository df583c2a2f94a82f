"""Tables and progress, on a terminal and without one."""

from __future__ import annotations

import io
import sys

import pytest

from tslg.node.cli import terminal


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def screen(monkeypatch):
    """Return what puts a terminal in place of both streams; a fixture's own would be captured away again."""

    def show() -> Terminal:
        made = Terminal()
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, made)
        return made

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    return show


ROWS = [["alpha", 3], ["[bold]be\x1bta[/bold]", 12]]


def test_a_table_is_aligned_text_without_a_terminal(capsys):
    terminal.print_table(("name", "records"), ROWS)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{'NAME':<18}  RECORDS" and lines[2].startswith("[bold]be\ufffdta[/bold]")


def test_a_table_on_a_terminal_takes_foreign_text_as_text(screen):
    shown = screen()
    terminal.print_table(("name", "records"), ROWS)
    assert "[bold]be\ufffdta[/bold]" in shown.getvalue() and "\x1bta" not in shown.getvalue()


def test_work_that_takes_long_is_counted_on_a_terminal(screen, monkeypatch):
    monkeypatch.setattr(terminal, "PATIENCE_SECONDS", 0.0)
    shown = screen()
    with terminal.counting("verified") as tick:
        tick(1234)
        tick(4321)
    assert "verified" in shown.getvalue()


def test_a_moment_is_not_counted(screen, monkeypatch):
    monkeypatch.setattr(terminal, "PATIENCE_SECONDS", 1e9)
    shown = screen()
    with terminal.counting("verified") as tick:
        tick(1)
    assert shown.getvalue() == ""


def test_nothing_is_counted_without_a_terminal(capsys):
    with terminal.counting("verified") as tick:
        assert tick is None
    assert capsys.readouterr() == ("", "")
