"""Whatever a command is given that is not what it takes, it says so with a code and what to do, and writes nothing."""

from __future__ import annotations

import re

import click
import pytest

from tslg.node.cli.root import tslg

ERROR = re.compile(r"error: TSLG-[A-Z]+(-[A-Z0-9-]+)?: \S.*")
STAY = {"demo", "node", "bench", "completion"}
"""Commands that take nothing to be wrong about, or run on."""


def commands(command, path, context):
    if not isinstance(command, click.Group):
        yield path, command
        return
    for name in command.list_commands(context):
        if name not in STAY and (*path, name) != ("witness", "run"):
            one = command.get_command(context, name)
            yield from commands(one, (*path, name), click.Context(one, info_name=name, parent=context))


EVERY = dict(commands(tslg, (), click.Context(tslg, info_name="tslg")))


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_garbage_is_named_in_every_argument_of_every_command(path, world, cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "garbage").write_bytes(b"\x00\xffgarbage" * 20)
    (tmp_path / "garbage.car").write_bytes(b"\x00\xffgarbage" * 20)
    parameters = EVERY[path].params
    required = [one.opts[0] for one in parameters if isinstance(one, click.Option) and one.required]
    count = sum(isinstance(one, click.Argument) for one in parameters)
    folders = (world.data, tmp_path / "empty", tmp_path / "garbage")
    where = [["--data", data] for data in folders] if any("--data" in one.opts for one in parameters) else [[]]
    for filled in ("garbage", "garbage.car", "nothing", "", "b" + "a" * 400):
        for data in where if count else ():
            options = [text for name in required for text in (name, filled)]
            result = cli.run(*path, *options, *data, "--", *[filled] * count)
            lines = result.stderr.splitlines()
            if result.exit_code == 3:
                assert lines and all(map(ERROR.fullmatch, lines)), result.stderr
                assert len(lines[0]) < 700 and "DEFECT" not in result.stderr and result.stdout == ""
            else:
                assert result.exit_code in (0, 1, 2), result.output
