"""Records whose seal alone is wrong."""

from __future__ import annotations

from breach import ATTESTED, breaks
from world import THREE, sign

from tslg.protocol import seal
from tslg.protocol.rules.seals import rule_seal


def state(w):
    return w.make(w.a, "state")


def amendment(w):
    return w.make(w.anchors, "manifest-amendment", w.amended_body(), {"amends": [w.held[w.newest_manifest]]})


def sealed_wrong(detail: str):
    return breaks(rule_seal, "SEAL", detail)


@sealed_wrong("not CBOR")
def a_seal_that_is_none(w):
    return state(w), b""


@sealed_wrong("does not verify")
def a_signature_by_another_key(w):
    record = state(w)
    return record, seal.encode([sign(record, w.b.keys[w.b.key], w.a.key)])


@sealed_wrong("names another key or algorithm")
def a_kid_that_is_not_the_key(w):
    record = state(w)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.b.key)])


@sealed_wrong("names another key or algorithm")
def another_algorithm_in_the_header(w):
    record = state(w)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key, alg=-47)])


@sealed_wrong("names another key or algorithm")
def a_greater_algorithm_in_the_header(w):
    record = state(w)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key)._replace(alg=-7)])


@sealed_wrong("names another key or algorithm")
def a_bitmap_on_an_agents_signature(w):
    record = state(w)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key)._replace(bitmap=b"\x01")])


@sealed_wrong("one signature")
def two_signatures_on_an_agents_record(w):
    record = state(w)
    entry = sign(record, w.a.keys[w.a.key], w.a.key, many=True)
    return record, seal.encode([entry, entry])


@sealed_wrong("one signature")
def one_signature_in_the_form_for_many(w):
    record = state(w)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key, many=True)], many=True)


@sealed_wrong("does not verify")
def a_signature_made_for_the_form_for_many(w):
    record = state(w)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key, many=True)])


@sealed_wrong("does not verify")
def the_seal_of_another_record(w):
    return state(w), w.seals[w.seen.id]


@sealed_wrong("one seal, by its anchors")
def a_federations_policy_with_two_seals(w):
    record = w.make(w.anchors, "policy", None, {"prior": [w.anchors.last]})
    return record, seal.encode([w.by_anchors(record, w.federation, True)] * 2)


@sealed_wrong("one seal, by its anchors")
def a_federations_policy_in_the_form_for_many(w):
    record = w.make(w.anchors, "policy", None, {"prior": [w.anchors.last]})
    return record, seal.encode([w.by_anchors(record, w.federation)], many=True)


@sealed_wrong("other anchors or another scheme")
def a_federations_policy_sealed_by_an_agent(w):
    record = w.make(w.anchors, "policy", None, {"prior": [w.anchors.last]})
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.federation)])


@sealed_wrong("other anchors or another scheme")
def anchors_of_another_version(w):
    w.amend()
    record = w.make(w.anchors, "policy", None, {"prior": [w.anchors.last]})
    return record, seal.encode([w.by_anchors(record, w.federation)])


@sealed_wrong("not sealed by 1 of the 1 anchors")
def anchors_without_a_bitmap(w):
    record = w.make(w.anchors, "policy", None, {"prior": [w.anchors.last]})
    return record, seal.encode([w.by_anchors(record, w.federation)._replace(bitmap=None)])


@sealed_wrong("not sealed by 1 of the 1 anchors")
def anchors_that_signed_something_else(w):
    record = w.make(w.anchors, "policy", None, {"prior": [w.anchors.last]})
    return record, seal.encode([w.by_anchors(w.seen, w.federation)])


@sealed_wrong("by the old and by the new anchors")
def an_amendment_with_one_seal(w):
    record = amendment(w)
    return record, seal.encode([w.by_anchors(record, w.federation)])


@sealed_wrong("other anchors or another scheme")
def an_amendment_sealed_in_the_wrong_order(w):
    record = amendment(w)
    return record, seal.encode([w.by_anchors(record, record.id, True), w.by_anchors(record, w.federation, True)])


@sealed_wrong("not sealed by 1 of the 1 anchors")
def an_amendment_that_the_new_anchors_did_not_seal(w):
    record = amendment(w)
    new = w.by_anchors(record, record.id, True)._replace(value=w.by_anchors(w.seen, record.id, True).value)
    return record, seal.encode([w.by_anchors(record, w.federation, True), new])


@sealed_wrong("not sealed by 1 of the 1 anchors")
def an_amendment_that_the_old_anchors_did_not_seal(w):
    record = amendment(w)
    old = w.by_anchors(record, w.federation, True)._replace(value=w.by_anchors(w.seen, record.id, True).value)
    return record, seal.encode([old, w.by_anchors(record, record.id, True)])


@sealed_wrong("by the agent alone")
def a_genesis_that_is_attested_where_none_is_asked_for(w):
    record, seed = w.genesis("c")
    entries = [sign(record, seed, record.id, many=True), w.by_anchors(record, w.federation, True)]
    return record, seal.encode(entries)


@sealed_wrong("does not verify under the agent's key")
def a_genesis_sealed_by_another_key(w):
    record, _ = w.genesis("c")
    return record, seal.encode([sign(record, w.b.keys[w.b.key], record.id)])


@sealed_wrong("another key")
def a_genesis_that_names_another_key(w):
    record, seed = w.genesis("c")
    return record, seal.encode([sign(record, seed, w.b.key)])


@breaks(rule_seal, "SEAL", "by the agent and the anchors", toml=ATTESTED)
def a_genesis_without_the_anchors(w):
    record, seed = w.genesis("c")
    return record, seal.encode([sign(record, seed, record.id)])


@breaks(rule_seal, "SEAL", "does not verify under the agent's key", toml=ATTESTED)
def an_attested_genesis_that_the_agent_did_not_seal(w):
    record, _ = w.genesis("c")
    entries = [sign(record, w.b.keys[w.b.key], record.id, True), w.by_anchors(record, w.federation, True)]
    return record, seal.encode(entries)


@breaks(rule_seal, "SEAL", "not sealed by 1 of the 1 anchors", toml=ATTESTED)
def an_attestation_of_another_genesis(w):
    record, seed = w.genesis("c")
    other, _ = w.genesis("d")
    return record, seal.encode([sign(record, seed, record.id, True), w.by_anchors(other, w.federation, True)])


@breaks(rule_seal, "SEAL", "not sealed by 2 of the 3 anchors", toml=THREE.format(scheme="multisig"))
def a_genesis_attested_by_too_few(w):
    record, seed = w.genesis("c")
    few = w.by_anchors(record, w.federation, True, signers=(1,))
    return record, seal.encode([sign(record, seed, record.id, True), few])


@breaks(rule_seal, "SEAL", "not sealed by 2 of the 3 anchors", toml=THREE.format(scheme="multisig"))
def a_bitmap_that_claims_more_signers(w):
    record, seed = w.genesis("c")
    few = w.by_anchors(record, w.federation, True, signers=(1,))._replace(bitmap=b"\x03")
    return record, seal.encode([sign(record, seed, record.id, True), few])


@breaks(rule_seal, "SEAL", "not sealed by 2 of the 3 anchors", toml=THREE.format(scheme="threshold"))
def one_share_as_the_groups_signature(w):
    record, seed = w.genesis("c")
    entry = w.by_anchors(record, w.federation, True)
    share = w.by_anchors(w.seen, w.federation, True)
    return record, seal.encode([sign(record, seed, record.id, True), entry._replace(value=share.value)])
