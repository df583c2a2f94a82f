"""OpenLineage events, read back into the classes of its own Python client, and our facet by its schema."""

from __future__ import annotations

import uuid
from collections import defaultdict

import jsonschema
import pytest
from openlineage.client.event_v2 import InputDataset, Job, OutputDataset, Run, RunEvent, RunState
from openlineage.client.generated.error_message_run import ErrorMessageRunFacet
from openlineage.client.generated.parent_run import ParentRunFacet
from openlineage.client.serde import Serde

from tslg.node.exporting import openlineage
from tslg.protocol.cid import to_text


def read(told):
    """The event as the client's classes have it; they check times, UUIDs and names, and know no further field."""
    event = dict(told)
    schema = event.pop("schemaURL")
    made = RunEvent(
        eventType=RunState(event.pop("eventType")),
        run=Run(**event.pop("run")),
        job=Job(**event.pop("job")),
        inputs=[InputDataset(**one) for one in event.pop("inputs")],
        outputs=[OutputDataset(**one) for one in event.pop("outputs")],
        **event,
    )
    assert made.schemaURL == schema
    return made


@pytest.fixture(scope="module")
def told(scene):
    return scene.lines("openlineage")


@pytest.fixture(scope="module")
def runs(told):
    found = defaultdict(list)
    for one in told:
        found[one["run"]["runId"]].append(one)
    return found


@pytest.mark.spec("EXP-14")
def test_the_clients_classes_read_every_event_and_write_it_alike(told):
    for one in told:
        written = Serde.to_dict(read(one))
        for dataset in (*written["inputs"], *written["outputs"]):
            dataset.pop("inputFacets", None)
            dataset.pop("outputFacets", None)
        assert written == one


@pytest.mark.spec("EXP-14", "EXP-15")
def test_a_step_starts_and_completes_and_a_rejection_fails(scene, runs):
    states = lambda name: [one["eventType"] for one in runs[openlineage.run_id(scene.records[name].id)]]  # noqa: E731
    assert states("inference") == ["START", "COMPLETE"] and states("rejection") == ["START", "FAIL"]
    failed = runs[openlineage.run_id(scene.records["rejection"].id)][1]
    facet = failed["run"]["facets"]["errorMessage"]
    made = ErrorMessageRunFacet(message=facet["message"], programmingLanguage=facet["programmingLanguage"])
    assert facet["message"] == "rule:limit: more than 500" and facet["_schemaURL"] == made._schemaURL
    assert failed["outputs"] == []


@pytest.mark.spec("EXP-15")
def test_a_delegation_is_a_run_that_its_answer_ends_and_steps_under_it_name_it(scene, runs):
    delegation = scene.records["delegation"].id
    assert [one["eventType"] for one in runs[openlineage.run_id(delegation)]] == ["START"]
    (start, _) = runs[openlineage.run_id(scene.records["finding"].id)]
    facet = start["run"]["facets"]["parent"]
    assert facet["run"]["runId"] == openlineage.run_id(delegation)
    assert facet["job"] == {"namespace": f"ipfs://{to_text(scene.home.agent('alpha').id)}", "name": "delegation"}
    assert facet["_schemaURL"] == ParentRunFacet._get_schema()


@pytest.mark.spec("EXP-15")
@pytest.mark.parametrize(("outcome", "state"), [("result", "COMPLETE"), ("refused", "FAIL"), ("failed", "FAIL")])
def test_an_answer_ends_its_delegation(scene, outcome, state):
    from tslg.node.exporting.choosing import Item
    from tslg.protocol.record import Edge

    delegation, alpha = scene.records["delegation"], scene.home.agent("alpha").id
    preds = {"answers": (Edge(delegation.id, alpha, None),)}
    answer = scene.records["finding"]._replace(kind="answer", body={"outcome": outcome}, preds=preds)
    (event,) = openlineage.events(Item(answer, b"", "none"), scene.standing("none"), lambda _: None)
    assert event["eventType"] == state and event["run"]["runId"] == openlineage.run_id(delegation.id)
    assert event["job"]["namespace"] == f"ipfs://{to_text(alpha)}"
    read(event)


@pytest.mark.spec("EXP-14")
def test_what_one_run_makes_the_next_consumes(scene, runs):
    inference, composite = scene.records["inference"], scene.records["composite"]
    (_, done) = runs[openlineage.run_id(inference.id)]
    (start, _) = runs[openlineage.run_id(composite.id)]
    made = {(one["namespace"], one["name"]) for one in done["outputs"]}
    assert made == {("ipfs", to_text(inference.id)), ("sha2-256", inference.body["output"].hex())}
    assert ("ipfs", to_text(inference.id)) in {(one["namespace"], one["name"]) for one in start["inputs"]}


@pytest.mark.spec("EXP-14")
def test_run_ids_are_of_the_record_alone(scene):
    record = scene.records["inference"].id
    assert uuid.UUID(openlineage.run_id(record)) == uuid.uuid5(openlineage.RUNS, to_text(record))
    assert uuid.uuid5(uuid.NAMESPACE_URL, "urn:tslg:openlineage:runs") == openlineage.RUNS


@pytest.mark.spec("EXP-3", "EXP-16")
@pytest.mark.parametrize("method", ["logs", "none", "walk"])
def test_our_facet_keeps_to_its_schema_and_says_what_was_verified(scene, method):
    jsonschema.Draft202012Validator.check_schema(openlineage.FACET_SCHEMA)
    check = jsonschema.Draft202012Validator(openlineage.FACET_SCHEMA)
    for one in scene.lines("openlineage", method, bodies=method == "logs"):
        facet = one["run"]["facets"]["tslg_record"]
        check.validate(facet)
        assert facet["verification"]["method"] == method
        assert facet["_schemaURL"] == openlineage.FACET_SCHEMA["$id"] + "#/$defs/TslgRecordRunFacet"
    with pytest.raises(jsonschema.ValidationError):
        check.validate({**facet, "verified": "surely"})
