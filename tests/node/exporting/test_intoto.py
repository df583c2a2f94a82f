"""in-toto statements in DSSE envelopes, checked by securesystemslib and in-toto's own attestation package."""

from __future__ import annotations

import base64
import copy
import json

import google.protobuf.json_format as pb_json
import pytest
from export_scene import Scene, build
from in_toto_attestation.predicates.link.v0 import link_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey

from tslg.node.exporting import intoto
from tslg.protocol import seal
from tslg.protocol.cid import to_text


def key_of(signer):
    return SSlibKey(signer.key_id, "ed25519", "ed25519", {"public": signer.public.hex()})


def statement_of(line):
    return json.loads(base64.b64decode(line["payload"]))


def parsed(statement):
    """The statement as in-toto's package reads it, which refuses what is none."""
    pb = pb_json.ParseDict(statement, statement_pb2.Statement())
    read = Statement.copy_from_pb(pb)
    read.validate()
    return read


@pytest.mark.spec("EXP-10", "EXP-12")
def test_every_envelope_verifies_with_the_agents_key_and_holds_a_statement(scene):
    signer = scene.signer("alpha")
    lines = scene.lines("in-toto", predicates=intoto.PREDICATES)
    assert len(lines) > scene.records["verification"].seq
    for line in lines:
        envelope = Envelope.from_dict(copy.deepcopy(line))
        assert envelope.payload_type == "application/vnd.in-toto+json"
        assert list(envelope.verify([key_of(signer)], 1)) == [signer.key_id]
        parsed(statement_of(line))


@pytest.mark.spec("EXP-11")
def test_a_statement_about_a_record_has_its_digest_its_edges_and_what_came_of_it(scene):
    import hashlib

    record = scene.records["inference"]
    told = [statement_of(line) for line in scene.lines("in-toto", kinds=("inference",))]
    (statement,) = told
    assert statement["predicateType"] == "urn:tslg:attestation:record:1"
    first, output = statement["subject"]
    assert first["name"] == to_text(record.id) and first["uri"] == f"ipfs://{to_text(record.id)}"
    assert first["digest"] == {"sha256": hashlib.sha256(record.data).hexdigest()} == {"sha256": record.id[-32:].hex()}
    assert output["digest"] == {"sha256": record.body["output"].hex()}
    predicate = statement["predicate"]
    assert predicate["kind"] == "inference" and predicate["agent"]["name"] == "alpha"
    assert predicate["fields"]["intent"] == "refund" and predicate["inputs"][0]["name"] == "prompt"
    assert predicate["edges"]["policy"] == [{"uri": f"ipfs://{to_text(record.preds['policy'][0].cid)}"}]


@pytest.mark.spec("EXP-3")
@pytest.mark.parametrize(("method", "verified"), [("logs", {"log"}), ("none", {"none"}), ("walk", {"walk", "none"})])
def test_every_statement_says_by_itself_what_was_verified(scene, method, verified):
    told = [statement_of(line)["predicate"] for line in scene.lines("in-toto", method, predicates=("record",))]
    assert {one["verified"] for one in told} == verified
    assert {one["verification"]["method"] for one in told} == {method}


@pytest.mark.spec("EXP-13")
def test_a_verification_is_a_verification_summary_too(scene):
    lines = scene.lines("in-toto", kinds=("verification",), predicates=("summary",))
    (statement,) = map(statement_of, lines)
    target = scene.records["finding"].id
    assert statement["subject"][0]["digest"] == {"sha256": target[-32:].hex()}
    # The package has one text for this field, of which SLSA's specification says that it is a list.
    levels = statement["predicate"].pop("verifiedLevels")
    summary = pb_json.ParseDict(statement["predicate"], vsa_pb2.VerificationSummary())
    assert statement["predicateType"] == "https://slsa.dev/verification_summary/v1"
    assert summary.verification_result == "PASSED" and summary.resource_uri == f"ipfs://{to_text(target)}"
    assert summary.verifier.id == f"ipfs://{to_text(scene.home.agent('alpha').id)}"
    assert levels == ["TSLG_ANCESTRY"]


@pytest.mark.spec("EXP-13")
@pytest.mark.parametrize(
    ("verdict", "depth", "said"),
    [
        ("valid", 3, ("PASSED", ["TSLG_ANCESTRY_TO_DEPTH_3"])),
        ("invalid", None, ("FAILED", [])),
        ("undetermined", None, None),
    ],
)
def test_a_summary_says_no_more_than_the_verdict(scene, verdict, depth, said):
    record = scene.records["verification"]
    record = record._replace(body={**record.body, "verdict": verdict, "depth": depth})
    item = next(items for owner, items in scene.logs(scene.standing("none")) if owner == record.owner)
    item = next(item for item in item)._replace(record=record)

    def told(verified):
        given = item._replace(verified=verified), scene.standing("none"), lambda _: None, scene.signer("alpha")
        return list(intoto.statements(*given, predicates=("summary",)))

    found = [(one["predicate"]["verificationResult"], one["predicate"]["verifiedLevels"]) for one in told("log")]
    assert found == ([] if said is None else [said])
    assert told("none") == [], "what nobody verified passes nothing"


@pytest.mark.spec("EXP-13")
@pytest.mark.parametrize("act", ["retract", "amend", "correct"])
def test_a_verification_that_does_not_hold_any_more_passes_nothing(tmp_path, act):
    home, made = build(tmp_path / "data")
    scene = Scene(home, made)
    asked = {"kinds": ("verification",), "predicates": ("summary",)}
    assert len(scene.lines("in-toto", **asked)) == 1
    more = {} if act == "retract" else {"data": {"verdict": "undetermined"}}
    taken_back = getattr(home.agent("alpha"), act)(made["verification"], reason="looked at the wrong copy", **more)
    assert scene.lines("in-toto", **asked) == []
    home.agent("alpha").retract(taken_back, reason="it was the right one")
    assert len(scene.lines("in-toto", **asked)) == 1
    home.close()


@pytest.mark.spec("EXP-13")
def test_a_step_is_a_link(scene):
    lines = scene.lines("in-toto", kinds=("composite",), predicates=("link",))
    (statement,) = map(statement_of, lines)
    link = pb_json.ParseDict(statement["predicate"], link_pb2.Link())
    assert link.name == "refund" and {one.name for one in link.materials} == {"prompt", "part"}
    assert statement["subject"][0]["digest"] == {"sha256": scene.records["composite"].body["output"].hex()}
    assert statement["predicate"]["byproducts"]["verified"] == "log"


@pytest.mark.spec("EXP-12")
def test_what_is_changed_or_signed_by_another_does_not_verify(scene):
    signer, other = scene.signer("alpha"), scene.signer("beta")
    line = scene.lines("in-toto", kinds=("inference",))[0]
    with pytest.raises(VerificationError):
        Envelope.from_dict(copy.deepcopy(line)).verify([key_of(other)], 1)
    lied = statement_of(line)
    lied["predicate"]["verified"] = "walk"
    line["payload"] = base64.b64encode(json.dumps(lied).encode()).decode()
    with pytest.raises(VerificationError):
        Envelope.from_dict(line).verify([key_of(signer)], 1)


@pytest.mark.spec("EXP-2")
def test_what_dsse_signs_can_be_no_seal_of_a_record(scene):
    record = scene.records["inference"]
    assert intoto.pae(intoto.PAYLOAD_TYPE, record.data).startswith(b"DSSEv1 28 application/")
    assert seal.to_be_signed(record.data, -19).startswith(b"\x84\x6aSignature1")
