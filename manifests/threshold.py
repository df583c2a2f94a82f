"""Signing together: partial signatures, and what they combine to under either scheme of a manifest.

Threshold: any `threshold` partial signatures combine to the one signature of the group key, the same whichever members
signed; verify it with `bls.verify` and the group key. Multisig: the partial signatures add up, and a bitmap says whose
they are; verify it with `verify_multisig`. Members are named by their index from 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tslg.manifests import bls as signing
from tslg.protocol import bls
from tslg.protocol.bls import verify_multisig
from tslg.protocol.errors import ManifestError

__all__ = ["combine", "combine_multisig", "partial_sign", "verify_multisig", "verify_partial"]


def partial_sign(share: bytes, message: bytes) -> bytes:
    """One member's 96-byte signature with its secret share or key. Raises ValueError for a secret out of range."""
    return signing.sign(share, message)


def verify_partial(member_key: bytes, message: bytes, partial: bytes) -> bool:
    """Whether a partial signature is the member's over the message. False for malformed input; never raises."""
    return bls.verify(member_key, message, partial)


def combine(partials: Mapping[int, bytes], threshold: int, member_keys: Sequence[bytes], message: bytes) -> bytes:
    """The group's 96-byte signature over a message from at least `threshold` partial signatures by member index.

    Raises ManifestError: TSLG-M-PARTIAL that names each member whose partial signature is not good, TSLG-M-QUORUM if
    there are too few, TSLG-M-THRESHOLD for a threshold that the members cannot have.
    """
    if not 1 <= threshold <= len(member_keys):
        raise ManifestError(f"no threshold of {threshold} among {len(member_keys)} members", code="TSLG-M-THRESHOLD")
    _check_members(partials, len(member_keys))
    bad = [index for index in sorted(partials) if not verify_partial(member_keys[index], message, partials[index])]
    if bad:
        raise _bad(bad, "is not its signature over this message")
    if len(partials) < threshold:
        raise ManifestError(
            f"{len(partials)} of {threshold} needed signatures", code="TSLG-M-QUORUM", mend="let more members sign"
        )
    return bls.interpolate_signatures({index: partials[index] for index in sorted(partials)[:threshold]})


def combine_multisig(partials: Mapping[int, bytes], count: int) -> tuple[bytes, bytes]:
    """The sum of partial signatures by member index, 96 bytes, and the bitmap of who of `count` members signed.

    Member i is bit i % 8, least significant first, of byte i // 8. Nothing is verified but that each is a signature.
    Raises ManifestError: TSLG-M-PARTIAL for a member that is none or bytes that are no signature, TSLG-M-QUORUM if
    there are no signatures.
    """
    if not partials:
        raise ManifestError("no signatures to combine", code="TSLG-M-QUORUM", mend="let members sign")
    _check_members(partials, count)
    bits = sum(1 << index for index in partials)
    try:
        signature = signing.aggregate([partials[index] for index in sorted(partials)])
    except ValueError as error:
        raise ManifestError(str(error), code="TSLG-M-PARTIAL", mend="verify each with `verify_partial`") from error
    return signature, bits.to_bytes((count + 7) // 8, "little")


def _check_members(partials: Mapping[int, bytes], count: int) -> None:
    strangers = [index for index in partials if type(index) is not int or not 0 <= index < count]
    if strangers:
        raise _bad(strangers, f"belongs to none of the {count} members")


def _bad(indices: Sequence[int], why: str) -> ManifestError:
    names = ", ".join(map(str, indices))
    return ManifestError(f"the partial signature of member {names} {why}", code="TSLG-M-PARTIAL", mend="leave it out")
