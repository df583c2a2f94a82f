"""Hosts as processes: started, told what to do, killed and started again, with all they said kept."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from conditions import Place
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.peer.id import ID

from tslg.manifests import genesis, signing, text
from tslg.node.home import Home

OPEN: Final = """
[federation]
name = "Open line"
[anchors]
scheme = "multisig"
threshold = 1
members = ["operations"]
[envelope]
genesis = {anchors = 0}
"""
HERE: Final = Path(__file__).parent
SOURCES: Final = HERE.parents[1] / "src"


def open_federation(path: Path) -> Path:
    """Write the sealed manifest of a federation that agents join by themselves."""
    founded = genesis.found_federation(text.parse(OPEN), random_bytes=random.Random(7).randbytes, time_ms=1)
    path.write_bytes(signing.encode_sealed(founded.manifest_record.data, founded.seal))
    return path


def peer_id(seed: bytes) -> str:
    """Return the id of the peer with this seed."""
    return str(ID.from_pubkey(create_new_key_pair(seed).public_key))


class Process:
    """One host. What it says is a list of objects, in the order in which they came."""

    def __init__(self, name: str, place: Place, data: Path, federation: Path, config: Mapping[str, Any]) -> None:
        self.name, self.place, self.data = name, place, data
        self.said: list[dict[str, Any]] = []
        self.acked: dict[int, str] = {}
        """Position and id of every record that it said is durable, over all its lives."""
        self.errors = data.parent / f"{name}.log"
        self._settings = {
            "data": str(data),
            "federation": str(federation),
            "agent": name,
            "source": place.source,
            "config": {"listen": [place.listen], "announce": [place.announce], **config},
        }
        with Home.open(data, federation=federation) as home:
            home.agent(name)
            self.peer_id = peer_id(home.peer_seed())
        self._changed = threading.Condition()
        self.process: subprocess.Popen[str] | None = None

    def configure(self, **config: Any) -> None:
        """Set further settings of its node."""
        self._settings["config"] = {**self._settings["config"], **config}

    def start(self) -> None:
        """Start the process and wait until it is ready."""
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(
                [*self.place.command, sys.executable, str(HERE / "host.py"), json.dumps(self._settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={"PYTHONPATH": str(SOURCES), "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHONUNBUFFERED": "1"},
            )
        before = len(self.said)
        threading.Thread(target=self._read, args=(self.process,), daemon=True).start()
        self.wait_for(lambda: any("ready" in line for line in self.said[before:]), 60, "to be ready")

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            value = json.loads(line)
            with self._changed:
                self.said.append(value)
                if "acked" in value:
                    self.acked[value["acked"]] = value["record"]
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def tell(self, do: str, **arguments: Any) -> None:
        """Send one command."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self.process.stdin.flush()

    def ask(self, do: str, answer: str, seconds: float = 30, **arguments: Any) -> dict[str, Any]:
        """Send one command and return the next line that has a key."""
        before = len(self.said)
        self.tell(do, **arguments)
        self.wait_for(lambda: any(answer in line for line in self.said[before:]), seconds, f"to answer {do}")
        return next(line for line in self.said[before:] if answer in line)

    def wait_for(self, holds: Callable[[], bool], seconds: float, what: str) -> None:
        """Wait until something holds of what it said; AssertionError if it ends or takes longer."""
        end = time.monotonic() + seconds
        with self._changed:
            while not holds():
                left = end - time.monotonic()
                dead = self.process is None or self.process.poll() is not None
                if dead or left <= 0:
                    log = self.errors.read_text()[-3000:]
                    raise AssertionError(f"{self.name} was waited for {what}, {'ended' if dead else 'in vain'}: {log}")
                self._changed.wait(min(left, 1.0))

    def kill(self) -> None:
        """End it as a power cut would."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()

    def stop(self) -> None:
        """End it in order, or by force if it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        try:
            self.tell("stop")
            self.process.wait(20)
        except (OSError, subprocess.TimeoutExpired):
            self.kill()

    @property
    def address(self) -> str:
        """Where the others reach it, with its peer id."""
        return f"{self.place.announce}/p2p/{self.peer_id}"

    def last(self, key: str) -> Any:
        """Return the newest value that it said under a key."""
        return next(line[key] for line in reversed(self.said) if key in line)

    def newest(self, *keys: str) -> dict[str, Any]:
        """Return the newest line that has one of these keys."""
        return next(line for line in reversed(self.said) if any(key in line for key in keys))

    def logs(self) -> dict[str, list[Any]]:
        """Return size and root of every log that it holds whole."""
        found: dict[str, list[Any]] = self.ask("logs", "logs")["logs"]
        return found


def converge(hosts: Sequence[Process], seconds: float, only: str | None = None) -> dict[str, list[Any]]:
    """Wait until all hosts hold the same logs (or the same one), as long as what was acknowledged; return them."""
    end = time.monotonic() + seconds
    while True:
        held = {host.name: host.logs() for host in hosts}
        if only is not None:
            held = {name: {only: logs.get(only, [0])} for name, logs in held.items()}
        wanted = {host.last("agent"): 1 + max(host.acked) for host in hosts if host.acked}
        first = held[hosts[0].name]
        if all(one == first for one in held.values()) and all(
            first.get(owner, [0])[0] >= size for owner, size in wanted.items() if only in (None, owner)
        ):
            return first
        if time.monotonic() > end:
            sizes = {name: sorted(size for size, _ in logs.values()) for name, logs in held.items()}
            raise AssertionError(
                f"not the same everywhere after {seconds} s: {sizes}; wanted {sorted(wanted.values())}"
            )
        time.sleep(0.5)
