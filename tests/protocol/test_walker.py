"""The walker against random graphs, and against suppliers that lie, withhold and invent."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import NOW, ONE, World, sign

from tslg.node.verifying import resume
from tslg.protocol import seal as seals
from tslg.protocol.errors import RecordError, UsageError
from tslg.protocol.freshness import OutsideHead
from tslg.protocol.limits import Limits
from tslg.protocol.log import Tree, verify_inclusion
from tslg.protocol.opening import Opened, open_record
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof
from tslg.protocol.record import Edge, parse
from tslg.protocol.walker import Walker

SEEDS = st.integers(0, 2**32)
MODES = st.sampled_from(["all", "heads"])


def random_world(seed, size=24):
    """A federation of 2 to 4 agents whose records cite each other at random; the last record is the target."""
    dice = random.Random(seed)
    w = World(seed=f"dag/{seed}")
    authors = [w.agent(str(number)) for number in range(dice.randint(2, 4))]
    policies = {author.owner: w.add(author, "policy") for author in authors}
    made = []
    for _ in range(size):
        author = dice.choice(authors)
        chance = dice.random()
        cited = dice.sample(made, min(len(made), dice.randint(0, 4)))
        preds = {"prior": [dice.choice(author.log)]}
        if chance < 0.06:
            w.rotate(author)
        if cited:
            preds["evidence"] = cited
        if chance < 0.5 and cited:
            preds["policy"] = [policies[author.owner]]
            made.append(w.add(author, "decision", {"uses": ["read"]}, preds))
        elif chance < 0.6:
            other = dice.choice([one for one in authors if one is not author])
            body = {"delegate": other.owner, "grant": policies[author.owner].id}
            handed = w.add(author, "delegation", body, {"policy": [policies[author.owner]]})
            under = {"policy": [policies[author.owner]], "delegation": [handed]}
            made.append(w.add(other, "action", {"uses": ["read"], "principal": author.owner}, under))
        else:
            made.append(w.add(author, "observation", None, preds))
        if chance > 0.95:
            w.amend(clock_skew_ms=len(made))
    return w, w.add(authors[0], "decision", None, {"policy": [policies[authors[0].owner]], "evidence": made[-5:]})


def edges_behind(w, target):
    """All edges behind a record, counted the plain way."""
    seen, todo, count = {target.id}, [target], 0
    while todo:
        for edge in todo.pop().edges():
            count += 1
            if edge.cid not in seen:
                seen.add(edge.cid)
                todo.append(w.held[edge.cid])
    return count, seen


@pytest.mark.spec("VER-4", "VER-14")
@settings(max_examples=15, deadline=None)
@given(SEEDS, MODES, st.data())
def test_every_bound_is_kept_and_resumed_without_a_difference(seed, signatures, draw):
    w, target = random_world(seed)
    total, ancestry = edges_behind(w, target)
    full = w.verify(target, signatures=signatures)
    assert (full.verdict, full.edges, set(full.records), full.frontier) == ("valid", total, ancestry, ())
    depth = draw.draw(st.integers(0, total))
    deeper = draw.draw(st.integers(depth, total + 2))
    bounded = w.verify(target, signatures=signatures, depth=depth)
    assert bounded.verdict == "valid" and bounded.edges == depth
    direct = w.verify(target, signatures=signatures, depth=deeper)
    again = resume(w.supply(), bounded, deeper, now_ms=w.now_ms)
    assert again.digest == direct.digest and again.edges == min(deeper, total)
    assert resume(w.supply(), bounded, None, now_ms=w.now_ms).digest == full.digest
    for entry in bounded.frontier:
        leaves = [record.id for record in w.authors[entry.agent].log][: entry.size]
        tree = Tree(leaves)
        assert tree.root() == entry.root
        for id, record in full.records.items():
            if record.owner == entry.agent and record.seq < entry.size:
                assert verify_inclusion(id, record.seq, entry.size, tree.inclusion_proof(record.seq), entry.root)


@pytest.mark.spec("VER-11", "VER-13")
@settings(max_examples=8, deadline=None)
@given(SEEDS)
def test_both_signature_modes_and_all_log_modes_agree_on_honest_graphs(seed):
    w, target = random_world(seed)
    for depth in (None, 0, 7):
        for signatures in ("all", "heads"):
            for log in ("visited", "full"):
                assert w.verify(target, signatures=signatures, log=log, depth=depth).verdict == "valid"
        assert w.verify(target, log="none", depth=depth).verdict == "valid"


def fed(w, target, order, **how):
    """Walk by hand, handing over what is wanted in an order of one's own, with strangers in between."""
    walker = Walker(target.id, w.federation, now_ms=w.now_ms, **how)
    strangers = [Opened(record, w.seals[id], True) for id, record in w.held.items()]
    while wanted := walker.wants():
        wanted = list(wanted)
        order.shuffle(wanted)
        for id in wanted:
            walker.supply(order.choice(strangers)) if order.random() < 0.5 else None
            record = w.held.get(id)
            if id in walker.wants() and record is not None:
                walker.supply(open_record(id, record.data, w.seals[id], walker.keys))
            elif record is None:
                walker.cannot(id, "absent")
    supply = w.supply()
    for agent in walker.met():
        newest = supply.newest(agent)
        walker.supply_head(newest.claim, Opened(parse(newest.pair[0]), newest.pair[1]), "log")
    while wanted := walker.wants():
        for id in wanted:
            walker.supply(open_record(id, w.held[id].data, w.seals[id], walker.keys))
    for agent, needs in walker.wants_proofs().items():
        walker.supply_proofs(*supply.proofs(agent, needs))
    return walker.finish()


