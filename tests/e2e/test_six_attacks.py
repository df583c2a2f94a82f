"""Six attacks on a stored log and on a bundle, each found by the default settings.

Altering, deleting, reordering, forging a delegation, widening a scope, cutting off the tail. The store is edited in its
file, behind the back of the node; the bundle is written anew, so that the file itself is in order.
"""

from __future__ import annotations

import io
import sqlite3
from types import SimpleNamespace

import pytest
from world import NOW, sign, source

from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.sources import BundleSource, StoreSource, heads_seen
from tslg.node.store.sqlite import SqliteStore
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle, cid, codec, seal
from tslg.protocol import record as records
from tslg.protocol.record import Edge, Head
from tslg.protocol.signatures import ed25519_public_key

CLOCK = NOW + 10**6


@pytest.fixture
def made(tmp_path):
    """Two agents, a delegation, a decision on foreign evidence; and everything an attacker could want to know."""
    ticks = iter(range(NOW, NOW + 10**6))
    with Home.open(tmp_path, clock=lambda: next(ticks), random_bytes=source("attacks")) as home:
        a, b = home.agent("a"), home.agent("b")
        grant = a.policy("grant", capabilities=["inspect"], limits={"n": 3})
        handed = a.delegate(b.id, {"do": "inspect"}, grant, expires=CLOCK)
        seen = [b.observe("sensor", {"n": n}, delegation=handed) for n in range(6)]
        found = b.decide("found", "fine", evidence=seen, delegation=handed, uses=["inspect"], spends={"n": 2})
        b.observe("later")
        final = a.decide("ship", "yes", evidence=[found])
        a.observe("after")
        secrets = {agent.id: home.ledger._logs[agent.id].secret[:32] for agent in (a, b)}
        return SimpleNamespace(
            path=tmp_path / "tslg.sqlite",
            home=tmp_path,
            federation=home.federation,
            a=a.id,
            b=b.id,
            grant=grant,
            handed=handed,
            seen=seen,
            found=found,
            final=final,
            secrets=secrets,
        )


def stored(made, target=None, **how):
    """Verify as the command does: from the store, held against every head seen elsewhere."""
    target = made.final if target is None else target
    with SqliteStore.open(made.path, readonly=True) as store:
        outside = heads_seen(store, [made.a, made.b], CLOCK)
        return verify(StoreSource(store), target.id, made.federation, now_ms=CLOCK, outside=outside, **how)


def sql(made, *statements):
    with sqlite3.connect(made.path) as db:
        for statement, values in statements:
            assert db.execute(statement, values).rowcount > 0


def log_state(made, agent):
    with SqliteStore.open(made.path, readonly=True) as store:
        return store.log_state(agent)


def saw_heads(made):
    """Remember the heads of both logs, as an auditor saw them, then go on with both."""
    with Home.open(made.home, clock=lambda: CLOCK - 10) as home:
        for agent in (made.a, made.b):
            state = home.store.log_state(agent)
            home.store.record_head(agent, state.size, state.peaks.root(), state.last, "peer", CLOCK - 100)


def exported(made):
    """Return the pairs of a bundle by id, and the bundle."""
    with SqliteStore.open(made.path, readonly=True) as store:
        stream = io.BytesIO()
        write_walked(stream, walk(StoreSource(store), made.final.id, made.federation, now_ms=CLOCK))
    stream.seek(0)
    held = bundle.read(stream)
    return held, dict(held.records)


def from_bundle(made, held, pairs, **how):
    """Write the bundle anew with these records, read it back and verify it."""
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=held.federation,
        manifest=held.manifest,
        targets=held.targets,
        heads=held.heads,
        inclusion=held.inclusion,
        consistency=held.consistency,
        records=[(id, *pair) for id, pair in pairs.items()],
    )
    stream.seek(0)
    return verify(BundleSource(bundle.read(stream)), made.final.id, made.federation, now_ms=CLOCK, **how)


