"""Records that break a rule of structure or of edges, and no other."""

from __future__ import annotations

from breach import CLOSED, NOWHERE, OPEN, breaks
from world import founded, sign

from tslg.protocol import committed, seal
from tslg.protocol import record as records
from tslg.protocol.admission import (
    rule_address,
    rule_classes,
    rule_clock,
    rule_cross_agent,
    rule_edges,
    rule_fan_in,
    rule_hash,
    rule_issuer,
    rule_manifest,
)
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge


@breaks(rule_issuer, "ISSUER", "another federation", alone=False)
def the_manifest_of_another_federation(w):
    other = founded(OPEN, "another")
    return other.manifest_record, other.seal


@breaks(rule_issuer, "ISSUER", "log of a federation")
def an_observation_by_the_federation(w):
    return w.sealed(w.anchors, "observation", preds={"prior": [w.anchors.last]})


@breaks(rule_issuer, "ISSUER", "log of a agent", alone=False)
def an_amendment_by_an_agent(w):
    record = w.make(w.a, "manifest-amendment", w.amended_body(), {"amends": [Edge(w.federation, w.federation)]})
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key)])


@breaks(rule_classes, "CLASSES", "without evidence and policy")
def a_decision_on_nothing(w):
    return w.sealed(w.a, "decision", None, {"prior": [w.seen]})


@breaks(rule_classes, "CLASSES", "may not have ['evidence']")
def a_registration_with_evidence(w):
    body = {"purpose": "peer", "peer_id": b"peer", "addresses": []}
    return w.sealed(w.a, "registration", body, {"prior": [w.seen], "evidence": [w.seen]})


@breaks(rule_classes, "CLASSES", "may not have ['prior']", alone=False)
def a_genesis_with_a_past(w):
    genesis, seed = w.genesis("c")
    names = ["kind", "agent", "seq", "prev", "time", "manifest", "key", "log", "body"]
    fields = {name: getattr(genesis, name) for name in names}
    record = records.build(**fields, preds={"prior": [Edge(w.federation, w.federation)]})
    return record, w.seal_genesis(record, seed)


@breaks(rule_manifest, "MANIFEST", "not known here")
def under_a_manifest_that_nobody_has(w):
    return w.sealed(w.a, "state", manifest=NOWHERE)


@breaks(rule_manifest, "MANIFEST", "not known here")
def under_a_record_that_is_no_manifest(w):
    return w.sealed(w.a, "state", manifest=w.policy.id)


@breaks(rule_manifest, "MANIFEST", "another federation", alone=False)
def under_the_manifest_of_another_federation(w):
    other = founded(OPEN, "another")
    w.held[other.manifest_record.id] = other.manifest_record
    return w.sealed(w.a, "state", manifest=other.manifest_record.id)


@breaks(rule_manifest, "MANIFEST", "not known here")
def a_state_without_a_manifest(w):
    return w.sealed(w.a, "state", manifest=None)


@breaks(rule_hash, "HASH", "sha3-256, not sha2-256")
def an_id_of_another_hash(w):
    return w.sealed(w.a, "state", hash_name="sha3-256")


@breaks(rule_address, "ADDRESS", "not a state under the address scheme merkle")
def fields_in_plain_that_are_to_be_committed_to(w):
    w.amend(address="merkle")
    return w.sealed(w.a, "state")


@breaks(rule_address, "ADDRESS", "not a state under the address scheme flat")
def fields_committed_to_that_are_to_stand_in_plain(w):
    shown, _ = committed.commit(KINDS["state"], {"data": {}}, [bytes(16), bytes(16)])
    record = w.make(w.a, "state")
    fields = record._asdict()
    names = ("kind", "agent", "seq", "prev", "time", "manifest", "key", "log", "preds")
    record = records.build(body=shown, **{name: fields[name] for name in names})
    return record, w.seal(record, w.a)


@breaks(
    rule_fan_in,
    "FAN-IN",
    "5 edges, the manifest allows 1 to 4",
    toml=OPEN + "[envelope.fan_in]\nmax = 4\n",
)
def more_edges_than_the_manifest_allows(w):
    seen = [w.add(w.a, "observation") for _ in range(5)]
    return w.sealed(w.a, "state", None, {"prior": seen})


@breaks(rule_clock, "CLOCK", "300001 ms ahead, 300000 are allowed")
def from_the_future(w):
    return w.sealed(w.a, "state", time=w.now_ms + 300_001)


# --- edges -----------------------------------------------------------------------------------------------------------


