"""What is fuzzed: every parser of bytes from outside, each with what must hold of whatever it accepts.

A target takes any bytes. It returns when they are refused by a typed error or when what they were read as holds up, and
raises anything else: that is a find.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from typing import Final

import enclave
from world import MERKLE, NOW, World

from tslg.manifests import request, signing, text
from tslg.protocol import (
    attestation,
    bundle,
    challenge,
    checkpoint,
    cid,
    codec,
    delegating,
    disclosure,
    exchange,
    frames,
    note,
    record,
    seal,
    tlogproof,
    witnessing,
)
from tslg.protocol.attestation.demand import read_hardware
from tslg.protocol.errors import CodecError, TslgError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.protocol.zk import narrowing

Target = Callable[[bytes], None]


def _codec(data: bytes) -> None:
    assert codec.encode(codec.decode(data)) == data


def _record(data: bytes) -> None:
    read = record.parse(data)
    assert read.data == data and cid.matches(read.id, data)
    rebuilt = record.build(
        kind=read.kind,
        agent=read.agent,
        seq=read.seq,
        prev=read.prev,
        time=read.time,
        manifest=read.manifest,
        key=read.key,
        log=read.log,
        preds=read.preds,
        body=read.body,
    )
    assert rebuilt.data == data


def _seal(data: bytes) -> None:
    read = seal.parse(data)
    assert seal.encode(read.signatures, many=read.many) == data


def _cid(data: bytes) -> None:
    cid.is_record_id(data)
    link = cid.from_text(data.decode("latin-1"))
    assert cid.to_text(link).encode() == data


def _bundle(data: bytes) -> None:
    read = bundle.read(io.BytesIO(data))
    assert len(read.records) * 36 <= len(data)


def _checkpoint(data: bytes) -> None:
    assert checkpoint.parse(data).to_bytes() == data


def _tlog_proof(data: bytes) -> None:
    read = tlogproof.parse(data)
    assert read.to_bytes() == data
    tlogproof.subject(read)


def _witness_request(data: bytes) -> None:
    assert witnessing.parse(data).to_bytes() == data


def _verifier_key(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    assert note.parse_key(text).text == text


def _walk_request(data: bytes) -> None:
    read = exchange.WalkRequest.from_bytes(data)
    assert exchange.WalkRequest.from_bytes(read.to_bytes()) == read


def _walk_chunk(data: bytes) -> None:
    read = exchange.read_walk_chunk(data)
    if isinstance(read, exchange.WalkEnd):
        assert exchange.read_walk_chunk(read.to_bytes()) == read
    else:
        assert exchange.read_walk_chunk(exchange.records_chunk(read)) == read


def _log_messages(data: bytes) -> None:
    reads = (exchange.read_log_request, exchange.HeadReply.from_bytes, exchange.ProofsReply.from_bytes)
    for read in (*reads, exchange.LocateReply.from_bytes):
        try:
            message = read(data)
        except TslgError:
            continue
        assert read(message.to_bytes()) == message


def _delegate_messages(data: bytes) -> None:
    for read in (delegating.read_request, delegating.State.from_bytes):
        try:
            message = read(data)
        except TslgError:
            continue
        assert read(message.to_bytes()) == message


def _frames(data: bytes) -> None:
    """However a reply is cut into pieces, it is the same chunks."""
    whole = frames.ReplyDecoder(DEFAULT.chunk_bytes, DEFAULT.reply_bytes)
    chunks = list(whole.feed(data))
    pieces = frames.ReplyDecoder(DEFAULT.chunk_bytes, DEFAULT.reply_bytes)
    assert [chunk for byte in data for chunk in pieces.feed(bytes((byte,)))] == chunks


def _request_frame(data: bytes) -> None:
    decoder = frames.RequestDecoder(DEFAULT.request_bytes)
    decoder.feed(data)
    assert frames.encode_request(decoder.finish()) == data


def _manifest_text(data: bytes) -> None:
    text.parse(data.decode("utf-8", "replace"))


def _anchor_files(data: bytes) -> None:
    for read in (request.decode_request, signing.decode_sealed):
        try:
            read(data, "file")
        except TslgError:
            continue


@cache
def narrowing_statement() -> tuple[narrowing.Hidden, narrowing.Hidden, bytes]:
    """Return two confidential policies, and the one proof that the second is no wider."""
    wide = narrowing.Opening(frozenset({"pay", "scan"}), {"eur": 500}, b"\x01" * 32)
    narrow = narrowing.Opening(frozenset({"scan"}), {"eur": 20}, b"\x02" * 32)
    sides = narrowing.hide(("pay", "scan"), wide), narrowing.hide(("pay", "scan"), narrow)
    return *sides, narrowing.prove(*sides, wide, narrow, binding=b"edge", entropy=bytes(32))


def _narrowing_proof(data: bytes) -> None:
    """Whatever else the bytes are, they are a proof only if they are the one that was made."""
    wide, narrow, proof = narrowing_statement()
    assert narrowing.verify(wide, narrow, binding=b"edge", proof=data) is (data == proof)


@cache
def withheld() -> tuple[Record, bytes, Mapping[str, object]]:
    """Return a record that only commits to its fields, the disclosure of all of them, and the fields."""
    world = World(MERKLE)
    agent = world.agent("a")
    made = world.add(agent, "observation", {"data": {"t": 1}, "sought": "nothing"})
    bare = record.parse_as(made.id, made.data)
    return bare, world.attached[made.id], disclosure.read(bare, world.attached[made.id]).body


def _disclosure(data: bytes) -> None:
    """Whatever is accepted shows what was committed to, and nothing else."""
    bare, _, fields = withheld()
    shown = disclosure.read(bare, data)
    assert all(fields[name] == value for name, value in shown.body.items())


def _challenge(data: bytes) -> None:
    assert challenge.read(data).to_bytes() == data


ATTESTED: Final = bytes(range(32))
"""The digest that the attestation documents among the seeds bind."""


@cache
def hardware() -> attestation.Hardware:
    """Return what trusts the root of those documents, and what they measured."""
    return read_hardware(enclave.entry()["hardware"])


def _attestation(data: bytes) -> None:
    """A document says what is wrong with it on one line; one that holds is one of ours, maybe under another tag."""
    wrong = attestation.VERIFIERS["aws-nitro"](data, hardware(), ATTESTED, NOW)
    assert wrong is None or (wrong and "\n" not in wrong and len(wrong) < 300)
    if wrong is not None:
        raise CodecError(wrong)
    assert ATTESTED in data


TARGETS: Final[Mapping[str, Target]] = {
    "codec": _codec,
    "record": _record,
    "seal": _seal,
    "cid": _cid,
    "bundle": _bundle,
    "checkpoint": _checkpoint,
    "tlog-proof": _tlog_proof,
    "witness-request": _witness_request,
    "verifier-key": _verifier_key,
    "walk-request": _walk_request,
    "walk-chunk": _walk_chunk,
    "log-messages": _log_messages,
    "delegate-messages": _delegate_messages,
    "frames": _frames,
    "request-frame": _request_frame,
    "manifest-text": _manifest_text,
    "anchor-files": _anchor_files,
    "narrowing-proof": _narrowing_proof,
    "disclosure": _disclosure,
    "challenge": _challenge,
    "attestation": _attestation,
}


def run(name: str, data: bytes) -> bool:
    """Run one target. Returns whether the input was accepted; a typed error is the right way to refuse it."""
    try:
        TARGETS[name](data)
    except TslgError:
        return False
    return True
