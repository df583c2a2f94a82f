"""Whatever a command is given that is not what it takes, it says so with a code and what to do, and writes nothing."""

from __future__ import annotations

import re

import click
import pytest

from tslg.node.cli.root import tslg
from tslg.node.home import Home

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


def test_where_no_data_directory_is_named_those_that_agents_were_given_are_pointed_out(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("TSLG_HOME", str(tmp_path))
    assert "name the data directory" in cli.error("log", "billing-bot")
    for name in ("support-bot", "billing-bot"):
        with Home.open(tmp_path / name, name=name) as home:
            home.agent(name)
    for command in (["log", "billing-bot"], ["agent", "keys", "billing-bot"], ["agent", "rotate", "billing-bot"]):
        said = cli.error(*command)
        assert "there is one each for billing-bot, support-bot" in said and f"--data {tmp_path / 'NAME'}" in said
    assert "genesis billing-bot" in cli.text("log", "billing-bot", "--data", tmp_path / "billing-bot")
    Home.open(tmp_path / "node", name="own").close()
    assert "billing-bot" in cli.error("log", "billing-bot")
