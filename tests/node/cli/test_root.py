"""How the command line starts and ends, whatever the command."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import click
import pytest

from tslg.node.cli.lazy import Lazy
from tslg.node.cli.root import COMMANDS, tslg
from tslg.protocol.errors import BundleError, UsageError

HEAVY = (
    *("trio", "libp2p", "multiaddr", "httpx", "h11", "sqlite3", "rich", "tomlkit", "cbor2", "multiformats"),
    *("nacl", "rbcl", "cryptography", "coincurve", "py_ecc", "py_arkworks_bls12381"),
)
LIGHT = ("cbrrr", "blake3", "json")
"""What a command's own help may load, and that of all commands need not."""


def python(code: str) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"PYTHONPATH": "src"}
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)


def test_help_loads_click_and_little_else():
    code = f"""
import sys
from tslg.node.cli import main
sys.argv = ["tslg", "--help"]
try:
    main()
except SystemExit:
    pass
ours = sorted(name for name in sys.modules if name.startswith("tslg."))
print([name for name in {(*HEAVY, *LIGHT[:2])!r} if name in sys.modules], ours, file=sys.stderr)
"""
    result = python(code)
    assert "audit" in result.stdout
    assert result.stderr.startswith("[] "), result.stderr
    allowed = {"tslg.node", "tslg.node.cli", "tslg.protocol", "tslg.protocol.errors"}
    allowed |= {f"tslg.node.cli.{name}" for name in ("root", "lazy", "output")}
    assert set(eval(result.stderr[3:])) <= allowed


def test_no_help_waits_for_cryptography_or_a_network():
    """But for that of the benchmarks, which name themselves."""
    code = f"""
import click, sys
from tslg.node.cli.root import tslg

def helps(command, context):
    command.get_help(context)
    for name in command.list_commands(context) if isinstance(command, click.Group) else ():
        if name != "bench":
            one = command.get_command(context, name)
            helps(one, click.Context(one, info_name=name, parent=context))

helps(tslg, click.Context(tslg))
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    result = python(code)
    assert (result.stdout, result.stderr) == ("[]\n", "")


def test_names_of_commands_are_completed_without_loading_any():
    code = f"""
import os, sys
os.environ |= dict(_TSLG_COMPLETE="bash_complete", COMP_WORDS="tslg ", COMP_CWORD="1")
from tslg.node.cli import main
try:
    main()
except SystemExit:
    pass
print([name for name in {(*HEAVY, *LIGHT[:2])!r} if name in sys.modules], file=sys.stderr)
"""
    result = python(code)
    assert result.stdout.split() == [f"plain,{name}" for name in COMMANDS]
    assert result.stderr == "[]\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["fsck", "--data", ""],
        ["federation", "new", ""],
        ["federation", "multisig", "join", "", "--private", "p", "--member", "m"],
        ["agent", "new", "", "--data", "d"],
        ["verify", "x", "--data", ""],
    ],
)
def test_what_is_empty_is_refused_where_it_was_a_variable_that_is_not_set(arguments, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.error(*arguments).startswith("error: TSLG-U-USAGE: ")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_of_the_table_loads_and_has_help(name, cli):
    assert tslg.get_command(None, name).name == name
    assert cli.text(name, "--help").startswith(f"Usage: tslg {name}")


@pytest.mark.parametrize("arguments", [["frobnicate"], ["--frobnicate"], ["verify"], ["verify", "--depth", "x", "y"]])
def test_wrong_usage_is_one_line_and_exit_code_3(arguments, cli):
    assert cli.error(*arguments).startswith("error: TSLG-U-USAGE: ")


def test_no_command_shows_the_help_with_exit_code_3(cli):
    result = cli.run()
    assert result.exit_code == 3 and result.stderr.startswith("Usage: tslg")


def raising(error: BaseException) -> click.Command:
    def fail() -> None:
        raise error

    return click.Command("fail", callback=fail)


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("no", mend="yes"), 3, "error: TSLG-U-USAGE: no (yes)"),
        (BundleError("torn"), 1, "error: TSLG-B-BUNDLE: torn"),
        (ExceptionGroup("g", [UsageError("no")]), 3, "error: TSLG-U-USAGE: no"),
        (PermissionError(13, "Permission denied", "/x"), 3, "error: TSLG-U-FILE: /x: Permission denied"),
        (KeyError("k"), 3, "error: TSLG-U-DEFECT: KeyError: 'k' (a defect"),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("g", [KeyboardInterrupt()]), 130, ""),
        (BrokenPipeError(32, "Broken pipe"), 130, ""),
        (ExceptionGroup("g", [BrokenPipeError(32, "Broken pipe")]), 130, ""),
        (UsageError("no\x9b", mend="yes\x1b[2J"), 3, "error: TSLG-U-USAGE: no\ufffd (yes\ufffd[2J)"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_whatever_a_command_raises_ends_in_one_line(error, code, line, cli, monkeypatch):
    monkeypatch.setitem(tslg.lazy, "fail", Lazy("tslg.fail:command", ""))
    get = type(tslg).get_command
    monkeypatch.setattr(
        type(tslg), "get_command", lambda self, ctx, name: raising(error) if name == "fail" else get(self, ctx, name)
    )
    result = cli.run("fail")
    assert result.exit_code == code and result.stdout == ""
    assert result.stderr.strip().startswith(line) and result.stderr.strip().count("\n") == 0
    assert bool(result.stderr.strip()) is bool(line)


def test_the_traceback_of_a_defect_can_be_had(cli, monkeypatch):
    monkeypatch.setattr(type(tslg), "get_command", lambda *_: raising(KeyError("k")))
    monkeypatch.setenv("TSLG_DEBUG", "1")
    from click.testing import CliRunner

    assert isinstance(CliRunner().invoke(tslg, ["x"]).exception, KeyError)


def test_a_reader_that_goes_away_is_no_error(made):
    command = f"""
from tslg.node.cli import main
import sys
sys.argv = ["tslg", "verify", {str(made.car)!r}]
main()
"""
    env = os.environ | {"PYTHONPATH": "src"}
    process = subprocess.Popen([sys.executable, "-c", command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() in (130, -signal.SIGPIPE)
