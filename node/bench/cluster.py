"""A PostgreSQL server of one's own in a temporary directory, synced as real ones are: to measure and to test on."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from tslg.node.bench.figures import MeasurementError

USER: Final = "postgres"
"""Who runs the server where this process is the superuser, which PostgreSQL refuses to run as."""
INSTALL: Final = "install PostgreSQL, on Debian with `apt-get install postgresql`"
_PLACES: Final = Path("/usr/lib/postgresql")
_SETTINGS: Final = {
    "fsync": "on",
    "shared_buffers": "64MB",
    "max_connections": "60",
    "log_min_messages": "fatal",
    "listen_addresses": "127.0.0.1",
}


def binaries() -> Path | None:
    """Return the directory of the newest PostgreSQL server's programs on this machine, None if there is none."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).parent
    versions = [path for path in _PLACES.glob("*/bin") if (path / "initdb").exists()]
    return max(versions, key=lambda path: int(path.parent.name), default=None)


class Cluster:
    """A private server: a context manager that makes, starts and in the end removes it.

    It listens on a socket in its directory, where whoever may enter is trusted, and on loopback, with passwords.

    Raises:
        MeasurementError: there is no PostgreSQL on this machine, or it does not start; the message says what to do.
    """

    def __init__(self) -> None:
        found = binaries()
        if found is None:
            raise MeasurementError("there is no PostgreSQL server on this machine", mend=INSTALL)
        self._bin = found
        self._as: list[str] = []
        self.directory = Path(tempfile.mkdtemp(prefix="tslg-postgresql-"))
        self.port = _free_port()
        try:
            self._make()
            self._heir = self._leave_an_heir()
            self.start()
        except BaseException:
            shutil.rmtree(self.directory, ignore_errors=True)
            raise

    @property
    def dsn(self) -> str:
        """How to reach its database through the socket."""
        return f"host={self.directory} port={self.port} user={USER} dbname={USER}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which PostgreSQL's own programs reach it through the socket."""
        return {"PGHOST": str(self.directory), "PGPORT": str(self.port), "PGUSER": USER}

    @property
    def programs(self) -> Path:
        """The directory of PostgreSQL's programs."""
        return self._bin

    @property
    def data(self) -> Path:
        """The server's data directory."""
        return self.directory / "data"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = " ".join(f"-c {name}={value}" for name, value in _SETTINGS.items())
        options += f" -k {self.directory} -p {self.port}"
        self._control("start", "-w", "-t", "60", "-l", str(self.directory / "log"), "-o", options)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `fast` ends sessions in order, `immediate` is as a power cut to them."""
        self._control("stop", "-w", "-t", "60", "-m", mode)

    def restart(self, mode: str = "fast") -> None:
        """Stop and start the server."""
        self.stop(mode)
        self.start()

    def close(self) -> None:
        """Stop the server and remove all that it kept."""
        if (self.data / "postmaster.pid").exists():
            self.stop("immediate")
        shutil.rmtree(self.directory, ignore_errors=True)
        if self._heir.stdin is not None:
            self._heir.stdin.close()
        self._heir.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _make(self) -> None:
        if os.geteuid() == 0:
            try:
                user = pwd.getpwnam(USER)
            except KeyError:
                raise MeasurementError(f"there is no user {USER} to run a server as", mend=INSTALL) from None
            os.chown(self.directory, user.pw_uid, user.pw_gid)
            self._as = ["runuser", "-u", USER, "--"]
        arguments = ["-D", str(self.data), "-U", USER, "-E", "UTF8", "--locale=C", "--no-sync"]
        self._run([str(self._bin / "initdb"), *arguments, "--auth-local=trust", "--auth-host=scram-sha-256"])

    def _leave_an_heir(self) -> subprocess.Popen[bytes]:
        """Start what ends the server and removes its directory if this process is killed: it reads until then."""
        stop = [*self._as, str(self._bin / "pg_ctl"), "-D", str(self.data), "stop", "-m", "immediate"]
        script = f"cat; test ! -e {self.data}/postmaster.pid || {shlex.join(stop)}; rm -rf {self.directory}"
        return subprocess.Popen(
            ["/bin/sh", "-c", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )

    def _control(self, *arguments: str) -> None:
        self._run([str(self._bin / "pg_ctl"), "-D", str(self.data), *arguments])

    def _run(self, command: Sequence[str]) -> None:
        # Output goes to a file: a server that inherits a pipe would keep its reader waiting.
        with (self.directory / "output").open("w+", encoding="utf-8", errors="replace") as output:
            done = subprocess.run(
                [*self._as, *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                check=False,
            )
            if done.returncode:
                output.seek(0)
                said = " ".join(output.read().split())[-400:]
                raise MeasurementError(f"{Path(command[0]).name} failed: {said}", mend=INSTALL)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port
