"""The life of artifacts: states, aliases that are only appended to, rollback, and the whole lineage record."""

from __future__ import annotations

import pytest
from homes import opened
from world import NOW, ONE

from tslg.node.artifacts import course, graph
from tslg.node.artifacts.comparing import differences, told
from tslg.node.artifacts.properties import affected
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.lifecycle import place


def promoted(farm, artifact, rollback=None):
    """Take an artifact through shadow and canary to champion."""
    farm.tested(artifact, "safety", "compatibility", scores={"accuracy": 90})
    with farm.breeder.batch():
        for state in ("shadow", "canary", "champion"):
            farm.breeder.transition(artifact, state)
        return farm.breeder.release("champion", artifact, rollback=rollback)


def test_a_candidate_becomes_champion_and_is_rolled_back(farm):
    family, by = farm.family(), farm.breeder.id
    first = promoted(farm, family.base)
    farm.breeder.transition(family.base, "standby")
    approval = farm.evaluator.decide("approve", "yes", evidence=family.child, policy=None)
    promoted(farm, family.child, rollback=family.base)
    farm.breeder.release("stable", family.child, evidence=approval)
    assert course.points_at(farm.store, "champion", by) == family.child.id
    back = course.roll_back(farm.breeder, farm.store, "champion", "it answered wrongly")
    assert course.points_at(farm.store, "champion", by) == family.base.id
    assert [one.body["target"] for one in course.history(farm.store, "champion", by)] == [
        family.base.id,
        family.child.id,
        family.base.id,
    ]
    assert course.history(farm.store, "champion")[0] == first and course.points_at(farm.store, "none", by) is None
    assert course.state(farm.store, family.child.id, by) == "rolled-back" == back.left.body["to"]
    assert course.states(farm.store, family.base.id) == {by: "champion"}
    assert course.state(farm.store, family.base.id, farm.evaluator.id) == "source"
    assert [one.body["alias"] for one in course.aliases(farm.store)] == ["champion", "stable"]
    record = course.lineage_record(farm.store, family.child.id)
    assert record["approvals"][0]["name"] == "approve" and record["rollback_target"]
    assert record["artifact_id"] == "sha256:" + family.child.body["package"]["digest"].hex()
    assert list(record["lifecycle_state"].values()) == ["rolled-back"]
    assert record["created_at_utc"].endswith("Z") and record["evaluations"][0]["passed"] == ["compatibility", "safety"]


def test_without_a_way_back_nothing_is_rolled_back(farm):
    family = farm.family()
    promoted(farm, family.base)
    with pytest.raises(UsageError, match="names what to go back to"):
        course.roll_back(farm.breeder, farm.store, "champion", "why not")
    assert course.state(farm.store, family.base.id, farm.breeder.id) == "champion"


def test_nothing_serves_untested_and_nobody_elses_test_counts_for_it(farm):
    family = farm.family()
    farm.tested(family.base, "safety", "compatibility")
    farm.breeder.transition(family.child, "shadow")
    with pytest.raises(Refusal) as caught:
        farm.breeder.transition(family.child, "canary")
    assert caught.value.code == "TSLG-A-TRANSITION"
    with pytest.raises(Refusal) as caught:
        farm.breeder.release("champion", family.base, rollback=family.child)
    assert caught.value.code == "TSLG-A-RELEASE"
    assert course.aliases(farm.store) == []


def test_a_state_is_that_of_one_agents_log(farm):
    family = farm.family()
    farm.breeder.transition(family.child, "rejected", reason="too slow")
    farm.evaluator.transition(family.child, "shadow", policy=None)
    assert course.states(farm.store, family.child.id) == {farm.breeder.id: "rejected", farm.evaluator.id: "shadow"}
    with pytest.raises(Refusal, match="does not follow"):
        farm.breeder.transition(family.child, "shadow")


def test_what_is_looked_at_grows_with_what_is_about_the_subject_alone(farm, monkeypatch):
    many = [farm.add(str(n)) for n in range(30)]
    asked = []
    monkeypatch.setattr("tslg.node.context.place", lambda one: asked.append(one) or place(one))
    with farm.breeder.batch():
        for one in many:
            farm.breeder.transition(one, "retired")
            farm.breeder.transition(one, "archived")
    assert {course.state(farm.store, one.id, farm.breeder.id) for one in many} == {"archived"}
    assert len(asked) <= 4 * len(many)


def test_what_differs_between_a_champion_and_a_failing_canary(farm):
    family = farm.family()
    good = farm.made("good", family.child, files={"weights": "w", "config": "1"})
    bad = farm.made("bad", family.child, family.small, files={"weights": "w", "config": "2", "new": ""})
    farm.evaluator.advisory(family.small, reason="found", vulnerabilities=["V-9"])
    farm.tested(good, "task", "safety", scores={"accuracy": 93, "cost": 5})
    farm.tested(bad, "task", failed=["safety"], scores={"accuracy": 95})
    found = differences(farm.store, good.id, bad.id)
    assert found.files == [("changed", "config"), ("added", "new")]
    assert found.fields == {"name": ("good", "bad")}
    assert found.only_one == [] and found.only_other == [family.small.id]
    assert [issue.name for issue in found.issues_other] == ["V-9"] and found.issues_one == []
    assert [score[1:] for score in found.scores] == [("accuracy", 93, 95), ("cost", 5, None)]
    assert found.passed == {"safety": (True, False), "task": (True, True)}
    assert told(found)["files"][0] == {"how": "changed", "path": "config"}


def test_where_edges_have_no_classes_lives_and_inheritance_are_the_same(tmp_path, farm_type):
    ticks = iter(range(NOW, NOW + 10**6))
    toml = ONE.format(attested=0).replace("[envelope]\n", '[envelope]\nedges = "flat"\n')
    with opened(tmp_path / "home", toml, clock=lambda: next(ticks)) as home:
        farm = farm_type(home, tmp_path / "packages")
        family = farm.family()
        batch = farm.breeder.cohort("batch", of=family.child)
        member = farm.made("member", family.child, cohort=batch)
        promoted(farm, family.base)
        farm.breeder.transition(family.base, "standby")
        promoted(farm, family.child, rollback=family.base)
        course.roll_back(farm.breeder, farm.store, "champion", "worse")
        assert course.points_at(farm.store, "champion", farm.breeder.id) == family.base.id
        assert graph.cohort(farm.store, member.id) == [member.id]
        issue = {"origin": family.personal, "what": "restriction", "name": "personal"}
        farm.tested(family.small, "unlearning", resolves=[issue])
        (found,) = affected(farm.store, family.personal.id, lambda one: one.what == "restriction")
        assert set(found.reached) == {family.personal.id, family.child.id, member.id}
        assert found.spared == [family.small.id]
