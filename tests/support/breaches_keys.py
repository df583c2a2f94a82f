"""Records that break a rule of keys' life: who registers, who ends, which algorithms, and who must seal that too."""

from __future__ import annotations

from breach import OPEN, breaks
from world import sign

from tslg.manifests.agent_keys import SigningKey
from tslg.protocol import seal
from tslg.protocol.rules.bodies import rule_registration, rule_revocation
from tslg.protocol.rules.log import rule_revoked
from tslg.protocol.rules.seals import rule_key, rule_seal, rule_suite

BOTH = OPEN.replace("[envelope]\n", '[envelope]\nsignatures = ["Ed25519", "ES256K"]\n')
QUANTUM = OPEN.replace("[envelope]\n", "[envelope]\npost_quantum = true\n")
ROTATED = OPEN + "[envelope.rotation]\nanchors = true\n"
RECOVERED = ROTATED + "recovery = true\n"


def ending(w, author, dead, from_seq=None, **fields):
    return w.sealed(author, "revocation", w.ending(author, dead, from_seq), **fields)


def after_revocation(w):
    """Give `a` a second key, and end the first one with it."""
    first = w.a.key
    w.rotate(w.a)
    w.revoke(w.a, first)
    return first


# --- revocations -----------------------------------------------------------------------------------------------------


@breaks(rule_revocation, "REVOCATION", "not registered here")
def the_end_of_a_key_that_nobody_has(w):
    return ending(w, w.a, w.policy)


@breaks(rule_revocation, "REVOCATION", "another agent's, or registered later")
def the_end_of_another_agents_key(w):
    return ending(w, w.a, w.b.key)


@breaks(rule_revocation, "REVOCATION", "before its own")
def an_end_that_kills_what_came_before(w):
    w.rotate(w.a)
    return ending(w, w.a, w.a.owner, len(w.a.log) - 1)


@breaks(rule_revocation, "REVOCATION", "from its own position")
def a_key_that_ends_itself_before_it_has_said_so(w):
    return ending(w, w.a, w.a.key, len(w.a.log))


@breaks(rule_revoked, "REVOCATION", "revoked from position")
def an_end_that_was_there_already(w):
    first = after_revocation(w)
    return ending(w, w.a, first)


@breaks(rule_revoked, "REVOCATION", "revoked from position")
def an_end_put_off(w):
    first = after_revocation(w)
    return ending(w, w.a, first, 1_000)


@breaks(rule_revoked, "REVOKED", "revoked from position")
def a_record_by_a_revoked_key(w):
    return w.sealed(w.a, "state", key=after_revocation(w))


@breaks(rule_revoked, "REVOKED", "revoked from position")
def another_key_registered_by_a_revoked_one(w):
    first = after_revocation(w)
    record, _ = w.registration(w.a, key=first)
    return record, w.seal(record, w.a)


@breaks(rule_revoked, "REVOKED", "revoked from position")
def the_end_of_the_key_that_remains_by_the_revoked_one(w):
    first = after_revocation(w)
    return ending(w, w.a, w.a.key, key=first)


@breaks(rule_revoked, "REVOKED", "revoked from position 9")
def a_record_after_the_key_ended_as_it_was_announced(w):
    w.revoke(w.a, w.a.key, 9)
    while len(w.a.log) < 9:
        w.add(w.a, "state")
    return w.sealed(w.a, "state")


# --- algorithms ------------------------------------------------------------------------------------------------------


@breaks(rule_suite, "SUITE", "not of the algorithms")
def a_key_without_the_half_that_is_asked_for_since(w):
    w.amend(post_quantum=True)
    return w.sealed(w.a, "state")


@breaks(rule_suite, "SUITE", "not of the algorithms")
def a_key_of_an_algorithm_that_is_no_longer_allowed(w):
    w.amend(signatures=[-47])
    return w.sealed(w.a, "observation")


@breaks(rule_suite, "SUITE", "not of the algorithms")
def a_peer_registered_by_a_key_that_is_no_longer_allowed(w):
    w.amend(signatures=[-47])
    return w.sealed(w.a, "registration", {"purpose": "peer", "peer_id": b"peer", "addresses": []})


@breaks(rule_registration, "REGISTRATION", "asks for a post-quantum key", toml=QUANTUM)
def a_key_without_its_post_quantum_half(w):
    body = SigningKey(-19, bytes(32)).fields()
    return w.sealed(w.a, "registration", {"purpose": "signing", "binding": "tenant", **body})


@breaks(rule_registration, "REGISTRATION", "asks for no post-quantum key")
def a_post_quantum_half_that_nobody_asked_for(w):
    body = SigningKey(-19, bytes(32), bytes(32)).fields()
    return w.sealed(w.a, "registration", {"purpose": "signing", "binding": "tenant", **body})


@breaks(rule_registration, "REGISTRATION", "no ML-DSA-65 key", toml=QUANTUM)
def a_post_quantum_half_that_is_classical(w):
    body = SigningKey(-19, bytes(32)).fields()
    half = {"alg": -19, "key": body["key"]}
    return w.sealed(w.a, "registration", {"purpose": "signing", "binding": "tenant", **body, "post_quantum": half})


@breaks(rule_registration, "REGISTRATION", "no ML-DSA-65 key", toml=QUANTUM)
def a_post_quantum_half_under_which_anybody_can_sign(w):
    half = {"alg": -49, "key": bytes(1_952)}
    body = SigningKey(-19, bytes(32)).fields() | {"post_quantum": half}
    return w.sealed(w.a, "registration", {"purpose": "signing", "binding": "tenant", **body})


@breaks(rule_registration, "REGISTRATION", "may be trusted", toml=BOTH)
def a_point_that_is_not_compressed(w):
    return w.sealed(w.a, "registration", {"purpose": "signing", "alg": -47, "key": bytes(65), "binding": "tenant"})


