"""What a walk makes of prune records: which of the records that it could not have they prove to have been there."""

from __future__ import annotations

from collections.abc import Container, Iterable

from tslg.protocol.codec import Link
from tslg.protocol.commitment import Member, verify_member
from tslg.protocol.proofs import PrunedProof
from tslg.protocol.record import Record


def committed(prune: Record | None, owner: Link | None, proof: PrunedProof) -> bool:
    """Tell whether `prune` is a prune record that commits to the record that a proof is about.

    `owner` is whose record that is, None where no edge says so, as of a target.
    """
    if prune is None or prune.kind != "prune" or (owner is not None and prune.owner != owner):
        return False
    member = Member(proof.record, proof.place, proof.proof)
    return verify_member(member, prune.body["count"], prune.body["root"])


def let_go(records: Iterable[Record], agent: Link, broken: Container[Link]) -> int:
    """Return how many records of a log the prune records among these commit to, but for those that break a rule."""
    prunes = [record for record in records if record.kind == "prune" and record.owner == agent]
    return sum(record.body["count"] for record in prunes if record.id not in broken)
