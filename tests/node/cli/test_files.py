"""Files that take the place of what was there."""

from __future__ import annotations

import os
import stat

import pytest

from tslg.node.cli.files import replacing, write_replacing
from tslg.protocol.errors import UsageError


def test_what_was_there_stays_until_the_end(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replacing(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and [one.name for one in tmp_path.iterdir()] == ["x"]
    write_replacing(path, b"new")
    assert path.read_bytes() == b"new"


def test_nothing_takes_the_place_of_a_pipe_or_a_folder(tmp_path):
    pipe, link, folder = tmp_path / "pipe", tmp_path / "link", tmp_path / "folder"
    os.mkfifo(pipe)
    link.symlink_to(pipe)
    folder.mkdir()
    for path in (pipe, link, folder):
        with pytest.raises(UsageError, match="no regular file") as caught:
            write_replacing(path, b"new")
        assert caught.value.code == "TSLG-U-FILE"
    assert stat.S_ISFIFO(pipe.stat().st_mode) and link.is_symlink()
