"""BLS verification: vectors, malformed input, rogue keys, batches, shares of a group key."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls import G2ProofOfPossession as Reference

from tslg.manifests import bls as signing
from tslg.protocol import bls, curve

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "bls.json").read_text())
IDENTITY_KEY = b"\xc0" + bytes(47)
IDENTITY_SIGNATURE = b"\xc0" + bytes(95)
JUNK: list[Any] = [None, 0, -1, 1.5, True, "x" * 48, b"", bytes(48), bytes(96), b"\xff" * 48, b"\xff" * 96, [], {}, [1]]


def secrets(count: int) -> list[bytes]:
    return [signing.secret_from_seed(bytes([index]) * 32) for index in range(1, count + 1)]


def share_keys(polynomial: list[int], count: int) -> tuple[bytes, list[bytes]]:
    """The group's key and `count` members' keys under a polynomial, lowest coefficient first."""
    values = [sum(c * x**power for power, c in enumerate(polynomial)) % curve.ORDER for x in range(count + 1)]
    group, *members = [signing.public_key(value.to_bytes(32, "big")) for value in values]
    return group, members


@pytest.mark.spec("SEA-19", "SEA-20")
@pytest.mark.parametrize("case", VECTORS["verify"], ids=lambda case: case["name"])
def test_verify_vectors(case: dict[str, Any]) -> None:
    key, message, signature = (bytes.fromhex(case[name]) for name in ("public_key", "message", "signature"))
    assert bls.verify(key, message, signature) is case["valid"]
    assert bls.fast_aggregate_verify([key], message, signature) is case["valid"]
    assert bls.aggregate_verify([key], [message], signature) is case["valid"]


@pytest.mark.spec("MAN-7")
def test_possession_vectors() -> None:
    keys = [bytes.fromhex(key["public_key"]) for key in VECTORS["keys"]]
    proofs = [bytes.fromhex(key["possession"]) for key in VECTORS["keys"]]
    assert all(map(bls.verify_possession, keys, proofs))
    assert bls.verify_possessions(keys, proofs)
    assert not bls.verify_possession(keys[0], proofs[1])


def test_aggregate_vectors() -> None:
    keys = [bytes.fromhex(key["public_key"]) for key in VECTORS["keys"]]
    messages = [bytes.fromhex(message) for message in VECTORS["messages"]]
    joint, each, _ = (bytes.fromhex(item["signature"]) for item in VECTORS["aggregate"])
    assert bls.fast_aggregate_verify(keys, messages[1], joint)
    assert bls.aggregate_verify(keys, [messages[1]] * 3, joint), "messages may repeat in this suite"
    assert bls.aggregate_verify(keys, messages, each)
    assert not bls.aggregate_verify(keys, messages[::-1], each)
    assert not bls.fast_aggregate_verify(keys[:2], messages[1], joint)
    assert Reference.FastAggregateVerify(keys, messages[1], joint)  # type: ignore[arg-type]


def test_a_proof_of_possession_is_no_signature() -> None:
    secret = secrets(1)[0]
    key = signing.public_key(secret)
    assert not bls.verify(key, key, signing.prove_possession(secret))
    assert not bls.verify_possession(key, signing.sign(secret, key))


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: repr(junk)[:12])
def test_malformed_input_is_false(junk: Any) -> None:
    secret = secrets(1)[0]
    key, signature = signing.public_key(secret), signing.sign(secret, b"m")
    proof = signing.prove_possession(secret)
    assert not bls.valid_public_key(junk)
    assert not bls.verify(junk, b"m", signature)
    assert not bls.verify(key, junk, signature)
    assert not bls.verify(key, b"m", junk)
    assert not bls.verify_possession(junk, proof)
    assert not bls.verify_possession(key, junk)
    for keys in (junk, [junk], [key, junk]):
        assert not bls.fast_aggregate_verify(keys, b"m", signature)
        assert not bls.aggregate_verify(keys, [b"m"], signature)
        assert not bls.verify_possessions(keys, [proof])
        assert not bls.shares_match_group(keys, 1, key)
        assert not bls.verify_multisig(keys, 1, b"m", signature, b"\x01")
    assert not bls.fast_aggregate_verify([key], b"m", junk)
    assert not bls.aggregate_verify([key], junk, signature)
    assert not bls.aggregate_verify([key], [junk], signature)
    assert not bls.aggregate_verify([key], [b"m"], junk)
    assert not bls.verify_possessions([key], junk)
    assert not bls.verify_possessions([key], [junk])
    assert not bls.shares_match_group([key], 1, junk)
    assert not bls.verify_multisig([key], 1, b"m", signature, junk)
    if type(junk) is not int:
        assert not bls.shares_match_group([key], junk, key)
        assert not bls.verify_multisig([key], junk, b"m", signature, b"\x01")


def test_empty_lists_are_false() -> None:
    assert not bls.fast_aggregate_verify([], b"m", IDENTITY_SIGNATURE)
    assert not bls.aggregate_verify([], [], IDENTITY_SIGNATURE)
    assert not bls.verify_possessions([], [])


@pytest.mark.spec("SEA-19")
@pytest.mark.parametrize("encoding", [b"\xe0" + bytes(47), b"\xc0" + bytes(46) + b"\1", b"\xff" * 48])
def test_other_encodings_of_the_identity_are_refused(encoding: bytes) -> None:
    assert curve.decode_g1(encoding) is None
    assert curve.decode_g2(encoding + bytes(48)) is None


def test_the_identity_is_a_point_but_no_key() -> None:
    assert curve.decode_g1(IDENTITY_KEY) is not None
    assert not bls.valid_public_key(IDENTITY_KEY)
    assert curve.decode_g2(IDENTITY_SIGNATURE) is not None


def test_keys_that_cancel_verify_nothing_as_one_key() -> None:
    key = signing.public_key(secrets(1)[0])
    opposite = bytes([key[0] ^ 0x20]) + key[1:]
    assert bls.valid_public_key(opposite)
    assert not bls.fast_aggregate_verify([key, opposite], b"m", IDENTITY_SIGNATURE)
    # The draft verifies this one, and so does the reference: the product of the pairings is one.
    assert bls.aggregate_verify([key, opposite], [b"m", b"m"], IDENTITY_SIGNATURE)


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=47, max_size=49), st.binary(min_size=95, max_size=97))
def test_what_decodes_encodes_to_itself(first: bytes, second: bytes) -> None:
    one, two = curve.decode_g1(first), curve.decode_g2(second)
    assert one is None or one.to_compressed_bytes() == first
    assert two is None or two.to_compressed_bytes() == second


def test_a_rogue_key_forges_an_aggregate_and_has_no_possession() -> None:
    honest, attacker = (curve.decode_g1(signing.public_key(secret)) for secret in secrets(2))
    assert honest is not None and attacker is not None
    keys = [honest.to_compressed_bytes(), (attacker - honest).to_compressed_bytes()]
    forged = signing.sign(secrets(2)[1], b"the honest member never saw this")
    assert bls.fast_aggregate_verify(keys, b"the honest member never saw this", forged)
    proofs = [signing.prove_possession(secret) for secret in secrets(2)]
    assert not bls.verify_possession(keys[1], proofs[1])
    assert not bls.verify_possessions(keys, proofs)


def test_a_batch_of_possessions_refuses_errors_that_cancel() -> None:
    keys = [signing.public_key(secret) for secret in secrets(3)]
    points = [curve.decode_g2(signing.prove_possession(secret)) for secret in secrets(3)]
    shift = curve.G2Point()
    first, second, third = (point for point in points if point is not None)
    good = [point.to_compressed_bytes() for point in (first, second, third)]
    bad = [point.to_compressed_bytes() for point in (first + shift, second - shift, third)]
    assert bls.verify_possessions(keys, good)
    assert not bls.verify_possessions(keys, bad)
    assert not bls.verify_possessions(keys, [good[1], good[0], good[2]])
    assert not bls.verify_possessions(keys, good[:2])


@pytest.mark.spec("MAN-9")
@pytest.mark.parametrize(("threshold", "count"), [(1, 1), (1, 3), (2, 3), (3, 3), (5, 9)])
def test_shares_match_their_group_and_no_other(threshold: int, count: int) -> None:
    group, members = share_keys([7 * power + 3 for power in range(1, threshold + 1)], count)
    assert bls.shares_match_group(members, threshold, group)
    for wrong in {threshold - 1, threshold + 1, 0, -1, count + 1} - {threshold}:
        assert not bls.shares_match_group(members, wrong, group)
    other = signing.public_key(bytes(31) + b"\x63")
    assert not bls.shares_match_group(members, threshold, other)
    for index in range(count):
        assert not bls.shares_match_group([*members[:index], other, *members[index + 1 :]], threshold, group)
    if threshold > 1:
        assert not bls.shares_match_group([members[1], members[0], *members[2:]], threshold, group)


@pytest.mark.spec("SEA-21")
def test_multisig_bitmaps() -> None:
    own = secrets(9)
    keys = [signing.public_key(secret) for secret in own]
    signature = signing.aggregate([signing.sign(own[index], b"m") for index in (0, 2, 8)])
    assert bls.verify_multisig(keys, 3, b"m", signature, b"\x05\x01")
    assert bls.verify_multisig(keys, 1, b"m", signature, b"\x05\x01")
    for bitmap in (b"\x05", b"\x05\x01\x00", b"\x05\x03", b"\x05\x00", b"\x04\x01", b"\x15\x01", b"\x00\x00", b""):
        assert not bls.verify_multisig(keys, 1, b"m", signature, bitmap)
    for threshold in (4, 0, -1):
        assert not bls.verify_multisig(keys, threshold, b"m", signature, b"\x05\x01")
    assert not bls.verify_multisig(keys, 3, b"n", signature, b"\x05\x01")


@pytest.mark.spec("SEA-21")
def test_nobody_counts_twice_in_a_multisig() -> None:
    secret = secrets(1)[0]
    key, signature = signing.public_key(secret), signing.sign(secret, b"m")
    twice = signing.aggregate([signature, signature])
    assert not bls.verify_multisig([key, key], 2, b"m", twice, b"\x03")


def test_keys_interpolate_from_any_quorum() -> None:
    group, members = share_keys([11, 5, 9], 5)
    assert bls.interpolate_keys({0: members[0], 3: members[3], 4: members[4]}) == group
    assert bls.interpolate_keys({2: members[2], 1: members[1], 0: members[0]}) == group
    assert bls.interpolate_keys({0: members[0], 1: members[1]}) != group


@pytest.mark.parametrize("shares", [{}, {-1: bytes(48)}, {0: IDENTITY_KEY}])
def test_interpolation_refuses_what_it_cannot_use(shares: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match=r"share is not valid|index"):
        bls.interpolate_keys(shares)
    with pytest.raises(ValueError, match=r"share is not valid|index"):
        bls.interpolate_signatures(shares)
    with pytest.raises(ValueError, match="distinct"):
        curve.at_zero([1, 1])


def test_both_libraries_give_the_same_answers() -> None:
    """The fallback, in an interpreter that cannot import the fast library."""
    script = """
