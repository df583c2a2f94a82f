"""What runs behind the fence reaches nothing, uses no more than it may, and ends with it."""

from __future__ import annotations

import pytest

from tslg.protocol.errors import UsageError
from tslg.simulations.lab import cell, fence


class Cell:
    """Runs code behind the fence; what it wrote is in `out`."""

    def __init__(self, folder):
        self.folder, self.out = folder, folder / "out"
        self.out.mkdir()
        (folder / "data").mkdir()
        (folder / "data" / "x").write_text("input")

    def run(self, code: str, **limits):
        (self.folder / "code.py").write_text(code)
        inputs = {"data": self.folder / "data"}
        cell.run(self.folder / "code.py", b"{}", inputs, self.out, cell.CellLimits(**limits))
        return {path.name: path.read_text() for path in self.out.iterdir()}

    def code(self, code: str, **limits) -> str:
        with pytest.raises(cell.CellError) as caught:
            self.run(code, **limits)
        return caught.value.code


@pytest.fixture
def inside(tmp_path):
    return Cell(tmp_path)


def test_it_sees_its_inputs_and_nothing_else(inside, monkeypatch):
    monkeypatch.setenv("SECRET", "of the lab's")
    (inside.folder / "beside").write_text("of the lab's")
    seen = inside.run(
        "import os\n"
        "told = [sorted(os.environ), os.path.exists('/proc'), os.path.exists('/etc'), os.getpid(),\n"
        f"    os.path.exists({str(inside.folder / 'beside')!r}),\n"
        "    sorted(os.listdir('/in')), open('/in/data/x').read()]\n"
        "open('/out/told', 'w').write(repr(told))"
    )
    assert eval(seen["told"]) == [sorted(cell.ENVIRONMENT), False, False, 1, False, ["config.json", "data"], "input"]


@pytest.mark.parametrize("role", ["../../x", "a/b", "", ".", "A"])
def test_what_it_is_given_is_named_inside_the_fence(inside, role):
    (inside.folder / "code.py").write_text("")
    with pytest.raises(cell.CellError, match="no name"):
        cell.run(inside.folder / "code.py", b"{}", {role: inside.folder / "data"}, inside.out)


def test_a_socket_ends_it_whatever_it_is_for(inside):
    assert inside.code("import socket\ntry:\n    socket.socket()\nexcept OSError:\n    pass") == "TSLG-L-NETWORK"
    assert inside.code("import socket; socket.socketpair()") == "TSLG-L-NETWORK"
    # By the number of the call, not by its name; and the way round, by a ring.
    ring = "import ctypes; ctypes.CDLL(None).syscall(425, 8, 0)"
    assert inside.code(ring) == "TSLG-L-NETWORK"


def test_it_writes_to_its_output_alone(inside):
    places = ["/in/data/x", "/in/config.json", "/code.py", "/usr/x", "/in/new", "/x", "/out/x"]
    seen = inside.run(
        "written = []\n"
        f"for place in {places}:\n"
        "    try:\n        open(place, 'a').close()\n        written.append(place)\n"
        "    except OSError:\n        pass\n"
        "open('/out/told', 'w').write(repr(written))"
    )
    assert eval(seen["told"]) == ["/out/x"]
    assert (inside.folder / "data" / "x").read_text() == "input"


def test_it_uses_no_more_than_it_may(inside):
    assert inside.code("while True: pass", processor_s=1) == "TSLG-L-LIMIT"
    assert inside.code("import time; time.sleep(60)", wall_s=0.5) == "TSLG-L-LIMIT"
    assert inside.code("bytearray(1 << 31)", memory=1 << 30) == "TSLG-L-LIMIT"
    assert inside.code("open('/out/x', 'wb').write(bytes(1 << 20))", file=1 << 16) == "TSLG-L-LIMIT"


def test_it_starts_no_process_and_cannot_undo_the_fence(inside):
    assert inside.code("import os; os.fork()") == "TSLG-L-FAILED"
    seen = inside.run(
        "import ctypes, os, resource\n"
        "libc = ctypes.CDLL(None)\n"
        "def tried(limit):\n"
        "    try: resource.setrlimit(limit, (1 << 40, 1 << 40))\n"
        "    except (ValueError, OSError): return 'no'\n"
        "    return 'yes'\n"
        "told = [libc.mount(b'none', b'/usr', None, ctypes.c_ulong(32 | 4096), None), tried(resource.RLIMIT_CPU)]\n"
        "libc.unshare(0x10020000)\n"
        "told.append(libc.mount(b'none', b'/usr', None, ctypes.c_ulong(32 | 4096), None))\n"
        "open('/out/told', 'w').write(repr(told))"
    )
    assert eval(seen["told"]) == [-1, "no", -1]


def test_where_there_is_no_fence_nothing_runs(inside, monkeypatch, tmp_path):
    broken = tmp_path / "fence.py"
    broken.write_text(f"import sys; print('fence: namespaces: not here', file=sys.stderr); sys.exit({fence.REFUSED})")
    monkeypatch.setattr(cell, "_FENCE", broken)
    with pytest.raises(UsageError, match="namespaces: not here") as caught:
        inside.run("open('/out/x', 'w')")
    assert caught.value.code == "TSLG-L-FENCE"
    assert list(inside.out.iterdir()) == []
