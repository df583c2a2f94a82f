"""Combining partial signatures: threshold and multisig."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.manifests import bls, threshold
from tslg.protocol import bls as verifying
from tslg.protocol.curve import ORDER
from tslg.protocol.errors import ManifestError

MESSAGE = b"manifest"
POLYNOMIAL = (1234567, 7654321, 31337)
GROUP, *SECRETS = [
    (sum(c * x**power for power, c in enumerate(POLYNOMIAL)) % ORDER).to_bytes(32, "big") for x in range(10)
]
KEYS = [bls.public_key(secret) for secret in SECRETS]
PARTIALS = {index: threshold.partial_sign(secret, MESSAGE) for index, secret in enumerate(SECRETS)}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(0, 8), min_size=3, max_size=9, unique=True))
def test_any_quorum_gives_the_groups_signature(signers: list[int]) -> None:
    combined = threshold.combine({index: PARTIALS[index] for index in signers}, 3, KEYS, MESSAGE)
    assert combined == bls.sign(GROUP, MESSAGE)


def test_a_bad_partial_is_named() -> None:
    assert threshold.verify_partial(KEYS[1], MESSAGE, PARTIALS[1])
    assert not threshold.verify_partial(KEYS[1], MESSAGE, PARTIALS[2])
    partials = {0: PARTIALS[0], 1: PARTIALS[2], 2: PARTIALS[2], 5: b""}
    with pytest.raises(ManifestError, match=r"TSLG-M-PARTIAL: .* member 1, 5 ") as caught:
        threshold.combine(partials, 3, KEYS, MESSAGE)
    assert "leave it out" in caught.value.mend


def test_too_few_are_refused_and_would_not_verify() -> None:
    partials = {0: PARTIALS[0], 4: PARTIALS[4]}
    with pytest.raises(ManifestError, match="TSLG-M-QUORUM: 2 of 3"):
        threshold.combine(partials, 3, KEYS, MESSAGE)
    assert not verifying.verify(bls.public_key(GROUP), MESSAGE, verifying.interpolate_signatures(partials))


@pytest.mark.parametrize("index", [-1, 9, "0", True])
def test_strangers_are_refused(index: Any) -> None:
    with pytest.raises(ManifestError, match="TSLG-M-PARTIAL"):
        threshold.combine({**PARTIALS, index: PARTIALS[0]} if index is not True else {True: b""}, 3, KEYS, MESSAGE)
    with pytest.raises(ManifestError, match="TSLG-M-PARTIAL"):
        threshold.combine_multisig({index: PARTIALS[0]}, 9)


@pytest.mark.parametrize("needed", [0, 10])
def test_impossible_thresholds_are_refused(needed: int) -> None:
    with pytest.raises(ManifestError, match="TSLG-M-THRESHOLD"):
        threshold.combine(PARTIALS, needed, KEYS, MESSAGE)


@settings(max_examples=15, deadline=None)
@given(st.sets(st.integers(0, 8), min_size=1))
def test_multisig_names_exactly_its_signers(signers: set[int]) -> None:
    signature, bitmap = threshold.combine_multisig({index: PARTIALS[index] for index in signers}, 9)
    assert {index for index in range(16) if bitmap[index // 8] >> index % 8 & 1} == signers
    assert threshold.verify_multisig(KEYS, len(signers), MESSAGE, signature, bitmap)
    assert not threshold.verify_multisig(KEYS, len(signers) + 1, MESSAGE, signature, bitmap)
    other = bytes([bitmap[0] ^ 1]) + bitmap[1:]
    assert not threshold.verify_multisig(KEYS, 1, MESSAGE, signature, other)


def test_multisig_refuses_nothing_and_non_signatures() -> None:
    with pytest.raises(ManifestError, match="TSLG-M-QUORUM"):
        threshold.combine_multisig({}, 9)
    with pytest.raises(ManifestError, match="TSLG-M-PARTIAL"):
        threshold.combine_multisig({0: PARTIALS[0], 1: bytes(96)}, 9)


@pytest.mark.parametrize(("count", "bitmap"), [(1, b"\x01"), (8, b"\x01"), (9, b"\x01\x00")])
def test_a_bitmap_has_as_many_bytes_as_its_members_need(count: int, bitmap: bytes) -> None:
    assert threshold.combine_multisig({0: PARTIALS[0]}, count)[1] == bitmap
