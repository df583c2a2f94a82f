"""Writes bls.json with py_ecc alone, so that the vectors do not depend on the code they test. Takes half a minute."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from py_ecc.bls import G2ProofOfPossession as Suite
from py_ecc.bls.g2_primitives import G1_to_pubkey, G2_to_signature, pubkey_to_G1, signature_to_G2, subgroup_check

MESSAGES = [b"", b"tslg", bytes(range(256)) * 3]
IDENTITY_KEY = b"\xc0" + bytes(47)
IDENTITY_SIGNATURE = b"\xc0" + bytes(95)


def keys() -> list[dict[str, str]]:
    """Key generation, public keys and proofs of possession."""
    found = []
    for ikm, info in [(bytes(32), b""), (bytes(range(32)), b""), (bytes(range(40)), b"tslg")]:
        secret = Suite.KeyGen(ikm, info)
        found.append(
            {
                "ikm": ikm.hex(),
                "key_info": info.hex(),
                "secret": secret.to_bytes(32, "big").hex(),
                "public_key": bytes(Suite.SkToPk(secret)).hex(),
                "possession": bytes(Suite.PopProve(secret)).hex(),
            }
        )
    return found


def off_subgroup(size: int) -> Iterator[bytes]:
    """Encodings of points that are on the curve but not in the subgroup."""
    for x in range(1, 50):
        data = b"\x80" + x.to_bytes(size - 1, "big")
        try:
            point: Any = pubkey_to_G1(data) if size == 48 else signature_to_G2(data)  # type: ignore[arg-type]
        except ValueError:
            continue
        if not subgroup_check(point):
            assert bytes(G1_to_pubkey(point) if size == 48 else G2_to_signature(point)) == data
            yield data


def build() -> dict[str, Any]:
    """All vectors."""
    made = keys()
    secrets = [int(key["secret"], 16) for key in made]
    publics = [bytes.fromhex(key["public_key"]) for key in made]
    signed = [(index, message, bytes(Suite.Sign(secrets[index], message))) for index in (0, 1) for message in MESSAGES]
    joint = [bytes(Suite.Sign(secret, MESSAGES[1])) for secret in secrets]
    each = [bytes(Suite.Sign(secret, message)) for secret, message in zip(secrets, MESSAGES, strict=True)]
    wrong_key, wrong_signature = next(off_subgroup(48)), next(off_subgroup(96))
    first = (publics[0], MESSAGES[1], joint[0])
    cases = {
        "valid": first,
        "wrong message": (first[0], MESSAGES[0], first[2]),
        "wrong key": (publics[1], *first[1:]),
        "signature negated": (*first[:2], bytes([first[2][0] ^ 0x20]) + first[2][1:]),
        "identity key": (IDENTITY_KEY, first[1], first[2]),
        "identity key and signature": (IDENTITY_KEY, first[1], IDENTITY_SIGNATURE),
        "identity signature": (*first[:2], IDENTITY_SIGNATURE),
        "key off the subgroup": (wrong_key, *first[1:]),
        "signature off the subgroup": (*first[:2], wrong_signature),
        "signature cut": (*first[:2], first[2][:-1]),
        "key cut": (first[0][:-1], *first[1:]),
    }
    return {
        "keys": made,
        "sign": [
            {"secret": made[index]["secret"], "message": message.hex(), "signature": signature.hex()}
            for index, message, signature in signed
        ],
        "verify": [
            {
                "name": name,
                "public_key": key.hex(),
                "message": message.hex(),
                "signature": signature.hex(),
                "valid": bool(Suite.Verify(key, message, signature)),  # type: ignore[arg-type]
            }
            for name, (key, message, signature) in cases.items()
        ],
        "aggregate": [
            {"signatures": [item.hex() for item in items], "signature": bytes(Suite.Aggregate(items)).hex()}  # type: ignore[arg-type]
            for items in (joint, each, each[:1])
        ],
        "messages": [message.hex() for message in MESSAGES],
    }


if __name__ == "__main__":
    Path(__file__).with_name("bls.json").write_text(json.dumps(build(), indent=1) + "\n")
