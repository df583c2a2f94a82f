"""The installer asks the system for what is missing and for nothing else, and a finished installation is left alone."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIN = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)==([0-9][0-9A-Za-z.+!]*)")

FAKE_PYTHON = """\
case "$*" in
  *"version_info < "*) exit {too_old} ;;
  *ensurepip*) [ -e "$STATE/venv" ] ;;
  *version_info*) echo 3.11 ;;
  *sysconfig*) echo "$STATE/headers" ;;
  "-m venv"*) mkdir -p .venv/bin && cp "$0" .venv/bin/python ;;
  "-m pip install"*) echo "$@" >>"$STATE/pip" ;;
esac
"""
FAKE_COMPILER = """\
read -r include
case "$include" in
  *stdio.h*) [ -e "$STATE/cc" ] ;;
  *gmp.h*) [ -e "$STATE/cc" ] && [ -e "$STATE/gmp" ] ;;
esac
"""
FAKE_APT = """\
echo "$@" >>"$STATE/apt"
case "$*" in
  *install*)
    mkdir -p "$STATE/headers" && touch "$STATE/headers/Python.h" "$STATE/venv" "$STATE/cc" "$STATE/gmp"
    [ -e "$BIN/python3" ] || { cp "$BIN/.python3" "$BIN/python3"; } ;;
esac
"""
ALL_THERE = ("headers/Python.h", "venv", "cc", "gmp")


class Machine:
    """A copy of the installer on a machine whose every tool is a fake that notes how it was called."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.bin, self.state, self.project = root / "bin", root / "state", root / "project"
        for folder in (self.bin, self.state / "headers", self.project):
            folder.mkdir(parents=True)
        for name in ("install.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.project)
        for name in ("cat", "cksum", "cp", "dirname", "env", "grep", "mkdir", "touch"):
            (self.bin / name).symlink_to(shutil.which(name))
        self.tool("python3", FAKE_PYTHON.format(too_old=0))
        self.tool("gcc", FAKE_COMPILER)
        self.tool("apt-get", FAKE_APT)
        self.tool("id", "echo 0\n")

    def tool(self, name: str, text: str) -> None:
        path = self.bin / name
        path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)

    def has(self, *things: str) -> None:
        for thing in things:
            (self.state / thing).touch()

    def run(self, *args: str, code: int = 0) -> str:
        env = {"PATH": str(self.bin), "STATE": str(self.state), "BIN": str(self.bin)}
        done = subprocess.run(
            ["/bin/sh", str(self.project / "install.sh"), *args],
            env=env,
            cwd=self.root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stderr

    def calls(self, name: str) -> list[str]:
        path = self.state / name
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []

    def packages(self) -> set[str]:
        line = next((line for line in self.calls("apt") if "install" in line), "")
        return {word for word in line.split() if not word.startswith("-")} - {"install"}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize(
    ("missing", "packages"),
    [
        ("headers/Python.h", {"python3.11-dev"}),
        ("venv", {"python3.11-venv"}),
        ("gmp", {"libgmp-dev"}),
        ("cc", {"gcc", "libc6-dev", "libgmp-dev"}),
    ],
)
def test_what_is_missing_is_asked_for_and_nothing_else(machine, missing, packages):
    machine.has(*(thing for thing in ALL_THERE if thing != missing))
    machine.run()
    assert machine.packages() == packages
    assert len(machine.calls("pip")) == 1


def test_apt_is_not_touched_when_all_is_there(machine):
    machine.has(*ALL_THERE)
    machine.run()
    assert machine.calls("apt") == []
    (call,) = machine.calls("pip")
    assert "--constraint constraints.txt" in call and call.endswith("--editable .")


def test_a_machine_without_python_gets_one(machine):
    (machine.bin / "python3").rename(machine.bin / ".python3")
    machine.has("cc", "gmp")
    machine.run()
    assert machine.packages() == {"python3", "python3-venv", "python3-dev"}
    assert len(machine.calls("pip")) == 1


def test_an_old_python_is_refused_in_words(machine):
    machine.has(*ALL_THERE)
    machine.tool("python3", FAKE_PYTHON.format(too_old=1))
    assert "3.11 or later" in machine.run(code=1)
    assert machine.calls("pip") == []


def test_without_apt_the_missing_packages_are_named(machine):
    machine.has("headers/Python.h", "venv", "cc")
    (machine.bin / "apt-get").unlink()
    assert "libgmp-dev" in machine.run(code=1)


def test_one_who_is_not_root_needs_sudo(machine):
    machine.has("headers/Python.h", "venv", "cc")
    machine.tool("id", "echo 1000\n")
    assert "run as root: apt-get install libgmp-dev" in machine.run(code=1)
    machine.tool("sudo", 'echo "$1" >>"$STATE/sudo"\nexec "$@"\n')
    machine.run()
    assert machine.calls("sudo") == ["apt-get", "env"]


def test_a_finished_installation_is_left_alone_until_something_changes(machine):
    machine.has(*ALL_THERE)
    machine.run()
    machine.run()
    assert len(machine.calls("pip")) == 1
    machine.run("--dev")
    machine.run()
    machine.run("--dev")
    assert [call.split()[-1] for call in machine.calls("pip")] == [".", ".[dev]"]
    with (machine.project / "constraints.txt").open("a", encoding="utf-8") as file:
        file.write("another==1\n")
    machine.run("--dev")
    assert len(machine.calls("pip")) == 3


def test_a_failed_installation_is_not_taken_for_a_finished_one(machine):
    machine.has(*ALL_THERE)
    machine.tool("python3", FAKE_PYTHON.format(too_old=0).replace('"-m pip install"*) ', '"-m pip install"*) exit 1; '))
    assert "pip could not install" in machine.run(code=1)
    assert not (machine.project / ".venv" / "installed").exists()


def test_an_unknown_option_is_refused(machine):
    assert "usage" in machine.run("--devel", code=2)


def test_constraints_only_pin_versions_and_name_no_address():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not PIN.fullmatch(line)] == []
    assert len(lines) == len(set(lines))


def test_every_declared_dependency_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [
        *project["dependencies"],
        *(name for extra in project["optional-dependencies"].values() for name in extra),
    ]
    names = {re.split(r"[<>=!~\[; ]", entry)[0].lower().replace("_", "-") for entry in declared}
    pinned = {
        match[1].lower().replace("_", "-")
        for match in map(PIN.fullmatch, (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
        if match
    }
    assert names - pinned - {project["name"]} == set()


def test_the_scripts_can_be_executed():
    assert os.access(ROOT / "install.sh", os.X_OK) and os.access(ROOT / ".ci" / "run", os.X_OK)
