"""The order in which peers are asked, whatever is known of them, and that it always ends."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.finding.resolver import TRIED_AT_ONCE, Ask, Look, Resolver, Stage, Try
from tslg.protocol.cid import compute
from tslg.protocol.limits import DEFAULT

FEDERATION, ALICE, BOB = (compute(name.encode()) for name in ("federation", "alice", "bob"))
ONE, TWO = compute(b"one"), compute(b"two")


def peer_of(address: str) -> str:
    return address.rpartition("/p2p/")[2]


def at(name: str, place: str = "x") -> str:
    return f"/memory/{place}{name}/p2p/{name}"


def resolver(*given_, **limits) -> Resolver:
    return Resolver(FEDERATION, map(at, given_), peer_of=peer_of, limits=replace(DEFAULT, **limits))


class Outside:
    """What there is: who is found at which stage, who is there, and who has what; drives a resolver to the end."""

    def __init__(self, found, there, holds):
        self.found, self.there, self.holds = found, there, holds
        self.steps = []

    def drive(self, resolver: Resolver, wanted) -> set:
        lacking = dict(wanted)
        for _ in range(10_000):
            step = resolver.next(lacking)
            self.steps.append(step)
            if step is None:
                return set(lacking)
            if isinstance(step, Look):
                resolver.looked(step)
                resolver.learn(step.stage, step.key, map(at, self.found.get((step.stage, step.key), ())))
            elif isinstance(step, Try):
                for address in step.addresses:
                    (resolver.alive if peer_of(address) in self.there else resolver.dead)(address)
            else:
                resolver.asked(step.peer, step.things)
                if step.peer in self.there:
                    for thing in self.holds.get(step.peer, ()):
                        lacking.pop(thing, None)
                else:
                    resolver.out(step.peer)
        raise AssertionError("it does not end")


@pytest.mark.spec("FND-9")
def test_the_order():
    found = {
        (Stage.TOLD, ALICE): ["told"],
        (Stage.AGENT, ALICE): ["agent"],
        (Stage.FEDERATION, FEDERATION): ["federation"],
    }
    outside = Outside(found, {"given", "told", "agent", "federation"}, {})
    assert outside.drive(resolver("given"), {ONE: ALICE}) == {ONE}
    assert outside.steps == [
        Try((at("given"),)),
        Ask("given", at("given"), (ONE,)),
        Look(Stage.TOLD, ALICE),
        Try((at("told"),)),
        Ask("told", at("told"), (ONE,)),
        Look(Stage.AGENT, ALICE),
        Try((at("agent"),)),
        Ask("agent", at("agent"), (ONE,)),
        Look(Stage.FEDERATION, FEDERATION),
        Try((at("federation"),)),
        Ask("federation", at("federation"), (ONE,)),
        None,
    ]


@pytest.mark.spec("FND-9")
def test_nobody_is_looked_for_while_somebody_known_has_it():
    outside = Outside({}, {"given"}, {"given": [ONE]})
    assert outside.drive(resolver("given"), {ONE: ALICE}) == set()
    assert [type(step) for step in outside.steps] == [Try, Ask, type(None)]


def test_of_a_record_whose_author_is_not_known_the_federation_is_asked():
    outside = Outside({(Stage.FEDERATION, FEDERATION): ["a", "b"]}, {"b"}, {"b": [ONE]})
    assert outside.drive(resolver(), {ONE: None}) == set()
    assert outside.steps[0] == Look(Stage.FEDERATION, FEDERATION)


def test_who_served_a_log_is_asked_first():
    made = resolver("given", "home")
    for name in ("given", "home"):
        made.alive(at(name))
    made.served(ALICE, "home")
    assert made.next({ONE: ALICE}) == Ask("home", at("home"), (ONE,))
    assert made.next({ONE: BOB}) == Ask("given", at("given"), (ONE,))


def test_who_was_given_is_asked_in_that_order_whatever_they_were_like_before():
    scores = {"a": -10, "b": 10}
    made = Resolver(FEDERATION, map(at, "ab"), peer_of=peer_of, score=lambda peer: scores[peer])
    assert made.next({ONE: None}) == Try((at("a"), at("b")))
    made.alive(at("b"))
    made.alive(at("a"))
    assert made.next({ONE: None}) == Ask("a", at("a"), (ONE,))


def test_who_answered_well_comes_before_strangers():
    scores = {"good": 10, "bad": -10}
    made = Resolver(FEDERATION, [], peer_of=peer_of, score=lambda peer: scores.get(peer, 0))
    made.learn(Stage.AGENT, ALICE, map(at, ["bad", "new", "good"]))
    made.looked(Look(Stage.TOLD, ALICE))
    assert made.next({ONE: ALICE}) == Try((at("good"), at("new"), at("bad")))
    made.alive(at("bad"))
    assert made.next({ONE: ALICE}) == Ask("bad", at("bad"), (ONE,))


def test_another_address_of_a_peer_is_tried_when_one_leads_nowhere():
    made = resolver()
    made.learn(Stage.TOLD, ALICE, [at("a", "old"), at("a", "new")])
    assert made.next({ONE: ALICE}) == Try((at("a", "old"),))
    made.dead(at("a", "old"))
    assert not made.is_out("a")
    assert made.next({ONE: ALICE}) == Try((at("a", "new"),))
    made.dead(at("a", "new"))
    assert made.is_out("a")


def test_a_log_is_not_asked_for_beyond_the_last_stage():
    outside = resolver()
    for look in (Look(Stage.TOLD, ALICE), Look(Stage.AGENT, ALICE)):
        assert outside.next({("head", ALICE): ALICE}, Stage.AGENT) == look
        outside.looked(look)
    assert outside.next({("head", ALICE): ALICE}, Stage.AGENT) is None


@pytest.mark.spec("FND-10")
def test_a_thousand_peers_that_are_not_there_cost_a_bounded_number_of_dials():
    names = [f"bogus{number}" for number in range(1_000)]
    found = {(stage, key): names for stage in Stage for key in (ALICE, FEDERATION)}
    outside = Outside(found, set(), {})
    assert outside.drive(resolver(strangers_dialled=30), {ONE: ALICE}) == {ONE}
    tries = [step for step in outside.steps if isinstance(step, Try)]
    assert sum(len(step.addresses) for step in tries) == 30
    assert max(len(step.addresses) for step in tries) == TRIED_AT_ONCE


def test_a_question_has_no_more_roots_than_a_request_may_have():
    things = {compute(b"%d" % number): ALICE for number in range(25)}
    made = resolver("given", walk_roots=10)
    made.alive(at("given"))
    sizes = []
    while isinstance(step := made.next(things), Ask):
        made.asked(step.peer, step.things)
        sizes.append(len(step.things))
    assert sizes == [10, 10, 5]


NAMES = st.lists(st.sampled_from("abcdefgh"), max_size=8)


@pytest.mark.spec("FND-9")
@settings(max_examples=150)
@given(
    given_=NAMES,
    found=st.dictionaries(
        st.tuples(st.sampled_from([Stage.TOLD, Stage.AGENT, Stage.FEDERATION]), st.sampled_from([ALICE, BOB])), NAMES
    ),
    there=st.sets(st.sampled_from("abcdefgh")),
    holds=st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from([ONE, TWO]))),
    owners=st.tuples(st.sampled_from([None, ALICE, BOB]), st.sampled_from([None, ALICE, BOB])),
)
def test_it_ends_asks_nobody_twice_and_misses_nobody(given_, found, there, holds, owners):
    found = {(stage, FEDERATION if stage is Stage.FEDERATION else key): names for (stage, key), names in found.items()}
    outside = Outside(found, there, holds)
    wanted = dict(zip((ONE, TWO), owners, strict=True))
    missing = outside.drive(resolver(*given_), wanted)
    asks = [(step.peer, thing) for step in outside.steps if isinstance(step, Ask) for thing in step.things]
    assert len(asks) == len(set(asks))
    looks = [step for step in outside.steps if isinstance(step, Look)]
    assert len(looks) == len(set(looks))
    agents = {owner for owner in owners if owner is not None}
    for thing in missing:
        owner = wanted[thing]
        reachable = set(given_) | set(found.get((Stage.FEDERATION, FEDERATION), ()))
        reachable |= {n for stage in (Stage.TOLD, Stage.AGENT) for n in found.get((stage, owner), ())}
        assert not any(thing in holds.get(name, ()) for name in reachable & there)
    if missing:
        assert Look(Stage.FEDERATION, FEDERATION) in looks
        assert all(
            Look(stage, agent) in looks
            for agent in agents & {wanted[m] for m in missing}
            for stage in (Stage.TOLD, Stage.AGENT)
        )


@pytest.mark.spec("FND-12")
def test_a_peer_whose_line_is_silent_is_asked_after_the_others_of_its_stage_and_not_dialled():
    silent = {"mute"}
    resolver = Resolver(FEDERATION, map(at, ("mute", "there")), peer_of=peer_of, silent=silent.__contains__)
    outside = Outside({(Stage.FEDERATION, FEDERATION): ["found"]}, {"there", "found"}, {})
    assert outside.drive(resolver, {ONE: None}) == {ONE}
    assert outside.steps == [
        Try((at("there"),)),
        Ask("there", at("there"), (ONE,)),
        Ask("mute", at("mute"), (ONE,)),
        Look(Stage.FEDERATION, FEDERATION),
        Try((at("found"),)),
        Ask("found", at("found"), (ONE,)),
        None,
    ]
