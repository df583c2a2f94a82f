"""PROV-JSON, read back by the W3C group's own Python package."""

from __future__ import annotations

import io
import json
import warnings

import prov.model
import pytest
from prov.model import ProvDocument

from tslg.node.exporting import prov as prov_json
from tslg.protocol.cid import to_text


@pytest.fixture(scope="module")
def document(scene):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return ProvDocument.deserialize(content=scene.written("prov").decode(), format="json")


def of(document, kind):
    return [one for bundle in document.bundles for one in bundle.get_records(kind)]


def values(record):
    return {str(name): str(value) for name, value in record.attributes}


def uris(record):
    return {str(name): getattr(value, "uri", value) for name, value in record.attributes}


@pytest.mark.spec("EXP-7")
def test_the_real_tool_reads_it_and_reads_what_it_writes_alike(document):
    again = ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert again == document
    unified = document.unified()
    assert unified == document.unified() and "bundle log:" in unified.get_provn()
    assert all(len(one.unified().get_records()) == len(one.get_records()) for one in document.bundles)


@pytest.mark.spec("EXP-7", "EXP-8")
def test_every_log_is_a_bundle_and_every_record_an_entity_made_by_an_activity(scene, document):
    held = {log.owner: log.held for log in scene.home.store.logs()}
    bundles = {bundle.identifier.localpart: bundle for bundle in document.bundles}
    assert bundles.keys() == {to_text(owner) for owner in held}
    for owner, count in held.items():
        bundle = bundles[to_text(owner)]
        entities = [one for one in bundle.get_records(prov.model.ProvEntity) if "ipfs://" in one.identifier.uri]
        assert len(entities) == count == len(list(bundle.get_records(prov.model.ProvActivity)))
    (entity,) = [
        one
        for one in of(document, prov.model.ProvEntity)
        if one.identifier.uri == f"ipfs://{to_text(scene.records['finding'].id)}"
    ]
    told = values(entity)
    assert told["tslg:verified"] == "log" and told["tslg:seq"] == str(scene.records["finding"].seq)
    assert told["tslg:spends"] == "files=3" and told["prov:type"] == "tslg:decision"


@pytest.mark.spec("EXP-9")
def test_edges_are_relations_of_their_own_meaning(scene, document):
    at = {name: f"ipfs://{to_text(record.id)}" for name, record in scene.records.items()}
    derived = [uris(one) for one in of(document, prov.model.ProvDerivation)]
    pairs = {(one["prov:generatedEntity"], one["prov:usedEntity"]): one["prov:type"] for one in derived}
    assert pairs[at["release"], at["finding"]].endswith("#evidence")
    assert pairs[at["composite"], at["inference"]].endswith("#part")
    assert pairs[at["amendment"], at["release"]].endswith("Revision")
    used = {
        (one["prov:activity"].rpartition(":")[2], one["prov:entity"])
        for one in map(uris, of(document, prov.model.ProvUsage))
    }
    assert (to_text(scene.records["finding"].id), at["scan"]) in used
    (gone,) = map(uris, of(document, prov.model.ProvInvalidation))
    assert gone["prov:entity"] == at["rejection"]
    plans = {one.get("prov:plan") for one in map(uris, of(document, prov.model.ProvAssociation))}
    assert at["grant"] in plans
    acted = {
        (one["prov:delegate"], one["prov:responsible"], one.get("prov:activity"))
        for one in map(uris, of(document, prov.model.ProvDelegation))
    }
    alpha, beta = (f"ipfs://{to_text(scene.home.agent(name).id)}" for name in ("alpha", "beta"))
    assert (beta, alpha, None) in acted
    assert (beta, alpha, f"urn:tslg:making:{to_text(scene.records['finding'].id)}") in acted


@pytest.mark.spec("EXP-9")
def test_contents_are_entities_by_their_digests(scene, document):
    inference = scene.records["inference"]
    made = f"urn:tslg:sha2-256:{inference.body['output'].hex()}"
    generated = {one["prov:entity"] for one in map(uris, of(document, prov.model.ProvGeneration))}
    assert made in generated
    used = {one["prov:entity"] for one in map(uris, of(document, prov.model.ProvUsage))}
    assert f"urn:tslg:sha2-256:{inference.body['inputs']['prompt'].hex()}" in used


@pytest.mark.spec("EXP-3", "EXP-8")
@pytest.mark.parametrize(("method", "verdict"), [("logs", "valid"), ("none", "unverified")])
def test_each_bundle_says_what_was_verified(scene, method, verdict):
    told = json.loads(scene.written("prov", method))
    for log in told["bundle"]:
        assert told["entity"][log]["tslg:verification_verdict"] == verdict
        assert told["entity"][log]["tslg:verification_method"] == method
    verified = {
        one["tslg:verified"]
        for bundle in told["bundle"].values()
        for one in bundle["entity"].values()
        if "tslg:verified" in one
    }
    assert verified == {"log" if method == "logs" else "none"}


@pytest.mark.spec("EXP-5")
def test_contents_of_bodies_are_told_only_where_asked_for(scene):
    assert b"s3cr3t" not in scene.written("prov") and b"it is clean" not in scene.written("prov")
    assert b"s3cr3t" in scene.written("prov", bodies=True)


def test_an_export_of_nothing_is_a_document(scene):
    told = scene.written("prov", kinds=("release",))
    assert ProvDocument.deserialize(content=told.decode(), format="json") == ProvDocument()


@pytest.mark.spec("EXP-8")
def test_a_federation_is_an_organization_in_its_bundle_too_whatever_is_chosen_of_it(scene):
    stream = io.BytesIO()
    prov_json.write(stream, [(scene.home.federation, iter(()))], scene.standing(), lambda _: None)
    (bundle,) = json.loads(stream.getvalue())["bundle"].values()
    (agent,) = bundle["agent"].values()
    assert agent["prov:type"]["$"] == "prov:Organization"
