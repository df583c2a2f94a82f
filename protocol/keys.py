"""Verification keys as the graph holds them: in a genesis, or in a registration with the purpose `signing`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from tslg.protocol.codec import Link
from tslg.protocol.record import Record

KEY_KINDS: Final = frozenset(("genesis", "registration"))
"""Kinds that may register a key."""
KEY_EVENTS: Final = KEY_KINDS | {"revocation"}
"""Kinds that say which keys speak for an agent. Others than the agent's key may seal them too."""


class Key(NamedTuple):
    """A verification key.

    Attributes:
        record: the genesis or registration that holds it.
        owner: the agent whose log that record lies in.
        seq: its position there; the key speaks for later records, a genesis key for the genesis itself too.
        alg: COSE algorithm number.
        public: the public key's bytes.
        post_quantum: the ML-DSA-65 public key beside it, None where there is none.
        binding: what holds it, as its registration says: `tenant`, `platform` or `hardware`.
    """

    record: Link
    owner: Link
    seq: int
    alg: int
    public: bytes
    post_quantum: bytes | None = None
    binding: str = "tenant"

    @property
    def hardware(self) -> bool:
        """Whether it is registered as bound to hardware."""
        return self.binding == "hardware"


def key_of(record: Record) -> Key | None:
    """Return the key that a record registers, or None if it registers none."""
    body = record.body
    if record.kind == "genesis" or (record.kind == "registration" and body["purpose"] == "signing"):
        alg, public = body.get("alg"), body.get("key")
        if alg is not None and public is not None:
            pair = body.get("post_quantum")
            second = None if pair is None else pair["key"]
            return Key(record.id, record.owner, record.seq, alg, public, second, body.get("binding", "tenant"))
    return None


class Revocations(NamedTuple):
    """The revocations of one log.

    Attributes:
        ends: from which position each revoked key is dead, by the record that registers it.
        number: how many records say so; one that ends a key sooner than another adds to it.
    """

    ends: Mapping[Link, int]
    number: int


NO_REVOCATIONS: Final = Revocations({}, 0)


def revocations_in(records: Iterable[Record]) -> Revocations:
    """Return what the revocations among these records of one log say together, whatever their order."""
    ends: dict[Link, int] = {}
    count = 0
    for record in records:
        if record.kind == "revocation":
            key, start = record.body["key"], record.body["from_seq"]
            ends[key] = min(start, ends.get(key, start))
            count += 1
    return Revocations(ends, count) if count else NO_REVOCATIONS