def altered(record, **changes):
    """Return a record's bytes with another body, and their id."""
    value = codec.decode(record.data)
    value["body"] |= changes
    data = codec.encode(value)
    return cid.compute(data), data


def rebuilt(record, **fields):
    """Return the record with other fields, canonical and well-formed."""
    names = ["kind", "agent", "seq", "prev", "time", "manifest", "key", "log", "preds", "body"]
    return records.build(**{name: getattr(record, name) for name in names} | fields)


def signed(made, record):
    """Seal a record with its author's real key."""
    return seal.encode([sign(record, made.secrets[record.owner], record.key)])


def codes(report):
    return {finding.code for finding in report.findings}


def test_nothing_is_found_where_nothing_was_done(made):
    assert (
        stored(made).verdict == stored(made, signatures="heads").verdict == stored(made, log="full").verdict == "valid"
    )
    held, pairs = exported(made)
    report = from_bundle(made, held, pairs)
    assert report.verdict == "valid" and {item.source for item in report.freshness} == {"nobody"}
    saw_heads(made)
    assert stored(made).verdict == "valid"


# --- 1 altered -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signatures", ["all", "heads"])
@pytest.mark.parametrize("which", ["seen", "handed", "grant", "found", "final"])
def test_an_altered_record_in_the_store(made, which, signatures):
    record = made.seen[2] if which == "seen" else getattr(made, which)
    byte = bytearray(record.data)
    byte[-1] ^= 1
    sql(made, ("UPDATE record SET data = ? WHERE cid = ?", (bytes(byte), bytes(record.id))))
    report = stored(made, signatures=signatures)
    assert report.verdict == "invalid"
    assert record.id in {finding.record for finding in report.findings}


def test_an_altered_seal_in_the_store(made):
    sql(
        made,
        (
            "UPDATE record SET seal = (SELECT seal FROM record WHERE cid = ?) WHERE cid = ?",
            (bytes(made.found.id), bytes(made.seen[2].id)),
        ),
    )
    assert codes(stored(made)) == {"TSLG-A-SEAL"}


@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_an_altered_record_that_was_hashed_anew_is_not_what_was_cited(made, signatures):
    """A thief without a key gives the altered record its right id, and drops the old one: what cites it misses it."""
    id, data = altered(made.seen[2], data={"n": 99})
    sql(made, ("UPDATE record SET cid = ?, data = ? WHERE cid = ?", (bytes(id), data, bytes(made.seen[2].id))))
    report = stored(made, signatures=signatures)
    assert report.verdict != "valid"
    assert made.seen[2].id in {item.record for item in report.undetermined}


def test_a_target_that_was_altered_and_hashed_anew_is_not_sealed(made):
    id, data = altered(made.final, outcome="no")
    sql(made, ("UPDATE record SET cid = ?, data = ? WHERE cid = ?", (bytes(id), data, bytes(made.final.id))))
    report = stored(made, SimpleNamespace(id=id))
    assert "TSLG-A-SEAL" in codes(report)


def test_an_altered_record_in_a_bundle(made):
    held, pairs = exported(made)
    stream = io.BytesIO()
    write_walked(stream, walk(BundleSource(held), made.final.id, made.federation, now_ms=CLOCK))
    whole = stream.getvalue()
    at = whole.index(made.seen[2].data) + len(made.seen[2].data) - 1
    broken = bundle.read(io.BytesIO(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]))
    report = verify(BundleSource(broken), made.final.id, made.federation, now_ms=CLOCK)
    assert codes(report) == {"TSLG-R-ID"} and report.findings[0].record == made.seen[2].id
    assert pairs


def test_an_altered_record_in_a_bundle_that_was_hashed_anew(made):
    held, pairs = exported(made)
    _, seal_bytes = pairs.pop(made.seen[2].id)
    id, data = altered(made.seen[2], data={"n": 99})
    pairs[id] = (data, seal_bytes)
    report = from_bundle(made, held, pairs)
    assert report.verdict == "undetermined" and (made.seen[2].id, "absent") in report.undetermined


