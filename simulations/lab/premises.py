"""A lab's folder and its two vendors: a federation that both anchor, a node each, and packages that lie between them.

FOLDER/federation.sealed   the sealed root manifest
FOLDER/vendor-a/           the breeder's node      FOLDER/vendor-b/   the evaluator's
FOLDER/packages/DIGEST/    the packages that pass between them: each hashes what it takes
FOLDER/lab.json            what the lab was started with
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from tslg.manifests import genesis as geneses
from tslg.manifests import signing, text
from tslg.node.agent import BlockingAgent
from tslg.node.artifacts.keeping import register
from tslg.node.artifacts.package import hash_folder
from tslg.node.home import Home, wall_clock
from tslg.node.net.memory import MemoryHub
from tslg.node.node import Node
from tslg.protocol.errors import PackageError, UsageError
from tslg.protocol.record import Record

BREEDER: Final = "vendor-a-breeder"
EVALUATOR: Final = "vendor-b-evaluator"
A, B = "vendor-a", "vendor-b"
SETTINGS: Final = "lab.json"
LOOPBACK: Final = "/ip4/127.0.0.1/tcp/0"
_MANIFEST: Final = """
[federation]
name = "Breeding lab"

[anchors]
scheme = "multisig"
threshold = 2
members = ["vendor-a", "vendor-b"]

[envelope.genesis]
anchors = 2
"""


@dataclass(frozen=True, slots=True)
class Premises:
    """An open lab: both nodes, and the agent of each."""

    folder: Path
    settings: dict[str, Any]
    a: Node
    b: Node
    breeder: BlockingAgent
    evaluator: BlockingAgent

    def package(self, record: Record) -> Path:
        """Return where the package of an artifact lies."""
        return place(self.folder, record)


def place(folder: Path, record: Record) -> Path:
    """Return where the package of an artifact lies in a lab's folder."""
    digest: bytes = record.body["package"]["digest"]
    return folder / "packages" / digest.hex()


def settings(folder: Path) -> dict[str, Any]:
    """Return what a lab was started with. Raises UsageError where there is none."""
    try:
        read: dict[str, Any] = json.loads((folder / SETTINGS).read_bytes())
    except (OSError, ValueError):
        raise UsageError(f"there is no lab in {folder}", mend="`tslg lab run --lab DIR` starts one") from None
    return read


def found(folder: Path, given: dict[str, Any]) -> None:
    """Start a lab in a new or empty folder: its federation, with both vendors' agents attested by both anchors.

    Raises:
        UsageError: the folder is not empty.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} is not empty", mend="name a new folder")
    founded = geneses.found_federation(text.parse(_MANIFEST), random_bytes=os.urandom, time_ms=wall_clock())
    (folder / "packages").mkdir(parents=True)
    sealed = folder / "federation.sealed"
    sealed.write_bytes(signing.encode_sealed(founded.manifest_record.data, founded.seal))
    for vendor, name in ((A, BREEDER), (B, EVALUATOR)):
        with Home.open(folder / vendor, federation=sealed) as home:
            home.create_agent(name, anchors=founded.anchor_keys)
    (folder / SETTINGS).write_text(json.dumps(given, sort_keys=True) + "\n", encoding="utf-8")


@asynccontextmanager
async def opened(folder: Path, *, network: bool) -> AsyncIterator[Premises]:
    """Run both nodes while the block runs: on loopback with `network`, else on a network within this process."""
    given = settings(folder)
    hub = MemoryHub()
    async with AsyncExitStack() as stack:
        nodes = []
        for vendor in (A, B):
            how: dict[str, Any] = {"listen": LOOPBACK} if network else {"network": hub.network(vendor)}
            sealed = folder / "federation.sealed"
            nodes.append(await stack.enter_async_context(Node.open(folder / vendor, federation=sealed, **how)))
        a, b = nodes
        yield Premises(folder, given, a, b, a.home.agent(BREEDER), b.home.agent(EVALUATOR))


def take_in(folder: Path, agent: BlockingAgent, made: Path, name: str, **about: Any) -> Record:
    """Record a package that was made somewhere else, keep its contents, and put it where both vendors find it.

    Raises:
        PackageError: `TSLG-F-CHANGED`: what lies where it belongs is another package. Else as `register`.
    """
    digest = hash_folder(made).digest
    where = folder / "packages" / digest.hex()
    if not where.exists():
        # It has its name once it is whole, whatever ends this process.
        with tempfile.TemporaryDirectory(dir=where.parent, prefix=".") as scratch:
            shutil.copytree(made, Path(scratch) / "package", symlinks=True)
            (Path(scratch) / "package").rename(where)
    if hash_folder(where).digest != digest:
        raise PackageError(f"{where} is another package than its name says", code="TSLG-F-CHANGED", mend="remove it")
    return register(agent, where, name, keep=True, **about)


async def in_thread(work: Any, *arguments: Any, **named: Any) -> Any:
    """Run blocking work in a thread."""
    return await trio.to_thread.run_sync(lambda: work(*arguments, **named))


def texts(ids: Iterable[Any]) -> list[str]:
    """Return ids as people read them."""
    from tslg.protocol.cid import to_text

    return [to_text(getattr(one, "id", one)) for one in ids]
