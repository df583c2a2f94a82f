"""Proof against witnesses that a store came to hold: two checkpoints that one witness must not have cosigned both."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Final

from tslg.node import kept_checkpoints
from tslg.node.store.interface import Store
from tslg.protocol import codec, extending
from tslg.protocol.checkpoint import Signed, parse_log
from tslg.protocol.note import VerifierKey
from tslg.protocol.perjury import perjured
from tslg.protocol.proofs import ConsistencyProof

_META: Final = "perjury/"

_log = logging.getLogger(__name__)


def hold(
    store: Store, signed: Signed, witnesses: Iterable[VerifierKey], proofs: Sequence[ConsistencyProof] = ()
) -> tuple[VerifierKey, ...]:
    """Hold a checkpoint against the one that is kept of its log; keep both where they are proof against a witness.

    Args:
        store: keeps checkpoints, and the proof.
        signed: a checkpoint of an agent's log, with cosignatures.
        witnesses: keys of witnesses.
        proofs: consistency proofs that may lead from the smaller to the larger.

    Returns:
        The witnesses against whom the two are proof.
    """
    agent = signed.checkpoint.agent
    other = kept_checkpoints.kept(store, agent)
    if other is None or other.checkpoint == signed.checkpoint:
        return ()
    old, new = sorted((other, signed), key=lambda one: one.checkpoint.size)
    path: Sequence[bytes] | None = ()
    if old.checkpoint.size < new.checkpoint.size:
        path = extending.path_from(agent, old.checkpoint.size, new.checkpoint.size, proofs)
    found = perjured(old, new, path or (), witnesses)
    for key in found:
        if kept(store, key) is not None:
            continue
        proof = codec.encode({"checkpoints": [old.to_bytes(), new.to_bytes()], "path": list(path or ())})
        store.set_meta(_META + key.text, proof)
        _log.warning("witness %s cosigned two states of a log that exclude each other", key.name)
    return found


def kept(store: Store, key: VerifierKey) -> tuple[Signed, Signed, tuple[bytes, ...]] | None:
    """Return the proof against a witness that is kept: two checkpoints, and the path between them; None without one."""
    data = store.get_meta(_META + key.text)
    if data is None:
        return None
    value = codec.decode(data)
    assert isinstance(value, dict)
    old, new = map(parse_log, value["checkpoints"])
    return old, new, tuple(value["path"])