# --- 2 deleted -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("signatures", ["all", "heads"])
@pytest.mark.parametrize("which", ["seen", "handed", "grant", "found"])
def test_a_deleted_record(made, which, signatures):
    record = made.seen[2] if which == "seen" else getattr(made, which)
    held, pairs = exported(made)
    del pairs[record.id]
    assert (record.id, "absent") in from_bundle(made, held, pairs, signatures=signatures).undetermined
    sql(made, ("UPDATE record SET data = NULL, seal = NULL, log = NULL, seq = NULL WHERE cid = ?", (bytes(record.id),)))
    report = stored(made, signatures=signatures)
    assert report.verdict != "valid" and (record.id, "absent") in report.undetermined


# --- 3 reordered -----------------------------------------------------------------------------------------------------


def test_two_positions_that_were_swapped_in_the_store(made):
    first, second = bytes(made.seen[1].id), bytes(made.seen[3].id)
    sql(
        made,
        ("UPDATE record SET seq = 1000 WHERE cid = ?", (first,)),
        ("UPDATE record SET seq = ? WHERE cid = ?", (made.seen[1].seq, second)),
        ("UPDATE record SET seq = ? WHERE cid = ?", (made.seen[3].seq, first)),
    )
    with SqliteStore.open(made.path, readonly=True) as store:
        assert {problem.code for problem in store.check()} >= {"TSLG-D-COLUMNS"}
    # What the records themselves say of their order is untouched; proofs made from the columns do not hold.
    assert stored(made, made.seen[5], depth=1).verdict != "valid"


@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_two_records_that_were_rewritten_in_another_order(made, signatures):
    """A thief without a key swaps what two records say of their place: neither is what was sealed and cited."""
    held, pairs = exported(made)
    one, other = made.seen[1], made.seen[3]
    for record, place in ((one, other), (other, one)):
        moved = rebuilt(record, seq=place.seq, prev=place.prev, log=place.log, time=place.time)
        pairs[moved.id] = (moved.data, pairs.pop(record.id)[1])
    assert from_bundle(made, held, pairs, signatures=signatures).verdict != "valid"


@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_a_history_that_its_own_author_wrote_anew(made, signatures):
    """With the real key everything is sealed and in order: only a head that somebody else holds tells."""
    saw_heads(made)
    old = log_state(made, made.b)
    rewrite(made, drop=made.seen[2])
    new = log_state(made, made.b)
    assert new.size == old.size + 3 and new.peaks.root() != old.peaks.root()
    with SqliteStore.open(made.path, readonly=True) as store:
        target = records.parse_as(new.last, store.get(new.last).data)
        alone = verify(StoreSource(store), target.id, made.federation, now_ms=CLOCK, signatures=signatures)
        assert alone.verdict == "valid"
    report = stored(made, target, signatures=signatures)
    assert report.verdict == "invalid" and "TSLG-V-FORK" in codes(report)


