"""Records that break a rule of equivocation, pruning or summaries, and no other."""

from __future__ import annotations

from breach import breaks
from world import sign

from tslg.protocol import seal
from tslg.protocol.commitment import set_root, stretch_root
from tslg.protocol.rules.context import Pruned
from tslg.protocol.rules.forks import rule_equivocation
from tslg.protocol.rules.pruning import rule_gc_policy, rule_prune, rule_summary


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


# --- pruning ---------------------------------------------------------------------------------------------------------


def let_go(w, **policy):
    """Put a gc policy into force under which observations may go at once, and give the first agent some."""
    body = {"name": "gc", "horizon_ms": 5, "kinds": ["observation"]} | policy
    w.gc = w.add(w.anchors, "gc-policy", body, {"prior": [w.anchors.last]})
    w.amend(gc={"policy": w.gc.id}, retention={"state": 10})
    w.old = [w.add(w.a, "observation") for _ in range(3)]
    w.last = w.add(w.a, "observation")
    w.time += 1_000
    return w.old


def pruning(w, *gone, policy=None, last=None, **body):
    ids = sorted(record.id for record in gone)
    newest = {record.kind: record.time for record in sorted(gone, key=lambda record: record.time)}
    value = {"before": w.last.seq + 1, "count": len(ids), "root": set_root(ids)} | body
    highest = max((record.seq for record in gone), default=0)
    w.plans[set_root(ids)] = Pruned(ids, newest, highest)
    preds = {"policy": policy or [w.gc], "evidence": last or [w.last]}
    return w.sealed(w.a, "prune", value, preds)


@breaks(rule_gc_policy, "PRUNE", "may not let go of genesis, prune")
def a_gc_policy_that_lets_go_of_what_others_need(w):
    body = {"name": "gc", "horizon_ms": 5, "kinds": ["genesis", "observation"], "summarised": ["prune"]}
    return w.sealed(w.anchors, "gc-policy", body, {"prior": [w.anchors.last]})


@breaks(rule_prune, "PRUNE", "not done under the gc policy of its manifest")
def pruning_where_no_gc_policy_is_in_force(w):
    w.gc = w.add(
        w.anchors, "gc-policy", {"name": "gc", "horizon_ms": 0, "kinds": ["observation"]}, {"prior": [w.anchors.last]}
    )
    old = w.add(w.a, "observation")
    w.last = w.add(w.a, "observation")
    return pruning(w, old)


@breaks(rule_prune, "PRUNE", "not done under the gc policy of its manifest")
def pruning_under_a_policy_that_is_no_longer_in_force(w):
    old = let_go(w)
    w.amend(gc={})
    return pruning(w, *old)


@breaks(rule_prune, "PRUNE", "not done under the gc policy of its manifest")
def pruning_under_a_policy_of_ones_own(w):
    old = let_go(w)
    return pruning(w, *old, policy=[w.policy])


@breaks(rule_prune, "PRUNE", "0 records before position")
def pruning_nothing(w):
    let_go(w)
    return pruning(w)


@breaks(rule_prune, "PRUNE", "of a log that is at")
def pruning_what_is_still_to_come(w):
    old = let_go(w)
    return pruning(w, *old, before=len(w.a.log) + 5)


@breaks(rule_prune, "PRUNE", "its evidence is not the record at position")
def pruning_behind_a_record_of_another_position(w):
    old = let_go(w)
    return pruning(w, *old, last=[old[2]])


@breaks(rule_prune, "PRUNE", "its evidence is not the record at position")
def pruning_on_more_evidence(w):
    old = let_go(w)
    return pruning(w, *old, last=[w.last, w.seen])


@breaks(rule_prune, "PRUNE", "ms old, the horizon is 5000000")
def pruning_before_the_horizon(w):
    old = let_go(w, horizon_ms=5_000_000)
    return pruning(w, *old)


@breaks(rule_prune, "PRUNE", "`count` or `root` is not that of the records")
def pruning_with_another_count(w):
    old = let_go(w)
    return pruning(w, *old, count=2)


@breaks(rule_prune, "PRUNE", "is not before the last record that is kept")
def pruning_the_record_that_marks_the_end(w):
    old = let_go(w)
    return pruning(w, *old, w.last)


@breaks(rule_prune, "PRUNE", "does not let go of policy records")
def pruning_a_kind_that_may_not_go(w):
    old = let_go(w)
    return pruning(w, *old, w.policy)


@breaks(rule_prune, "PRUNE", "a state must be kept for")
def pruning_what_must_be_kept_longer(w):
    let_go(w, kinds=["observation", "state"])
    w.amend(retention={"state": 10_000})
    state = w.add(w.a, "state")
    w.last = w.add(w.a, "observation")
    w.time += 1_000
    return pruning(w, state)


# --- summaries -------------------------------------------------------------------------------------------------------


def summing(w, first, last, parts=None, **body):
    ids = [record.id for record in w.a.log[first : last + 1]]
    value = {"first": first, "last": last, "root": stretch_root(ids)} | body
    return w.sealed(w.a, "summary", value, {"part": parts or [w.a.log[first]]})


@breaks(rule_summary, "SUMMARY", "are no stretch of a log that is at 4")
def summing_up_what_is_still_to_come(w):
    return summing(w, 1, 4)


@breaks(rule_summary, "SUMMARY", "are no stretch")
def summing_up_backwards(w):
    return summing(w, 2, 1, root=bytes(32), parts=[w.seen])


@breaks(rule_summary, "SUMMARY", "does not lie in positions 1 to 2")
def summing_up_by_a_record_outside(w):
    return summing(w, 1, 2, [w.granted])


@breaks(rule_summary, "SUMMARY", "does not lie in positions 1 to 2")
def summing_up_by_a_record_of_another(w):
    return summing(w, 1, 2, [w.add(w.b, "observation")])


@breaks(rule_summary, "SUMMARY", "`root` is not that of the stretch")
def summing_up_to_another_root(w):
    return summing(w, 1, 2, root=bytes(32))
