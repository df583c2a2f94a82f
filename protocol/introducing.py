"""What makes a log's keys known to a stranger who holds nothing of it: its genesis, and what leads from there.

The stranger learns which keys the first one registered, and those in turn; not which were revoked since.
Normative text: docs/spec/anchoring.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tslg.protocol import cid, codec, signatures
from tslg.protocol import record as records
from tslg.protocol.checkpoint import Checkpoint
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.keys import Key, key_of
from tslg.protocol.seal import parse as parse_seal
from tslg.protocol.seal import to_be_signed
from tslg.protocol.signatures import Alg

_LIST: Final = 4
"""CBOR's major type of lists; a record is a map."""


def encode(genesis: bytes, registrations: Iterable[tuple[bytes, bytes]] = ()) -> bytes:
    """Return a log's introduction: its genesis alone, or with registrations and their seals in the order of the log."""
    led = [[data, seal] for data, seal in registrations]
    return codec.encode([genesis, *led]) if led else genesis


def keys(origin: str, introduction: bytes) -> list[bytes]:
    """Return the Ed25519 keys that an introduction shows to be the log's; none if anything in it does not hold.

    Args:
        origin: the log's name, which holds the id of its genesis.
        introduction: bytes from anybody.
    """
    try:
        agent = Checkpoint(origin, 0, bytes(32)).agent
        known: dict[Link, Key] = {}
        for key in _led(agent, introduction, known):
            known[key.record] = key
    except (TslgError, ValueError):
        return []
    return [key.public for key in known.values() if key.alg == Alg.ED25519]


def _led(agent: Link, introduction: bytes, known: dict[Link, Key]) -> Iterator[Key]:
    """Yield the keys of an introduction, each once those before it are known. Raises ValueError, TslgError."""
    listed = len(introduction) > 0 and introduction[0] >> 5 == _LIST
    genesis, *rest = codec.decode(introduction) if listed else [introduction]
    hash_name = cid.hash_name(agent)
    first = records.parse(genesis, hash_name) if type(genesis) is bytes else None
    key = None if first is None else key_of(first)
    if first is None or key is None or first.id != agent or first.kind != "genesis":
        raise ValueError("no genesis")
    yield key
    for item in rest:
        if type(item) is not list or len(item) != 2 or not all(type(part) is bytes for part in item):
            raise ValueError("no pair of record and seal")
        record = records.parse(item[0], hash_name)
        key, signer = key_of(record), None if record.key is None else known.get(record.key)
        seal = parse_seal(item[1])
        own = seal.signatures[0]
        if key is None or signer is None or record.agent != agent or (own.kid, own.alg) != (signer.record, signer.alg):
            raise ValueError("no registration by a key before it")
        message = to_be_signed(record.data, own.alg, many=seal.many)
        if not signatures.verify(own.alg, signer.public, message, own.value):
            raise ValueError("a seal that does not verify")
        yield key
