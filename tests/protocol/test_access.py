"""Who may read what: the decision over a manifest's rules and agents' own, as sentences say it, and whatever holds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from breach import ATTESTED, Scene
from breaches_access import MEMBERS as CLOSED
from breaches_access import readers, saying
from hypothesis import given, settings
from hypothesis import strategies as st
from world import MERKLE, ONE

from tslg.manifests import text
from tslg.node.verifying import walk
from tslg.protocol import cid
from tslg.protocol.access import STRANGER, Reader, covers, decide, unrestricted
from tslg.protocol.access_rules import ALWAYS, COMMITTED, Access, Grant, Readers, Rule, Subject, grant_of, subject_of
from tslg.protocol.admission import admit
from tslg.protocol.errors import ManifestError
from tslg.protocol.kinds import KINDS

FEDERATION, AUTHOR, PARTY, OTHER, SET, SECOND = (cid.compute(bytes([n])) for n in range(6))
TARGET = cid.compute(b"target")
NOW = 1_000
MEMBERS = {SET: frozenset((PARTY,)), SECOND: frozenset((OTHER,))}
NOBODY, ANYONE = Readers(), Readers(groups=frozenset(("anyone",)))
INSIDE, INVOLVED = Readers(groups=frozenset(("members",))), Readers(groups=frozenset(("parties",)))
DECISION = Subject(TARGET, AUTHOR, 5, "decision", frozenset((PARTY,)), True)
FIELDS = frozenset(KINDS["decision"].committed)


def manifest(*rules, default=ANYONE, grantable=NOBODY, guaranteed=NOBODY):
    return Access(default, grantable, guaranteed, rules)


def rule(to, kinds=None, agents=None, fields=None):
    some = (None if names is None else frozenset(names) for names in (agents, fields, kinds))
    return Rule(*some, to)


def said(effect, to, **about):
    empty = dict.fromkeys(("records", "kinds", "first", "last", "fields", "expires"))
    return Grant(cid.compute(b"rule"), effect == "grant", to, **empty | about)


def outcome(reader, access, *grants, subject=DECISION, now=NOW):
    return decide(
        reader,
        subject,
        access,
        grants,
        federation=FEDERATION,
        members=lambda id: MEMBERS.get(id, frozenset()),
        now_ms=now,
    )


def agent(*ids):
    return Reader(frozenset(ids))


def may(reader, access, *grants, **how):
    return outcome(reader, access, *grants, **how).readable


# --- what sentences say ----------------------------------------------------------------------------------------------


@pytest.mark.spec("ACC-1")
def test_where_a_manifest_says_nothing_anybody_reads_everything():
    closing = said("restrict", NOBODY)
    assert outcome(STRANGER, None, closing) == (True, frozenset(), "the manifest lets anybody read everything")


@pytest.mark.spec("ACC-9")
@pytest.mark.parametrize(
    ("to", "who"),
    [
        (ANYONE, {"stranger", "party", "other"}),
        (INSIDE, {"party", "other"}),
        (INVOLVED, {"party"}),
        (Readers(agents=frozenset((OTHER,))), {"other"}),
        (Readers(peers=frozenset((SET,))), {"party"}),
        (Readers(peers=frozenset((SET, SECOND))), {"party", "other"}),
        (Readers(peers=frozenset((TARGET,))), set()),
        (NOBODY, set()),
    ],
)
def test_who_is_among_readers(to, who):
    asking = {"stranger": STRANGER, "party": agent(PARTY), "other": agent(OTHER), "author": agent(AUTHOR)}
    access = manifest(default=to)
    assert {name for name, reader in asking.items() if may(reader, access)} == who | {"author"}
    assert may(agent(OTHER, AUTHOR), access)


@pytest.mark.spec("ACC-10")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_anybody_reads_what_the_rest_is_judged_by(kind):
    closed = manifest(default=NOBODY)
    subject = DECISION._replace(kind=kind)
    assert may(STRANGER, closed, said("restrict", NOBODY), subject=subject) is (kind in ALWAYS)
    assert may(STRANGER, closed, subject=subject._replace(owner=FEDERATION))
    assert may(agent(AUTHOR), closed, said("restrict", NOBODY), subject=subject)


@pytest.mark.spec("ACC-11")
def test_the_first_rule_that_concerns_a_record_decides():
    access = manifest(rule(INVOLVED, kinds=["decision"]), rule(ANYONE, agents=[AUTHOR]), rule(NOBODY), default=ANYONE)
    assert not may(STRANGER, access) and may(agent(PARTY), access)
    assert may(STRANGER, access, subject=DECISION._replace(kind="state"))
    assert not may(agent(PARTY), access, subject=DECISION._replace(kind="state", owner=OTHER))
    assert outcome(STRANGER, access).why == "rule 1 of the manifest"


@pytest.mark.spec("ACC-11")
def test_the_first_rule_that_names_a_field_decides_on_it():
    access = manifest(
        rule(NOBODY, fields=["outcome"], agents=[OTHER]),
        rule(INVOLVED, fields=["outcome", "reason"]),
        rule(ANYONE, fields=["reason"]),
    )
    assert outcome(STRANGER, access).hidden == {"outcome", "reason"}
    assert outcome(agent(PARTY), access).hidden == frozenset()
    assert outcome(agent(PARTY), access, subject=DECISION._replace(owner=OTHER)).hidden == {"outcome"}
    # A rule about fields never lets anybody read a record.
    assert not may(agent(PARTY), replace(access, default=NOBODY))


@pytest.mark.spec("ACC-12")
def test_a_grant_lets_read_up_to_what_the_manifest_lets_be_granted():
    closed = manifest(default=NOBODY, grantable=INSIDE)
    assert may(agent(OTHER), closed, said("grant", ANYONE)) and not may(STRANGER, closed, said("grant", ANYONE))
    assert not may(agent(OTHER), closed, said("grant", Readers(agents=frozenset((PARTY,)))))
    assert not may(agent(OTHER), manifest(default=NOBODY), said("grant", INSIDE))


@pytest.mark.spec("ACC-12")
@pytest.mark.parametrize(
    ("about", "reached"),
    [
        ({}, True),
        ({"records": frozenset((TARGET, OTHER))}, True),
        ({"records": frozenset((OTHER,))}, False),
        ({"kinds": frozenset(("decision",))}, True),
        ({"kinds": frozenset(("state",))}, False),
        ({"first": 5, "last": 5}, True),
        ({"first": 6}, False),
        ({"last": 4}, False),
        ({"kinds": frozenset(("decision",)), "first": 6}, False),
        ({"expires": NOW}, True),
        ({"expires": NOW - 1}, False),
    ],
)
def test_what_an_access_rule_is_about(about, reached):
    assert may(agent(OTHER), manifest(default=NOBODY, grantable=INSIDE), said("grant", INSIDE, **about)) is reached
    assert may(agent(OTHER), manifest(), said("restrict", INVOLVED, **about)) is not reached


@pytest.mark.spec("ACC-12", "ACC-14")
def test_a_grant_of_fields_shows_these_and_no_others():
    closed = manifest(default=NOBODY, grantable=INSIDE)
    one = said("grant", INSIDE, fields=frozenset(("outcome",)))
    assert outcome(agent(OTHER), closed, one)[:2] == (True, FIELDS - {"outcome"})
    assert outcome(agent(OTHER), closed, one, said("grant", INSIDE))[:2] == (True, frozenset())
    # Beside what the manifest lets it read.
    half = manifest(rule(NOBODY, fields=["outcome", "reason"]), grantable=INSIDE)
    assert outcome(agent(OTHER), half, one).hidden == {"reason"} and outcome(STRANGER, half, one).hidden == {
        "outcome",
        "reason",
    }


@pytest.mark.spec("ACC-13")
def test_a_restriction_holds_whatever_is_granted_but_not_against_the_guaranteed():
    access = manifest(guaranteed=Readers(agents=frozenset((OTHER,))), grantable=ANYONE)
    closing, opening = said("restrict", INVOLVED), said("grant", ANYONE)
    assert not may(STRANGER, access, closing, opening)
    assert may(agent(PARTY), access, closing) and may(agent(OTHER), access, closing)
    # What only a grant lets it read is kept from a guaranteed reader too.
    assert not may(agent(OTHER), replace(access, default=NOBODY), closing, opening)
    field = said("restrict", NOBODY, fields=frozenset(("reason",)))
    assert outcome(STRANGER, access, field, opening).hidden == {"reason"}
    assert outcome(agent(OTHER), access, field).hidden == frozenset()


@pytest.mark.spec("ACC-14")
def test_where_a_field_cannot_be_hidden_alone_the_whole_record_is_kept_back():
    access = manifest(rule(NOBODY, fields=["reason"]))
    plain = DECISION._replace(committed=False)
    found = outcome(STRANGER, access, subject=plain)
    assert not found.readable and found.hidden == frozenset() and "`reason`" in found.why
    # The kind decides, not whether this record has the field; a kind without it is not concerned.
    assert may(STRANGER, access, subject=plain._replace(kind="policy"))
    assert not may(STRANGER, access, subject=plain._replace(kind="rejection"))


@pytest.mark.spec("ACC-8")
def test_who_is_sure_to_be_among_readers():
    def sure(wide, narrow):
        return covers(wide, narrow, lambda id: MEMBERS.get(id, frozenset()))

    some = Readers(agents=frozenset((PARTY,)))
    every = [ANYONE, INSIDE, INVOLVED, some, Readers(peers=frozenset((SET,))), NOBODY]
    for index, wide in enumerate(every[:2]):
        assert all(sure(wide, narrow) is (at >= index) for at, narrow in enumerate(every))
    assert sure(INVOLVED, INVOLVED) and not sure(INVOLVED, some) and not sure(INVOLVED, INSIDE)
    assert sure(Readers(peers=frozenset((SET,))), some) and not sure(Readers(peers=frozenset((SECOND,))), some)
    assert sure(some, Readers(peers=frozenset((SET,)))) and not sure(some, Readers(peers=frozenset((SECOND,))))


@pytest.mark.spec("ACC-9")
def test_parties_are_named_by_records_themselves():
    w = Scene()
    done = w.add(
        w.b,
        "action",
        {"principal": w.a.owner},
        {"policy": [w.policy], "delegation": [w.granted], "prior": [w.b.last]},
    )
    assert subject_of(w.granted).parties == {w.b.owner} and subject_of(done).parties == {w.a.owner}
    assert subject_of(w.seen) == (w.seen.id, w.a.owner, w.seen.seq, "observation", frozenset(), False)
    body = {"proposal": done.id, "electorate": sorted([w.a.owner, w.b.owner]), "threshold": 1}
    assert subject_of(w.make(w.a, "consensus", body, {"evidence": [w.seen]})).parties == {w.b.owner}


@pytest.mark.spec("ACC-6", "ACC-7", "ACC-8")
def test_an_access_rule_within_its_bounds_is_admitted_and_says_what_its_body_says():
    w = Scene(CLOSED)
    peers = w.add(w.anchors, "peer-set", {"members": [w.b.owner]})
    record, seal = saying(
        w,
        to=readers("members", agents=[w.b.owner], peers=[peers.id]),
        records=[w.seen.id],
        kinds=["decision", "observation"],
        first=1,
        last=9,
        fields=["data"],
        expires=NOW,
        reason="asked for",
    )
    admit(record, seal, w)
    to = Readers(frozenset((w.b.owner,)), frozenset(("members",)), frozenset((peers.id,)))
    kinds = frozenset(("decision", "observation"))
    assert grant_of(record) == (record.id, True, to, {w.seen.id}, kinds, 1, 9, {"data"}, NOW)


@pytest.mark.spec("ACC-5")
def test_peer_sets_that_a_manifest_names_are_read_with_it():
    w = Scene(ATTESTED)
    peers = w.add(w.anchors, "peer-set", {"members": [w.b.owner]})
    some = readers(peers=[peers.id])
    rules = [{"agents": [w.a.owner], "fields": ["data"], "kinds": None, "readers": some}]
    w.amend(access={"default": readers("members"), "grantable": some, "guaranteed": readers(), "rules": rules})
    record, seal = saying(w, to=readers(agents=[w.b.owner]))
    admit(record, seal, w)
    w.put(record, seal)
    later = w.add(w.a, "state", None, {"prior": [record]})
    assert w.verify(later).verdict == "valid"
    walker = walk(w.supply(), later.id, w.federation, now_ms=w.now_ms).walker
    assert peers.id in {one.id for one in walker.held()}


# --- what always holds -----------------------------------------------------------------------------------------------

agents = st.frozensets(st.sampled_from([AUTHOR, PARTY, OTHER]))
some_readers = st.builds(
    Readers, agents, st.frozensets(st.sampled_from(["anyone", "members", "parties"])), st.frozensets(st.just(SET))
)
names = st.none() | st.frozensets(st.sampled_from(sorted(FIELDS)), min_size=1)
kinds = st.none() | st.frozensets(st.sampled_from(["decision", "policy", "state"]), min_size=1)
owners = st.none() | st.frozensets(st.sampled_from([AUTHOR, PARTY]), min_size=1)
rules = st.lists(st.builds(Rule, owners, names, kinds, some_readers), max_size=3).map(tuple)
accesses = st.builds(Access, some_readers, some_readers, some_readers, rules)
ends = st.none() | st.integers(0, 9)
records_named = st.none() | st.frozensets(st.sampled_from([TARGET, OTHER]), min_size=1)
expiries = st.none() | st.sampled_from([NOW - 1, NOW])


def grants(effect):
    made = st.builds(Grant, st.just(TARGET), effect, some_readers, records_named, kinds, ends, ends, names, expiries)
    return st.lists(made, max_size=3)


subjects = st.builds(
    Subject,
    st.just(TARGET),
    st.sampled_from([AUTHOR, PARTY]),
    st.integers(0, 9),
    st.sampled_from(["decision", "policy", "state"]),
    st.frozensets(st.just(OTHER)),
    st.booleans(),
)


def shown(found, subject):
    """What a decision hands over: nothing, or the record and its fields."""
    return {"record", *KINDS[subject.kind].committed} - found.hidden if found.readable else set()


@settings(max_examples=300, deadline=None)
@given(agents, subjects, accesses, grants(st.booleans()), grants(st.just(False)), grants(st.just(True)))
def test_restrictions_never_widen_and_grants_never_narrow(reader, subject, access, held, narrowing, widening):
    def get(*said):
        return shown(outcome(Reader(reader), access, *said, subject=subject), subject)

    assert get(*held, *narrowing) <= get(*held) <= get(*held, *widening)
    assert get(*held) == get(*reversed(held))


@settings(max_examples=300, deadline=None)
@given(agents, agents, subjects, accesses, grants(st.booleans()))
def test_to_be_bound_to_more_agents_never_narrows_and_a_stranger_reads_least(reader, more, subject, access, held):
    def get(agents):
        return shown(outcome(Reader(agents), access, *held, subject=subject), subject)

    assert get(frozenset()) <= get(reader) <= get(reader | more)


@settings(max_examples=200, deadline=None)
@given(agents, subjects, accesses, grants(st.booleans()))
def test_nothing_is_granted_beyond_what_can_be_and_nothing_kept_from_the_guaranteed(reader, subject, access, held):
    def get(how, *said):
        return shown(outcome(Reader(reader), how, *said, subject=subject), subject)

    by_manifest = get(access)
    assert get(replace(access, grantable=NOBODY), *held) <= by_manifest
    assert get(replace(access, guaranteed=ANYONE), *held) >= by_manifest


@settings(max_examples=200, deadline=None)
@given(agents, subjects, accesses)
def test_whoever_is_unrestricted_reads_every_record_whole(reader, subject, access):
    if unrestricted(Reader(reader), access):
        assert outcome(Reader(reader), access, subject=subject)[:2] == (True, frozenset())


@settings(max_examples=100, deadline=None)
@given(some_readers, some_readers, subjects, agents)
def test_who_is_covered_is_among_them_whatever_the_record(wide, narrow, subject, reader):
    if covers(wide, narrow, lambda id: MEMBERS[id]):
        closed, open_ = manifest(default=narrow), manifest(default=wide)
        assert not may(Reader(reader), closed, subject=subject) or may(Reader(reader), open_, subject=subject)


# --- what manifests may say ------------------------------------------------------------------------------------------


@pytest.mark.spec("ACC-1", "ACC-2", "ACC-3", "ACC-4")
@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('default = ["strangers"]', "must be some of"),
        ('default = "anyone"', "must be a table"),
        ("default = [7]", "must be a text"),
        ('rules = "none"', "must be a list of tables"),
        ('rules = [{ kinds = ["decision"] }]', "readers: is missing"),
        ('rules = [{ kinds = ["genesis"], readers = [] }]', "anybody may read a genesis"),
        ('rules = [{ kinds = ["dream"], readers = [] }]', "there is no kind 'dream'"),
        ("rules = [{ kinds = [], readers = [] }]", "sorted set of text that is not empty"),
        ('rules = [{ fields = ["uses"], readers = [] }]', "no such field can be kept back: uses"),
        ('rules = [{ kinds = ["state"], fields = ["outcome"], readers = [] }]', "no such field"),
        ('rules = [{ agents = ["x"], readers = [] }]', "the id of a record"),
        ('rules = [{ by = "author", readers = [] }]', "unknown entry"),
        ('default = { agents = ["bafy"] }', "default.agents[0]"),
        ('guaranteed = ["members"]', "must be the threshold"),
        ('except = ["members"]', "unknown entry"),
    ],
)
def test_a_text_that_says_what_cannot_be_enforced_is_refused_with_its_place(written, said):
    with pytest.raises(ManifestError) as caught:
        text.parse(f"{ONE.format(attested=0)}\n[envelope.access]\n{written}\n")
    assert said in str(caught.value)


@pytest.mark.spec("ACC-1")
def test_a_text_says_who_reads_what():
    entry = '[envelope.access]\ndefault = ["members"]\n'
    entry += '[[envelope.access.rules]]\nkinds = ["state"]\nreaders = ["parties"]\n'
    written = text.parse(MERKLE.replace("anchors = 0", "anchors = 1") + entry)
    access = written.envelope["access"]
    assert access == {
        "default": readers("members"),
        "grantable": readers(),
        "guaranteed": readers(),
        "rules": [{"agents": None, "fields": None, "kinds": ["state"], "readers": readers("parties")}],
    }
    assert {"outcome", "reason"} <= COMMITTED and "uses" not in COMMITTED
