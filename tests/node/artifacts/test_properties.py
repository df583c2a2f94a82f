"""What artifacts inherit, from whom and over which path, and what revoking and unlearning reach."""

from __future__ import annotations

import pytest
from homes import opened
from world import MERKLE, NOW

from tslg.node.artifacts import graph
from tslg.node.artifacts.properties import affected, properties, told
from tslg.protocol import record as records
from tslg.protocol.errors import UsageError
from tslg.protocol.inheritance import Issue
from tslg.protocol.record import Head


def issues(store, artifact, **how):
    return {(one.issue.what, one.issue.name) for one in properties(store, artifact.id, **how).inherited}


def test_every_property_names_its_ancestor_and_path(shared):
    farm, family = shared
    found = properties(farm.store, family.small.id)
    by_name = {one.issue.name: one for one in found.inherited}
    assert set(by_name) == {"CC-BY-4.0", "MIT", "Apache-2.0", "V-1", "personal"}
    personal = by_name["personal"]
    assert personal.issue.origin == family.personal.id
    assert personal.path == (family.personal.id, family.child.id, family.small.id)
    assert found.licences.expression == "Apache-2.0 AND CC-BY-4.0 AND MIT"
    assert found.licences.obligations["attribution"] == {"Apache-2.0", "CC-BY-4.0", "MIT"}
    assert sorted(found.obstacles) == [
        "compatibility to be tested",
        "restriction personal",
        "safety to be tested",
        "vulnerability V-1",
    ]
    assert told(found)["inherited"][0]["path"]


@pytest.mark.spec("ART-19")
def test_scores_safety_and_compatibility_are_never_inherited(farm):
    family = farm.family()
    farm.tested(family.base, "safety", "compatibility", scores={"accuracy": 99})
    assert properties(farm.store, family.base.id).safety.state == "passed"
    below = properties(farm.store, family.child.id)
    assert below.safety.state == below.compatibility.state == "to be tested"
    assert below.evaluations == ()
    farm.tested(family.child, "compatibility", failed=["safety"])
    below = properties(farm.store, family.child.id)
    assert (below.safety.state, below.compatibility.state) == ("failed", "passed")


def test_who_says_last_that_something_failed_is_not_outvoted(farm):
    family = farm.family()
    other = farm.home.agent("other")
    farm.tested(family.base, "task", failed=["safety"])
    farm.tested(family.base, "safety", by=other)
    assert properties(farm.store, family.base.id).safety.state == "failed"
    farm.tested(family.base, "safety")
    assert properties(farm.store, family.base.id).safety.state == "passed"


@pytest.mark.spec("ART-15", "ART-16")
def test_revoking_a_licence_reaches_exactly_the_descendants_and_unlearning_spares_those_it_covers(farm):
    family = farm.family()
    farm.evaluator.advisory(family.personal, reason="consent withdrawn", withdrawn=["CC-BY-4.0"])
    (found,) = affected(farm.store, family.personal.id, lambda issue: issue.what == "licence")
    assert found.reached == [family.personal.id, family.child.id, family.small.id] and found.spared == []
    assert found.path(family.small.id) == (family.personal.id, family.child.id, family.small.id)
    assert "licence CC-BY-4.0 was withdrawn" in properties(farm.store, family.small.id).obstacles
    assert not any("withdrawn" in line for line in properties(farm.store, family.aside.id).obstacles)

    unlearned = farm.made("unlearned", family.child, operator="unlearn")
    beside = farm.made("beside", unlearned, family.small)
    after = farm.made("after", unlearned)
    covered = {"origin": family.personal, "what": "licence", "name": "CC-BY-4.0"}
    farm.tested(unlearned, "unlearning", resolves=[covered])
    (found,) = affected(farm.store, family.personal.id, lambda issue: issue.what == "licence")
    assert set(found.reached) == {one.id for one in (family.personal, family.child, family.small, beside)}
    assert set(found.spared) == {unlearned.id, after.id} and list(found.resolved) == [unlearned.id]
    resolved = properties(farm.store, after.id).resolved
    assert [(one.issue.name, one.where) for one in resolved] == [("CC-BY-4.0", (unlearned.id,))]
    assert ("licence", "CC-BY-4.0") in issues(farm.store, beside)
    # It covered the licence, and nothing else of the data set.
    assert ("restriction", "personal") in issues(farm.store, after)


@pytest.mark.spec("ART-17")
def test_whoever_makes_something_does_not_resolve_it(farm):
    family = farm.family()
    issue = {"origin": family.base, "what": "vulnerability", "name": "V-1"}
    farm.tested(family.child, "retest", by=farm.breeder, resolves=[issue])
    assert ("vulnerability", "V-1") in issues(farm.store, family.small)
    assert ("vulnerability", "V-1") not in issues(farm.store, family.small, believed={farm.breeder.id})
    retest = farm.tested(family.child, "retest", resolves=[issue])
    assert ("vulnerability", "V-1") not in issues(farm.store, family.small)
    assert ("vulnerability", "V-1") in issues(farm.store, family.small, believed={farm.home.agent("x").id})
    farm.evaluator.retract(retest, reason="the test was wrong")
    assert ("vulnerability", "V-1") in issues(farm.store, family.small)


@pytest.mark.spec("ART-17")
def test_a_verdict_on_another_package_that_came_before_its_target_counts_for_nothing(farm):
    family = farm.family()
    true = farm.tested(family.small, "safety", "compatibility")
    issue = {"origin": family.base.id, "what": "vulnerability", "name": "V-1"}
    body = {**true.body, "package": b"x" * 32, "resolves": [issue], "passed": ["compatibility", "safety"]}
    fields = {name: getattr(true, name) for name in ("kind", "agent", "prev", "manifest", "key", "preds")}
    later = {"time": true.time + 1, "seq": true.seq + 5, "log": Head(true.seq + 5, bytes(32))}
    false = records.build(**fields, **later, body=body, hash_name="sha2-256")
    farm.store.append([(false, b"seal")])
    assert ("vulnerability", "V-1") in issues(farm.store, family.small)
    assert properties(farm.store, family.small.id).safety.by == true.id
    released = farm.breeder.release("one", family.aside, rollback=family.small)
    assert true.id in {edge.cid for edge in released.preds["evidence"]}


