"""Proof files against C2SP tlog-proof, as written by a log and as changed by a mediator."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from world import World

from tslg.manifests import genesis as geneses
from tslg.manifests.agent_keys import SigningKey
from tslg.protocol import checkpoint, codec, tlogproof
from tslg.protocol.checkpoint import Checkpoint
from tslg.protocol.cid import compute
from tslg.protocol.errors import CheckpointError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.log import Tree
from tslg.protocol.signatures import Alg, ed25519_public_key, ed25519_secret
from tslg.protocol.tlogproof import LogProof, Subject

SECRET = ed25519_secret(bytes(32))
LEAVES = [compute(bytes([n])) for n in range(9)]
TREE = Tree(LEAVES)
AGENT = compute(b"agent")
SIGNED = checkpoint.parse(checkpoint.encode(Checkpoint.of(AGENT, 9, TREE.root()), SECRET))
PROOF = LogProof(Subject(LEAVES[3], b"genesis").to_bytes(), 3, tuple(TREE.inclusion_proof(3)), SIGNED)
DATA = PROOF.to_bytes()


@pytest.mark.spec("CHK-12")
def test_the_file_is_laid_out_as_the_specification_says():
    head, note = DATA.split(b"\n\n", 1)
    lines = head.decode().split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1" and lines[1].startswith("extra ") and lines[2] == "index 3"
    assert [base64.b64decode(line) for line in lines[3:]] == TREE.inclusion_proof(3)
    assert note == SIGNED.to_bytes()


@given(st.integers(0, 8), st.binary() | st.none())
def test_what_was_written_is_read(index, extra):
    proof = LogProof(extra, index, tuple(TREE.inclusion_proof(index)), SIGNED)
    read = tlogproof.parse(proof.to_bytes())
    assert read == proof
    assert [read.includes(leaf) for leaf in LEAVES] == [n == index for n in range(9)]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        DATA.replace(b"@v1", b"@v2"),
        DATA.replace(b"index 3", b"index 03"),
        DATA.replace(b"index 3\n", b""),
        DATA.replace(b"extra ", b"extra  "),
        DATA.replace(b"index 3\n", b"index 3\nAAAA\n"),
        DATA.replace(b"index 3\n", b"index 3\n" + (b"A" * 43 + b"=\n") * 65),
        DATA.replace(b"index 3\n", b"index 3\nextra AAAA\n"),
        DATA + b"x",
        DATA[:-1],
        DATA + b"x" * DEFAULT.log_proof_bytes,
        DATA.replace(b"index", "indéx".encode()),
    ],
)
@pytest.mark.spec("CHK-12")
def test_what_is_no_proof_is_refused(data):
    with pytest.raises(CheckpointError):
        tlogproof.parse(data)


@pytest.mark.parametrize(
    "extra",
    [
        None,
        b"",
        b"\xa0",
        Subject(AGENT, b"")[1],
        b"\xff",
        b"\x80",
        codec.encode({"record": LEAVES[3], "genesis": b"genesis", "more": 1}),
    ],
)
@pytest.mark.spec("CHK-13")
def test_extra_data_that_names_no_record_is_refused(extra):
    with pytest.raises(CheckpointError):
        tlogproof.subject(PROOF._replace(extra=extra))
    assert tlogproof.subject(PROOF) == Subject(LEAVES[3], b"genesis")


@pytest.mark.spec("CHK-13")
def test_a_genesis_speaks_only_for_the_log_that_is_its_hash():
    assert tlogproof.own_keys(SIGNED.checkpoint.origin, b"genesis") == []
    assert tlogproof.own_keys("example.com/log", b"genesis") == []


@pytest.mark.spec("CHK-13")
def test_a_genesis_speaks_for_its_log_with_an_ed25519_key_alone():
    world = World()
    author = world.agent("a")
    born, later = author.log[0], world.add(author, "policy")
    other = geneses.build_genesis(
        world.founded.manifest, name="o", nonce=bytes(16), time_ms=born.time, key=SigningKey(int(Alg.ES256K), b"k" * 32)
    )

    def keys_of(record, log):
        return tlogproof.own_keys(Checkpoint.of(log, 1, bytes(32)).origin, record.data)

    assert keys_of(born, born.id) == [born.body["key"]]
    assert keys_of(born, other.id) == keys_of(other, other.id) == []
    assert keys_of(later, later.id) == keys_of(world.founded.manifest_record, world.federation) == []


def test_no_more_hashes_than_a_proof_may_have_are_read():
    few = Limits(proof_hashes=len(PROOF.hashes))
    assert tlogproof.parse(DATA, few) == PROOF
    with pytest.raises(CheckpointError, match="more than"):
        tlogproof.parse(DATA, replace(few, proof_hashes=len(PROOF.hashes) - 1))
    assert tlogproof.parse(DATA, Limits(log_proof_bytes=len(DATA))) == PROOF
    with pytest.raises(CheckpointError, match="too long"):
        tlogproof.parse(DATA, Limits(log_proof_bytes=len(DATA) - 1))


def test_given_keys_count_for_their_own_log_alone():
    origin, public = SIGNED.checkpoint.origin, ed25519_public_key(bytes(32))
    key = checkpoint.log_key(origin, public)
    assert tlogproof.given_keys(origin, [key.text]) == [public]
    assert tlogproof.given_keys("tslg/else", [key.text]) == []
    assert tlogproof.given_keys(origin, [key._replace(type=4).text]) == []
