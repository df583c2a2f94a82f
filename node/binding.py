"""To which agents a peer is bound: by registrations that the peer itself presented, verified, until they are revoked.

The peer's id is that of the connection's other end, which the handshake proves; nothing in a message says it.
Normative text: docs/spec/access.md.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence

from tslg.node.context import StoreContext
from tslg.node.schemes import Schemes
from tslg.node.sources import NewestRecord, StoreSource
from tslg.node.store.interface import Store
from tslg.node.verifying import verify
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.exchange import Pair
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record
from tslg.protocol.report import VALID
from tslg.protocol.signatures import ed25519_public_key

_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
"""The alphabet of base58btc, in which libp2p writes peer ids."""
_ED25519_PEER = b"\x00\x24\x08\x01\x12\x20"
"""An identity multihash of 36 bytes, which are an Ed25519 key as libp2p frames it, up to the key."""
_LONGEST_ID = 64
"""Characters of a peer id: that of an Ed25519 key has 52."""


def peer_bytes(peer: str) -> bytes:
    """Return a peer id as a `registration` holds it: its multihash; of a name that is no such id, its UTF-8."""
    if len(peer) > _LONGEST_ID or not set(peer) <= set(_BASE58):
        return peer.encode()
    number = 0
    for character in peer:
        number = number * len(_BASE58) + _BASE58.index(character)
    zeros = len(peer) - len(peer.lstrip(_BASE58[0]))
    decoded = bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    # A peer id is the key itself in an identity multihash, or its SHA-256.
    is_multihash = len(decoded) > 2 and decoded[0] in (0x00, 0x12) and decoded[1] == len(decoded) - 2
    return decoded if is_multihash else peer.encode()


def peer_of_seed(seed: bytes) -> bytes:
    """Return the peer id of the Ed25519 key that follows from a 32-byte seed, as a `registration` holds it."""
    return _ED25519_PEER + ed25519_public_key(seed)


class Bindings:
    """The peers that presented registrations, the last ones that did.

    Args:
        context: the node's graph and clock.
        store: its store, whose revocations end bindings.
        limits: how many peers are remembered.
    """

    def __init__(self, context: StoreContext, store: Store, limits: Limits = DEFAULT) -> None:
        self._context = context
        self._store = store
        self._limits = limits
        self._lock = threading.Lock()
        self._bound: OrderedDict[str, tuple[Record, ...]] = OrderedDict()

    def agents(self, peer: str) -> frozenset[Link]:
        """Return the agents to which a peer is bound now; none for a stranger."""
        with self._lock:
            found = self._bound.get(peer, ())
            if found:
                self._bound.move_to_end(peer)
        return frozenset(record.owner for record in found if self._in_force(record))

    def present(self, peer: str, pairs: Sequence[Pair]) -> list[Link]:
        """Take the registrations that a peer presents, with what they rest on; return the agents it is bound to now.

        Raises:
            RecordError, CodecError: what was presented is not records of this federation.
        """
        manifest = self._context.manifest
        records = Schemes(cid.hash_name(self._context.federation), manifest).read(pair[0] for pair in pairs)
        handed = {record.id: pair for record, pair in zip(records, pairs, strict=True)}
        claimed = [record for record in records if _binds(record, peer_bytes(peer))][: self._limits.bound_agents]
        source = _Presented(self._store, handed)
        held = tuple(record for record in claimed if self._in_force(record) and self._holds(source, record))
        with self._lock:
            self._bound.pop(peer, None)
            # A peer that is bound to nobody takes no place from those that are.
            if held:
                self._bound[peer] = held
            while len(self._bound) > self._limits.bound_peers:
                self._bound.popitem(last=False)
        return sorted({record.owner for record in held})

    def _holds(self, source: _Presented, record: Record) -> bool:
        """Whether a registration is sealed, breaks no rule, and belongs to an agent of this federation."""
        now_ms, federation = self._context.now_ms, self._context.federation
        try:
            report = verify(source, record.id, federation, now_ms=now_ms, depth=0, log="none")
        except TslgError:
            return False
        return report.verdict == VALID and record.id in report.records

    def _in_force(self, record: Record) -> bool:
        """Whether no revocation that is held ends the registration or the key that sealed it, from now on or later."""
        ids = self._store.by_kind("revocation", record.owner, limit=self._limits.revocations)
        ended = {held.body["key"] for id in ids if (held := self._context.record(id)) is not None}
        return record.id not in ended and record.key not in ended


def _binds(record: Record, peer: bytes) -> bool:
    return record.kind == "registration" and record.body["purpose"] == "peer" and record.body.get("peer_id") == peer


class _Presented(StoreSource):
    """What is held here, and beside it what a peer handed over."""

    def __init__(self, store: Store, handed: Mapping[Link, Pair]) -> None:
        super().__init__(store)
        self._handed = handed

    def ahead(self, target: Link, depth: int | None) -> Iterable[tuple[Link, Pair]]:
        return ()

    def pairs(self, ids: Sequence[Link]) -> Mapping[Link, Pair]:
        handed = self._handed
        return {**{id: handed[id] for id in ids if id in handed}, **super().pairs(ids)}

    def newest(self, agent: Link) -> NewestRecord | None:
        return None
