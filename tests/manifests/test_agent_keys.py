"""What an agent signs with: which algorithms, which halves, and what becomes of bad randomness."""

from __future__ import annotations

import pytest

from tslg.manifests.agent_keys import SigningKey
from tslg.protocol import secp256k1
from tslg.protocol.signatures import Alg, verify

SECRET = b"\x07" * 32


@pytest.mark.parametrize("alg", [Alg.ED25519, Alg.ES256K])
def test_what_a_key_signs_verifies_under_what_it_registers(alg: Alg) -> None:
    key = SigningKey.generate(alg, lambda size: SECRET[:size])
    assert key.fields() == {"alg": alg, "key": key.public} and key.post_quantum_public is None
    assert verify(alg, key.public, b"m", key.sign(alg, b"m"))
    assert not verify(alg, key.public, b"n", key.sign(alg, b"m"))
    assert SECRET.hex() not in repr(key) and repr(SECRET) not in repr(key)


def test_a_post_quantum_half_signs_beside() -> None:
    key = SigningKey.generate(Alg.ED25519, lambda size: SECRET[:size], post_quantum=True)
    second = key.fields()["post_quantum"]
    assert second == {"alg": int(Alg.ML_DSA_65), "key": key.post_quantum_public}
    assert verify(Alg.ML_DSA_65, second["key"], b"m", key.sign(Alg.ML_DSA_65, b"m"))


@pytest.mark.parametrize("alg", [Alg.ES256K, Alg.ML_DSA_65])
def test_a_key_signs_with_its_own_algorithms_alone(alg: Alg) -> None:
    with pytest.raises(ValueError, match="does not sign with"):
        SigningKey(Alg.ED25519, SECRET).sign(alg, b"m")


def test_randomness_that_is_no_secret_is_drawn_again_but_not_for_ever() -> None:
    draws = iter([bytes(32), b"\xff" * 32, SECRET])
    assert SigningKey.generate(Alg.ES256K, lambda _: next(draws)).public == secp256k1.public_key(SECRET)
    with pytest.raises(ValueError, match="no secp256k1 secrets"):
        SigningKey.generate(Alg.ES256K, lambda size: bytes(size))


def test_agents_have_no_keys_of_anchors() -> None:
    with pytest.raises(ValueError, match="not of algorithm"):
        SigningKey.generate(Alg.BLS_MULTISIG, lambda size: SECRET[:size])


def test_a_source_that_makes_no_secrets_is_given_up_after_eight() -> None:
    drawn: list[int] = []
    with pytest.raises(ValueError, match="no secp256k1 secrets"):
        SigningKey.generate(Alg.ES256K, lambda size: drawn.append(size) or bytes(size))
    assert drawn == [32] * 8
