"""Checkpoints of a node's own logs: signing their heads, and proving that records lie below one."""

from __future__ import annotations

from tslg.manifests.agent_keys import SigningKey
from tslg.node.store.interface import Store, incomplete
from tslg.protocol import introducing
from tslg.protocol.checkpoint import Checkpoint, Signed, encode, parse, verify
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError
from tslg.protocol.keys import key_of
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Tree
from tslg.protocol.record import parse_as
from tslg.protocol.signatures import Alg, ed25519_secret
from tslg.protocol.tlogproof import LogProof, Subject


def head_of(store: Store, agent: Link) -> Checkpoint:
    """Return the present state of a log that is held whole. Raises StoreError."""
    state = store.log_state(agent)
    if state is None:
        raise incomplete(agent, 1)
    return Checkpoint.of(agent, state.size, state.peaks.root())


def sign_head(store: Store, agent: Link, key: SigningKey) -> Signed:
    """Sign the present state of an own log with an Ed25519 key of its agent's. Raises StoreError."""
    return parse(encode(head_of(store, agent), ed25519_secret(key.seed)))


def introduction_of(store: Store, signed: Signed) -> bytes | None:
    """Return what shows a stranger whose key signed the checkpoint of an own log; None if the log is not held.

    The agent's genesis, and the registrations that lead from its key to the one that signed.
    """
    agent = signed.checkpoint.agent
    genesis = store.get(agent)
    if genesis is None:
        return None
    entries = store.get_many(store.by_kind("registration", agent, limit=DEFAULT.walk_edges))
    registered = {id: parse_as(id, entry.data) for id, entry in entries.items()}
    signers = [key for record in registered.values() if (key := key_of(record)) and key.alg == Alg.ED25519]
    signer: Link | None = next((key.record for key in signers if verify(signed, key.public)), None)
    led = []
    while signer is not None and signer in registered:
        led.append((entries[signer].data, entries[signer].seal))
        signer = registered[signer].key
    return introducing.encode(genesis.data, reversed(led))


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
