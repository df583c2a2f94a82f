"""Opening what a store, a bundle or a peer handed over: bytes and seal become a record whose signature was checked.

This is the part of verification that needs no other record than the key's, so that any number of workers can do it
before the walker, which alone knows the graph, judges the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, NamedTuple

from tslg.protocol import attachments, signatures
from tslg.protocol import record as records
from tslg.protocol.chains import JOINT
from tslg.protocol.codec import Link
from tslg.protocol.errors import AttachmentError, SealError
from tslg.protocol.exchange import Pair
from tslg.protocol.keys import KEY_EVENTS, Key
from tslg.protocol.record import Record
from tslg.protocol.seal import ED25519_SIGNATURE_BYTES, TO_BE_SIGNED_START, byte_string_head, sign1_start, to_be_signed
from tslg.protocol.seal import parse as parse_seal
from tslg.protocol.signatures import Alg

_new: Final = tuple.__new__


class Opened(NamedTuple):
    """A record that hashes to its id, with its seal's bytes.

    `sealed` tells whether the author's signature verifies; None where it was not checked yet. `attachment` is what
    came beside them and holds; None if nothing did.
    """

    record: Record
    seal: bytes
    sealed: bool | None = None
    attachment: bytes | None = None


def disclosed(id: Link, pair: Pair) -> Record:
    """Return the record with this id as its attachment, if it has one that holds, shows it. Raises as `open_record`."""
    record = records.parse_as(id, pair[0])
    if len(pair) == 2 or pair[2] is None:
        return record
    return attach(Opened(record, pair[1]), pair[2]).record


def open_record(id: Link, data: bytes, seal: bytes, keys: Mapping[Link, Key] | None = None) -> Opened:
    """Open one record; with `keys`, also verify the signature of an agent's record whose key is among them.

    Only the plain case is decided here: one signature, by the key that the record names. Every other seal (geneses,
    federation records, joint authorisations, key events, keys with a post-quantum half, keys not at hand) is left to
    the seal rule, with `sealed` None.

    Raises:
        RecordError, CodecError: the bytes are not the record with this id.
    """
    return check_seal(records.parse_as(id, data), seal, keys)


def attach(opened: Opened, attachment: bytes) -> Opened:
    """Take what came beside a record if it holds, and drop it if not: no signature says whose it is."""
    try:
        record = attachments.check(opened.record, attachment)
    except AttachmentError:
        return opened
    return opened._replace(record=record, attachment=attachment)


def check_seal(record: Record, seal: bytes, keys: Mapping[Link, Key] | None) -> Opened:
    """Verify the author's signature if its key is among `keys` and the case is plain."""
    if not keys or record.key is None or record.agent is None or record.kind == JOINT:
        return _new(Opened, (record, seal, None, None))
    key = keys.get(record.key)
    if key is None or key.post_quantum is not None or record.kind in KEY_EVENTS:
        return _new(Opened, (record, seal, None, None))
    signature = plain_signature(seal, key)
    if signature is None:
        return Opened(record, seal, False)
    holds = signatures.verify(key.alg, key.public, to_be_signed(record.data, key.alg), signature)
    return _new(Opened, (record, seal, holds, None))


class _Ready(NamedTuple):
    """A key made ready for many seals: how its plain seal begins and how long it is, and its verifier."""

    start: bytes
    length: int
    opens: Callable[[bytes], bool]


def check_seals(items: Iterable[Opened], keys: Mapping[Link, Key]) -> list[Opened]:
    """Do as `check_seal` for many records of few keys, in one loop that does nothing but verify.

    Records whose signature holds already are left as they are. Of a key event the agent's signature is checked like
    any other's, which says nothing of the anchors' beside it: the seal rule decides.
    """
    ready: dict[Link | None, _Ready | None] = {None: None}
    checked = []
    for one in items:
        record, seal, sealed, attachment = one
        id, data = record[8], record[1]
        if id not in ready:
            ready[id] = _make_ready(keys.get(id)) if id is not None else None
        key = ready[id]
        if sealed:
            checked.append(one)
        elif (
            key is None or record[3] is None or record[2] == JOINT or len(seal) != key[1] or not seal.startswith(key[0])
        ):
            checked.append(check_seal(record, seal, keys)._replace(attachment=attachment))
        else:
            signed = seal[-ED25519_SIGNATURE_BYTES:] + TO_BE_SIGNED_START + byte_string_head(len(data)) + data
            checked.append(_new(Opened, (record, seal, key[2](signed), attachment)))
    return checked


def plainly_signed(opened: Opened, key: Key | None) -> bytes | None:
    """Return the signature of a record that one plain Ed25519 signature seals, followed by what was signed.

    None for every other seal, which `check_seals` decides, and for those whose signature holds already.
    """
    record, seal, sealed, _ = opened
    if sealed or key is None or key.alg != Alg.ED25519 or key.post_quantum is not None:
        return None
    start = sign1_start(key.record)
    plain = record.agent is not None and record.kind != JOINT and len(seal) == len(start) + ED25519_SIGNATURE_BYTES
    if not plain or not seal.startswith(start):
        return None
    head = TO_BE_SIGNED_START + byte_string_head(len(record.data))
    return seal[-ED25519_SIGNATURE_BYTES:] + head + record.data


def _make_ready(key: Key | None) -> _Ready | None:
    if key is None or key.alg != Alg.ED25519 or key.post_quantum is not None:
        return None
    opens = signatures.ed25519_opener(key.public)
    start = sign1_start(key.record)
    return None if opens is None else _Ready(start, len(start) + ED25519_SIGNATURE_BYTES, opens)


def plain_signature(seal: bytes, key: Key) -> bytes | None:
    """Return the signature's bytes if the seal is one signature that names this key and its algorithm, else None."""
    try:
        parsed = parse_seal(seal)
    except SealError:
        return None
    entry = parsed.signatures[0]
    if parsed.many or entry.alg != key.alg or entry.kid != key.record or entry.bitmap is not None:
        return None
    return entry.value
