"""Records whose body breaks a rule, and no other."""

from __future__ import annotations

from breach import NOWHERE, OPEN, amending, breaks
from world import founded

from tslg.protocol.note import COSIGNATURE, VerifierKey
from tslg.protocol.rules.bodies import rule_anchors, rule_registration, rule_target
from tslg.protocol.rules.verifications import rule_verification
from tslg.protocol.signatures import ed25519_public_key


def registering(w, **changes):
    body = {"purpose": "signing", "alg": -19, "key": w.genesis("x")[0].body["key"], "binding": "tenant"} | changes
    return w.sealed(w.a, "registration", {name: value for name, value in body.items() if value is not None})


@breaks(rule_registration, "REGISTRATION", "alone")
def a_peer_with_a_key(w):
    return registering(w, purpose="peer", peer_id=b"peer", addresses=[])


@breaks(rule_registration, "REGISTRATION", "alone")
def a_peer_without_an_id(w):
    return w.sealed(w.a, "registration", {"purpose": "peer", "peer_id": b"", "addresses": []})


@breaks(rule_registration, "REGISTRATION", "alone")
def a_peer_with_an_endless_id(w):
    return w.sealed(w.a, "registration", {"purpose": "peer", "peer_id": bytes(65), "addresses": []})


@breaks(rule_registration, "REGISTRATION", "`alg`, `key` and `binding`")
def a_key_without_an_algorithm(w):
    return registering(w, alg=None)


@breaks(rule_registration, "REGISTRATION", "`alg`, `key` and `binding`")
def a_key_with_a_peer(w):
    return registering(w, peer_id=b"peer")


@breaks(rule_registration, "REGISTRATION", "algorithm -47 is not allowed")
def a_key_of_an_algorithm_that_is_not_allowed(w):
    return registering(w, alg=-47)


@breaks(rule_registration, "REGISTRATION", "may be trusted")
def a_key_of_small_order(w):
    return registering(w, key=bytes([1]) + bytes(31))


@breaks(rule_registration, "REGISTRATION", "other federations")
def a_genesis_for_other_federations(w):
    genesis, seed = w.genesis("c", federations=[NOWHERE])
    return genesis, w.seal_genesis(genesis, seed)


def found(w, **body):
    """A verification of an observation, with these fields."""
    preds = body.pop("preds", {})
    return w.sealed(w.a, "verification", {"target": w.seen.id, **body}, {"evidence": [w.seen], **preds})


def at(record, **entry):
    value = {"agent": record.owner, "record": record.id, "size": record.log.size, "root": record.log.root}
    return value | entry


@breaks(rule_verification, "VERIFICATION", "4 edges within a depth of 3")
def a_verification_beyond_its_depth(w):
    return found(w, depth=3, edges=4)


@breaks(rule_verification, "VERIFICATION", "3 records over 1 edges")
def a_verification_of_more_records_than_edges_lead_to(w):
    return found(w, edges=1, records=3)


@breaks(rule_verification, "VERIFICATION", "without a single record verified")
def a_verification_of_nothing_that_is_valid(w):
    return found(w, records=0)


@breaks(rule_verification, "VERIFICATION", "yet with a frontier")
def a_verification_without_a_bound_that_stopped(w):
    return found(w, frontier=[at(w.seen)])


@breaks(rule_verification, "VERIFICATION", "not sorted by agent")
def a_verification_with_two_frontiers_in_one_log(w):
    return found(w, depth=0, frontier=[at(w.policy), at(w.seen)])


@breaks(rule_verification, "VERIFICATION", "what that record does not")
def a_verification_whose_frontier_commits_to_another_tree(w):
    return found(w, depth=0, frontier=[at(w.seen, root=bytes(32))])


@breaks(rule_verification, "VERIFICATION", "what that record does not")
def a_verification_whose_frontier_names_another_log(w):
    return found(w, depth=0, frontier=[at(w.seen, agent=w.b.owner)])


@breaks(rule_verification, "VERIFICATION", "does not cite as evidence")
def a_verification_that_relies_on_what_it_does_not_cite(w):
    earlier = w.add(w.a, "verification", {"target": w.seen.id}, {"evidence": [w.seen]})
    return found(w, relied=[earlier.id])


@breaks(rule_verification, "VERIFICATION", "which is no verification that found its target valid")
def a_verification_that_relies_on_a_bad_one(w):
    body = {"target": w.seen.id, "verdict": "undetermined", "records": 0}
    earlier = w.add(w.a, "verification", body, {"evidence": [w.seen]})
    return found(w, relied=[earlier.id], preds={"evidence": [w.seen, earlier]})


@breaks(rule_verification, "VERIFICATION", "relies on the very record")
def a_verification_that_relies_on_its_target(w):
    return found(w, relied=[w.seen.id])


@breaks(rule_verification, "VERIFICATION", "a verification of another record")
def a_verification_that_counters_one_of_another_record(w):
    other = w.add(w.a, "verification", {"target": w.policy.id}, {"evidence": [w.policy]})
    return found(w, preds={"counters": [other]})


@breaks(rule_target, "TARGET", "not among its evidence")
def a_finding_on_a_record_that_it_does_not_cite(w):
    return w.sealed(w.a, "verification", {"target": NOWHERE}, {"evidence": [w.seen]})


@breaks(rule_anchors, "ANCHORS", "`recording` is {} or", alone=False)
def an_envelope_that_nobody_can_enforce(w):
    return amending(w, w.amended_body(recording={"x": 1}))


@breaks(rule_anchors, "ANCHORS", "`anchoring` needs Ed25519", alone=False)
def an_anchoring_that_no_key_could_keep(w):
    key = VerifierKey("w.example/a", COSIGNATURE, ed25519_public_key(bytes(32)))
    anchoring = {"cadence": "batch", "witnesses": [key.text], "quorum": 1}
    return amending(w, w.amended_body(anchoring=anchoring, signatures=[-47]))


@breaks(rule_anchors, "ANCHORS", "proof of possession")
def an_anchor_without_its_key(w):
    body = w.amended_body()
    stranger = founded(OPEN, "another").manifest_record.body["anchors"]["members"][0]
    body["anchors"] = dict(body["anchors"])
    member = dict(body["anchors"]["members"][0])
    body["anchors"]["members"] = [member | {"possession": stranger["possession"]}]
    return amending(w, body)


@breaks(rule_anchors, "VERSION", "version 3 after 1")
def a_version_that_skips_one(w):
    return amending(w, w.amended_body() | {"version": 3})


@breaks(rule_anchors, "VERSION", "version 1 after 1")
def a_version_that_does_not_count_up(w):
    return amending(w, w.amended_body() | {"version": 1})


@breaks(rule_anchors, "VERSION", "the one version it is made under", alone=False)
def an_amendment_of_two_versions(w):
    root = w.founded.manifest_record
    first = w.amend()
    return amending(w, w.amended_body(), [first, root])


@breaks(rule_anchors, "VERSION", "the one version it is made under", alone=False)
def an_amendment_made_under_another_version(w):
    first = w.amend()
    return amending(w, w.amended_body(), [first], manifest=w.federation)
