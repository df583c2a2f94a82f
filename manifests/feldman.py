"""What makes the messages of a key ceremony valid: commitments and their proofs, shares, the keys they add up to.

Functions of public messages only, except that `open_share` is given the key of one recipient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256, sha512
from typing import TypeVar

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from tslg.manifests.ceremony import Ceremony, Commitment, Complaint, Confirmation, Message, Shares, refuse
from tslg.protocol import codec
from tslg.protocol.curve import ORDER, G1Point, decode_g1, scalar

_PROOF = b"tslg.dkg.proof.v1\0"
_TRANSCRIPT = b"tslg.dkg.transcript.v1\0"
_NONCE = b"tslg.dkg.nonce.v1\0"
_SHARE_BYTES = 32
_PROBE = PrivateKey(b"\1" * PrivateKey.SIZE)

M = TypeVar("M", bound=Message)


def challenge(
    ceremony: Ceremony, member: int, points: Sequence[bytes], keys: Sequence[bytes], proof_point: bytes
) -> int:
    """The challenge of a proof of knowledge, bound to the ceremony, to who proves, and to all else it publishes."""
    context = [ceremony.id, member, ceremony.members[member], list(points), list(keys), proof_point]
    return int.from_bytes(sha512(_PROOF + codec.encode(context)).digest(), "big") % ORDER


def evaluate(coefficients: Sequence[int], x: int) -> int:
    """The value at x of a polynomial modulo the group order, lowest coefficient first."""
    value = 0
    for coefficient in reversed(coefficients):
        value = (value * x + coefficient) % ORDER
    return value


def first_round(ceremony: Ceremony, commitments: Iterable[Commitment]) -> list[Commitment]:
    """All commitments by member index, each checked.

    Raises ManifestError: TSLG-M-DKG-MISSING for a member without commitment, -PROOF for one whose commitment does not
    hold, -MESSAGE for one of another ceremony or not signed by its author, -EQUIVOCATION for two of one member.
    """
    found = _by_member(ceremony, commitments)
    complete(ceremony, found, "commitment")
    for index, message in found.items():
        name = ceremony.members[index]
        if not message.is_signed_by(message.sign_key):
            raise refuse("TSLG-M-DKG-MESSAGE", f"the commitment of {name!r} is damaged", "get it again")
        if not _commits(ceremony, message):
            raise refuse("TSLG-M-DKG-PROOF", f"the commitment of {name!r} does not hold", "exclude it and start again")
    return [found[index] for index in range(len(ceremony.members))]


def digest_of(first: Sequence[Commitment]) -> bytes:
    """The transcript: 32 bytes that differ if any byte of the first round does."""
    return sha256(_TRANSCRIPT + codec.encode([message.to_bytes() for message in first])).digest()


def authenticated(
    ceremony: Ceremony, first: Sequence[Commitment], messages: Iterable[M], digest: bytes
) -> dict[int, M]:
    """Later messages by member index, each signed by its author and about this first round.

    Raises ManifestError: TSLG-M-DKG-MESSAGE, -TRANSCRIPT or -EQUIVOCATION.
    """
    found = _by_member(ceremony, messages)
    for index, message in found.items():
        name = ceremony.members[index]
        if not message.is_signed_by(first[index].sign_key):
            raise refuse("TSLG-M-DKG-MESSAGE", f"a {message.kind} of {name!r} is not signed by it", "get it again")
        if not isinstance(message, Shares | Complaint | Confirmation) or message.transcript != digest:
            raise refuse(
                "TSLG-M-DKG-TRANSCRIPT",
                f"{name!r} saw another first round",
                "compare transcripts; start a new ceremony",
            )
    return found


def complete(ceremony: Ceremony, found: dict[int, M], what: str) -> None:
    """Raises ManifestError TSLG-M-DKG-MISSING that names the members of whom there is no message."""
    names = [name for index, name in enumerate(ceremony.members) if index not in found]
    if names:
        raise refuse(
            "TSLG-M-DKG-MISSING", f"no {what} of {', '.join(map(repr, names))}", "get it, or start again without them"
        )


def box_nonce(digest: bytes, dealer: int, recipient: int) -> bytes:
    """The 24-byte nonce of one share: each is used once, and a share fits no other place or ceremony."""
    return sha256(_NONCE + codec.encode([digest, dealer, recipient])).digest()[: Box.NONCE_SIZE]


def open_share(first: Sequence[Commitment], message: Shares, recipient: int, key: PrivateKey) -> int | None:
    """The share for a recipient, or None if it does not open or does not match what its dealer committed to."""
    dealer = first[message.member]
    if len(message.boxes) != len(first):
        return None
    nonce = box_nonce(message.transcript, message.member, recipient)
    try:
        plain = Box(key, PublicKey(dealer.box_key)).decrypt(message.boxes[recipient], nonce)
    except CryptoError:
        return None
    value = int.from_bytes(plain, "big")
    if len(plain) != _SHARE_BYTES or value >= ORDER:
        return None
    committed = _at([_point(point) for point in dealer.points], recipient + 1)
    return value if G1Point() * scalar(value) == committed else None


def keys_of(first: Sequence[Commitment]) -> tuple[bytes, tuple[bytes, ...]]:
    """The group's public key and each member's public share key, 48 bytes each.

    Raises ManifestError TSLG-M-DKG-KEY if one is the identity, which honest members meet with a chance of 2^-250.
    """
    columns = zip(*([_point(point) for point in message.points] for message in first), strict=True)
    summed = [sum(column[1:], column[0]) for column in columns]
    points = [_at(summed, x) for x in range(len(first) + 1)]
    if G1Point.identity() in points:
        raise refuse("TSLG-M-DKG-KEY", "the members' contributions cancel out", "start a new ceremony")
    group_key, *member_keys = (point.to_compressed_bytes() for point in points)
    return group_key, tuple(member_keys)


def _by_member(ceremony: Ceremony, messages: Iterable[M]) -> dict[int, M]:
    found: dict[int, M] = {}
    for message in messages:
        if message.ceremony != ceremony.id or message.member >= len(ceremony.members):
            raise refuse("TSLG-M-DKG-MESSAGE", f"a {message.kind} belongs to another ceremony")
        if found.setdefault(message.member, message) != message:
            name = ceremony.members[message.member]
            raise refuse(
                "TSLG-M-DKG-EQUIVOCATION", f"two different messages {message.kind} of {name!r}", "start a new ceremony"
            )
    return found


def _commits(ceremony: Ceremony, message: Commitment) -> bool:
    points = [decode_g1(point) for point in message.points]
    proof_point, response = decode_g1(message.proof_point), int.from_bytes(message.proof_response, "big")
    if len(points) != ceremony.threshold or proof_point is None or response >= ORDER:
        return False
    if any(point is None or point == G1Point.identity() for point in points):
        return False
    try:
        Box(_PROBE, PublicKey(message.box_key))
    except CryptoError:
        return False  # a key of small order: anybody could read what is encrypted to it
    keys = [message.box_key, message.sign_key]
    expected = scalar(challenge(ceremony, message.member, message.points, keys, message.proof_point))
    return G1Point() * scalar(response) == proof_point + _point(message.points[0]) * expected


def _point(data: bytes) -> G1Point:
    point = decode_g1(data)
    if point is None:
        raise refuse("TSLG-M-DKG-PROOF", "a commitment holds bytes that are not a point")
    return point


def _at(points: Sequence[G1Point], x: int) -> G1Point:
    value = points[-1]
    for point in reversed(points[:-1]):
        value = value * scalar(x) + point
    return value