# --- who seals -------------------------------------------------------------------------------------------------------


@breaks(rule_seal, "SEAL", "by the agent's key and its post-quantum key", toml=QUANTUM)
def a_record_without_its_post_quantum_signature(w):
    record = w.make(w.a, "state")
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key)])


@breaks(rule_seal, "SEAL", "does not verify", toml=QUANTUM)
def a_post_quantum_signature_by_another_agent(w):
    record, sealed = w.sealed(w.a, "state")
    own, _ = seal.parse(sealed).signatures
    return record, seal.encode([own, own._replace(alg=-49, value=w.b.keys[w.b.key].sign(-49, b""))])


@breaks(rule_seal, "SEAL", "another key or algorithm", toml=QUANTUM)
def the_two_signatures_the_other_way_round(w):
    record, sealed = w.sealed(w.a, "state")
    return record, seal.encode(seal.parse(sealed).signatures[::-1])


@breaks(rule_seal, "SEAL", "another key or algorithm", toml=QUANTUM)
def two_classical_signatures(w):
    record, sealed = w.sealed(w.a, "state")
    own, _ = seal.parse(sealed).signatures
    return record, seal.encode([own, own])


@breaks(rule_seal, "SEAL", "does not verify", toml=QUANTUM)
def a_good_post_quantum_signature_beside_a_bad_classical_one(w):
    record, sealed = w.sealed(w.a, "state")
    own, beside = seal.parse(sealed).signatures
    return record, seal.encode([own._replace(value=bytes(64)), beside])


@breaks(rule_seal, "SEAL", "by the agent, its post-quantum key", toml=QUANTUM)
def a_genesis_that_does_not_show_its_post_quantum_key(w):
    record, key = w.genesis("c")
    return record, seal.encode([sign(record, key, record.id)])


@breaks(rule_seal, "SEAL", "does not verify")
def a_new_post_quantum_half_that_the_agent_does_not_hold(w):
    w.amend(post_quantum=True)
    record, key = w.registration(w.a)
    thief = SigningKey(-19, key.seed, bytes(32))
    return record, w.seal_agent(record, {w.a.key: w.a.keys[w.a.key], record.id: thief})


@breaks(rule_seal, "SEAL", "another key or algorithm", toml=BOTH)
def an_ed25519_signature_by_an_es256k_key(w):
    w.rotate(w.a, -47)
    record = w.make(w.a, "state")
    return record, seal.encode([sign(record, bytes(32), w.a.key)])


@breaks(rule_seal, "SEAL", "does not verify", toml=BOTH)
def an_es256k_signature_with_the_higher_s(w):
    w.rotate(w.a, -47)
    record, sealed = w.sealed(w.a, "state")
    (own,) = seal.parse(sealed).signatures
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    high = (order - int.from_bytes(own.value[32:], "big")).to_bytes(32, "big")
    return record, seal.encode([own._replace(value=own.value[:32] + high)])


@breaks(rule_seal, "SEAL", "and the anchors", toml=ROTATED)
def a_rotation_without_the_anchors(w):
    record, _ = w.registration(w.a)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key)])


@breaks(rule_seal, "SEAL", "and the anchors", toml=ROTATED)
def a_revocation_without_the_anchors(w):
    record = w.make(w.a, "revocation", w.ending(w.a, w.a.key))
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key)])


@breaks(rule_seal, "SEAL", "not sealed by 1 of the 1 anchors", toml=ROTATED)
def a_rotation_with_the_anchors_seal_of_another(w):
    record, _ = w.registration(w.a)
    own, _ = seal.parse(w.seal(record, w.a)).signatures
    other, _ = w.registration(w.a)
    return record, seal.encode([own, w.by_anchors(other, w.federation, True)])


@breaks(rule_seal, "SEAL", "does not verify", toml=ROTATED)
def a_rotation_by_the_anchors_without_the_agent(w):
    record, _ = w.registration(w.a)
    own, anchors = seal.parse(w.seal(record, w.a)).signatures
    return record, seal.encode([own._replace(value=bytes(64)), anchors])


@breaks(rule_seal, "SEAL", "one signature", toml=ROTATED)
def a_peer_sealed_by_the_anchors_too(w):
    record = w.make(w.a, "registration", {"purpose": "peer", "peer_id": b"peer", "addresses": []})
    entries = [sign(record, w.a.keys[w.a.key], w.a.key, many=True), w.by_anchors(record, w.federation, True)]
    return record, seal.encode(entries)


@breaks(rule_key, "KEY", "names no key", toml=ROTATED)
def a_recovery_where_none_is_allowed(w):
    record, key = w.registration(w.a, key=None)
    return record, w.seal_agent(record, {record.id: key})


@breaks(rule_key, "KEY", "names no key", toml=RECOVERED, alone=False)
def a_revocation_by_the_anchors_alone(w):
    record = w.make(w.a, "revocation", w.ending(w.a, w.a.key), key=None)
    return record, seal.encode([w.by_anchors(record, w.federation)])


@breaks(rule_seal, "SEAL", "does not verify", toml=RECOVERED)
def a_recovery_by_somebody_who_does_not_hold_the_new_key(w):
    record, _ = w.registration(w.a, key=None)
    return record, w.seal_agent(record, {record.id: SigningKey(-19, bytes(32))})


@breaks(rule_seal, "SEAL", "not sealed by 1 of the 1 anchors", toml=RECOVERED)
def a_recovery_by_the_agent_alone(w):
    record, key = w.registration(w.a, key=None)
    own, anchors = seal.parse(w.seal_agent(record, {record.id: key})).signatures
    return record, seal.encode([own, anchors._replace(value=w.by_anchors(w.seen, w.federation, True).value)])
