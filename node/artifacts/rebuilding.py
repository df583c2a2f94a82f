"""Whether a package and its evaluation can be put together again, and doing so: from what is kept, or by its operator.

A rebuilt package is always hashed and held against the record: what differs by one byte is told as different.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tslg.node.artifacts import graph
from tslg.node.artifacts.keeping import listing_of
from tslg.node.artifacts.package import Difference, compare, hash_folder, make_empty, write_package
from tslg.node.store.interface import Store
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import PackageError
from tslg.protocol.record import Record


class Recipe(NamedTuple):
    """What an operator makes a package of.

    Attributes:
        artifact: the record to be made again.
        config: the operator's configuration, as it was kept; None for one without.
        parents: the packages of its parents, each in a folder, by their records' ids.
        out: the folder to write to, which is empty.
    """

    artifact: Record
    config: bytes | None
    parents: Mapping[Link, Path]
    out: Path


Operator = Callable[[Recipe], None]
"""Makes a package again, from its recipe alone: no clock, no randomness but the configuration's."""


class Rebuilt(NamedTuple):
    """What came of it.

    Attributes:
        how: `kept` or `operator`.
        same: it is the recorded package, bit for bit.
        differences: which files differ, as far as the recorded listing is kept.
        digest: the content hash of what came of it.
    """

    how: str
    same: bool
    differences: Sequence[Difference]
    digest: bytes


class Rebuildable(NamedTuple):
    """Whether a package and what was tested of it can be put together again.

    Attributes:
        kept: paths of files that are not kept; None where not even their listing is.
        operator: what the operator would lack, one line each; empty if its name, config and parents are at hand.
        evaluations: by evaluation, what would be lacking to do it again.
    """

    kept: Sequence[str] | None
    operator: Sequence[str]
    evaluations: Mapping[Link, Sequence[str]]

    @property
    def possible(self) -> bool:
        """Whether the package can be put together again, one way or the other."""
        return self.kept == () or not self.operator


def rebuildable(store: Store, id: Link) -> Rebuildable:
    """Say what of a package, of what it was made of and of its evaluations is kept here. Raises UsageError."""
    record = graph.artifact(store, id)
    parents = graph.own_parents(record)
    above = graph.load(store, parents)
    lacking = [f"parent {to_text(one)} is not held" for one in parents if one not in above]
    lacking += [
        f"the package of parent {to_text(one)} is not kept" for one in above if _missing(store, above[one]) != ()
    ]
    config = record.body.get("config")
    if config is not None and store.get_blob(config["digest"]) is None:
        lacking.append("its configuration is not kept")
    if "config" in record.withheld or "operator" in record.withheld:
        lacking.append("its operator or configuration is withheld")
    if record.body.get("operator") == "source":
        lacking.append("it was taken in as it is, and not made")
    tested = graph.said(store, [id]).evaluations.get(id, ())
    return Rebuildable(_missing(store, record), lacking, {one.id: _lacking(store, one) for one in tested})


def _missing(store: Store, record: Record) -> tuple[str, ...] | None:
    package = listing_of(store, record)
    if package is None:
        return None
    return tuple(path for path, entry in package.files.items() if store.get_blob(entry.digest) is None)


def _lacking(store: Store, evaluation: Record) -> list[str]:
    """Return what would be lacking to do an evaluation again: the frozen suite, or its report to compare with."""
    body = evaluation.body
    cited = graph.load(store, (edge.cid for edge in evaluation.preds["evidence"]))
    suites = [one for one in cited.values() if one.kind == "artifact" and one.id != body["target"]]
    frozen = [one for one in suites if one.body["package"]["digest"] == body.get("suite_digest")]
    lacking = []
    if not frozen:
        lacking.append("no artifact that it cites is its suite")
    elif _missing(store, frozen[0]) != ():
        lacking.append("the package of its suite is not kept")
    if "report" in body and store.get_blob(body["report"]["digest"]) is None:
        lacking.append("its report is not kept")
    return lacking


def rebuild(
    store: Store,
    id: Link,
    folder: Path,
    operator: Operator | None = None,
    packages: Mapping[Link, Path] | None = None,
) -> Rebuilt:
    """Put a package together again in a new or empty folder, and compare it with the record.

    Args:
        store: what is kept.
        id: the artifact.
        folder: where to.
        operator: makes it again; without one it is put together from the contents that are kept.
        packages: folders with packages of parents whose contents are not kept; they are checked first.

    Raises:
        PackageError: `TSLG-F-MISSING`: something that it takes is not at hand; the folder is not empty.
    """
    record = graph.artifact(store, id)
    if operator is None:
        written = _from_kept(store, record, folder)
    else:
        make_empty(folder)
        with tempfile.TemporaryDirectory(prefix="tslg-parents-") as scratch:
            operator(_recipe(store, record, folder, Path(scratch), packages or {}))
        written = "operator"
    found = hash_folder(folder)
    recorded = listing_of(store, record)
    differences = compare(recorded, found) if recorded is not None else []
    return Rebuilt(written, found.digest == record.body["package"]["digest"], differences, found.digest)


def _from_kept(store: Store, record: Record, folder: Path) -> str:
    package = listing_of(store, record)
    missing = ["its listing"] if package is None else write_package(package, store.get_blob, folder)
    if missing:
        raise _absent(record, f"{len(missing)} of its files are not kept: {', '.join(missing[:3])[:200]}")
    return "kept"


def _recipe(store: Store, record: Record, out: Path, scratch: Path, packages: Mapping[Link, Path]) -> Recipe:
    """Lay out what an operator needs; parents' packages are those recorded, bit for bit."""
    parents = {}
    for id in graph.own_parents(record):
        parent = graph.artifact(store, id)
        place = packages.get(id)
        if place is None:
            place = scratch / to_text(id)
            _from_kept(store, parent, place)
        elif hash_folder(place).digest != parent.body["package"]["digest"]:
            raise PackageError(f"{place} is not the package of parent {to_text(id)}", code="TSLG-F-CHANGED")
        parents[id] = place
    config = record.body.get("config")
    content = None if config is None else store.get_blob(config["digest"])
    if config is not None and content is None:
        raise _absent(record, "its configuration is not kept")
    return Recipe(record, content, parents, out)


def _absent(record: Record, detail: str) -> PackageError:
    mend = "fetch it from where it is kept, or make it again with its operator"
    return PackageError(f"{to_text(record.id)}: {detail}", code="TSLG-F-MISSING", mend=mend, record=record.id)