@settings(max_examples=10, deadline=None)
@given(SEEDS, MODES, st.randoms(use_true_random=False))
def test_the_order_of_supply_changes_nothing(seed, signatures, order):
    w, target = random_world(seed, 16)
    depth = order.choice([None, 5, 20])
    assert (
        fed(w, target, order, depth=depth, signatures=signatures).digest
        == w.verify(target, depth=depth, signatures=signatures).digest
    )


@pytest.mark.spec("VER-2")
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 3), MODES, st.data())
def test_no_altered_byte_is_ever_judged_valid(seed, signatures, draw):
    w, target = random_world(seed, 12)
    supply = w.supply()
    _, ancestry = edges_behind(w, target)
    id = draw.draw(st.sampled_from(sorted(ancestry)))
    part = draw.draw(st.integers(0, 1 if signatures == "all" else 0))
    pair = list(supply.handed[id])
    altered = bytearray(pair[part])
    altered[draw.draw(st.integers(0, len(altered) - 1))] ^= 1 << draw.draw(st.integers(0, 7))
    pair[part] = bytes(altered)
    supply.handed[id] = tuple(pair)
    assert w.verify(target, supply, signatures=signatures).verdict == "invalid"


@pytest.mark.spec("VER-8")
@settings(max_examples=12, deadline=None)
@given(SEEDS, MODES, st.data())
def test_whatever_is_missing_is_undetermined_and_named(seed, signatures, draw):
    w, target = random_world(seed, 12)
    supply = w.supply()
    _, ancestry = edges_behind(w, target)
    chains = {link for id in ancestry for link in (w.held[id].manifest, w.held[id].key, w.held[id].agent) if link}
    gone = draw.draw(st.sampled_from(sorted(ancestry | chains)))
    del supply.handed[gone]
    report = w.verify(target, supply, signatures=signatures)
    assert report.verdict == "undetermined" and report.findings == ()
    assert (gone, "absent") in report.undetermined


