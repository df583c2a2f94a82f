"""Log proofs of foreign logs, kept from the walks that verified them: whoever holds parts of a log cannot make them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.proofs import ConsistencyProof, InclusionProof

PROOFS_KEPT: Final = 10_000
"""Proofs kept of one foreign log; beyond it the oldest go, and a later verification asks the network again."""


def read(store: Store, agent: Link) -> tuple[list[InclusionProof], list[ConsistencyProof]]:
    """Return the proofs kept of a foreign log."""
    value = _stored(store, agent)
    inclusion = [InclusionProof.from_map(item) for item in value["inclusion"]]
    return inclusion, [ConsistencyProof.from_map(item) for item in value["consistency"]]


def add(
    store: Store,
    owners: Mapping[Link, Link],
    inclusion: Iterable[InclusionProof],
    consistency: Iterable[ConsistencyProof],
) -> None:
    """Keep the proofs of a walk that reach beyond what is held of each log from its start.

    A bundle may prove records that a bounded walk never met; their proofs are of no use here.

    Args:
        store: where they are kept.
        owners: in whose log each record of the walk lies.
        inclusion, consistency: the proofs.
    """
    fresh: dict[Link, tuple[list[dict[str, Any]], list[dict[str, Any]]]] = {}
    for proof in inclusion:
        owner = owners.get(proof.record)
        if owner is not None and proof.size > _held(store, owner):
            fresh.setdefault(owner, ([], []))[0].append(proof.to_map())
    for link in consistency:
        if link.size > _held(store, link.agent):
            fresh.setdefault(link.agent, ([], []))[1].append(link.to_map())
    for agent, added in fresh.items():
        store.change_meta(_key(agent), partial(_with, *added))


def _with(inclusion: list[dict[str, Any]], consistency: list[dict[str, Any]], kept: bytes | None) -> bytes:
    """Return what is kept of a log's proofs once these have come."""
    value = _decoded(kept)
    return codec.encode(
        {
            "inclusion": _merge(value["inclusion"], inclusion),
            "consistency": _merge(value["consistency"], consistency),
        }
    )


def _held(store: Store, agent: Link) -> int:
    state = store.log_state(agent)
    return 0 if state is None else state.size


def _merge(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    known = {codec.encode(item): item for item in [*old, *new]}
    return list(known.values())[-PROOFS_KEPT:]


def _stored(store: Store, agent: Link) -> dict[str, Any]:
    return _decoded(store.get_meta(_key(agent)))


def _decoded(data: bytes | None) -> dict[str, Any]:
    return {"inclusion": [], "consistency": []} if data is None else codec.decode(data)


def _key(agent: Link) -> str:
    return f"proofs/{to_text(agent)}"
