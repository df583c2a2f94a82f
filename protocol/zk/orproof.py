"""Proofs that a commitment opens to one of a few values, without telling which (Cramer, Damgård, Schoenmakers 1994).

Any number of claims are proved together under one challenge. A proof holds the challenge, and for each claim all but
the last branch's challenge, and every branch's response; the first messages are computed from these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final, NamedTuple

from tslg.protocol.zk.commitments import shift
from tslg.protocol.zk.group import ORDER, SIZE, mul, mul_base, read_scalar, sub, wide_scalar, write_scalar
from tslg.protocol.zk.transcript import Transcript

_NONCE: Final = b"tslg.narrowing.v1 nonce"


class Claim(NamedTuple):
    """The claim that `element` is a commitment to one of `values` (scalars, at least one)."""

    element: bytes
    values: tuple[int, ...]


class Witness(NamedTuple):
    """What makes a claim true: the value committed to, and the blinding."""

    value: int
    blinding: int


class Nonces:
    """An endless stream of secret scalars from one 64-byte key, none of which is ever used twice."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._drawn = 0

    def draw(self) -> int:
        """Return the next scalar."""
        self._drawn += 1
        return wide_scalar(hashlib.sha512(_NONCE + self._key + self._drawn.to_bytes(8, "big")).digest())


def proof_size(branches: Sequence[int]) -> int:
    """Return the bytes of a proof of claims with so many values each."""
    return SIZE + sum(SIZE * (2 * count - 1) for count in branches)


def prove(transcript: Transcript, claims: Sequence[Claim], witnesses: Sequence[Witness], nonces: Nonces) -> bytes:
    """Prove all claims together.

    Raises:
        ValueError: a witness's value is not among its claim's.
    """
    started = [_start(claim, witness, nonces) for claim, witness in zip(claims, witnesses, strict=True)]
    challenge = _challenge(transcript, claims, [first for one in started for first in one.firsts])
    proof = [write_scalar(challenge)]
    for one, witness in zip(started, witnesses, strict=True):
        challenges, responses = list(one.challenges), list(one.responses)
        own = (challenge - sum(challenges)) % ORDER
        challenges[one.branch] = own
        responses[one.branch] = (one.nonce + own * witness.blinding) % ORDER
        proof += map(write_scalar, (*challenges[:-1], *responses))
    return b"".join(proof)


def verify(transcript: Transcript, claims: Sequence[Claim], proof: bytes) -> bool:
    """Tell whether a proof shows all claims. Never raises; `proof` of any other length than `proof_size` is false."""
    if len(proof) != proof_size([len(claim.values) for claim in claims]):
        return False
    scalars = [read_scalar(proof[at : at + SIZE]) for at in range(0, len(proof), SIZE)]
    if any(scalar is None for scalar in scalars):
        return False
    numbers = iter([scalar for scalar in scalars if scalar is not None])
    challenge = next(numbers)
    firsts: list[bytes] = []
    for element, values in claims:
        challenges = [next(numbers) for _ in values[1:]]
        challenges.append((challenge - sum(challenges)) % ORDER)
        for value, part in zip(values, challenges, strict=True):
            firsts.append(_first(shift(element, value), part, next(numbers)))
    return _challenge(transcript, claims, firsts) == challenge


class _Started(NamedTuple):
    """A claim's proof before the challenge: `branch` is the true one, whose nonce waits for it."""

    firsts: list[bytes]
    challenges: list[int]
    responses: list[int]
    branch: int
    nonce: int


def _start(claim: Claim, witness: Witness, nonces: Nonces) -> _Started:
    branch = claim.values.index(witness.value % ORDER)
    nonce = nonces.draw()
    firsts, challenges, responses = [], [], []
    for index, value in enumerate(claim.values):
        # The branches that are not true are made up backwards, from a challenge and a response drawn first.
        part, response = (0, 0) if index == branch else (nonces.draw(), nonces.draw())
        firsts.append(mul_base(nonce) if index == branch else _first(shift(claim.element, value), part, response))
        challenges.append(part)
        responses.append(response)
    return _Started(firsts, challenges, responses, branch, nonce)


def _first(element: bytes, challenge: int, response: int) -> bytes:
    """Return the first message that a challenge and a response belong to, for the claim `element = blinding * B`."""
    return sub(mul_base(response), mul(challenge, element))


def _challenge(transcript: Transcript, claims: Sequence[Claim], firsts: Sequence[bytes]) -> int:
    for element, values in claims:
        transcript.absorb(b"claim", element + b"".join(map(write_scalar, values)))
    for first in firsts:
        transcript.absorb(b"first", first)
    return transcript.challenge(b"challenge")
