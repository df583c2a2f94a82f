"""A node's checkpoints: signing heads of own logs, and keeping of each log the newest one that witnesses cosigned."""

from __future__ import annotations

from typing import Final

from tslg.node.home import Home
from tslg.node.store.interface import Store, incomplete
from tslg.protocol.checkpoint import Checkpoint, Signed, encode, parse, parse_log
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError
from tslg.protocol.log import Tree
from tslg.protocol.record import parse_as
from tslg.protocol.signatures import ed25519_secret
from tslg.protocol.tlogproof import LogProof, Subject

_META: Final = "cosigned/"


def head_of(store: Store, agent: Link) -> Checkpoint:
    """Return the present state of a log that is held whole. Raises StoreError."""
    state = store.log_state(agent)
    if state is None:
        raise incomplete(agent, 1)
    return Checkpoint.of(agent, state.size, state.peaks.root())


def sign_head(home: Home, agent: Link) -> Signed:
    """Sign the present state of an own log. Raises UsageError if its key is not here, StoreError."""
    return parse(encode(head_of(home.store, agent), ed25519_secret(home.agent_key(agent).seed)))


def keep(store: Store, signed: Signed) -> None:
    """Keep a checkpoint that witnesses cosigned, unless a larger one of its log is kept already."""
    agent = signed.checkpoint.agent
    held = kept(store, agent)
    if held is None or held.checkpoint.size <= signed.checkpoint.size:
        store.set_meta(_META + to_text(agent), signed.to_bytes())


def kept(store: Store, agent: Link) -> Signed | None:
    """Return the newest kept checkpoint of a log that witnesses cosigned, None if there is none."""
    data = store.get_meta(_META + to_text(agent))
    return None if data is None else parse_log(data)


def prove(store: Store, record: Link, signed: Signed) -> LogProof:
    """Return the proof that a held record lies in its log as the checkpoint states it.

    Raises:
        CheckpointError: `TSLG-K-PROOF` if the checkpoint does not cover the record. StoreError: it is not held.
    """
    agent = signed.checkpoint.agent
    entry, genesis = store.get(record), store.get(agent)
    if entry is None or genesis is None:
        raise incomplete(agent, 1)
    index = parse_as(record, entry.data).seq
    if index >= signed.checkpoint.size:
        raise CheckpointError(
            f"the checkpoint of {signed.checkpoint.size} records does not cover record {index}",
            code="TSLG-K-PROOF",
            mend="make a newer checkpoint first",
            record=record,
        )
    tree = Tree(store.leaves(agent, signed.checkpoint.size))
    return LogProof(Subject(record, genesis.data).to_bytes(), index, tuple(tree.inclusion_proof(index)), signed)
