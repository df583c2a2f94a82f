"""What a running node says of itself."""

from __future__ import annotations

import os
import time
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tslg.node.node import Node


def installed_version() -> str:
    """Return the version that is installed; of sources that are not, the word for it."""
    try:
        return version("tslg")
    except PackageNotFoundError:
        return "not installed"


def status_of(node: Node) -> dict[str, Any]:
    """Return version, process, seconds since it was opened, federation, addresses, peers, and the agents' logs."""
    home = node.home
    sizes = {log.owner: log.newest + 1 for log in home.store.logs()}
    return {
        "version": installed_version(),
        "pid": os.getpid(),
        "seconds": round(time.monotonic() - node.opened, 3),
        "federation": home.federation,
        "peer_id": None if node.network is None else node.network.peer_id,
        "addresses": list(node.addresses),
        "peers": [] if node.network is None else list(node.network.peers()),
        "agents": [{"agent": one.id, "name": one.name, "records": sizes.get(one.id, 0)} for one in home.agents],
        "logs": len(sizes),
    }
