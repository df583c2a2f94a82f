"""Every format, in federations whose records look otherwise: flat edges, committed fields, other ids and seals."""

from __future__ import annotations

import base64
import copy
import io
import json

import cbor2
import pytest
from export_scene import Scene, build
from homes import opened
from prov.model import ProvDerivation, ProvDocument
from securesystemslib.dsse import Envelope
from securesystemslib.signer import SSlibKey
from strangers import manifest

from tslg.node.exporting import scitt
from tslg.protocol.cid import to_text


@pytest.fixture(
    scope="module",
    params=[
        'edges = "flat"',
        'address = "merkle"',
        'hash = "sha3-256"\naddress = { hybrid = "blake3" }\npost_quantum = true',
        'hash = "sha2-512"',
    ],
    ids=["flat", "merkle", "hybrid and post-quantum", "sha2-512"],
)
def other(request, tmp_path_factory):
    home, made = build(tmp_path_factory.mktemp("other") / "data", manifest(request.param))
    with home:
        yield Scene(home, made)


@pytest.mark.spec("EXP-4", "EXP-9")
def test_prov_has_the_same_relations_whatever_records_look_like(other):
    assert other.standing("logs").verdict == other.standing("walk").verdict == "valid"
    document = ProvDocument.deserialize(content=other.written("prov").decode(), format="json")
    derived = {
        (str(one.args[0]), str(one.args[1]))
        for bundle in document.bundles
        for one in bundle.get_records(ProvDerivation)
    }
    at = {name: f"record:{to_text(record.id)}" for name, record in other.records.items()}
    assert (at["release"], at["finding"]) in derived and (at["composite"], at["inference"]) in derived


@pytest.mark.spec("EXP-11", "EXP-12")
def test_statements_have_a_sha256_of_every_record_under_whatever_hash(other):
    import hashlib

    signer, records = other.signer("alpha"), {to_text(one.id): one for one in other.records.values()}
    key = SSlibKey(signer.key_id, "ed25519", "ed25519", {"public": signer.public.hex()})
    seen = 0
    for line in other.lines("in-toto"):
        Envelope.from_dict(copy.deepcopy(line)).verify([key], 1)
        statement = json.loads(base64.b64decode(line["payload"]))
        subject = statement["subject"][0]
        if subject["name"] in records and statement["predicateType"].startswith("urn:"):
            seen += 1
            assert subject["digest"] == {"sha256": hashlib.sha256(records[subject["name"]].data).hexdigest()}
    assert seen == len(records)


@pytest.mark.spec("EXP-17", "EXP-18")
def test_statements_of_scitt_have_receipts_for_whatever_ids(other):
    from tslg.protocol.log import verify_inclusion

    stream, found = io.BytesIO(other.written("scitt")), {}
    end = len(stream.getvalue())
    while stream.tell() < end:
        protected, unprotected, payload, _ = cbor2.CBORDecoder(stream, read_size=1).decode().value
        found[payload] = cbor2.loads(protected)[15][2], cbor2.loads(unprotected[scitt.RECEIPTS][0]).value
    for record in other.records.values():
        subject, receipt = found[record.data]
        size, index, path = cbor2.loads(receipt[1][scitt.PROOFS][scitt.INCLUSION][0])
        state = other.home.store.log_state(record.owner)
        assert subject == f"ipfs://{to_text(record.id)}" and (size, index) == (state.size, record.seq)
        assert verify_inclusion(record.id, index, size, list(path), state.peaks.root())


def test_openlineage_names_every_step(other):
    names = {one["job"]["name"] for one in other.lines("openlineage")}
    assert {"refund", "release", "scan", "scanner", "delegation"} <= names


def test_an_agent_without_an_ed25519_key_signs_no_export(tmp_path):
    from tslg.node.exporting.signing import signer_of
    from tslg.protocol.errors import UsageError

    with opened(tmp_path / "data", manifest('signatures = ["ES256K"]')) as home:
        agent = home.agent("a")
        with pytest.raises(UsageError, match="signed by Ed25519 keys"):
            signer_of(home.keyring, agent.id)
