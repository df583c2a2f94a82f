"""Records that break a rule of equivocation, pruning or summaries, and no other."""

from __future__ import annotations

from breach import breaks
from world import sign

from tslg.protocol import seal
from tslg.protocol.rules.forks import rule_equivocation


def forked(w):
    """Two records that the first agent sealed for one position, both of them held."""
    twin = w.a.fork(len(w.a.log))
    first = w.add(w.a, "state")
    second = w.slip(twin, "state", {"data": {"other": 1}})
    w.authors[w.a.owner] = w.a
    return first, second


def accusing(w, first, second, *more, **body):
    value = {"agent": first.owner, "seq": first.seq} | body
    return w.sealed(w.b, "equivocation", value, {"evidence": [first, second, *more]})


@breaks(rule_equivocation, "EQUIVOCATION", "it shows 1 records")
def showing_one_record(w):
    first, _ = forked(w)
    return w.sealed(w.b, "equivocation", {"agent": first.owner, "seq": first.seq}, {"evidence": [first]})


@breaks(rule_equivocation, "EQUIVOCATION", "it shows 3 records")
def showing_more_than_the_two(w):
    first, second = forked(w)
    return accusing(w, first, second, w.seen)


@breaks(rule_equivocation, "EQUIVOCATION", "is not at position")
def showing_records_of_two_positions(w):
    first, _ = forked(w)
    return accusing(w, first, w.seen)


@breaks(rule_equivocation, "EQUIVOCATION", "is not at position")
def naming_another_agent(w):
    first, second = forked(w)
    return accusing(w, first, second, agent=w.b.owner)


@breaks(rule_equivocation, "EQUIVOCATION", "convicts nobody: the signature does not verify")
def showing_a_record_that_its_author_did_not_seal(w):
    first, second = forked(w)
    w.seals[second.id] = w.seals[first.id]
    return accusing(w, first, second)


@breaks(rule_equivocation, "EQUIVOCATION", "its seal is not at hand")
def showing_a_record_without_its_seal(w):
    first, second = forked(w)
    del w.seals[second.id]
    return accusing(w, first, second)


@breaks(rule_equivocation, "EQUIVOCATION", "not registered here")
def showing_a_record_under_a_key_that_is_none(w):
    first, _ = forked(w)
    second = w.make(w.a.fork(first.seq), "state", {"data": {"other": 1}}, key=w.seen.id)
    w.put(second, seal.encode([sign(second, w.a.keys[w.a.key], w.seen.id)]))
    return accusing(w, first, second)
