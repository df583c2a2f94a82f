"""Two cosigned checkpoints are proof against a witness where they exclude each other, and nowhere else."""

from __future__ import annotations

import pytest

from tslg.node.witness.key import WitnessKey
from tslg.protocol import extending, note
from tslg.protocol.checkpoint import Checkpoint, Signed, origin_of
from tslg.protocol.cid import compute
from tslg.protocol.log import Tree
from tslg.protocol.note import COSIGNATURE
from tslg.protocol.perjury import perjured
from tslg.protocol.signatures import ed25519_secret

AGENT = compute(b"an agent")
SECRET = ed25519_secret(bytes(32))
KEYS = [WitnessKey(f"w{number}.example/w", COSIGNATURE, bytes([number]) * 32) for number in range(3)]
PUBLIC = [key.public for key in KEYS]
TRUE = Tree(bytes([number]) * 32 for number in range(9))
OTHER = Tree(bytes([number if number < 4 else 99]) * 32 for number in range(9))


def state(tree: Tree, size: int, times: dict[int, int], agent=AGENT) -> Signed:
    head = Checkpoint(origin_of(agent), size, tree.root(size))
    lines = [KEYS[number].cosign(head, time) for number, time in times.items()]
    return Signed(head, (note.sign(head.text, head.origin, SECRET), *lines))


def names(*found) -> list[int]:
    return [PUBLIC.index(key) for key in perjured(*found, PUBLIC)]


@pytest.mark.spec("ANC-20")
def test_two_roots_of_one_size_convict_whoever_cosigned_both():
    one, other = state(TRUE, 6, {0: 5, 1: 5}), state(OTHER, 6, {1: 7, 2: 7})
    assert names(one, other, ()) == names(other, one, ()) == [1]
    assert names(one, state(TRUE, 6, {0: 9, 1: 9}), ()) == []


@pytest.mark.spec("ANC-20")
def test_a_path_shows_that_a_larger_state_does_not_extend_a_smaller():
    small, large = state(TRUE, 6, {0: 5, 1: 5}), state(OTHER, 9, {0: 7})
    led = extending.path_in_tree(OTHER, 6, 9)
    assert names(small, large, led) == [0]
    assert names(small, large, ()) == [], "nothing shows it"
    assert names(small, large, extending.path_in_tree(TRUE, 6, 9)) == [], "a path to elsewhere"
    assert names(small, state(TRUE, 9, {0: 7}), extending.path_in_tree(TRUE, 6, 9)) == []


@pytest.mark.spec("ANC-20")
def test_a_smaller_state_as_of_later_than_a_larger_convicts():
    assert names(state(TRUE, 6, {0: 8, 1: 5}), state(TRUE, 9, {0: 7, 1: 7}), ()) == [0]
    assert names(state(TRUE, 6, {0: 7}), state(TRUE, 9, {0: 7}), ()) == [], "a second has room for both"


def test_other_logs_and_lines_that_are_no_cosignatures_prove_nothing():
    one = state(TRUE, 6, {0: 5})
    elsewhere = state(OTHER, 6, {0: 7}, compute(b"another"))
    assert names(one, elsewhere, ()) == []
    borrowed = state(OTHER, 6, {})
    assert names(one, borrowed._replace(signatures=(*borrowed.signatures, one.signatures[1])), ()) == []
