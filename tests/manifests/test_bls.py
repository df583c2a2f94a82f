"""BLS signing: vectors, secrets out of range, aggregation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from py_ecc.bls import G2ProofOfPossession as Reference

from tslg.manifests import bls
from tslg.protocol import curve

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "bls.json").read_text())


@pytest.mark.parametrize("case", VECTORS["keys"], ids=lambda case: case["public_key"][:8])
def test_key_vectors(case: dict[str, str]) -> None:
    secret = bls.secret_from_seed(bytes.fromhex(case["ikm"]), bytes.fromhex(case["key_info"]))
    assert secret.hex() == case["secret"]
    assert bls.public_key(secret).hex() == case["public_key"]
    assert bls.prove_possession(secret).hex() == case["possession"]


def test_sign_vectors() -> None:
    for case in VECTORS["sign"]:
        assert bls.sign(bytes.fromhex(case["secret"]), bytes.fromhex(case["message"])).hex() == case["signature"]


def test_aggregate_vectors() -> None:
    for case in VECTORS["aggregate"]:
        assert bls.aggregate([bytes.fromhex(item) for item in case["signatures"]]).hex() == case["signature"]


def test_the_reference_verifies_a_signature_not_in_the_vectors() -> None:
    secret = (curve.ORDER - 1).to_bytes(32, "big")
    key, signature = bls.public_key(secret), bls.sign(secret, b"fresh")
    assert Reference.Verify(key, b"fresh", signature)  # type: ignore[arg-type]
    assert bls.verify(key, b"fresh", signature)


SECRETS: list[Any] = [
    bytes(32),
    curve.ORDER.to_bytes(32, "big"),
    b"\xff" * 32,
    bytes(31) + b"\1\0",
    b"\1",
    b"",
    1,
    None,
    bytearray(31) + b"\1",
]


@pytest.mark.parametrize("secret", SECRETS, ids=repr)
def test_secrets_out_of_range_are_refused(secret: Any) -> None:
    for use in (bls.public_key, bls.prove_possession, lambda value: bls.sign(value, b"m")):
        with pytest.raises(ValueError, match="BLS secret"):
            use(secret)


def test_short_seeds_are_refused() -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        bls.secret_from_seed(bytes(31))


@pytest.mark.parametrize("signatures", [[], [bytes(96)], [b"\xc0" + bytes(95), b""]])
def test_aggregate_refuses_nothing_and_non_points(signatures: list[bytes]) -> None:
    with pytest.raises(ValueError, match="aggregate"):
        bls.aggregate(signatures)