@breaks(rule_edges, "RESOLVE", "not held here")
def on_a_state_of_its_own_that_nobody_has(w):
    return w.sealed(w.a, "state", None, {"prior": [Edge(NOWHERE)]})


@breaks(rule_edges, "RESOLVE", "not held here")
def on_evidence_of_its_own_that_nobody_has(w):
    return w.sealed(w.a, "state", None, {"prior": [w.seen], "evidence": [Edge(NOWHERE)]})


@breaks(rule_edges, "RESOLVE", "evidence bafy")
def a_decision_on_foreign_evidence_that_nobody_has(w):
    return w.sealed(w.a, "decision", None, {"policy": [w.policy], "evidence": [Edge(NOWHERE, w.b.owner)]})


@breaks(rule_edges, "RESOLVE", "delegation bafy")
def under_a_delegation_that_nobody_has(w):
    return w.sealed(w.b, "state", None, {"prior": [w.b.last], "delegation": [Edge(NOWHERE, w.a.owner)]})


@breaks(rule_edges, "RESOLVE", "policy bafy", alone=False)
def under_a_foreign_policy_that_nobody_has(w):
    return w.sealed(w.b, "action", None, {"policy": [Edge(NOWHERE, w.a.owner)], "delegation": [w.granted]})


@breaks(rule_edges, "EDGE-OWNER", "is another agent's record")
def a_foreign_record_as_its_own(w):
    return w.sealed(w.b, "state", None, {"prior": [w.b.last], "evidence": [Edge(w.seen.id)]})


@breaks(rule_edges, "EDGE-OWNER", "not of the agent it names")
def a_foreign_record_as_somebody_elses(w):
    return w.sealed(w.b, "state", None, {"prior": [w.b.last], "evidence": [Edge(w.seen.id, w.federation)]})


@breaks(rule_edges, "EDGE-OWNER", "not of the agent it names")
def its_own_record_as_a_foreign_one(w):
    return w.sealed(w.a, "state", None, {"prior": [w.a.last], "evidence": [Edge(w.seen.id, w.a.owner)]})


@breaks(rule_edges, "EDGE-OWNER", "names its own agent as another")
def its_own_record_that_nobody_has_as_a_foreign_one(w):
    return w.sealed(w.a, "state", None, {"prior": [w.a.last], "evidence": [Edge(NOWHERE, w.a.owner)]})


@breaks(rule_edges, "EDGE-ORDER", "not earlier in the log")
def a_later_record_of_its_own_log(w):
    later = w.make(w.a, "observation")
    author = w.a.fork(len(w.a.log))
    w.held[later.id] = later
    return w.sealed(author, "state", None, {"prior": [w.seen], "evidence": [later]})


@breaks(rule_edges, "EDGE-KIND", "leads to the agent's own")
def on_a_state_of_another_agent(w):
    return w.sealed(w.b, "state", None, {"prior": [w.seen]})


@breaks(rule_edges, "EDGE-KIND", "leads to the agent's own")
def on_a_state_of_another_agent_that_nobody_has(w):
    own = w.add(w.b, "policy")
    return w.sealed(w.b, "action", None, {"prior": [Edge(NOWHERE, w.a.owner)], "policy": [own]})


@breaks(rule_edges, "EDGE-KIND", "comes from another agent", alone=False)
def under_a_delegation_of_its_own(w):
    body = {"delegate": w.b.owner, "grant": w.policy.id}
    return w.sealed(w.a, "delegation", body, {"policy": [w.policy], "delegation": [w.granted]})


@breaks(rule_edges, "EDGE-KIND", "is a observation")
def under_a_policy_that_is_none(w):
    return w.sealed(w.a, "action", None, {"policy": [w.seen]})


@breaks(rule_edges, "EDGE-KIND", "is a policy")
def under_a_delegation_that_is_none(w):
    return w.sealed(w.b, "state", None, {"prior": [w.b.last], "delegation": [w.policy]})


@breaks(rule_edges, "EDGE-KIND", "is a policy", alone=False)
def an_amendment_of_a_policy(w):
    rule = w.add(w.anchors, "policy")
    record = w.make(w.anchors, "manifest-amendment", w.amended_body(), {"amends": [rule]})
    return record, seal.encode([w.by_anchors(record, rule.id, True), w.by_anchors(record, record.id, True)])


@breaks(
    rule_cross_agent, "CROSS-AGENT", "another agent's observation; X_admit allows ['delegation', 'policy']", toml=CLOSED
)
def a_kind_that_may_not_cross(w):
    return w.sealed(w.b, "state", None, {"prior": [w.b.last], "evidence": [w.seen]})