def rewrite(made, drop):
    """Write the log of `b` anew from `drop` on without it, longer than it was, and put it in place of the old one."""
    from tslg.node.store.interface import LogState
    from tslg.protocol.log import Peaks

    with SqliteStore.open(made.path) as store:
        size = store.log_state(made.b).size
        old = [records.parse_as(id, entry.data) for id, entry in store.log_range(made.b, 0, size)]
    kept = old[: drop.seq]
    peaks = Peaks()
    for record in kept:
        peaks.append(record.id)
    sql(
        made,
        (
            "DELETE FROM edge WHERE child IN (SELECT id FROM record WHERE log = (SELECT id FROM record WHERE cid = ?)"
            " AND seq >= ?)",
            (bytes(made.b), drop.seq),
        ),
    )
    sql(
        made,
        (
            "UPDATE record SET data = NULL, seal = NULL, log = NULL, seq = NULL, kind = NULL, time = NULL WHERE log ="
            " (SELECT id FROM record WHERE cid = ?) AND seq >= ?",
            (bytes(made.b), drop.seq),
        ),
    )
    moved = {}
    fresh = []
    todo = [*old[drop.seq + 1 :], *[old[-1]] * 4]
    for number, record in enumerate(todo):
        seq = len(kept) + len(fresh)
        preds = {
            name: [edge if edge.agent else Edge(moved.get(edge.cid, edge.cid)) for edge in edges if edge.cid != drop.id]
            for name, edges in record.preds.items()
        }
        previous = fresh[-1] if fresh else kept[-1]
        body = dict(record.body)
        if number >= len(old) - drop.seq - 1:
            body = {"source": f"padding {number}"}
            preds = {"prior": [Edge(previous.id)]}
        made_anew = rebuilt(record, seq=seq, prev=previous.id, log=Head(seq, peaks.root()), preds=preds, body=body)
        moved[record.id] = made_anew.id
        peaks.append(made_anew.id)
        fresh.append(made_anew)
    with SqliteStore.open(made.path) as store:
        state = LogState(made.b, len(kept) + len(fresh), fresh[-1].id, fresh[-1].time, peaks)
        store.append([(record, signed(made, record)) for record in fresh], [state])


# --- 4 a forged delegation -------------------------------------------------------------------------------------------


def test_a_forged_delegation(made):
    """The delegate writes itself a wider delegation in the delegator's name, sealed with its own key."""
    held, pairs = exported(made)
    forged = rebuilt(made.handed, body=dict(made.handed.body) | {"hops": 9})
    cites = {
        name: [edge._replace(cid=forged.id) if edge.cid == made.handed.id else edge for edge in edges]
        for name, edges in made.found.preds.items()
    }
    acts = rebuilt(made.found, preds=cites)
    pairs[forged.id] = (forged.data, seal.encode([sign(forged, made.secrets[made.b], forged.key)]))
    pairs[acts.id] = (acts.data, signed(made, acts))
    final = rebuilt(made.final, preds=dict(made.final.preds) | {"evidence": [Edge(acts.id, made.b, None)]})
    pairs[final.id] = (final.data, signed(made, final))
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=held.federation,
        manifest=held.manifest,
        targets=[final.id],
        heads=[],
        inclusion=held.inclusion,
        consistency=held.consistency,
        records=[(id, *pair) for id, pair in pairs.items()],
    )
    stream.seek(0)
    report = verify(BundleSource(bundle.read(stream)), final.id, made.federation, now_ms=CLOCK)
    assert ("TSLG-A-SEAL", forged.id) in {(finding.code, finding.record) for finding in report.findings}
    with SqliteStore.open(made.path) as store:
        for record in (forged, acts, final):
            sql_insert(made, store, record, pairs[record.id][1])
    report = stored(made, final)
    assert ("TSLG-A-SEAL", forged.id) in {(finding.code, finding.record) for finding in report.findings}


def sql_insert(made, store, record, seal_bytes):
    """Put a record into the store at no place of any log: the place is taken."""
    with sqlite3.connect(made.path) as db:
        db.execute("INSERT INTO record (cid, data, seal) VALUES (?, ?, ?)", (bytes(record.id), record.data, seal_bytes))


# --- 5 a widened scope -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"uses": ["destroy"]}, "TSLG-A-SCOPE"),
        ({"spends": {"n": 4}}, "TSLG-A-SCOPE"),
        ({"tier": "root"}, "TSLG-A-SCOPE"),
    ],
)
def test_a_widened_scope(made, body, code):
    """The delegate's own node is patched to admit anything; the record is sealed well."""
    with SqliteStore.open(made.path) as store:
        state = store.log_state(made.b)
        widened = rebuilt(
            made.found,
            seq=state.size,
            prev=state.last,
            log=Head(state.size, state.peaks.root()),
            time=state.last_time,
            body=dict(made.found.body) | body,
        )
        peaks = state.peaks.copy()
        peaks.append(widened.id)
        grown = state._replace(size=state.size + 1, last=widened.id, last_time=widened.time, peaks=peaks)
        store.append([(widened, signed(made, widened))], [grown])
    report = stored(made, widened)
    assert codes(report) == {code} and report.findings[0].record == widened.id


