"""SCITT signed statements (RFC 9943) with receipts of inclusion (RFC 9942): COSE_Sign1 messages, one after the other.

The statement is the record's bytes, signed anew by its author, since a seal has no room for issuer and subject. The
receipt proves that the record's id is a leaf of its author's log, whose tree is that of RFC 9162. Normative text:
docs/spec/exports.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, BinaryIO, Final

import cbor2

from tslg.node.exporting import naming
from tslg.node.exporting.choosing import Item
from tslg.node.exporting.signing import Signer
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.log import Tree
from tslg.protocol.record import Record
from tslg.protocol.seal import SIGN1_TAG, sig_structure

ALG: Final = 1
CONTENT_TYPE: Final = 3
KID: Final = 4
CWT_CLAIMS: Final = 15
ISSUER: Final = 1
SUBJECT: Final = 2
HASH_ALG: Final = 258
PREIMAGE_TYPE: Final = 259
RECEIPTS: Final = 394
STRUCTURE: Final = 395
PROOFS: Final = 396
INCLUSION: Final = -1
EDDSA: Final = -8
"""The signature's COSE number: EdDSA, which deployed tools know, where seals have -19 for the same signature."""
SHA_256: Final = -16
RFC9162_SHA256: Final = 1
DAG_CBOR: Final = "application/vnd.ipld.dag-cbor"
VERIFIED: Final = "tslg.verified"
"""The claim that says what was verified of the record when it was exported (`Standing.of`)."""
SIZE: Final = "tslg.size"
"""The claim that signs a receipt's tree size, which the same path could lead from at another size too."""


class Receipts:
    """Makes the receipts of one log, as it stands when this is made.

    Args:
        store: where the log is held whole.
        signer: its agent.
    """

    def __init__(self, store: Store, signer: Signer) -> None:
        state = store.log_state(signer.agent)
        self._store = store
        self._signer = signer
        self._tree = Tree(() if state is None else store.leaves(signer.agent, state.size))

    def of(self, record: Record) -> bytes | None:
        """Return the receipt of a record; None if the tree has no such leaf, or no other that could prove it."""
        size = self._tree.size
        if record.seq >= size or size < 2 or self._store.at(self._signer.agent, record.seq) != record.id:
            return None
        proof = cbor2.dumps([size, record.seq, self._tree.inclusion_proof(record.seq)])
        header = {ALG: EDDSA, KID: bytes(self._signer.key), STRUCTURE: RFC9162_SHA256}
        protected = _protected(header, self._signer.agent, record.id, {SIZE: size})
        # The root is left out of the message, so that whoever checks the signature must compute it from the proof.
        signature = self._signer.sign(sig_structure(protected, b"", self._tree.root()))
        return _sign1(protected, {PROOFS: {INCLUSION: [proof]}}, None, signature)


def write(
    stream: BinaryIO,
    logs: Iterable[tuple[Link, Iterator[Item]]],
    store: Store,
    signers: Callable[[Link], Signer | None],
    *,
    digests: bool = False,
) -> tuple[int, int]:
    """Write statements as a CBOR sequence (RFC 8742); return how many, and how many lack their author's key here.

    Args:
        stream: where to.
        logs: the records, log by log, by owner.
        store: where the logs are.
        signers: finds what signs for an agent, None where its key is not here.
        digests: put the SHA-256 of each record in the place of its bytes.
    """
    total = left_out = 0
    for owner, items in logs:
        signer = signers(owner)
        receipts = None if signer is None else Receipts(store, signer)
        for item in items:
            if signer is None or receipts is None:
                left_out += 1
                continue
            stream.write(statement(item, signer, receipts.of(item.record), digest=digests))
            total += 1
    return total, left_out


def statement(item: Item, signer: Signer, receipt: bytes | None, *, digest: bool = False) -> bytes:
    """Return the signed statement that a record is, with its receipt if there is one.

    Args:
        item: the record, of the signer's own log.
        signer: its author.
        receipt: the receipt.
        digest: put the SHA-256 of the record in the place of its bytes (RFC 9054's algorithm -16).
    """
    record = item.record
    about: dict[int, Any] = {HASH_ALG: SHA_256, PREIMAGE_TYPE: DAG_CBOR} if digest else {CONTENT_TYPE: DAG_CBOR}
    payload = hashlib.sha256(record.data).digest() if digest else record.data
    header: dict[int, Any] = {ALG: EDDSA, KID: bytes(signer.key), **about}
    protected = _protected(header, signer.agent, record.id, {VERIFIED: item.verified})
    signature = signer.sign(sig_structure(protected, b"", payload))
    unprotected: dict[int, Any] = {} if receipt is None else {RECEIPTS: [receipt]}
    return _sign1(protected, unprotected, payload, signature)


def _protected(header: dict[int, Any], issuer: Link, subject: Link, more: Mapping[int | str, Any]) -> bytes:
    claims: dict[int | str, Any] = {ISSUER: naming.uri(issuer), SUBJECT: naming.uri(subject), **more}
    return cbor2.dumps({**header, CWT_CLAIMS: claims}, canonical=True)


def _sign1(protected: bytes, unprotected: dict[int, Any], payload: bytes | None, signature: bytes) -> bytes:
    return cbor2.dumps(cbor2.CBORTag(SIGN1_TAG, [protected, unprotected, payload, signature]))