# --- order -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def w():
    """One agent with ten observations, the last of which cites the second and the sixth."""
    world = World()
    world.a = world.agent("a")
    world.seen = [world.add(world.a, "observation", {"source": f"s{n}"}) for n in range(10)]
    world.target = world.add(
        world.a, "observation", None, {"prior": [world.a.log[0]], "evidence": [world.seen[1], world.seen[5]]}
    )
    for cited in (1, 5):
        assert world.seen[cited].preds["prior"]
    return world


def bounded(w, supply=None, **how):
    return w.verify(w.target, supply, depth=3, **how)


@pytest.mark.spec("VER-11")
def test_the_target_and_what_it_cites_are_proved_to_lie_in_one_log(w):
    report = bounded(w)
    assert report.verdict == "valid" and report.edges == 3
    assert [(item.source, item.size) for item in report.freshness] == [("log", 12)]


@pytest.mark.spec("LOG-14")
def test_without_proofs_order_is_undetermined(w):
    supply = w.supply()
    supply.proves = False
    supply.logs = {}
    report = bounded(w, supply)
    assert report.verdict == "undetermined" and "unproved" in report.undetermined[0].reason
    assert bounded(w, supply, log="none").verdict == "valid"


@pytest.mark.spec("LOG-7", "VER-19")
@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_bad_proofs_count_as_missing_ones(w, signatures):
    supply = w.supply()
    honest = supply.proofs

    def altered(agent, needs):
        inclusion, consistency = honest(agent, needs)
        wrong = [InclusionProof(one.record, one.size, tuple(bytes(32) for _ in one.proof)) for one in inclusion]
        return wrong, [ConsistencyProof(one.agent, one.old_size, one.size, ()) for one in consistency]

    supply.proofs = altered
    supply.whole_log = lambda agent, size: []
    report = bounded(w, supply, signatures=signatures)
    assert report.verdict == "undetermined" and report.findings == ()


def test_a_whole_log_with_a_gap_is_undetermined(w):
    supply = w.supply()
    del supply.handed[w.seen[3].id]
    assert bounded(w, supply).verdict == "valid"
    report = bounded(w, supply, log="full")
    assert report.verdict == "undetermined" and "absent: 1 of the 12 records" in report.undetermined[-1].reason


def forked(w, size, **body):
    """Write another history from `size` on with the author's own key."""
    other = w.a.fork(size)
    record = w.make(other, "observation", body or {"source": "another history"})
    w.held[record.id], w.seals[record.id] = record, w.seal(record, other)
    other.push(record)
    return other, record


@pytest.mark.spec("VER-12", "LOG-4")
@pytest.mark.parametrize("signatures", ["all", "heads"])
@pytest.mark.parametrize("log", ["visited", "none"])
def test_a_fork_convicts_both_records_whichever_came_first(w, signatures, log):
    if signatures == "heads" and log == "none":
        return
    other, record = forked(w, w.seen[5].seq)
    target = w.put(
        *(lambda made: (made, w.seal(made, w.a)))(
            w.make(w.a, "observation", None, {"prior": [w.a.log[0]], "evidence": [w.seen[5], record]})
        ),
        w.a,
    )
    report = w.verify(target, signatures=signatures, log=log)
    convicted = {finding.record for finding in report.findings if finding.code == "TSLG-V-FORK"}
    assert report.verdict == "invalid" and convicted == {w.seen[5].id, record.id}
    assert other.log[-1] is record


@pytest.mark.spec("VER-12")
def test_a_forged_record_does_not_convict_the_one_whose_place_it_takes(w):
    b = w.agent("b")
    author = w.a.fork(w.seen[5].seq)
    forged = w.make(author, "observation", {"source": "forged"})
    w.held[forged.id] = forged
    w.seals[forged.id] = seals.encode([sign(forged, b.keys[b.key], w.a.key)])
    target = w.slip(b, "observation", None, {"prior": [b.last], "evidence": [forged, w.seen[5]]})
    report = w.verify(target)
    assert ("TSLG-A-SEAL", forged.id) in {(finding.code, finding.record) for finding in report.findings}
    assert "TSLG-V-FORK" not in {finding.code for finding in report.findings}