def test_a_widened_policy_under_the_delegation(made):
    with SqliteStore.open(made.path) as store:
        state = store.log_state(made.b)
        wide = records.build(
            kind="policy",
            agent=made.b,
            seq=state.size,
            prev=state.last,
            time=state.last_time,
            manifest=made.federation,
            key=made.b,
            log=Head(state.size, state.peaks.root()),
            preds={
                "prior": [Edge(made.b)],
                "policy": [Edge(made.grant.id, made.a, None)],
                "delegation": [Edge(made.handed.id, made.a, None)],
            },
            body=dict(made.grant.body) | {"capabilities": ["destroy", "inspect"], "not_after": CLOCK},
        )
        peaks = state.peaks.copy()
        peaks.append(wide.id)
        store.append([(wide, signed(made, wide))], [state._replace(size=state.size + 1, last=wide.id, peaks=peaks)])
    assert codes(stored(made, wide)) == {"TSLG-A-WIDENED"}
    assert ed25519_public_key(made.secrets[made.b])


# --- 6 the tail cut off ----------------------------------------------------------------------------------------------


def cut(made, count):
    """Cut the last records off the log of `a`, and set its state to what a shorter log would have."""
    from tslg.protocol.log import Peaks

    with SqliteStore.open(made.path, readonly=True) as store:
        size = store.log_state(made.a).size
        left = [records.parse_as(id, entry.data) for id, entry in store.log_range(made.a, 0, size - count)]
    peaks = Peaks()
    for record in left:
        peaks.append(record.id)
    sql(
        made,
        (
            "UPDATE log SET size = ?, last = (SELECT id FROM record WHERE cid = ?), peaks = ? WHERE id ="
            " (SELECT id FROM record WHERE cid = ?)",
            (len(left), bytes(left[-1].id), peaks.to_bytes(), bytes(made.a)),
        ),
        (
            "DELETE FROM record WHERE log = (SELECT id FROM record WHERE cid = ?) AND seq >= ?",
            (bytes(made.a), len(left)),
        ),
    )
    return left[-1]


def test_a_tail_that_was_cut_off_is_found_against_a_head_that_was_seen(made):
    saw_heads(made)
    cut(made, 1)
    report = stored(made)
    assert report.verdict == "invalid" and codes(report) == {"TSLG-V-TAIL"}
    known = {item.agent: item for item in report.freshness}[made.a]
    assert known.source == "peer" and known.size == made.final.seq + 2 and known.age_ms == 100


def test_a_tail_that_was_cut_off_is_found_against_an_earlier_bundle(made):
    held, _ = exported(made)
    claims = {head.agent: head for head in held.heads}
    last = cut(made, 2)
    from tslg.protocol.freshness import OutsideHead

    outside = [OutsideHead(made.a, claims[made.a].size, claims[made.a].root, "peer", 1)]
    with SqliteStore.open(made.path, readonly=True) as store:
        report = verify(StoreSource(store), last.id, made.federation, now_ms=CLOCK, outside=outside)
    assert codes(report) == {"TSLG-V-TAIL"}


def test_without_any_other_head_the_report_says_who_knows_the_tail(made):
    """Nothing in a shortened log shows that it is: the report names whose word its end is."""
    held, pairs = exported(made)
    shorter = {
        id: pair for id, pair in pairs.items() if id not in {head.record for head in held.heads} - {made.final.id}
    }
    report = from_bundle(made, held, shorter)
    assert report.verdict == "valid"
    assert {item.source for item in report.freshness} == {"nobody"}
    assert all(item.age_ms is None for item in report.freshness)
    cut(made, 1)
    assert {item.source for item in stored(made).freshness} == {"log"}
