"""What a record carries of proofs that it stays within confidential policies, and the attachment that holds them.

The body names each proof by its digest, since proofs do not fit into a record; the attachment is the list of the proofs
themselves, in the same order. Normative text: docs/spec/narrowing.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import AttachmentError, CodecError
from tslg.protocol.record import Record
from tslg.protocol.report import Undetermined


def names_proofs(record: Record) -> bool:
    """Tell whether proofs belong to a record."""
    return "narrowing" in record.body


def named(proofs: Mapping[Link, bytes]) -> list[dict[str, Any]]:
    """Return the field of a body that names these proofs, by the policy that each is about."""
    return [{"policy": id, "proof": hashlib.sha256(proofs[id]).digest()} for id in sorted(proofs)]


def encode(proofs: Mapping[Link, bytes]) -> bytes:
    """Return the attachment with these proofs."""
    return codec.encode([proofs[id] for id in sorted(proofs)])


def read(record: Record, attachment: bytes) -> Record:
    """Check that an attachment holds the proofs that a record names, and return the record, which they do not change.

    Raises:
        AttachmentError: `TSLG-T-PROOFS`.
    """
    if _split(record, attachment) is None:
        raise AttachmentError("these are not the proofs that the record names", code="TSLG-T-PROOFS", record=record.id)
    return record


def proof_about(record: Record, policy: Link, attachment: bytes) -> bytes | None:
    """Return the proof about a policy that is named in the record; None if there is none in the attachment."""
    proofs = _split(record, attachment)
    entries = record.body.get("narrowing", ())
    if proofs is None:
        return None
    return next((proof for entry, proof in zip(entries, proofs, strict=True) if entry["policy"] == policy), None)


def binding(agent: Link, seq: int, prev: Link, kind: str, body: Mapping[str, Any], policy: Link) -> bytes:
    """Return what a proof is bound to: the policy, and the place and contents of the record that it is beside."""
    rest = {name: value for name, value in body.items() if name != "narrowing"}
    return codec.encode([agent, seq, prev, kind, rest, policy])


def withheld(
    proving: Iterable[Link], held: Mapping[Link, Record], attached: Mapping[Link, bytes], faulty: Container[Link]
) -> list[Undetermined]:
    """Name the records that say they stay within confidential policies at hand, and came without the proofs of it.

    Args:
        proving: the records that name proofs.
        held: the records at hand.
        attached: what came beside them.
        faulty: those of which something else is wrong.
    """
    reason = "withheld: the proofs that it stays within its confidential policies"
    return [
        Undetermined(id, reason)
        for id in proving
        if id in held
        and id not in attached
        and id not in faulty
        and any(entry["policy"] in held for entry in held[id].body["narrowing"])
    ]


def _split(record: Record, attachment: bytes) -> Sequence[bytes] | None:
    try:
        proofs = codec.decode(attachment)
    except CodecError:
        return None
    expected = [entry["proof"] for entry in record.body.get("narrowing", ())]
    if type(proofs) is not list or not all(type(proof) is bytes for proof in proofs):
        return None
    return proofs if [hashlib.sha256(proof).digest() for proof in proofs] == expected else None