@pytest.mark.spec("LOG-12")
def test_time_that_goes_back_between_records_far_apart_is_found(w):
    early = w.slip(w.a, "observation", time=w.a.log[5].time)
    target = w.slip(w.a, "observation", None, {"prior": [w.a.log[0]], "evidence": [early, w.seen[8]]}, time=NOW + 10**5)
    report = w.verify(target, depth=3)
    assert {finding.code for finding in report.findings} == {"TSLG-A-TIME"}


@pytest.mark.spec("LOG-12", "ADM-23")
def test_a_log_that_goes_back_to_an_older_manifest_is_found(w):
    w.amend(clock_skew_ms=1)
    newer = w.add(w.a, "observation")
    w.add(w.a, "observation")
    back = w.slip(w.a, "observation", manifest=w.federation)
    target = w.slip(w.a, "observation", None, {"prior": [newer], "evidence": [back]})
    report = w.verify(target)
    assert ("TSLG-A-ROLLBACK", back.id) in {(finding.code, finding.record) for finding in report.findings}


@pytest.mark.spec("VER-9")
def test_former_anchors_cannot_amend_again(w):
    """Whoever once held an anchor's key may not speak for the federation after it was rotated out."""
    body = w.amended_body(clock_skew_ms=2)
    w.amend(clock_skew_ms=1)
    w.add(w.a, "observation")
    root = w.founded.manifest_record
    second = w.slip(w.anchors, "manifest-amendment", body, {"amends": [root]}, manifest=root.id)
    rule = w.slip(w.anchors, "policy", None, {"prior": [w.anchors.log[1]]}, manifest=second.id)
    target = w.slip(w.a, "observation", None, {"prior": [w.a.last], "policy": [rule]})
    report = w.verify(target)
    assert report.verdict == "invalid"


# --- heads -----------------------------------------------------------------------------------------------------------


def head(w, size, root=None, source="peer"):
    tree = Tree(record.id for record in w.a.log[:size])
    return OutsideHead(w.a.owner, size, tree.root() if root is None else root, source, 5)


@pytest.mark.parametrize("size", range(1, 13))
@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_every_older_head_of_an_honest_log_agrees(w, size, signatures):
    report = bounded(w, outside=[head(w, size)], signatures=signatures)
    assert report.verdict == "valid"
    assert report.freshness[0].size == 12


@pytest.mark.parametrize("size", range(1, 13))
@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_no_head_of_another_history_agrees(w, size, signatures):
    """Also where its size lies between the records that the walk visits."""
    report = bounded(w, outside=[head(w, size, bytes(32))], signatures=signatures)
    assert report.verdict == "invalid" and {finding.code for finding in report.findings} == {"TSLG-V-FORK"}
    supply = w.supply()
    supply.serves_logs = "peer"
    report = bounded(w, supply, outside=[head(w, size, bytes(32))], signatures=signatures)
    assert report.verdict != "valid"
    assert report.findings or "unproved" in report.undetermined[0].reason


@pytest.mark.spec("VER-12", "VER-16")
def test_a_head_that_nobody_proves_is_undetermined(w):
    supply = w.supply()
    supply.serves_logs = "peer"
    honest = supply.proofs

    def withholding(agent, needs):
        inclusion, consistency = honest(agent, needs)
        return inclusion, [one for one in consistency if one.old_size != 5]

    supply.proofs = withholding
    supply.whole_log = lambda agent, size: []
    report = bounded(w, supply, outside=[head(w, 5)])
    assert report.verdict == "undetermined" and "nothing shows that the log extends" in report.undetermined[0].reason


