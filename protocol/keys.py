"""Verification keys as the graph holds them: in a genesis, or in a registration with the purpose `signing`."""

from __future__ import annotations

from typing import Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.record import Record

KEY_KINDS: Final = frozenset(("genesis", "registration"))
"""Kinds that may register a key."""


class Key(NamedTuple):
    """A verification key.

    Attributes:
        record: the genesis or registration that holds it.
        owner: the agent whose log that record lies in.
        seq: its position there; the key speaks for later records, a genesis key for the genesis itself too.
        alg: COSE algorithm number.
        public: the public key's bytes.
    """

    record: Link
    owner: Link
    seq: int
    alg: int
    public: bytes


def key_of(record: Record) -> Key | None:
    """Return the key that a record registers, or None if it registers none."""
    body = record.body
    if record.kind == "genesis" or (record.kind == "registration" and body["purpose"] == "signing"):
        alg, public = body.get("alg"), body.get("key")
        if alg is not None and public is not None:
            return Key(record.id, record.owner, record.seq, alg, public)
    return None
