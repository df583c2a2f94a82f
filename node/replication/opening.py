"""Opening what peers hand over of a log, in a thread: records, whose they are, and whether their seals hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from tslg.node.context import StoreContext
from tslg.node.schemes import Schemes
from tslg.protocol.cid import hash_name
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.exchange import Pair
from tslg.protocol.keys import KEY_EVENTS, KEY_KINDS, Key, key_of
from tslg.protocol.opening import Opened, attach, check_seals
from tslg.protocol.record import Record

KEYS_KEPT: Final = 16_384
"""Keys at hand, some 200 bytes each: those of logs that are followed now."""


class Part(NamedTuple):
    """What a chunk held.

    Attributes:
        opened: its records up to the first that is none or is not sealed.
        fault: what is wrong with that.
        withheld: the positions, each [from, to), that the peer keeps to itself.
    """

    opened: list[Opened]
    fault: str | None = None
    withheld: tuple[tuple[int, int], ...] = ()


class Opener:
    """Opens records and checks the plain signatures among them; everything else is left to admission.

    Several threads may use one at the same time: what it remembers is what ids say.
    """

    def __init__(self, federation: Link, context: StoreContext) -> None:
        self._schemes = Schemes(hash_name(federation), context.manifest)
        self._context = context
        self._keys: dict[Link, Key] = {}

    def open(self, pairs: Sequence[Pair]) -> Part:
        """Open records in the order in which they came."""
        read, fault = self._read(pairs)
        opened = []
        for record, pair in zip(read, pairs, strict=False):
            self._learn(record)
            one = Opened(record, pair[1])
            opened.append(one if len(pair) == 2 or pair[2] is None else attach(one, pair[2]))
        # Of key events the anchors may have to sign too, so only the seal rule can tell.
        checked = [
            one._replace(sealed=None) if one.record.kind in KEY_EVENTS else one
            for one in check_seals(opened, self._keys)
        ]
        for index, one in enumerate(checked):
            if one.sealed is False:
                return Part(checked[:index], "TSLG-A-SEAL: a record whose seal does not hold")
        return Part(checked, fault)

    def _read(self, pairs: Sequence[Pair]) -> tuple[Sequence[Record], str | None]:
        try:
            return self._schemes.read(pair[0] for pair in pairs), None
        except TslgError:
            return self._read_some(pairs)

    def _read_some(self, pairs: Sequence[Pair]) -> tuple[Sequence[Record], str | None]:
        """Read up to the first that is no record."""
        read: list[Record] = []
        for pair in pairs:
            try:
                read.extend(self._schemes.read([pair[0]]))
            except TslgError as error:
                return read, f"{error.code}: {error.detail}"
        return read, None

    def _learn(self, record: Record) -> None:
        """Have the key at hand that a record names, and the one that it registers: admission says whether it counts."""
        if len(self._keys) > KEYS_KEPT:
            self._keys.clear()
        if record.kind in KEY_KINDS:
            made = key_of(record)
            if made is not None:
                self._keys[record.id] = made
        if record.key is not None and record.key not in self._keys:
            held = self._context.key(record.key)
            if held is not None:
                self._keys[record.key] = held