@pytest.mark.parametrize("ages", [(9, 5, 7), (5, 7, 9), (9, 7, 5)])
def test_of_heads_of_one_size_a_witness_counts_and_then_the_youngest(w, ages):
    by_peers = [head(w, 12)._replace(age_ms=age) for age in ages]
    assert bounded(w, outside=by_peers).freshness[0] == (w.a.owner, 12, "peer", 5)
    by_witness = head(w, 12, source="witness")._replace(age_ms=8)
    for outside in ([*by_peers, by_witness], [by_witness, *by_peers]):
        assert bounded(w, outside=outside).freshness[0] == (w.a.owner, 12, "witness", 8)


@pytest.mark.spec("VER-15", "VER-16")
@pytest.mark.parametrize(
    ("source", "verdict"), [("log", "invalid"), ("peer", "undetermined"), ("nobody", "undetermined")]
)
def test_a_tail_that_was_cut_off_is_found_against_any_head(w, source, verdict):
    known = head(w, 12, source="witness")
    w.a.log.pop()
    cut = w.supply()
    cut.serves_logs = source
    target = w.seen[9]
    report = w.verify(target, cut, outside=[known])
    assert report.verdict == verdict
    assert report.freshness[0] == (w.a.owner, 12, "witness", 5)
    if source == "log":
        assert report.findings[0].code == "TSLG-V-TAIL"
    else:
        assert report.undetermined[0].reason.startswith("tail: the log ends at 11 records here")
    assert w.verify(target, cut).freshness[0].source == source


@pytest.mark.spec("VER-13")
def test_a_rewritten_history_is_found_in_heads_mode_although_it_quotes_the_old_root(w):
    """The author carries the root that others know in one record, over a tree that is another one."""
    known = head(w, 6)
    other = w.a.fork(4)
    for _ in range(8):
        quoted = {} if len(other.log) != 6 else {"log": (6, known.root)}
        record = w.make(
            other,
            "observation",
            {"source": "rewritten"},
            **{
                name: __import__("tslg.protocol.record", fromlist=["Head"]).Head(*value)
                for name, value in quoted.items()
            },
        )
        w.held[record.id], w.seals[record.id] = record, w.seal(record, other)
        other.push(record)
    w.authors[w.a.owner] = other
    for signatures in ("all", "heads"):
        assert w.verify(other.last, outside=[known], signatures=signatures).verdict == "invalid"


@pytest.mark.spec("LOG-6")
def test_a_head_that_does_not_count_says_nothing(w):
    """A hostile server claims heads: with a broken seal, of another agent, under a manifest or key that nobody has."""
    b = w.agent("b")
    nowhere = w.make(b, "observation").id
    bad = w.make(w.a, "observation")
    cases = [
        (bad, w.seals[w.target.id]),
        (bad, b""),
        *(
            (made, w.seal(made, w.a))
            for made in (
                w.make(w.a, "observation", manifest=nowhere),
                w.make(w.a, "state", {"uses": ["read"]}),
                w.make(w.a, "observation", time=w.now_ms + 10**9),
            )
        ),
    ]
    unkeyed = w.make(w.a, "observation", key=nowhere)
    cases.append((unkeyed, seals.encode([sign(unkeyed, w.a.keys[w.a.key], nowhere)])))
    honest = bounded(w)
    for record, seal in cases:
        supply = w.supply()
        supply.logs[w.a.owner].append(record.id)
        supply.handed[record.id] = (record.data, seal)
        report = bounded(w, supply)
        assert report.verdict == "valid", (record, report.findings, report.undetermined)
        assert report.freshness[0].source == "nobody"
        assert report.records.keys() == honest.records.keys()


@pytest.mark.spec("LOG-6")
def test_a_head_under_a_newer_key_and_manifest_counts(w):
    w.rotate(w.a)
    w.amend(clock_skew_ms=1)
    w.add(w.a, "state")
    for signatures in ("all", "heads"):
        report = bounded(w, signatures=signatures)
        assert report.verdict == "valid" and report.freshness[0][1:3] == (14, "log")


