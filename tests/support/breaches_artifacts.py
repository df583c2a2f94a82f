"""Records that break the rules of artifacts."""

from __future__ import annotations

from breach import breaks

from tslg.protocol.rules.artifacts import rule_artifact, rule_evaluation, rule_release, rule_transition

PACKAGE = {"digest": bytes(32), "size": 9, "media_type": "application/vnd.tslg.package"}
MODEL = {
    "name": "m",
    "type": "model",
    "package": PACKAGE,
    "files": 1,
    "bytes": 9,
    "operator": "train",
    "operator_version": "1",
    "licences": [],
    "restrictions": [],
    "vulnerabilities": [],
    "lifecycle": "candidate",
}
TESTED = {"package": bytes(32), "suite": "s", "suite_digest": bytes(32), "scores": {}, "passed": ["task"], "failed": []}


def other_package(byte):
    return MODEL | {"package": PACKAGE | {"digest": byte * 32}}


def model(w, parents=(), evidence=(), **body):
    preds = {"prior": [w.a.last], "parent": list(parents), "evidence": list(evidence)}
    return w.sealed(w.a, "artifact", MODEL | body, {name: cited for name, cited in preds.items() if cited})


def made(w, **body):
    return w.add(w.a, "artifact", MODEL | body, {"prior": [w.a.last]})


def tested(w, target, *passed, author=None, **body):
    value = TESTED | {"target": target.id, "passed": sorted(passed)} | body
    return w.add(author or w.b, "evaluation", value, {"evidence": [target]})


def evaluating(w, target, evidence=None, **body):
    preds = {"evidence": [target] if evidence is None else evidence}
    return w.sealed(w.b, "evaluation", TESTED | {"target": target.id} | body, preds)


def moving(w, target, start, to, *evidence, **body):
    value = {"target": target.id, "from": start, "to": to} | body
    return w.sealed(w.a, "transition", value, {"policy": [w.policy], "evidence": [target, *evidence]})


def moved(w, target, start, to, *evidence, **body):
    value = {"target": target.id, "from": start, "to": to} | body
    return w.add(w.a, "transition", value, {"policy": [w.policy], "evidence": [target, *evidence]})


def releasing(w, target, *evidence, **body):
    value = {"alias": "champion", "target": target.id} | body
    return w.sealed(w.a, "release", value, {"policy": [w.policy], "evidence": [target, *evidence]})


def released(w, target, *evidence, **body):
    value = {"alias": "champion", "target": target.id} | body
    return w.add(w.a, "release", value, {"policy": [w.policy], "evidence": [target, *evidence]})


@breaks(rule_artifact, "ARTIFACT", "no artifact begins as 'champion'")
def an_artifact_that_begins_as_champion(w):
    return model(w, lifecycle="champion")


@breaks(rule_artifact, "ARTIFACT", "a source that derives from others")
def a_source_with_parents(w):
    return model(w, [made(w)], lifecycle="source")


@breaks(rule_artifact, "ARTIFACT", "its package is no listing")
def an_artifact_whose_package_is_something_else(w):
    return model(w, package=PACKAGE | {"media_type": "application/zip"})


@breaks(rule_artifact, "ARTIFACT", "the package of none of its parents")
def an_artifact_trained_on_what_it_does_not_derive_from(w):
    return model(w, [made(w)], training_data=b"d" * 32)


@breaks(rule_artifact, "ARTIFACT", "the package of none of its parents")
def an_artifact_with_training_data_and_no_parents(w):
    return model(w, training_data=bytes(32))


@breaks(rule_artifact, "ARTIFACT", "its cohort is not among its evidence")
def an_artifact_of_a_cohort_that_it_does_not_cite(w):
    return model(w, evidence=[w.seen], cohort=w.policy.id)


@breaks(rule_evaluation, "EVALUATION", "no artifact among its evidence")
def an_evaluation_of_what_it_does_not_cite(w):
    return evaluating(w, made(w), evidence=[w.seen])


@breaks(rule_evaluation, "EVALUATION", "no artifact among its evidence")
def an_evaluation_of_an_observation(w):
    return evaluating(w, w.seen)


@breaks(rule_evaluation, "EVALUATION", "tested another package")
def an_evaluation_of_another_package(w):
    return evaluating(w, made(w), package=b"x" * 32)


@breaks(rule_evaluation, "EVALUATION", "both passed and failed task")
def an_evaluation_that_contradicts_itself(w):
    return evaluating(w, made(w), failed=["task"])


@breaks(rule_evaluation, "EVALUATION", "resolves something and passed nothing")
def an_evaluation_that_resolves_by_failing(w):
    target = made(w)
    resolved = [{"origin": target.id, "what": "restriction", "name": "personal"}]
    return evaluating(w, target, passed=[], failed=["unlearning"], resolves=resolved)


