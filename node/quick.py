"""The shortest way in: an agent by name, with everything it needs set up behind it."""

from __future__ import annotations

import atexit
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from tslg.node.agent import BlockingAgent
from tslg.node.home import Home, default_data_dir

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate, PolicySource

_homes: dict[Path, Home] = {}
_lock = threading.Lock()


def agent(
    name: str,
    *,
    federation: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
) -> BlockingAgent:
    """Return the agent of this name, made on first use, whose records are durable when its methods return.

    Args:
        name: the agent's name.
        federation: the file with the sealed root manifest of a federation to join; without it the agent belongs to
            a federation of its own.
        data: the data directory; without it one by the agent's name below `$TSLG_HOME` or the user's data directory.

    Raises:
        StoreError: the directory cannot be used, or another process has it open.
        UsageError: the federation's anchors must attest the agent first.
    """
    path = Path(data) if data is not None else default_data_dir(name)
    with _lock:
        home = _homes.get(path)
        if home is None:
            joined = None if federation is None else Path(federation)
            home = _homes[path] = Home.open(path, federation=joined, name=name)
    return home.agent(name)


def gate(
    name: str,
    policy: PolicySource = None,
    *,
    federation: str | os.PathLike[str] | None = None,
    data: str | os.PathLike[str] | None = None,
    tier: str | None = None,
) -> Gate:
    """Return a gate for the steps of the agent of this name, which is made on first use.

    Args:
        name, federation, data: as for `agent`.
        policy: the policy file; None for a policy that admits every step which claims nothing.
        tier: the capability tier of steps that claim none; None for the policy's.

    Raises:
        GatePolicyError: the policy cannot be run; and as `agent`.
    """
    # Imported here: an agent without a gate need not load it.
    from tslg.node.governing.gate import Gate

    return Gate(agent(name, federation=federation, data=data), policy, tier=tier)


def close() -> None:
    """Close every data directory that `agent` opened; done by itself when the interpreter ends."""
    with _lock:
        while _homes:
            _, home = _homes.popitem()
            home.close()


atexit.register(close)
