"""Reads the fenced examples of a documentation page, and runs them in order in one directory.

```console
$ tslg federation show manifest.sealed     a command; a line that ends in \\ goes on, a heredoc goes to its end mark
federation b…                              what it prints: `…` stands for anything within a line,
…                                          alone on a line for any number of lines
```

All that a command prints must be shown, errors too, or nothing of it: then it is not compared.
Variables that a command sets are there for those behind it. `(exit 1)` behind the output is the exit code, 0 if nothing
is said. A command that ends in ` &` runs on behind the others and is ended with the page. A block that begins with
```python is run as a program.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEREDOC = re.compile(r"<<\s*'?(\w+)'?")
EXIT = re.compile(r"\(exit (\d+)\)")
CARRIED_OVER = 'set -a\n. "$PAGE_VARIABLES"\n{}\n_code=$?\nexport -p > "$PAGE_VARIABLES"\nexit $_code'
COMMAND_SECONDS = 120
START_SECONDS = 30


@dataclass
class Step:
    """A command with what it shall print, or a program."""

    line: int
    text: str
    shown: list[str] = field(default_factory=list)
    python: bool = False
    code: int = 0


def steps(page: str) -> list[Step]:
    """Return the examples of a page in order. Raises ValueError for a console block that begins with output."""
    found = []
    for match in FENCE.finditer(page):
        line = page.count("\n", 0, match.start()) + 2
        if match[1] == "python":
            found.append(Step(line, match[2], python=True))
        else:
            found += console_steps(match[2].splitlines(), line)
    return found


def console_steps(lines: list[str], first: int) -> list[Step]:
    """Return the commands of a console block, with the lines that they shall print."""
    found: list[Step] = []
    index = 0
    while index < len(lines):
        if lines[index].startswith("$ "):
            step = Step(first + index, lines[index][2:])
            while step.text.endswith("\\"):
                index += 1
                step.text += "\n" + lines[index]
            if mark := HEREDOC.search(step.text):
                while lines[index] != mark[1]:
                    index += 1
                    step.text += "\n" + lines[index]
            found.append(step)
        elif not found:
            raise ValueError(f"line {first + index}: output before any command")
        elif code := EXIT.fullmatch(lines[index]):
            found[-1].code = int(code[1])
        else:
            found[-1].shown.append(lines[index])
        index += 1
    return found


def matches(shown: list[str], printed: str) -> bool:
    """Tell whether what a command printed is what the page shows."""
    lines = [
        r"(?:[^\n]*\n)*" if line.strip() == "…" else re.escape(line).replace("…", r"[^\n]*") + r"[ \t]*\n"
        for line in shown
    ]
    return (
        re.fullmatch("".join(lines), printed if printed.endswith("\n") or not printed else printed + "\n") is not None
    )


class Runner:
    """Runs the steps of one page in one directory, with the project's own interpreter and command first on the PATH.

    What runs on behind the others takes the command from `bin`, the others from `quick`.
    """

    def __init__(self, directory: Path, bin: Path, source: Path, quick: Path) -> None:
        self.directory = directory
        self.bin = bin
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("TSLG_", "_TSLG", "XDG_"))},
            "PATH": os.pathsep.join([str(quick), str(bin), os.environ["PATH"]]),
            "PYTHONPATH": str(source),
            "HOME": str(directory),
            "COLUMNS": "200",
            "NO_COLOR": "1",
            "PAGE_VARIABLES": str(bin / "variables"),
        }
        (bin / "variables").touch()
        self.background: list[subprocess.Popen[bytes]] = []

    def run(self, step: Step) -> str | None:
        """Run a step; return what is wrong, None if nothing is."""
        if step.text.rstrip().endswith(" &"):
            return self._start(step)
        command = (
            [sys.executable, "-c", step.text] if step.python else ["/bin/sh", "-c", CARRIED_OVER.format(step.text)]
        )
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        if done.returncode != step.code:
            return f"exit code {done.returncode} instead of {step.code}\n{done.stdout}"
        if step.shown and not matches(step.shown, done.stdout):
            return f"it printed\n{done.stdout}"
        return None

    def _start(self, step: Step) -> str | None:
        """Start a command that runs on, and wait until it has written to the file that it is redirected to."""
        target = re.search(r">\s*(\S+)", step.text)
        if target is None:
            return "a command that runs on must write to a file, by which the page knows that it is up"
        text = f'. "$PAGE_VARIABLES"\nPATH="{self.bin}:$PATH"\nexec {step.text.rstrip().removesuffix("&")}'
        process = subprocess.Popen(
            ["/bin/sh", "-c", text], cwd=self.directory, env=self.env, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.background.append(process)
        file = self.directory / target[1]
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            if file.exists() and file.read_bytes().endswith(b"\n"):
                return None
            time.sleep(0.05)
        return f"it ended, exit code {process.returncode}" if process.poll() is not None else "it did not start"

    def close(self) -> None:
        """End what still runs."""
        for process in self.background:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
        for process in self.background:
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
