"""Recording packages that lie on disk: hashed, their licences checked, their contents kept if that is wanted.

Also the other way round: whether files are still the package that a record names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.node.agent import BlockingAgent
from tslg.node.artifacts import graph
from tslg.node.artifacts.licences import checked
from tslg.node.artifacts.package import Difference, Package, Tick, compare, hash_folder, read_file, read_listing
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.errors import PackageError
from tslg.protocol.lifecycle import PACKAGE
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record

CONFIG: Final = "application/octet-stream"


class Checked(NamedTuple):
    """Whether files are the package of an artifact.

    Attributes:
        same: the content hash is the recorded one.
        differences: which files differ; empty also where the recorded listing is not kept here.
        listed: whether that listing is kept here.
    """

    same: bool
    differences: Sequence[Difference]
    listed: bool


def register(
    agent: BlockingAgent,
    path: Path,
    name: str,
    *,
    type: str,
    keep: bool = False,
    config: bytes | None = None,
    licences: Iterable[str] = (),
    tick: Tick | None = None,
    **about: Any,
) -> Record:
    """Hash a package and record it as an artifact.

    Args:
        agent: who records it.
        path: the package's folder, or its one file.
        name, type: as for `BlockingAgent.artifact`.
        keep: keep the contents of all files in the node's blob store, from which the package can be rebuilt.
        config: the operator's configuration, which is kept.
        licences: SPDX expressions.
        tick: is told of every piece of a file that was read.
        **about: the other arguments of `BlockingAgent.artifact`.

    Raises:
        PackageError: the files are no package, or a licence is unknown; nothing is recorded then. Refusal.
    """
    normal = checked(licences)
    package = hash_folder(path, tick)
    if keep:
        keep_contents(agent, path, package)
    agent.blob(package.listing, PACKAGE)
    if config is not None:
        about["config"] = agent.blob(config, CONFIG)
    return agent.artifact(name, type=type, package=package.body(), licences=normal, **about)


def keep_contents(agent: BlockingAgent, path: Path, package: Package) -> None:
    """Put the contents of a package's files into the blob store. Raises PackageError if one changed or is too large."""
    for name, entry in package.files.items():
        if entry.size > DEFAULT.kept_bytes:
            mend = "keep it elsewhere, and record the package without its contents"
            raise PackageError(f"{name} is too large to be kept: {entry.size} bytes", mend=mend)
    for name, entry in package.files.items():
        agent.blob(read_file(path if path.is_file() else path / name, entry))


def check(store: Store, id: Link, path: Path, tick: Tick | None = None) -> Checked:
    """Hold files against the package of an artifact. Raises PackageError for files that are no package."""
    recorded = graph.artifact(store, id).body["package"]
    found = hash_folder(path, tick)
    listing = store.get_blob(recorded["digest"])
    if listing is None:
        return Checked(found.digest == recorded["digest"], (), False)
    return Checked(found.digest == recorded["digest"], compare(read_listing(listing), found), True)


def listing_of(store: Store, record: Record) -> Package | None:
    """Return the files of an artifact's package, None if the listing is not kept here."""
    listing = store.get_blob(record.body["package"]["digest"])
    return None if listing is None else read_listing(listing)


def in_order(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return names so that each comes after its parents; what claims to come first among equals does.

    Raises:
        PackageError: `TSLG-F-CYCLE` names one derive from one another in a circle; `TSLG-F-PARENT`: a parent is none
            of the names.
    """
    children: dict[str, list[str]] = {name: [] for name in parents}
    waiting: dict[str, int] = {}
    for name, named in parents.items():
        waiting[name] = len(set(named))
        for parent in set(named):
            if parent not in children:
                detail = f"{name[:80]!r} derives from {parent[:80]!r}, which is not there"
                raise PackageError(detail, code="TSLG-F-PARENT", mend="add it, or name what is there")
            children[parent].append(name)
    ready = [name for name, count in waiting.items() if count == 0]
    for name in ready:
        for child in children[name]:
            waiting[child] -= 1
            if waiting[child] == 0:
                # The list grows while it is gone through: it is the queue.
                ready.append(child)
    if len(ready) == len(parents):
        return ready
    raise PackageError(
        f"these derive from one another in a circle: {' from '.join(_circle(parents, set(ready)))}",
        code="TSLG-F-CYCLE",
        mend="name as parents only what was there before",
    )


def _circle(parents: Mapping[str, Sequence[str]], done: set[str]) -> list[str]:
    """Return a circle of names, its first one again at the end."""
    name = min(parents.keys() - done)
    seen: dict[str, None] = {}
    while name not in seen:
        seen[name] = None
        name = min(parent for parent in parents[name] if parent not in done)
    way = list(seen)
    circle = way[way.index(name) :]
    return [one[:40] for one in [*circle[:8], *(["…"] if len(circle) > 8 else []), circle[0]]]
