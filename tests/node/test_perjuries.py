"""A store that is handed a checkpoint which excludes the one it keeps holds both against whoever cosigned them."""

from __future__ import annotations

from tslg.node import kept_checkpoints, perjuries
from tslg.node.store.memory import MemoryStore
from tslg.node.witness.key import WitnessKey
from tslg.protocol import extending, note
from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.cid import compute
from tslg.protocol.log import Tree
from tslg.protocol.note import COSIGNATURE
from tslg.protocol.proofs import ConsistencyProof
from tslg.protocol.signatures import ed25519_secret

AGENT = compute(b"an agent")
KEY = WitnessKey("w.example/w", COSIGNATURE, b"w" * 32)
TRUE = Tree(bytes([number]) * 32 for number in range(9))
OTHER = Tree(bytes([number if number < 4 else 99]) * 32 for number in range(9))


def state(tree: Tree, size: int, time: int) -> Signed:
    head = Checkpoint.of(AGENT, size, tree.root(size))
    line = note.sign(head.text, head.origin, ed25519_secret(bytes(32)))
    return Signed(head, (line, KEY.cosign(head, time)))


def test_proof_against_a_witness_is_kept_once_and_can_be_read():
    store = MemoryStore()
    assert perjuries.hold(store, state(OTHER, 6, 5), [KEY.public]) == (), "nothing to hold it against"
    kept_checkpoints.keep(store, state(TRUE, 9, 5))
    proof = ConsistencyProof(AGENT, 6, 9, tuple(TRUE.consistency_proof(6, 9)))
    assert perjuries.hold(store, state(TRUE, 6, 5), [KEY.public], [proof]) == ()
    assert perjuries.hold(store, state(OTHER, 6, 5), [KEY.public]) == (), "nothing shows it"
    assert perjuries.kept(store, KEY.public) is None
    assert perjuries.hold(store, state(OTHER, 6, 5), [KEY.public], [proof]) == (KEY.public,)
    path = extending.path_in_tree(TRUE, 6, 9)
    assert perjuries.kept(store, KEY.public) == (state(OTHER, 6, 5), state(TRUE, 9, 5), path)
    assert perjuries.hold(store, state(OTHER, 9, 8), [KEY.public]) == (KEY.public,)
    assert perjuries.kept(store, KEY.public) == (state(OTHER, 6, 5), state(TRUE, 9, 5), path), "the first is kept"
