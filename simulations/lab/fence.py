"""Runs one program behind a fence, and is run by itself: `python fence.py REQUEST.json`. It imports nothing of tslg.

The program gets user, mount, network, process and IPC namespaces of its own; of the file system only the folders that
the request names, read-only but for one; limits on processor time, memory and files; and a filter that ends it the
moment it asks for a socket, and lets it start no other process. Where the kernel denies any of it nothing is run.
Linux on x86-64 and arm64 only. `cell.py` writes the requests.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
from pathlib import Path

REFUSED = 77
"""Exit status where a part of the fence cannot be put up; the first line of standard error says which."""
_NEW_USER, _NEW_MOUNT, _NEW_NET = 0x10000000, 0x00020000, 0x40000000
_NEW_PROCESSES, _NEW_IPC = 0x20000000, 0x08000000
_BIND, _RECURSIVE, _READ_ONLY, _REMOUNT, _PRIVATE = 4096, 16384, 1, 32, 1 << 18
_NO_SUID, _NO_DEVICES = 2, 4
_DETACH = 2
_DEATH_SIGNAL, _NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 1, 38, 22, 2
_KILL, _ALLOW, _DENY = 0x80000000, 0x7FFF0000, 0x00050001
_MACHINES = {
    # audit number; pivot_root; what opens a socket or leads round the filter: socket, socketpair, io_uring_setup;
    # what makes processes and threads: clone, fork, vfork, clone3
    "x86_64": (0xC000003E, 155, (41, 53, 425), (56, 57, 58, 435)),
    "aarch64": (0xC00000B7, 41, (198, 199, 425), (220, 435)),
}
_FOREIGN_CALLS = 0x40000000
"""Numbers of system calls from here on are those of another interface of x86-64, which the filter does not list."""
_libc = ctypes.CDLL(None, use_errno=True)


class Missing(Exception):
    """A part of the fence cannot be put up."""


def _call(what: str, name: str, *arguments: object) -> None:
    if getattr(_libc, name)(*arguments) != 0:
        raise Missing(f"{what}: {os.strerror(ctypes.get_errno())}")


def _mount(what: str, source: str, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    as_bytes = [None if one is None else one.encode() for one in (source, target, kind, data)]
    flags_word = ctypes.c_ulong(flags)
    _call(what, "mount", as_bytes[0], as_bytes[1], as_bytes[2], flags_word, as_bytes[3])


def _separate() -> None:
    """Leave all namespaces that are shared with others. Whoever was root is nobody in particular afterwards."""
    user, group = os.getuid(), os.getgid()
    flags = _NEW_USER | _NEW_MOUNT | _NEW_NET | _NEW_PROCESSES | _NEW_IPC
    _call("namespaces", "unshare", flags)
    for path, content in (
        ("/proc/self/setgroups", "deny"),
        ("/proc/self/uid_map", f"1000 {user} 1"),
        ("/proc/self/gid_map", f"1000 {group} 1"),
    ):
        try:
            Path(path).write_text(content, encoding="ascii")
        except OSError as error:
            raise Missing(f"namespaces: {path}: {error.strerror}") from error


def _enclose(root: str, shown: dict[str, str], writable: str) -> None:
    """Make a file system of the folders shown (from place inside to place outside), and let go of every other."""
    _mount("file system", "none", "/", None, _RECURSIVE | _PRIVATE)
    _mount("file system", "none", root, "tmpfs", _NO_SUID | _NO_DEVICES, "size=1m,mode=755")
    for inside in sorted(shown):
        target, flags = root + inside, _NO_SUID | (0 if inside == writable else _READ_ONLY)
        if Path(shown[inside]).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        else:
            Path(target).parent.mkdir(parents=True, exist_ok=True)
            Path(target).touch()
        _mount(f"file system: {inside}", shown[inside], target, None, _BIND)
        kept = os.statvfs(target).f_flag & (_NO_SUID | _NO_DEVICES | 8 | 1024 | 2048 | 4096)
        # What was mounted without these may not be mounted with them again by anybody but its owner.
        again = {8: 8, 1024: 1024, 2048: 2048, 4096: 1 << 21}
        flags |= sum(again.get(bit, bit) for bit in (2, 4, 8, 1024, 2048, 4096) if kept & bit)
        _mount(f"file system: {inside}", "none", target, None, _BIND | _REMOUNT | flags)
    _mount("file system", "none", root, None, _REMOUNT | _READ_ONLY | _NO_SUID | _NO_DEVICES)
    os.chdir(root)
    _call("file system", "syscall", _machine()[1], b".", b".")
    _call("file system", "umount2", b".", _DETACH)
    os.chdir("/")


def _machine() -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    if platform.machine() not in _MACHINES:
        raise Missing(f"filter of system calls: nobody wrote one for {platform.machine()}")
    return _MACHINES[platform.machine()]


def _bound(limits: dict[str, int]) -> None:
    """Set limits that nothing inside can raise again."""
    for name, value in {**limits, "CORE": 0}.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))


def _filter() -> None:
    """Have the kernel end this process the moment that it asks for a socket, and let it start no other.

    A limit on processes would not hold whoever was root outside, and memory is limited for each of them.
    """
    audit, _, deadly, denied = _machine()
    load, equal, least, give = 0x20, 0x15, 0x35, 0x06
    steps = [(load, 0, 0, 4), (equal, 1, 0, audit), (give, 0, 0, _KILL), (load, 0, 0, 0)]
    steps += [(least, 0, 1, _FOREIGN_CALLS), (give, 0, 0, _KILL)]
    for number in deadly:
        steps += [(equal, 0, 1, number), (give, 0, 0, _KILL)]
    for number in denied:
        steps += [(equal, 0, 1, number), (give, 0, 0, _DENY)]
    steps.append((give, 0, 0, _ALLOW))
    program = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))
    pointer = ctypes.create_string_buffer(struct.pack("@HP", len(steps), ctypes.addressof(program)))
    _call("privileges", "prctl", _NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    _call("filter of system calls", "prctl", _SECCOMP, _FILTER, pointer, 0, 0)


def _inside(request: dict[str, object]) -> None:
    """Put up the rest of the fence in the first process of the new namespaces, and become the program."""
    _call("processes", "prctl", _DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0)
    _enclose(request["root"], request["shown"], request["writable"])  # type: ignore[arg-type]
    _bound(request["limits"])  # type: ignore[arg-type]
    _filter()
    command, environment = request["command"], request["environment"]
    os.execve(command[0], command, environment)  # type: ignore[index,arg-type]


def main(path: str) -> int:
    """Run what the request in a file says; return its exit status, 128 and the signal's number, or `REFUSED`."""
    request = json.loads(Path(path).read_bytes())
    try:
        _separate()
        child = os.fork()
        if child == 0:
            _inside(request)
    except (Missing, OSError) as error:
        sys.stderr.write(f"fence: {error}\n")
        sys.stderr.flush()
        os._exit(REFUSED)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