def test_claims_that_do_not_fit_their_record_are_dropped(w):
    walker = Walker(w.target.id, w.federation, now_ms=w.now_ms, depth=0)
    while wanted := walker.wants():
        for id in wanted:
            walker.supply(Opened(w.held[id], w.seals[id]))
    opened = Opened(w.target, w.seals[w.target.id])
    for claim in (
        HeadClaim(w.federation, w.target.id, 12, bytes(32)),
        HeadClaim(w.a.owner, w.seen[0].id, 12, bytes(32)),
        HeadClaim(w.a.owner, w.target.id, 13, bytes(32)),
    ):
        walker.supply_head(claim, opened, "log")
    assert walker.finish().freshness[0].source == "nobody"


# --- hostile suppliers -----------------------------------------------------------------------------------------------


def test_records_that_nobody_asked_for_are_dropped(w):
    b = w.agent("b")
    stranger = w.add(b, "observation")
    walker = Walker(w.target.id, w.federation, now_ms=w.now_ms, depth=0)
    walker.supply(Opened(stranger, w.seals[stranger.id], True))
    walker.cannot(stranger.id, "absent")
    while wanted := walker.wants():
        for id in wanted:
            walker.supply(Opened(w.held[id], w.seals[id]))
            walker.supply(Opened(w.held[id], b"another seal"))
            walker.broken(id, RecordError("too late"))
    report = walker.finish()
    assert report.verdict == "undetermined" and set(report.records) == {w.target.id}
    assert report.findings == () and len(walker.opened()) == 3


def test_a_walk_without_a_bound_that_meets_the_limit_says_so(w):
    for limit, verdict in ((12, "undetermined"), (1000, "valid")):
        walker = Walker(w.seen[9].id, w.federation, now_ms=w.now_ms, log="none", limits=Limits(walk_edges=limit))
        many = w.slip(w.a, "observation", None, {"prior": w.a.log[1:9]}) if limit == 12 else w.seen[9]
        walker = Walker(many.id, w.federation, now_ms=w.now_ms, log="none", limits=Limits(walk_edges=limit))
        while wanted := walker.wants():
            for id in wanted:
                walker.supply(Opened(w.held[id], w.seals[id]))
        report = walker.finish()
        assert report.verdict == verdict and report.edges <= limit


@pytest.mark.spec("VER-6")
def test_endless_key_chains_end(w):
    """Registrations that each name the next one: nothing of it counts as an edge, and it must end all the same."""
    for _ in range(8):
        w.rotate(w.a)
    target = w.add(w.a, "state")
    walker = Walker(target.id, w.federation, now_ms=w.now_ms, depth=0, limits=Limits(walk_edges=5))
    rounds = 0
    while wanted := walker.wants():
        rounds += 1
        for id in wanted:
            walker.supply(Opened(w.held[id], w.seals[id]))
    report = walker.finish()
    assert rounds <= 5 and report.verdict == "undetermined"
    assert any(item.reason.startswith("limit") for item in report.undetermined)


def test_chains_of_five_thousand_records_need_no_recursion():
    w = World()
    a = w.agent("a")
    w.complete = False
    for _ in range(5000):
        record = w.make(a, "observation")
        w.put(record, w.seal(record, a), a)
    report = w.verify(a.last, signatures="heads")
    assert report.verdict == "valid" and report.edges == 5000
    supply = w.supply()
    supply.handed[a.log[1].id] = (a.log[1].data, b"")
    broken = w.verify(a.last, supply)
    assert broken.verdict == "invalid" and len(broken.findings[0].path) == 4999


@pytest.mark.spec("REP-2")
def test_a_long_chain_of_bad_records_makes_no_endless_report():
    w = World()
    a = w.agent("a")
    w.complete = False
    for _ in range(1000):
        record = w.make(a, "observation")
        w.put(record, b"", a)
    report = w.verify(a.last)
    assert report.verdict == "invalid" and sum(len(finding.path) for finding in report.findings) <= 100_000
    assert [len(finding.path) for finding in report.findings] == list(range(len(report.findings)))
    assert report.undetermined[-1].reason == f"limit: {1000 - len(report.findings)} more findings"


