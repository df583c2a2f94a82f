"""A router in user space between network namespaces: packets are delayed, lost and kept from crossing a partition.

Each host is a network namespace with a TUN device; what it sends is read here, and written to the device of whoever it
is for after the link's delay, or never. The TCP of the hosts is the kernel's own: what is lost is sent again by it.
Works where the kernel has no netem. Needs root and /dev/net/tun.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import struct
import subprocess
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from conditions import Conditions, Place

_TUNSETIFF: Final = 0x400454CA
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_NEWNET: Final = 0x40000000
_PACKET: Final = 65_536
_QUEUED: Final = 20_000
"""Packets under way at most: a router that is overrun drops, as real ones do."""
NETWORK: Final = "10.77.0"


def in_namespace(name: str) -> None:
    """Move the calling thread into a network namespace."""
    with Path("/var/run/netns", name).open() as space:
        if ctypes.CDLL(None, use_errno=True).setns(space.fileno(), _NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {name}")


class Router:
    """Namespaces with addresses 10.77.0.1 and so on, and the links between them."""

    def __init__(self, names: Iterable[str], seed: int, port: int = 4001) -> None:
        self.conditions = Conditions()
        self._port = port
        self.passed = self.dropped = 0
        self._random = random.Random(seed)
        self._prefix = f"tslg{os.getpid()}"
        self.addresses = {name: f"{NETWORK}.{place}" for place, name in enumerate(names, 1)}
        self._devices: dict[int, str] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._route, name="router", daemon=True)

    def namespace(self, name: str) -> str:
        """Return the name of a host's network namespace."""
        return f"{self._prefix}-{name}"

    def place(self, name: str) -> Place:
        """Return where a host's process runs and listens."""
        address = f"/ip4/{self.addresses[name]}/tcp/{self._port}"
        return Place(("ip", "netns", "exec", self.namespace(name)), address, address, None)

    def __enter__(self) -> Router:
        try:
            for name, address in self.addresses.items():
                space = self.namespace(name)
                _run("ip", "netns", "add", space)
                self._devices[_open_device(space)] = address
                _run("ip", "-n", space, "address", "add", f"{address}/24", "dev", "tun0")
                _run("ip", "-n", space, "link", "set", "dev", "lo", "up")
                _run("ip", "-n", space, "link", "set", "dev", "tun0", "mtu", "1500", "txqueuelen", "2000", "up")
        except BaseException:
            self._remove()
            raise
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        self._remove()

    def _remove(self) -> None:
        for device in self._devices:
            os.close(device)
        for name in self.addresses:
            subprocess.run(["ip", "netns", "del", self.namespace(name)], check=False, capture_output=True)

    def _route(self) -> None:
        """Read packets, and write each to its target's device when it is due."""
        by_address = {address: device for device, address in self._devices.items()}
        waiting: list[tuple[float, int, int, bytes]] = []
        last: dict[tuple[int, int], float] = {}
        numbers = itertools.count()
        poll = select.poll()
        for device in self._devices:
            poll.register(device, select.POLLIN)
        while not self._stop.is_set():
            rest = max(0.0, waiting[0][0] - time.monotonic()) if waiting else 0.05
            for device, _ in poll.poll(min(rest, 0.05) * 1000):
                for packet in _read_all(device):
                    target = by_address.get(".".join(map(str, packet[16:20]))) if packet[0] >> 4 == 4 else None
                    if target is None or len(waiting) >= _QUEUED or not self._passes(device, target):
                        self.dropped += 1
                        continue
                    now = self.conditions
                    due = time.monotonic() + now.delay + self._random.uniform(0, now.jitter)
                    # One link keeps the order of its packets, as a cable does.
                    due = last[device, target] = max(due, last.get((device, target), 0.0))
                    heapq.heappush(waiting, (due, next(numbers), target, packet))
            while waiting and waiting[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(waiting)
                try:
                    os.write(target, packet)
                    self.passed += 1
                except OSError:
                    self.dropped += 1

    def _passes(self, source: int, target: int) -> bool:
        now = self.conditions
        if not now.lets_through(self._name(source), self._name(target)):
            return False
        return self._random.random() >= now.loss

    def _name(self, device: int) -> str:
        address = self._devices[device]
        return next(name for name, one in self.addresses.items() if one == address)


def _open_device(space: str) -> int:
    """Open a TUN device inside a namespace; the descriptor works from anywhere."""
    opened: list[int | OSError] = []

    def open_inside() -> None:
        try:
            in_namespace(space)
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", b"tun0", _IFF_TUN | _IFF_NO_PI))
            opened.append(device)
        except OSError as error:
            opened.append(error)

    # Only a thread of its own may go into another namespace, so that this process stays where it is.
    thread = threading.Thread(target=open_inside)
    thread.start()
    thread.join()
    if isinstance(opened[0], OSError):
        raise opened[0]
    return opened[0]


def _read_all(device: int) -> Iterable[bytes]:
    while True:
        try:
            yield os.read(device, _PACKET)
        except BlockingIOError:
            return


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
