"""Children end with their parent, and fail with words."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import trio
import trio.testing

from tslg.node.demo.children import Lines, child
from tslg.node.demo.errors import DemoError

ECHO = """
    import sys
    for line in sys.stdin:
        print(line, end="", flush=True)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Write a module that a child can run."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def written(text):
        (tmp_path / "tried.py").write_text(textwrap.dedent(text))
        return child("the child", "tried", [], tmp_path)

    return written


async def test_documents_go_to_a_child_and_back(module):
    async with module(ECHO) as running:
        await running.send({"a": [1, "ü"]})
        assert await running.receive(10) == {"a": [1, "ü"]}


async def test_a_child_ends_when_the_block_does(module):
    async with module(ECHO) as running:
        pass
    assert running._process.returncode == 0


async def test_a_child_that_does_not_listen_is_ended(module, monkeypatch):
    monkeypatch.setattr("tslg.node.demo.children.STOP_SECONDS", 0.2)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1, flush=True); time.sleep(60)"
    async with module(deaf) as running:
        assert await running.receive(10) == 1
        await running.stop(patience=0)
    assert running._process.returncode == -9


async def test_what_a_failing_child_said_is_shown(module):
    async with module("raise SystemExit('no such luck')") as running:
        with pytest.raises(DemoError, match=r"exit status 1.*ended without an answer:\nno such luck"):
            await running.receive(10)


async def test_a_child_that_says_nothing_runs_out_of_time(module):
    async with module(ECHO) as running:
        with pytest.raises(DemoError, match="did not answer within 0 s"):
            await running.receive(0.05)


async def test_a_child_that_writes_something_else_is_told(module):
    async with module("print('hello')") as running:
        with pytest.raises(DemoError, match="not JSON"):
            await running.receive(10)


async def test_lines_have_a_limit(monkeypatch):
    monkeypatch.setattr("tslg.node.demo.children.LINE_BYTES", 100)
    send, receive = trio.testing.memory_stream_one_way_pair()
    await send.send_all(b"x" * 200)
    with pytest.raises(ValueError, match="100 bytes"):
        await Lines(receive).receive()


def test_a_child_ends_when_its_parent_is_killed(tmp_path):
    script = """
        import trio
        from pathlib import Path
        from tslg.node.demo.children import child

        async def main():
            async with child("the child", "tried", [], Path(".")) as running:
                await running.receive(10)
                print(running.pid, flush=True)
                await trio.sleep_forever()

        trio.run(main)
    """
    (tmp_path / "tried.py").write_text("import sys; print(1, flush=True); sys.stdin.read()")
    (tmp_path / "parent.py").write_text(textwrap.dedent(script))
    path = ":".join([str(tmp_path), *filter(None, sys.path)])
    with subprocess.Popen(
        [sys.executable, "parent.py"], cwd=tmp_path, stdout=subprocess.PIPE, env={"PYTHONPATH": path}
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.kill()
    for _ in range(200):
        if not _lives(pid):
            return
        trio.run(trio.sleep, 0.05)
    pytest.fail("the child outlived its parent")


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
