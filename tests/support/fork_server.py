"""Runs `tslg` commands in processes of their own that need not load the program: one that has loaded it forks them.

`python fork_server.py SOCKET` loads the program, listens, and says so by a line on stdout. `CLIENT` is a script in the
place of `tslg`: it hands its arguments, directory, environment and files over, and ends with the code that comes back.

A command then costs what it does, and not the third of a second that its imports take. It sees what it would see
otherwise: arguments, directory, environment, the three standard files, signals as a new process has them.
"""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import signal
import socket
import sys
import traceback

CLIENT = """#!{python} -IS
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({socket!r})
socket.send_fds(line, [b"-"], [0, 1, 2])
line.sendall(json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode())
line.shutdown(socket.SHUT_WR)
sys.exit(int(line.recv(16) or b"70"))
"""


def serve(path: str) -> None:
    """Answer until the process is ended."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    listening.listen(64)
    _load()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    sys.stdout.write("up\n")
    sys.stdout.flush()
    while True:
        line, _ = listening.accept()
        if os.fork() == 0:
            listening.close()
            _keep(line)
        line.close()


def _load() -> None:
    """Import the whole program, but for what runs when it is imported, needs an extra, or stands in for something."""
    package = importlib.import_module("tslg")
    for module in pkgutil.walk_packages(package.__path__, "tslg."):
        if not module.name.endswith(("__main__", "curve_reference", "parallel_ray")):
            importlib.import_module(module.name)


def _keep(line: socket.socket) -> None:
    """Start one command, and say how it ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, files, _, _ = socket.recv_fds(line, 1, 3)
    asked = b"".join(iter(lambda: line.recv(65536), b""))
    command = os.fork()
    if command == 0:
        line.close()
        _run(files, *json.loads(asked))
    _, status = os.waitpid(command, 0)
    line.sendall(str(os.waitstatus_to_exitcode(status) % 256).encode())
    os._exit(0)


def _run(files: list[int], arguments: list[str], directory: str, environment: dict[str, str]) -> None:
    """Become the command."""
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    # They stay open to the end of the process, as its own would.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, closefd=False)  # noqa: SIM115
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["tslg", *arguments]
    code = 70
    try:
        importlib.import_module("tslg.node.cli").main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1])
