"""Making candidates again from their records alone, bit for bit, and holding every package against its record."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.node.artifacts import graph, keeping, rebuilding
from tslg.node.artifacts.package import hash_folder
from tslg.node.artifacts.rebuilding import Recipe
from tslg.node.home import Home
from tslg.node.store.interface import Store
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import PackageError, UsageError
from tslg.protocol.record import Record
from tslg.simulations.lab import cell, premises
from tslg.simulations.lab.registry import CODE_TYPE, SPLIT

NOT_MADE: Final = ("source", SPLIT)
"""Operators of what was not made by the recorded code: taken in, or cut from it as the lab was started."""


class Checked(NamedTuple):
    """One artifact held against its record: whether it is the same, and what is wrong if not."""

    artifact: Record
    same: bool
    why: str


def reproduce(store: Store, id: Link) -> rebuilding.Rebuilt:
    """Make an artifact again: by the recorded code, behind the fence, of the recorded configuration and parents.

    Raises:
        UsageError: it was not made by an operator. PackageError: something that it takes is not kept. CellError.
    """
    record = graph.artifact(store, id)
    if record.body["operator"] in NOT_MADE:
        raise UsageError(
            f"{record.body['name']} was not bred", mend="`tslg lab check` holds it against its record", record=id
        )
    with tempfile.TemporaryDirectory(prefix="tslg-again-") as name:
        top = Path(name)
        code = _code(store, record)
        rebuilding.rebuild(store, code.id, top / "code")
        (top / "out").mkdir()

        def again(recipe: Recipe) -> None:
            config = recipe.config or b"{}"
            cell.run(top / "code" / "operators.py", config, _roles(store, recipe), recipe.out)

        return rebuilding.rebuild(store, id, top / "out", again)


def _code(store: Store, record: Record) -> Record:
    cited = graph.load(store, [edge.cid for edge in record.preds.get("evidence", ())])
    for one in cited.values():
        if one.kind == "artifact" and one.body["type"] == CODE_TYPE:
            return one
    raise PackageError("it does not cite the code that made it", code="TSLG-F-MISSING", record=record.id)


def _roles(store: Store, recipe: Recipe) -> dict[str, Path]:
    """Return the parents' packages by the role that the configuration gives to their content hash."""
    by_digest = {
        graph.artifact(store, id).body["package"]["digest"].hex(): where for id, where in recipe.parents.items()
    }
    try:
        named: dict[str, str] = dict(json.loads(recipe.config or b"{}").get("parents", {}))
        known = set(named.values()) <= by_digest.keys()
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PackageError("its configuration is none of an operator's", code="TSLG-F-PARENT") from error
    if not known:
        raise PackageError("its configuration names other parents than its record", code="TSLG-F-PARENT")
    return {role: by_digest[digest] for role, digest in named.items()}


def bred(store: Store) -> list[Record]:
    """Return everything that operators made, oldest first."""
    held = graph.load(store, store.by_kind("artifact", limit=100_000)).values()
    return sorted((one for one in held if one.body["operator"] not in NOT_MADE), key=lambda one: (one.owner, one.seq))


def check(folder: Path, tick: Callable[[int, int | None], None] | None = None) -> list[Checked]:
    """Hold every package against its record: as it lies in the lab's folder, and as vendor A keeps it."""
    found = []
    with Home.read(folder / premises.A) as home:
        held = graph.load(home.store, home.store.by_kind("artifact", limit=100_000)).values()
        for one in sorted(held, key=lambda one: (one.owner, one.seq)):
            found.append(_checked(folder, home.store, one))
            if tick is not None:
                tick(len(found), len(held))
    return found


def _checked(folder: Path, store: Store, one: Record) -> Checked:
    try:
        lying = hash_folder(premises.place(folder, one)).digest
        if lying != one.body["package"]["digest"]:
            return Checked(one, False, "the package in the folder is another one")
        if keeping.listing_of(store, one) is not None:
            with tempfile.TemporaryDirectory(prefix="tslg-check-") as scratch:
                if not rebuilding.rebuild(store, one.id, Path(scratch) / "package").same:
                    return Checked(one, False, "what is kept of it is another package")
    except PackageError as error:
        return Checked(one, False, f"{error.code}: {error.detail}"[:200])
    return Checked(one, True, "")


def told(rebuilt: rebuilding.Rebuilt, id: Link) -> dict[str, Any]:
    """Return what came of making something again, as JSON has it."""
    return {
        "artifact": to_text(id),
        "same": rebuilt.same,
        "digest": rebuilt.digest.hex(),
        "differences": [{"how": one.how, "path": one.path} for one in rebuilt.differences],
    }