import json, sys
sys.modules["py_arkworks_bls12381"] = None
from tslg.manifests import bls as signing
from tslg.protocol import bls, curve
assert curve.G1Point.__module__ == "tslg.protocol.curve_reference"
keys = [signing.public_key(bytes(31) + bytes([s])) for s in (12, 19)]
proofs = [signing.prove_possession(bytes(31) + bytes([s])) for s in (12, 19)]
joint = signing.aggregate([signing.sign(bytes(31) + bytes([s]), b"m") for s in (12, 19)])
group = bls.interpolate_keys(dict(enumerate(keys)))
print(json.dumps([
    [item.hex() for item in (*keys, *proofs, joint, group)],
    [bls.verify_possessions(keys, proofs), bls.verify_possessions(keys, proofs[::-1]),
     bls.fast_aggregate_verify(keys, b"m", joint), bls.fast_aggregate_verify(keys, b"n", joint),
     bls.shares_match_group(keys, 2, group), bls.shares_match_group(keys, 2, keys[0]),
     bls.verify(keys[0], b"m", bytes(96)), bls.valid_public_key(bytes.fromhex(sys.argv[1]))],
]))
"""
    off = next(case["public_key"] for case in VECTORS["verify"] if case["name"] == "key off the subgroup")
    root = str(Path(__file__).parents[2] / "src")
    run = subprocess.run(
        [sys.executable, "-c", script, off], capture_output=True, text=True, check=True, env={"PYTHONPATH": root}
    )
    values, answers = json.loads(run.stdout)
    assert answers == [True, False, True, False, True, False, False, False]
    own = [bytes(31) + bytes([number]) for number in (12, 19)]
    keys = [signing.public_key(secret) for secret in own]
    proofs = [signing.prove_possession(secret) for secret in own]
    joint = signing.aggregate([signing.sign(secret, b"m") for secret in own])
    assert values == [item.hex() for item in (*keys, *proofs, joint, bls.interpolate_keys(dict(enumerate(keys))))]


def test_a_remembered_answer_is_that_of_its_own_key_message_signature_and_purpose() -> None:
    one, two = secrets(2)
    key, other = signing.public_key(one), signing.public_key(two)
    signature = signing.sign(one, key)
    for _ in range(2):
        assert bls.verify(key, key, signature)
        assert not bls.verify_possession(key, signature), "signed, but not as a proof of possession"
        assert not bls.verify(other, key, signature)
        assert not bls.verify(key, other, signature)
        assert not bls.verify(key, key, signing.sign(two, key))
        assert not bls.fast_aggregate_verify([key, other], key, signature)


def test_what_cannot_hold_is_not_remembered() -> None:
    before = bls._aggregate_holds.cache_info().currsize, bls._decoded.cache_info().currsize
    for junk in (b"", bytes(10_000)):
        assert not bls.verify(junk, b"message", bytes(96))
        assert not bls.verify(signing.public_key(secrets(1)[0]), b"message", junk)
    assert bls._aggregate_holds.cache_info().currsize == before[0]
    assert bls._decoded.cache_info().currsize <= before[1] + 1


def test_random_weights_are_of_128_bits() -> None:
    first, *others = bls._coefficients(b"tag", [b"input"], 20)
    assert first == 1 and len(set(others)) == 19
    assert max(others) >> 124 and not max(others) >> 128
