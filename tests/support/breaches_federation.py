"""Records of a federation's own log that break a rule, and records that its peer set or expiry keeps out."""

from __future__ import annotations

from breach import CLOSED, NOWHERE, OPEN, amending, breaks
from world import NOW, founded

from tslg.protocol import record as records
from tslg.protocol.rules.edges import rule_cross_agent, rule_edges
from tslg.protocol.rules.federation import rule_envelope, rule_expiry


def naming(w, record, entry="gc"):
    value = {"kinds": ["policy"], "peers": record} if entry == "cross_agent" else {"policy": record}
    return amending(w, w.amended_body(**{entry: value}))


def with_peers(w, *members):
    """Put a peer set of these agents into force."""
    peers = w.add(w.anchors, "peer-set", {"members": sorted(members)})
    w.amend(cross_agent={"kinds": ["delegation", "policy"], "peers": peers.id})


@breaks(rule_envelope, "ENVELOPE", "not held here")
def an_envelope_that_names_what_nobody_has(w):
    return naming(w, NOWHERE)


@breaks(rule_envelope, "ENVELOPE", "no earlier gc-policy")
def an_envelope_that_names_a_record_of_another_kind(w):
    return naming(w, w.add(w.anchors, "correction-policy").id)


@breaks(rule_envelope, "ENVELOPE", "no earlier correction-policy")
def corrections_under_a_policy_of_another_kind(w):
    return naming(w, w.add(w.anchors, "gc-policy").id, "corrections")


@breaks(rule_envelope, "ENVELOPE", "no earlier peer-set")
def peers_that_are_no_peer_set(w):
    return naming(w, w.add(w.anchors, "policy").id, "cross_agent")


@breaks(rule_envelope, "ENVELOPE", "no earlier peer-set")
def a_peer_set_that_an_agent_made(w):
    made = w.slip(w.a, "peer-set", {"members": [w.b.owner]})
    return naming(w, made.id, "cross_agent")


@breaks(rule_envelope, "ENVELOPE", "no earlier gc-policy")
def an_envelope_that_names_what_comes_after_it(w):
    record, _ = w.sealed(w.anchors, "gc-policy", {}, {"prior": [w.founded.manifest_record]})
    later = records.build(
        **{
            name: getattr(record, name)
            for name in ("kind", "agent", "prev", "time", "manifest", "key", "preds", "body")
        },
        seq=5,
        log=records.Head(5, bytes(32)),
    )
    w.held[later.id] = later
    return naming(w, later.id)


@breaks(rule_envelope, "ENVELOPE", "none is before a root manifest", alone=False)
def a_root_manifest_that_names_a_record(w):
    root = founded(OPEN, "another").manifest_record
    body = dict(root.body) | {"envelope": dict(root.body["envelope"]) | {"gc": {"policy": NOWHERE}}}
    fields = ("kind", "agent", "seq", "prev", "time", "manifest", "key", "log", "preds")
    made = records.build(**{name: getattr(root, name) for name in fields}, body=body)
    w.held[made.id], seal = made, w.seals[w.federation]
    w.federation = made.id
    return made, seal


@breaks(rule_edges, "EDGE-KIND", "is a gc-policy")
def a_peer_set_that_supersedes_another_kind(w):
    other = w.add(w.anchors, "gc-policy")
    return w.sealed(w.anchors, "peer-set", {}, {"prior": [w.founded.manifest_record], "amends": [other]})


@breaks(rule_cross_agent, "CROSS-AGENT", "not in the peer set", toml=CLOSED)
def a_record_of_an_agent_that_is_no_peer(w):
    with_peers(w, w.b.owner)
    preds = {"policy": [w.policy], "delegation": [w.granted], "prior": [w.b.last]}
    return w.sealed(w.b, "action", {}, preds)


@breaks(rule_cross_agent, "CROSS-AGENT", "not in the peer set")
def evidence_that_is_not_held_of_an_agent_that_is_no_peer(w):
    with_peers(w, w.b.owner)
    stranger = records.Edge(NOWHERE, w.a.owner, None)
    return w.sealed(w.b, "state", {}, {"prior": [w.b.last], "evidence": [stranger]})


@breaks(rule_expiry, "MANIFEST-EXPIRED", "after the manifest version expired")
def a_record_under_a_version_that_has_expired(w):
    expiring(w)
    return w.sealed(w.a, "state", time=NOW + 60_001)


@breaks(rule_expiry, "MANIFEST-EXPIRED", "after the manifest version expired")
def a_genesis_under_a_version_that_has_expired(w):
    expiring(w)
    w.time = NOW + 70_000
    genesis, seed = w.genesis("late")
    return genesis, w.seal_genesis(genesis, seed)


@breaks(rule_expiry, "MANIFEST-EXPIRED", "after the manifest version expired")
def a_peer_set_under_a_version_that_has_expired(w):
    expiring(w)
    return w.sealed(w.anchors, "peer-set", time=NOW + 60_001)


@breaks(rule_expiry, "MANIFEST-EXPIRED", "after the manifest version expired")
def an_amendment_that_expired_before_it_was_made(w):
    return amending(w, w.amended_body() | {"expires": NOW}, time=NOW + 60_001)


def expiring(w):
    """Put a version into force that expires a minute after the federation was founded."""
    newest = w.held[w.newest_manifest]
    w.add(w.anchors, "manifest-amendment", w.amended_body() | {"expires": NOW + 60_000}, {"amends": [newest]})
