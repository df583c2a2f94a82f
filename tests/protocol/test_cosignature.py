"""Cosignatures against C2SP tlog-cosignature, and against witnesses, logs and mediators that cheat."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tslg.node.witness.key import WitnessKey
from tslg.protocol import checkpoint, cosignature, note
from tslg.protocol.anchoring import Anchoring, vouched
from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.cosignature import Policy, cosigned, policy_of
from tslg.protocol.errors import CheckpointError
from tslg.protocol.note import COSIGNATURE, COSIGNATURE_ML_DSA_44, NoteSignature, VerifierKey

C2SP = json.loads((Path(__file__).parents[1] / "vectors" / "c2sp.json").read_text(encoding="utf-8"))
HEAD = Checkpoint("example.com/log", 7, bytes(range(32)))
WITNESSES = [
    WitnessKey("w.example/a", COSIGNATURE, b"a" * 32),
    WitnessKey("w.example/b", COSIGNATURE, b"b" * 32),
    WitnessKey("w.example/c", COSIGNATURE_ML_DSA_44, b"c" * 32),
]
POLICY = policy_of([key.public for key in WITNESSES], 2)
NOW = 1_700_000_000


def signed(*lines: NoteSignature, head: Checkpoint = HEAD) -> Signed:
    return Signed(head, lines)


@pytest.mark.parametrize("example", C2SP["checkpoints"], ids=lambda example: example["from"])
@pytest.mark.spec("CHK-2", "CHK-8")
def test_published_checkpoints_are_read(example):
    read = checkpoint.parse(example["note"].encode())
    assert read.to_bytes() == example["note"].encode()
    assert (read.checkpoint.size, len(read.signatures)) == (example["size"], example["signatures"])
    if "cosigned" in example:
        assert int.from_bytes(read.signatures[1].value[:8], "big") == example["cosigned"]
        assert len(read.signatures[1].value) == 8 + 64


@pytest.mark.spec("CHK-8")
def test_the_published_message_is_what_is_signed():
    example = C2SP["message"]
    head = checkpoint.parse(C2SP["checkpoints"][0]["note"].encode()).checkpoint
    key = VerifierKey("w", COSIGNATURE, bytes(32))
    assert cosignature.message(key, head, example["time"]) == example["text"].encode()


@pytest.mark.spec("CHK-9")
def test_the_ml_dsa_message_is_the_structure_of_the_specification():
    key = VerifierKey("oid/1.2", COSIGNATURE_ML_DSA_44, bytes(1312))
    expected = b"subtree/v1\n\x00" + b"\x07oid/1.2" + (5).to_bytes(8, "big") + b"\x0fexample.com/log"
    expected += bytes(8) + (7).to_bytes(8, "big") + bytes(range(32))
    assert cosignature.message(key, HEAD, 5) == expected


@pytest.mark.parametrize("key", WITNESSES, ids=lambda key: key.name)
def test_each_type_is_made_and_verified(key):
    line = key.cosign(HEAD, NOW)
    assert cosignature.verify(key.public, HEAD, line) == NOW
    assert len(line.value) == 8 + (64 if key.type == COSIGNATURE else 2420)
    changed = line._replace(value=line.value[:-1] + bytes([line.value[-1] ^ 1]))
    later = line._replace(value=(NOW + 1).to_bytes(8, "big") + line.value[8:])
    for other in (changed, later, line._replace(value=line.value[:8]), line._replace(value=b"x")):
        assert cosignature.verify(key.public, HEAD, other) is None


@pytest.mark.parametrize("key", WITNESSES, ids=lambda key: key.name)
@pytest.mark.parametrize(
    "head",
    [HEAD._replace(origin="example.com/other"), HEAD._replace(size=8), HEAD._replace(root=bytes(32))],
    ids=["origin", "size", "root"],
)
@pytest.mark.spec("CHK-10")
def test_a_cosignature_of_another_checkpoint_is_not_replayed(key, head):
    line = key.cosign(HEAD, NOW)
    assert cosignature.verify(key.public, head, line) is None
    with pytest.raises(CheckpointError, match=key.name):
        cosigned(signed(line, head=head), POLICY)


@pytest.mark.parametrize("key", WITNESSES, ids=lambda key: key.name)
@pytest.mark.parametrize("time", [0, 2**63])
@pytest.mark.spec("CHK-10")
def test_times_that_no_witness_may_give_make_no_cosignature(key, time):
    assert cosignature.verify(key.public, HEAD, key.cosign(HEAD, time)) is None


def test_a_cosignature_of_the_future_does_not_count():
    note_ = signed(WITNESSES[0].cosign(HEAD, NOW), WITNESSES[1].cosign(HEAD, NOW + 1))
    assert [key.name for key in cosigned(note_, POLICY, NOW)] == ["w.example/a"]
    assert len(cosigned(note_, POLICY, NOW + 1)) == len(cosigned(note_, POLICY)) == 2


@pytest.mark.spec("CHK-10")
def test_a_witness_counts_once_however_often_it_signs():
    lines = [WITNESSES[0].cosign(HEAD, NOW + n) for n in range(3)]
    assert cosigned(signed(*lines, *lines), POLICY) == {WITNESSES[0].public: NOW + 2}


@pytest.mark.spec("CHK-5")
def test_lines_of_keys_that_are_not_asked_for_are_ignored():
    own = WITNESSES[0].cosign(HEAD, NOW)
    same_name = own._replace(key_id=b"abcd", value=b"nonsense")
    same_id = own._replace(name="w.example/else", value=b"nonsense")
    assert list(cosigned(signed(same_name, same_id, own), POLICY)) == [WITNESSES[0].public]


@pytest.mark.spec("CHK-10")
def test_a_line_that_claims_to_be_a_witness_and_is_not_spoils_the_note():
    forged = WITNESSES[0].cosign(HEAD, NOW)._replace(value=bytes(72))
    with pytest.raises(CheckpointError) as raised:
        cosigned(signed(forged, WITNESSES[1].cosign(HEAD, NOW)), POLICY)
    assert raised.value.code == "TSLG-K-COSIGNATURE"


@pytest.mark.spec("CHK-11")
def test_policies_that_could_count_a_witness_twice_are_none():
    first = WITNESSES[0].public
    log = VerifierKey("l", note.ED25519, first.public)
    both = [first, VerifierKey(first.name, COSIGNATURE_ML_DSA_44, WITNESSES[2].public.public)]
    for keys, quorum in [
        (both, 2),
        ([first, first], 1),
        ([first, first._replace(name="else")], 2),
        ([log], 1),
        ([first], 2),
    ]:
        with pytest.raises(CheckpointError):
            policy_of(keys, quorum)
    assert policy_of([], 0) == Policy((), 0)


def test_a_quorum_lies_between_none_and_all():
    keys = [key.public for key in WITNESSES]
    assert [policy_of(keys, quorum).quorum for quorum in (0, 3)] == [0, 3]
    for quorum in (-1, 4):
        with pytest.raises(CheckpointError, match="quorum"):
            policy_of(keys, quorum)


@pytest.mark.spec("ANC-13")
def test_a_quorum_stands_since_the_last_witness_of_it_cosigned():
    lines = [key.cosign(HEAD, NOW + late) for late, key in enumerate(WITNESSES)]
    for quorum, late in ((1, 2), (2, 1), (3, 0)):
        asked = Anchoring("batch", 0, policy_of([key.public for key in WITNESSES], quorum))
        assert vouched(signed(*lines), asked, NOW * 1000) == (NOW + late) * 1000
    assert vouched(signed(*lines[:2]), asked, NOW * 1000) is None