@pytest.mark.spec("ART-15", "ART-17")
def test_an_advisory_reaches_descendants_until_it_is_retracted(farm):
    family = farm.family()
    advisory = farm.evaluator.advisory(family.open, reason="found", vulnerabilities=["V-2"], restrictions=["EU only"])
    assert {("vulnerability", "V-2"), ("restriction", "EU only")} <= issues(farm.store, family.small)
    retracted = farm.evaluator.retract(advisory, reason="a mistake")
    assert ("vulnerability", "V-2") not in issues(farm.store, family.small)
    farm.evaluator.retract(retracted, reason="it was none")
    assert ("vulnerability", "V-2") in issues(farm.store, family.small)


def test_conflicting_and_unknown_licences_are_obstacles(farm):
    data = farm.add("data", "dataset", licences=["LicenseRef-house", "CC-BY-NC-4.0"])
    code = farm.add("code", licences=["GPL-2.0-only"])
    made = farm.made("made", data, code, licences=["Apache-2.0"])
    lines = "\n".join(properties(farm.store, made.id).obstacles)
    assert "licence LicenseRef-house is unknown" in lines
    assert "Apache-2.0 and GPL-2.0-only" in lines and "CC-BY-NC-4.0 and GPL-2.0-only" in lines


def test_what_is_no_artifact_has_no_properties(shared):
    farm, _ = shared
    with pytest.raises(UsageError, match="no artifact"):
        properties(farm.store, farm.breeder.id)


def test_the_graph_is_asked(shared):
    farm, family = shared
    store = farm.store
    assert graph.children(store, family.child.id) == [family.small.id]
    assert set(graph.ancestors(store, family.small.id)) == {one.id for one in family[:4]}
    assert graph.descendants(store, family.personal.id) == [family.child.id, family.small.id]
    assert graph.shared(store, family.small.id, family.aside.id) == sorted([family.open.id, family.base.id])
    assert graph.shared(store, family.small.id, family.child.id) == sorted(one.id for one in family[:4])
    assert graph.sharing(store, family.base.id, ["candidate"]) == graph.descendants(store, family.base.id)
    assert graph.sharing(store, family.base.id, ["source"]) == []
    by_type = graph.contributing(store, family.small.id)
    assert set(by_type["dataset"]) == {family.personal.id, family.open.id}
    assert set(by_type["model"]) == {family.base.id, family.child.id}


def test_cohorts_are_what_was_made_as_one_batch(farm):
    family = farm.family()
    first = farm.breeder.cohort("variants", of=family.child, input={"seed": 7})
    members = [farm.made(f"v{n}", family.child, cohort=first) for n in range(3)]
    other = farm.made("w", family.child, cohort=farm.breeder.cohort("variants"))
    assert set(graph.cohort(farm.store, members[1].id)) == {one.id for one in members}
    assert graph.cohort(farm.store, first.id) == graph.cohort(farm.store, members[0].id)
    assert graph.cohort(farm.store, other.id) == [other.id] and graph.cohort(farm.store, family.base.id) == []


def test_requests_that_used_a_version(farm):
    family = farm.family()
    did = farm.breeder.act("answer", evidence=family.child)
    farm.breeder.act("answer", evidence=family.small)
    envelope = farm.home.manifest.envelope
    claimed = {"class": envelope.classes[0], "tier": envelope.tiers[0]}
    policy = farm.breeder.policy("steps", classes=[claimed["class"]], tiers=[claimed["tier"]])
    body = {"model": "child", "inputs": {}, "intent": "answer", "output": bytes(32), **claimed}
    digest = family.child.body["package"]["digest"].hex()
    step = farm.breeder._append("inference", {**body, "model_version": f"sha256:{digest}"}, policy=policy)
    farm.breeder._append("inference", {**body, "model_version": "sha256:00"}, policy=policy)
    assert graph.uses(farm.store, family.child.id) == [did.id]
    assert graph.uses(farm.store, family.child.id, named=True) == [did.id, step.id]


@pytest.mark.spec("ART-18")
def test_the_origin_of_an_issue_is_told_once_for_each_ancestor(farm):
    one, two = (farm.add(name, licences=["MIT"]) for name in ("one", "two"))
    found = properties(farm.store, farm.made("both", one, two).id)
    assert {inherited.issue for inherited in found.inherited} == {Issue(x.id, "licence", "MIT") for x in (one, two)}


def test_what_an_ancestor_withholds_is_told_and_stands_against_release(tmp_path, farm_type):
    ticks = iter(range(NOW, NOW + 10**6))
    with opened(tmp_path / "home", MERKLE, clock=lambda: next(ticks)) as home:
        farm = farm_type(home, tmp_path / "packages")
        base = farm.add("base", licences=["GPL-3.0-only"])
        made = farm.made("made", base)
        assert [one.issue.name for one in properties(farm.store, made.id).inherited] == ["GPL-3.0-only"]
        farm.breeder.redact(base, fields=["licences", "type"], reason="a trade secret")
        found = properties(farm.store, made.id)
        assert found.withheld == [(base.id, "licences")] and found.inherited == []
        assert any("withholds its licences" in line for line in found.obstacles)
        assert graph.contributing(farm.store, made.id) == {"unknown": [base.id]}
