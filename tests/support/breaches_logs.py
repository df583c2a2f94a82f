"""Records that break a rule of the log or of keys, and no other."""

from __future__ import annotations

from breach import NOWHERE, amending, breaks
from world import sign

from tslg.protocol import seal
from tslg.protocol.record import Head
from tslg.protocol.rules.log import rule_log, rule_rollback
from tslg.protocol.rules.seals import rule_key


@breaks(rule_log, "SEQ", "of which nothing is held")
def in_a_log_of_which_nothing_is_held(w):
    author = w.a.fork(len(w.a.log))
    del w.authors[w.a.owner]
    return w.sealed(author, "state")


@breaks(rule_log, "SEQ", "position 5, the log ends at 4")
def behind_a_gap(w):
    author = w.a.fork(len(w.a.log))
    author.push(w.make(author, "observation"))
    return w.sealed(author, "state", None, {"prior": [w.seen]})


@breaks(rule_log, "FORK", "position 3 is taken")
def at_a_position_that_is_taken(w):
    return w.sealed(w.a.fork(3), "state")


@breaks(rule_log, "PREV", "not the log's newest record")
def behind_another_record_than_the_newest(w):
    return w.sealed(w.a, "state", prev=w.seen.id)


@breaks(rule_log, "HEAD", "not the root of the log before it")
def on_another_tree(w):
    return w.sealed(w.a, "state", log=Head(len(w.a.log), bytes(32)))


@breaks(rule_log, "TIME", "is before the previous record's")
def before_the_record_before_it(w):
    return w.sealed(w.a, "state", time=w.a.last.time - 1)


@breaks(rule_rollback, "ROLLBACK", "manifest version 1, its log is at version 2")
def back_to_an_older_manifest(w):
    w.amend(clock_skew_ms=1)
    w.add(w.a, "state")
    return w.sealed(w.a, "state", manifest=w.federation)


@breaks(rule_rollback, "ROLLBACK", "manifest version 1, its log is at version 2")
def an_amendment_by_anchors_of_an_older_version(w):
    body = w.amended_body()
    w.amend()
    root = w.founded.manifest_record
    return amending(w, body, [root], manifest=root.id)


# --- keys and seals --------------------------------------------------------------------------------------------------


@breaks(rule_key, "KEY", "names no key", alone=False)
def without_a_key(w):
    record = w.make(w.a, "state", key=None)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.a.key)])


@breaks(rule_key, "KEY", "a federation's record names no key")
def a_federations_record_with_a_key(w):
    return w.sealed(w.anchors, "policy", None, {"prior": [w.anchors.last]}, key=w.a.key)


@breaks(rule_key, "KEY", "not registered here", alone=False)
def with_a_key_that_nobody_has(w):
    record = w.make(w.a, "state", key=NOWHERE)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], NOWHERE)])


@breaks(rule_key, "KEY", "not registered here", alone=False)
def with_a_record_that_registers_no_key(w):
    record = w.make(w.a, "state", key=w.policy.id)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.policy.id)])


@breaks(rule_key, "KEY", "not registered here", alone=False)
def with_a_peer_registration_as_its_key(w):
    peer = w.add(w.a, "registration", {"purpose": "peer", "peer_id": b"peer", "addresses": []})
    record = w.make(w.a, "state", key=peer.id)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], peer.id)])


@breaks(rule_key, "KEY", "another agent's, or registered later")
def with_the_key_of_another_agent(w):
    record = w.make(w.a, "state", key=w.b.key)
    return record, seal.encode([sign(record, w.b.keys[w.b.key], w.b.key)])


@breaks(rule_key, "KEY", "another agent's, or registered later")
def with_a_key_that_is_registered_later(w):
    early = w.a.fork(len(w.a.log))
    registration = w.rotate(w.a)
    w.authors[w.a.owner] = early
    record = w.make(early, "state", None, {"prior": [w.seen]}, key=registration.id)
    return record, seal.encode([sign(record, w.a.keys[registration.id], registration.id)])


@breaks(rule_key, "KEY", "another agent's, or registered later", alone=False)
def a_registration_with_the_key_of_another_agent(w):
    record = w.make(w.a, "registration", {"purpose": "peer", "peer_id": b"p", "addresses": []}, key=w.b.key)
    return record, seal.encode([sign(record, w.a.keys[w.a.key], w.b.key)])
