"""Records that break the rule of access rules."""

from __future__ import annotations

from breach import ATTESTED, NOWHERE, OPEN, amending, breaks

from tslg.protocol.rules.access import rule_access
from tslg.protocol.rules.bodies import rule_anchors
from tslg.protocol.rules.federation import rule_envelope

CLOSED_READING = '[envelope.access]\ndefault = ["parties"]\ngrantable = ["parties"]\n'
GUARDED = OPEN + CLOSED_READING
MEMBERS = ATTESTED + '[envelope.access]\ndefault = ["members"]\ngrantable = ["members"]\n'


def readers(*groups, agents=(), peers=()):
    return {"agents": sorted(agents), "groups": sorted(groups), "peers": sorted(peers)}


def saying(w, effect="grant", to=None, **body):
    """An access rule of the first agent."""
    value = {"effect": effect, "readers": readers("parties") if to is None else to, "expires": None} | body
    return w.sealed(w.a, "access-rule", value)


@breaks(rule_anchors, "ANCHORS", "so `genesis.anchors` must be the threshold", alone=False)
def an_envelope_that_closes_reading_to_members_whom_nobody_attests(w):
    access = {"default": readers("members"), "grantable": readers(), "guaranteed": readers(), "rules": []}
    return amending(w, w.amended_body(access=access))


@breaks(rule_anchors, "ANCHORS", "anybody may read a manifest", alone=False)
def an_envelope_that_keeps_manifests_back(w):
    rule = {"agents": None, "fields": None, "kinds": ["manifest"], "readers": readers()}
    access = {"default": readers("anyone"), "grantable": readers(), "guaranteed": readers(), "rules": [rule]}
    return amending(w, w.amended_body(access=access))


@breaks(rule_envelope, "ENVELOPE", "`access` names")
def an_envelope_that_names_a_policy_as_readers(w):
    other = w.add(w.anchors, "gc-policy")
    access = {"default": readers(peers=[other.id]), "grantable": readers(), "guaranteed": readers(), "rules": []}
    return amending(w, w.amended_body(access=access))


@breaks(rule_access, "ACCESS", "lets anybody read everything")
def an_access_rule_where_anybody_reads_everything(w):
    return saying(w)


@breaks(rule_access, "ACCESS", "anybody may read a genesis", toml=GUARDED)
def an_access_rule_about_what_anybody_may_read(w):
    return saying(w, "restrict", kinds=["genesis"])


@breaks(rule_access, "ACCESS", "there is no kind 'thought'", toml=GUARDED)
def an_access_rule_about_a_kind_that_is_none(w):
    return saying(w, "restrict", kinds=["thought"])


@breaks(rule_access, "ACCESS", "no such field can be kept back: outcome", toml=GUARDED)
def an_access_rule_about_a_field_of_another_kind(w):
    return saying(w, "restrict", kinds=["observation"], fields=["data", "outcome"])


@breaks(rule_access, "ACCESS", "names an empty set", toml=GUARDED)
def an_access_rule_about_no_record(w):
    return saying(w, records=[])


@breaks(rule_access, "ACCESS", "positions 3 to 2 are none", toml=GUARDED)
def an_access_rule_about_positions_that_are_none(w):
    return saying(w, first=3, last=2)


@breaks(rule_access, "ACCESS", "lies in another log", toml=GUARDED)
def an_access_rule_about_the_record_of_another_agent(w):
    return saying(w, records=[w.add(w.b, "observation").id])


@breaks(rule_access, "ACCESS", "is not held here", toml=GUARDED)
def an_access_rule_about_a_record_that_is_not_there(w):
    return saying(w, records=[NOWHERE])


@breaks(rule_access, "ACCESS", "is not held here", toml=GUARDED)
def an_access_rule_for_a_peer_set_that_is_not_there(w):
    return saying(w, "restrict", readers(peers=[NOWHERE]))


@breaks(rule_access, "ACCESS", "is no peer set", toml=GUARDED)
def an_access_rule_for_a_policy_in_the_place_of_a_peer_set(w):
    return saying(w, "restrict", readers(peers=[w.policy.id]))


@breaks(rule_access, "ACCESS", "grants to nobody", toml=GUARDED)
def a_grant_to_nobody(w):
    return saying(w, to=readers())


@breaks(rule_access, "ACCESS", "to whom its manifest lets nobody grant", toml=GUARDED)
def a_grant_to_more_than_the_manifest_lets(w):
    return saying(w, to=readers("anyone"))


@breaks(rule_access, "ACCESS", "to whom its manifest lets nobody grant", toml=GUARDED)
def a_grant_to_an_agent_to_whom_the_manifest_lets_nobody_grant(w):
    return saying(w, to=readers(agents=[w.b.owner]))


@breaks(rule_access, "ACCESS", "to whom its manifest lets nobody grant", toml=MEMBERS)
def a_grant_to_anyone_where_members_are_meant(w):
    return saying(w, to=readers("anyone"))


@breaks(rule_access, "ACCESS", "of whom nobody attests", toml=GUARDED)
def a_restriction_to_members_whom_nobody_attests(w):
    return saying(w, "restrict", readers("members"))
