"""The candidate factory: makes what was planned behind the fence, and records it, or records why it is none."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.node.artifacts import graph
from tslg.node.artifacts.package import hash_folder
from tslg.node.artifacts.properties import properties
from tslg.protocol.cid import short
from tslg.protocol.errors import PackageError, TslgError
from tslg.protocol.record import Record
from tslg.simulations.lab import cell, planning, premises, registry
from tslg.simulations.lab.premises import Premises
from tslg.simulations.lab.registry import Sources, canonical

REFUSED: Final = "refused"
CANDIDATE: Final = "candidate"
_FOUNDING: Final = "train"
VERSION: Final = "1"
_KNOWN: Final = 100_000
"""Artifacts among which a package that lies in the lab already is looked for."""


class Refused(NamedTuple):
    """A candidate that is none: by which operator, why, and the decision that says so."""

    operator: str
    code: str
    reason: str
    record: Record


class Order(NamedTuple):
    """What is to be made: by which operator, how, of which artifacts by role, and as part of which batch."""

    operator: str
    how: Mapping[str, Any]
    parents: Mapping[str, Record]
    cohort: Record


def configuration(order: Order) -> bytes:
    """Return the configuration of an operator: all that the package follows from, its parents by their content hash."""
    digests = {role: one.body["package"]["digest"].hex() for role, one in order.parents.items()}
    return canonical({"operator": order.operator, "how": dict(order.how), "parents": digests})


def make(
    lab: Premises,
    sources: Sources,
    order: Order,
    *,
    allowed: Collection[str] = planning.ALLOWED,
    code: Path | None = None,
    limits: cell.CellLimits = cell.CellLimits(),  # noqa: B008
) -> Record | Refused:
    """Make one candidate and record it; whatever is wrong with it is recorded as a refusal, and disturbs nothing else.

    Args:
        lab, sources: where, and by what code.
        order: what.
        allowed: operators that may be used.
        code: other code to run in place of the recorded one; what it makes is held against the recorded one's rules.
        limits: of the cell.

    Raises:
        UsageError: `TSLG-L-FENCE`: this machine cannot fence operators in.
    """
    try:
        if order.operator not in allowed:
            detail = f"operator {order.operator[:40]!r} is none of {', '.join(sorted(allowed))}"
            raise cell.CellError(detail, code="TSLG-L-OPERATOR", mend="use one that the policy allows")
        with tempfile.TemporaryDirectory(prefix="tslg-made-") as name:
            out = Path(name)
            _run(lab, sources, order, out, code, limits)
            _examine(lab, out)
            return _record(lab, sources, order, out)
    except (cell.CellError, PackageError) as error:
        return _refuse(lab, sources, order, error)


def _run(lab: Premises, sources: Sources, order: Order, out: Path, code: Path | None, limits: cell.CellLimits) -> None:
    inputs = {role: lab.package(one) for role, one in order.parents.items()}
    for role, one in order.parents.items():
        if hash_folder(inputs[role]).digest != one.body["package"]["digest"]:
            detail = f"the package of its {role} is not what its record says any more"
            raise cell.CellError(detail, code="TSLG-F-CHANGED", mend="put it back")
    program = code or lab.package(sources.code) / "operators.py"
    cell.run(program, configuration(order), inputs, out, limits)


def _examine(lab: Premises, out: Path) -> None:
    """Refuse what is no model, or what is there already. Raises CellError, PackageError."""
    from tslg.simulations.lab.operators import BadModel, load

    digest = hash_folder(out).digest
    try:
        load(out)
    except BadModel as error:
        raise cell.CellError(str(error), code="TSLG-L-MODEL") from error
    if not (lab.folder / "packages" / digest.hex()).exists():
        return
    store = lab.a.home.store
    for id in store.by_kind("artifact", lab.breeder.id, limit=_KNOWN):
        known = graph.artifact(store, id)
        if known.body["package"]["digest"] == digest:
            detail = f"it is {known.body['name']} ({short(id)}) again, bit for bit"
            raise cell.CellError(detail, code="TSLG-L-REPEATED")


def _record(lab: Premises, sources: Sources, order: Order, out: Path) -> Record:
    import numpy

    parents = list(dict.fromkeys(one.id for one in order.parents.values()))
    taught = order.parents.get("data")
    record = premises.take_in(
        lab.folder,
        lab.breeder,
        out,
        f"{order.operator}-{order.cohort.body['input']['name']}",
        type="model",
        operator=order.operator,
        operator_version=VERSION,
        config=configuration(order),
        parents=parents,
        family="one-hidden-layer",
        training_data=None if taught is None else taught.body["package"]["digest"],
        licences=[registry.OURS],
        cohort=order.cohort,
        evidence=sources.code,
        policy=sources.policy,
        data={"numpy": numpy.__version__, "machine": platform.machine()},
    )
    wrong = [one for one in properties(lab.a.home.store, record.id).obstacles if "to be tested" not in one]
    if wrong:
        lab.breeder.transition(record, "rejected", reason="; ".join(wrong)[:500])
        raise PackageError("; ".join(wrong)[:200], code="TSLG-L-INHERITED", record=record.id)
    return record


def _refuse(lab: Premises, sources: Sources, order: Order, error: TslgError) -> Refused:
    reason = " ".join(error.detail.split())[:300]
    record = lab.breeder.decide(
        CANDIDATE,
        REFUSED,
        evidence=[order.cohort, *dict.fromkeys(one.id for one in order.parents.values())],
        reason=f"{error.code}: {reason}",
        data={"operator": order.operator[:80], "code": error.code},
        policy=sources.policy,
    )
    return Refused(order.operator, error.code, reason, record)


def founder(lab: Premises, sources: Sources, number: int, cohort: Record) -> Record:
    """Make one of the models that the lab begins with, trained from nothing. Raises CellError if it cannot."""
    from tslg.simulations.lab import data
    from tslg.simulations.lab.operators import rows

    chosen, seed = data.SETS[lab.settings["data"]], lab.settings["seed"]
    classes = int(rows(lab.package(sources.parts["base"]))[1].max()) + 1
    how = {**planning.DESCENT, "epochs": chosen.epochs, "hidden": chosen.hidden, "classes": classes}
    order = Order(_FOUNDING, {**how, "seed": 2 * seed + number}, {"data": sources.parts["base"]}, cohort)
    made = make(lab, sources, order, allowed=(_FOUNDING,))
    if isinstance(made, Refused):
        raise cell.CellError(f"no founder: {made.reason}", code=made.code)
    return made