@pytest.mark.spec("VER-10")
def test_what_rests_on_a_broken_chain_is_not_counted_as_verified(w):
    """An agent whose genesis nobody attested, and one whose log is owned by a record that is no genesis at all."""
    world = World(ONE.format(attested=1))
    genesis, seed = world.genesis("mallory")
    world.put(genesis, seals.encode([sign(genesis, seed, genesis.id)]))
    honest = world.agent("honest")
    world.complete = False
    from world import Author

    mallory = Author(genesis.id, {genesis.id: seed}, genesis.id, [])
    mallory.push(genesis)
    claim = world.slip(mallory, "observation")
    report = world.verify(claim)
    assert report.verdict == "invalid" and report.records == {} and report.agents == ()
    assert [(one.code, one.record) for one in report.findings] == [("TSLG-A-SEAL", genesis.id)]
    owned = Author(claim.id, mallory.keys, genesis.id, list(mallory.log), mallory.tree)
    odd = world.make(owned, "observation", None, {"prior": [Edge(claim.id)]}, agent=claim.id)
    world.put(odd, world.seal(odd, owned), owned)
    report = world.verify(odd)
    assert report.verdict == "invalid" and report.records == {}
    assert honest.owner not in report.records


def test_known_records_are_believed_as_far_as_their_bytes_go(w):
    """What was verified before saves a signature, not the look at the bytes, and never makes a walk endless."""
    report = w.verify(w.target)
    swapped = dict(report.records) | {w.seen[1].id: w.seen[2]}
    assert w.verify(w.target, known=swapped).digest == report.digest
    forged = w.seen[1]._replace(body={"source": "forged"}, data=w.seen[1].data + b"x")
    again = w.verify(w.target, known=dict(report.records) | {forged.id: forged})
    assert again.digest == report.digest and again.records[forged.id] == w.seen[1]
    supply = w.supply()
    altered = bytearray(w.seen[5].data)
    altered[-1] ^= 1
    supply.handed[w.seen[5].id] = (bytes(altered), w.seals[w.seen[5].id])
    for known in (None, report.records):
        found = w.verify(w.target, supply, known=known)
        assert found.verdict == "invalid" and w.seen[5].id not in found.records


@pytest.mark.parametrize("wrong", [{"signatures": "some"}, {"log": "half"}, {"depth": -1}, {"depth": 10**7}])
def test_what_cannot_be_asked_for_is_refused(w, wrong):
    with pytest.raises(UsageError):
        Walker(w.target.id, w.federation, now_ms=0, **wrong)
    with pytest.raises(UsageError, match="signatures=all"):
        Walker(w.target.id, w.federation, now_ms=0, signatures="heads", log="none")


@pytest.mark.spec("REP-2")
def test_findings_are_sorted_by_their_distance(w):
    supply = w.supply()
    for number in (1, 5, 0):
        supply.handed[w.seen[number].id] = (w.seen[number].data, b"")
    report = w.verify(w.target, supply)
    assert all(len(left.path) <= len(right.path) for left, right in pairwise(report.findings))


@pytest.mark.spec("LOG-15")
def test_a_witness_that_nobody_sealed_convicts_nobody(w):
    """A hostile source without proofs hands over neighbours of its own making: nothing is certain because of them."""
    supply = w.supply()
    supply.proves = False
    supply.serves_logs = "nobody"
    fake = w.a.fork(3)
    for _ in range(8):
        record = w.make(fake, "observation", {"source": "invented"}, {"prior": [fake.last]})
        supply.handed[record.id] = (record.data, b"")
        fake.push(record)
    supply.logs[w.a.owner] = [record.id for record in fake.log]
    supply.heads = False
    for signatures in ("all", "heads"):
        report = bounded(w, supply, signatures=signatures, outside=[head(w, 5)])
        assert report.verdict == "undetermined" and report.findings == ()
