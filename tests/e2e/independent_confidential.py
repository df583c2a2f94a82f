"""Confidential policies in records (docs/spec/narrowing.md), judged by a second program. Nothing from tslg."""

from __future__ import annotations

import hashlib

from independent_formats import Bad, Link, decode
from independent_narrowing import decode as element
from independent_narrowing import no_proof_can_be, proof_holds
from independent_records import Record


def check_commitments(record: Record) -> None:
    """[ZKN-16], [ZKN-18]"""
    cited = {cid for cid, _ in record.cited("policy")}
    if not {entry["policy"] for entry in record.body.get("narrowing", ())} <= cited:
        raise Bad("TSLG-A-COMMITMENTS", "narrowing")
    terms = record.body.get("commitments")
    if terms is None:
        return
    if record.body["capabilities"] or record.body["limits"]:
        raise Bad("TSLG-A-COMMITMENTS", "open terms")
    whole = terms["capabilities"]
    for data in [whole[at : at + 32] for at in range(0, len(whole), 32)] + list(terms["limits"].values()):
        if data == bytes(32) or element(data) is None:
            raise Bad("TSLG-A-COMMITMENTS", "an element")


def side(record: Record) -> dict:
    """[ZKN-17]"""
    if record.kind != "policy":
        return {"capabilities": record.body.get("uses", []), "limits": record.body.get("spends", {})}
    return record.body.get("commitments") or {name: record.body[name] for name in ("capabilities", "limits")}


def concerned(record: Record, policy: Record) -> bool:
    return "commitments" in record.body or "commitments" in policy.body


def check_proof(record: Record, policy: Record, code: str) -> None:
    """[ZKN-17] to [ZKN-21], where one of the two is confidential."""
    wide, narrow = side(policy), side(record)
    if "vocabulary" not in narrow and not narrow["capabilities"] and not narrow["limits"]:
        return
    if no_proof_can_be(wide, narrow):
        raise Bad(code, "no proof can be")
    places = [i for i, entry in enumerate(record.body.get("narrowing", ())) if entry["policy"] == policy.id]
    if not places:
        raise Bad("TSLG-A-PROOF")
    proofs = read_proofs(record)
    if proofs is None:
        return
    if not proof_holds(wide, narrow, binding(record, policy), proofs[places[0]]):
        raise Bad(code, "the proof does not hold")


def read_proofs(record: Record) -> list[bytes] | None:
    """[ZKN-19]"""
    if record.attachment is None:
        return None
    try:
        proofs = decode(record.attachment)
    except Bad:
        return None
    if type(proofs) is not list or not all(type(proof) is bytes for proof in proofs):
        return None
    digests = [entry["proof"] for entry in record.body["narrowing"]]
    return proofs if [hashlib.sha256(proof).digest() for proof in proofs] == digests else None


def withheld(record: Record, held: dict[bytes, Record]) -> bool:
    """[ZKN-21]: whether the proofs were kept back by whoever handed the record over."""
    entries = record.body.get("narrowing", ())
    return bool(entries) and read_proofs(record) is None and any(entry["policy"] in held for entry in entries)


def binding(record: Record, policy: Record) -> bytes:
    """[ZKN-20]"""
    body = {name: value for name, value in record.body.items() if name != "narrowing"}
    return encode([Link(record.agent), record.seq, Link(record.prev), record.kind, body, Link(policy.id)])


def encode(value) -> bytes:
    """[codec.md]"""
    if value is None or type(value) is bool:
        return {None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value]
    if type(value) is int:
        return head(0, value) if value >= 0 else head(1, -1 - value)
    if type(value) is Link:
        return b"\xd8\x2a" + head(2, len(value) + 1) + b"\0" + bytes(value)
    if type(value) is bytes:
        return head(2, len(value)) + value
    if type(value) is str:
        return head(3, len(value.encode())) + value.encode()
    if type(value) is list:
        return head(4, len(value)) + b"".join(map(encode, value))
    keys = sorted(value, key=lambda key: (len(key.encode()), key.encode()))
    return head(5, len(value)) + b"".join(encode(key) + encode(value[key]) for key in keys)


def head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    size = next(size for size in (1, 2, 4, 8) if count < 256**size)
    return bytes([major << 5 | 23 + size.bit_length()]) + count.to_bytes(size, "big")