@breaks(rule_evaluation, "EVALUATION", "an advisory that names nothing")
def an_advisory_that_names_nothing(w):
    target = made(w)
    body = {"target": target.id, "restrictions": [], "vulnerabilities": [], "withdrawn": [], "reason": "none"}
    return w.sealed(w.b, "advisory", body, {"evidence": [target]})


@breaks(rule_transition, "TRANSITION", "'champion' does not follow 'candidate'")
def a_candidate_that_becomes_champion_at_once(w):
    return moving(w, made(w), "candidate", "champion")


@breaks(rule_transition, "TRANSITION", "'x' does not follow 'no such state'")
def a_transition_from_a_state_that_there_is_not(w):
    return moving(w, made(w), "no such state", "x")


@breaks(rule_transition, "TRANSITION", "the artifact is 'source' here")
def a_transition_from_another_state(w):
    return moving(w, made(w, lifecycle="source"), "candidate", "rejected")


@breaks(rule_transition, "TRANSITION", "the artifact is 'rejected' here")
def a_transition_that_forgets_the_last_one(w):
    target = made(w)
    last = moved(w, target, "candidate", "rejected")
    return moving(w, target, "shadow", "canary", last, after=last.id)


@breaks(rule_transition, "TRANSITION", "comes before it about the same subject")
def a_second_first_transition(w):
    target = made(w)
    moved(w, target, "candidate", "rejected")
    return moving(w, target, "candidate", "shadow")


@breaks(rule_transition, "TRANSITION", "comes before it about the same subject")
def a_transition_beside_another_one(w):
    target = made(w)
    first = moved(w, target, "candidate", "shadow")
    moved(w, target, "shadow", "rejected", first, after=first.id)
    return moving(w, target, "shadow", "retired", first, after=first.id)


@breaks(rule_transition, "TRANSITION", "no earlier one about its subject")
def a_transition_after_that_of_another_artifact(w):
    other = made(w, **other_package(b"o"))
    last = moved(w, other, "candidate", "shadow")
    return moving(w, made(w), "shadow", "rejected", last, after=last.id)


@breaks(rule_transition, "TRANSITION", "no artifact among its evidence")
def a_transition_of_an_observation(w):
    return moving(w, w.seen, "candidate", "shadow")


@breaks(rule_transition, "TRANSITION", "passed compatibility and safety")
def a_canary_that_nobody_tested(w):
    target = made(w)
    first = moved(w, target, "candidate", "shadow")
    return moving(w, target, "shadow", "canary", first, after=first.id)


@breaks(rule_transition, "TRANSITION", "passed safety")
def a_canary_with_the_safety_of_its_parent(w):
    parent = made(w)
    target = w.add(w.a, "artifact", other_package(b"c"), {"prior": [w.a.last], "parent": [parent]})
    safe = tested(w, parent, "safety", "compatibility")
    fits = tested(w, target, "compatibility", package=b"c" * 32)
    first = moved(w, target, "candidate", "shadow")
    return moving(w, target, "shadow", "canary", first, safe, fits, after=first.id)


@breaks(rule_release, "RELEASE", "no artifact among its evidence")
def a_release_of_what_it_does_not_cite(w):
    body = {"alias": "champion", "target": made(w).id}
    return w.sealed(w.a, "release", body, {"policy": [w.policy], "evidence": [w.seen]})


@breaks(rule_release, "RELEASE", "comes before it about the same subject")
def an_alias_that_is_moved_as_if_it_were_new(w):
    released(w, made(w))
    return releasing(w, made(w, **other_package(b"n")))


@breaks(rule_release, "RELEASE", "no earlier one about its subject")
def a_release_after_that_of_another_alias(w):
    target = made(w)
    last = released(w, target, alias="canary")
    return releasing(w, target, last, after=last.id)


@breaks(rule_release, "RELEASE", "rolled back to itself")
def a_release_with_itself_as_the_way_back(w):
    target = made(w)
    return releasing(w, target, tested(w, target, "compatibility"), rollback=target.id)


@breaks(rule_release, "RELEASE", "no artifact among its evidence")
def a_release_with_a_way_back_that_it_does_not_cite(w):
    return releasing(w, made(w), rollback=made(w, **other_package(b"n")).id)


@breaks(rule_release, "RELEASE", "passed compatibility")
def a_release_with_a_way_back_that_nobody_tested(w):
    old = made(w, **other_package(b"n"))
    failed = tested(w, old, package=b"n" * 32, failed=["compatibility"])
    return releasing(w, made(w), old, failed, rollback=old.id)
