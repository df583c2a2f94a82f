"""Inputs to start from: real records, seals, bundles, messages, files, so that mutations get past the first check."""

from __future__ import annotations

from dataclasses import replace

from enclave import document, fields
from federations import MULTISIG, Federation
from targets import ATTESTED, narrowing_statement, withheld
from world import ONE

from tslg.manifests import request, signing, text
from tslg.protocol import challenge, checkpoint, cid, codec, delegating, exchange, frames, tlogproof, witnessing
from tslg.protocol.logproof import Needs
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof
from tslg.protocol.signatures import ed25519_secret


def seeds() -> dict[str, list[bytes]]:
    """Return for every target inputs that are accepted."""
    federation = Federation()
    log = federation.a
    records = [record for one in federation.logs() for record in one.records]
    seals = {id: sealed for one in federation.logs() for id, sealed in one.seals.items()}
    pairs = [(record.data, seals[record.id]) for record in records]
    last, tree = log.last, log.tree()
    claim = HeadClaim(log.owner, last.id, tree.size, tree.root())
    inclusion = InclusionProof(last.id, tree.size, tuple(tree.inclusion_proof(last.seq)))
    consistency = ConsistencyProof(log.owner, 2, tree.size, tuple(tree.consistency_proof(2)))
    walk = exchange.WalkRequest((last.id,), None, 50, (exchange.Have(log.owner, 2),)).to_bytes()
    end = exchange.WalkEnd(((last.id, "pruned"),), (claim,), (inclusion,), (consistency,)).to_bytes()
    chunk = exchange.records_chunk(pairs[:2])
    asked = request.propose(federation.current, [federation.root])
    note = checkpoint.encode(checkpoint.Checkpoint.of(log.owner, 3, tree.root(3)), ed25519_secret(bytes(32)))
    signed = checkpoint.parse(note)
    proof = tlogproof.LogProof(
        tlogproof.Subject(last.id, records[0].data).to_bytes(), 1, tuple(tree.inclusion_proof(1, 3)), signed
    )
    bare = challenge.Answer("here", federation.root.id, log.owner, last.id, last.seq, last.id, last.id)
    answer = replace(bare, prune=log.owner, records={last.id: pairs[-1]}, inclusion=inclusion.proof)
    vouched = delegating.Proof(log.owner, bytes(64))
    # A manifest read back from TOML has a group key or not; both forms are worth a start.
    written = [text.to_toml(record.body).encode() for record in (federation.root, federation.current)]
    assert federation.current.body["anchors"]["scheme"] == MULTISIG
    return {
        "codec": [codec.encode({"a": [1, -1, True, None, b"x", "y", last.id]}), *(data for data, _ in pairs[:4])],
        "record": [data for data, _ in pairs],
        "seal": [sealed for _, sealed in pairs],
        "cid": [cid.to_text(last.id).encode()],
        "bundle": [federation.bundle(last), federation.bundle(federation.charter, heads=False)],
        "checkpoint": [note],
        "tlog-proof": [proof.to_bytes()],
        "witness-request": [witnessing.Request(2, tuple(tree.consistency_proof(2, 3)), signed).to_bytes()],
        "verifier-key": [checkpoint.log_key("tslg/x", ed25519_secret(bytes(32))[32:]).text.encode()],
        "walk-request": [walk],
        "walk-chunk": [chunk, end],
        "log-messages": [
            exchange.HeadRequest(log.owner).to_bytes(),
            exchange.RangeRequest(log.owner, 1, 3).to_bytes(),
            exchange.ProofsRequest(log.owner, Needs((last.id,), ((2, tree.size),))).to_bytes(),
            exchange.HeadReply(claim, pairs[-1]).to_bytes(),
            exchange.ProofsReply((inclusion,), (consistency,)).to_bytes(),
            exchange.LocateReply(("/ip4/127.0.0.1/tcp/1",)).to_bytes(),
        ],
        "delegate-messages": [
            delegating.Offer(federation.delegation.id, ("/ip4/127.0.0.1/tcp/1",), vouched).to_bytes(),
            delegating.Status(federation.delegation.id, vouched).to_bytes(),
            delegating.Cancel(federation.delegation.id, last.id, (), vouched).to_bytes(),
            delegating.Push(federation.delegation.id, last.id, ()).to_bytes(),
            delegating.State("working", 1, None).to_bytes(),
            delegating.State("answered", 3, 3, None, last.id, last.id).to_bytes(),
        ],
        "frames": [frames.encode_chunk(0, chunk) + frames.encode_chunk(0, end)],
        "request-frame": [frames.encode_request(walk)],
        "manifest-text": [ONE.format(attested=0).encode(), *written],
        "disclosure": [withheld()[1]],
        "challenge": [answer.to_bytes()],
        "narrowing-proof": [narrowing_statement()[2]],
        "attestation": [document(fields(ATTESTED)), document(fields(ATTESTED), tagged=True)],
        "anchor-files": [signing.encode_sealed(*pairs[0]), request.encode_request(asked)],
    }
