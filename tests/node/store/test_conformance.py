"""What every store must answer, whatever is below it."""

import hashlib

import pytest

from tslg.node.store.interface import EdgeRow, Entry, ForkError, LogState, LogSummary, SeenHead, Verified
from tslg.protocol.cid import Link, compute, to_text
from tslg.protocol.errors import StoreError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Peaks, root
from tslg.protocol.record import Edge

SEAL = b"seal"


def sealed(*records):
    return [(record, SEAL + bytes([record.seq & 0xFF])) for record in records]


def entry(record):
    return Entry(record.data, SEAL + bytes([record.seq & 0xFF]))


def ids(*records):
    return [record.id for record in records]


@pytest.fixture
def diamond(new_log):
    """Records 1..4 of one log: 4 derives from 3 and 2 (evidence), both from 1 (prior), that from the genesis."""
    log = new_log("diamond")
    one = log.add()
    two = log.add(preds={"prior": [Edge(one.id)]})
    three = log.add(preds={"prior": [Edge(one.id)]})
    log.add(preds={"prior": [Edge(three.id)], "evidence": [Edge(two.id), Edge(three.id)]})
    return log


def test_a_record_comes_back_as_it_went_in(store, diamond):
    store.append(sealed(*diamond.records))
    for record in diamond.records:
        assert store.get(record.id) == entry(record)
        assert store.has(record.id)
    assert type(store.get(diamond.owner)) is Entry
    assert store.check() == []


def test_what_is_not_held_is_absent_even_if_it_is_cited(store, diamond):
    store.append(sealed(*diamond.records[4:]))
    cited = diamond.records[3].id
    unknown = compute(b"unknown")
    for cid in (cited, diamond.owner, unknown):
        assert store.get(cid) is None
        assert not store.has(cid)
    assert store.get_many([cited, unknown, diamond.last.id]) == {diamond.last.id: entry(diamond.last)}
    assert store.missing([unknown, diamond.last.id, cited, unknown]) == [unknown, cited]
    assert store.check() == []


def test_many_more_ids_than_one_query_takes(store, new_log):
    log = new_log("long")
    for _ in range(1200):
        log.add()
    store.append(sealed(*log.records[::2]))
    wanted = ids(*log.records)
    assert store.get_many(wanted) == {record.id: entry(record) for record in log.records[::2]}
    assert store.missing(wanted) == wanted[1::2]
    assert len(store.parents(wanted)) == 600


def test_order_of_arrival_does_not_matter(store, diamond):
    for record in reversed(diamond.records):
        store.append(sealed(record))
    assert store.check() == []
    assert set(store.ancestors(diamond.last.id)) == set(ids(*diamond.records[:4]))
    assert [cid for cid, _ in store.log_range(diamond.owner, 0, 9)] == ids(*diamond.records)
    assert store.missing(ids(*diamond.records)) == []


def test_appending_again_changes_nothing(store, diamond, state_of):
    store.append(sealed(*diamond.records), [state_of(diamond)])
    store.append([(record, b"another seal") for record in diamond.records], [state_of(diamond)])
    store.append([*sealed(diamond.last), *sealed(diamond.last)])
    assert store.get(diamond.last.id) == entry(diamond.last)
    assert store.logs() == [LogSummary(diamond.owner, 5, 4, True)]
    assert store.check() == []


def test_nothing_to_append(store):
    store.append([])
    assert store.logs() == []


def test_a_fork_is_refused_with_everything_beside_it(store, diamond, state_of, new_log):
    store.append(sealed(*diamond.records), [state_of(diamond)])
    log = new_log("diamond")
    other = log.add(body={"data": {"rival": True}})
    bystander = new_log("bystander")
    with pytest.raises(ForkError) as caught:
        store.append([*sealed(bystander.last), *sealed(other)], [state_of(bystander)])
    error = caught.value
    assert (error.code, error.record, error.held) == ("TSLG-D-FORK", other.id, diamond.records[1].id)
    assert to_text(other.id) in error.detail and to_text(error.held) in error.detail
    assert not store.has(bystander.owner) and not store.has(other.id)
    assert store.log_state(bystander.owner) is None
    store.append(sealed(bystander.last), [state_of(bystander)])
    assert store.has(bystander.owner)
    assert store.check() == []


def test_a_fork_within_one_batch(store, new_log):
    log = new_log("forked")
    left, right = log.make(), log.make(body={"data": {"rival": True}})
    with pytest.raises(ForkError) as caught:
        store.append(sealed(log.last, left, right))
    assert (caught.value.record, caught.value.held) == (right.id, left.id)
    assert store.logs() == []


def test_a_fork_of_a_record_that_was_cited_before_it_came(store, new_log):
    log = new_log("forked")
    left, right = log.make(), log.make(body={"data": {"rival": True}})
    citing = new_log("citing")
    citing.add(preds={"evidence": [Edge(right.id, log.owner, None)], "prior": [Edge(citing.owner)]})
    store.append(sealed(log.last, left, *citing.records))
    with pytest.raises(ForkError) as caught:
        store.append(sealed(right))
    assert (caught.value.record, caught.value.held) == (right.id, left.id)
    assert store.children(right.id) == [citing.last.id]


def test_log_states(store, new_log, state_of):
    log = new_log("stateful")
    assert store.log_state(log.owner) is None
    older = state_of(log)
    store.append(sealed(log.last), [older])
    log.add()
    log.add()
    store.append(sealed(*log.records[1:]), [state_of(log)])
    store.append([], [older])
    state = store.log_state(log.owner)
    assert state[:4] == (log.owner, 3, log.last.id, 2000)
    assert type(state.last) is Link
    assert (state.peaks.size, state.peaks.root()) == (3, root(ids(*log.records)))
    state.peaks.append(b"changed by the caller")
    assert store.log_state(log.owner).peaks.size == 3
    assert store.leaves(log.owner, 2) == ids(*log.records[:2])
    assert store.leaves(log.owner, 0) == []
    assert store.check() == []


@pytest.mark.parametrize("change", ["absent", "seq", "time", "owner"])
def test_a_state_that_does_not_fit_its_record_is_refused(store, new_log, state_of, change):
    log, other = new_log("one"), new_log("two")
    log.add()
    state = state_of(log)
    bad = {
        "absent": state._replace(last=compute(b"nowhere")),
        "seq": state._replace(size=3),
        "time": state._replace(last_time=1),
        "owner": state._replace(owner=other.owner),
    }[change]
    for records in (log.records, []):
        with pytest.raises(StoreError, match="TSLG-D-STATE"):
            store.append(sealed(*records), [bad])
        assert store.has(log.owner) == (records == [])
        store.append(sealed(*log.records))
    assert store.log_state(log.owner) is None and store.log_state(other.owner) is None


def test_a_log_with_gaps(store, new_log):
    log = new_log("gaps")
    for _ in range(5):
        log.add()
    store.append(sealed(log.records[1], log.records[4]))
    assert store.logs() == [LogSummary(log.owner, 2, 4, False)]
    assert store.at(log.owner, 4) == log.records[4].id
    assert store.at(log.owner, 2) is None and store.at(compute(b"nobody"), 0) is None
    assert store.log_range(log.owner, 0, 4) == [(log.records[1].id, entry(log.records[1]))]
    assert store.log_range(log.owner, 4, 4) == []
    with pytest.raises(StoreError, match="TSLG-D-INCOMPLETE"):
        store.leaves(log.owner, 2)


def test_leaves_beyond_the_state_are_refused(store, new_log, state_of):
    log = new_log("short")
    state = state_of(log)
    log.add()
    store.append(sealed(*log.records), [state])
    assert store.leaves(log.owner, 1) == [log.owner]
    with pytest.raises(StoreError, match="TSLG-D-INCOMPLETE"):
        store.leaves(log.owner, 2)


def test_ancestors(store, diamond):
    store.append(sealed(*diamond.records))
    genesis, one, two, three, four = ids(*diamond.records)
    every = store.ancestors(four)
    assert set(every[:2]) == {two, three} and every[2:] == [one, genesis]
    assert all(type(cid) is Link for cid in every)
    assert store.ancestors(four, ["prior"]) == [three, one, genesis]
    assert store.ancestors(four, ["evidence"]) in ([two, three], [three, two])
    assert store.ancestors(four, ["policy"]) == store.ancestors(four, ["no such class"]) == []
    assert store.ancestors(four, []) == []
    assert store.ancestors(four, limit=3) == every[:3]
    assert store.ancestors(four, limit=0) == []
    assert store.ancestors(genesis) == store.ancestors(compute(b"unknown")) == []


def test_ancestors_that_are_only_cited(store, diamond):
    store.append(sealed(diamond.last))
    assert set(store.ancestors(diamond.last.id)) == set(ids(*diamond.records[2:4]))


def test_children_and_parents(store, diamond):
    store.append(sealed(*diamond.records))
    genesis, one, two, three, four = ids(*diamond.records)
    assert store.children(one) == sorted([two, three])
    assert store.children(three) == [four]
    assert store.children(three, ["policy"]) == store.children(four) == []
    assert store.children(two, ["evidence", "policy"]) == [four]
    evidence = [EdgeRow(four, "evidence", cid) for cid in sorted([two, three])]
    assert store.parents([four, genesis, one, four]) == [
        *evidence,
        EdgeRow(four, "prior", three),
        EdgeRow(one, "prior", genesis),
    ]
    assert store.parents([one, four], ["evidence"]) == evidence
    assert store.parents([]) == store.parents([compute(b"unknown")]) == []


def test_citing(store, diamond):
    store.append(sealed(*diamond.records))
    genesis, one, two, three, four = ids(*diamond.records)
    of_one = [EdgeRow(cid, "prior", one) for cid in sorted([two, three])]
    of_three = [EdgeRow(four, "evidence", three), EdgeRow(four, "prior", three)]
    assert store.citing([three, one, three]) == [*of_three, *of_one]
    assert store.citing([one, three], ["prior"]) == [*of_one, of_three[1]]
    assert store.citing([three, genesis], ["evidence"], ["decision", "policy"]) == [
        row for row in of_three[:1] if diamond.records[4].kind == "decision"
    ]
    assert store.citing([three], None, [diamond.records[4].kind]) == of_three
    assert store.citing([three], None, ["no such kind"]) == store.citing([three], []) == store.citing([]) == []


def test_descendants(store, diamond):
    store.append(sealed(*diamond.records))
    genesis, one, two, three, four = ids(*diamond.records)
    every = store.descendants(genesis)
    assert every[0] == one and set(every[1:3]) == {two, three} and every[3:] == [four]
    assert all(type(cid) is Link for cid in every)
    assert store.descendants(one, ["evidence"]) == []
    assert store.descendants(two, ["evidence"]) == [four]
    assert store.descendants(genesis, limit=2) == every[:2]
    assert store.descendants(four) == store.descendants(compute(b"unknown")) == store.descendants(genesis, []) == []


def test_shared_ancestors(store, diamond):
    store.append(sealed(*diamond.records))
    genesis, one, two, three, four = ids(*diamond.records)
    assert store.shared_ancestors(two, three) == sorted([genesis, one])
    assert store.shared_ancestors(two, four) == sorted([genesis, one])
    assert store.shared_ancestors(two, four, ["evidence"]) == store.shared_ancestors(two, genesis) == []


def test_by_prefix(store, new_log):
    log = new_log("prefixes")
    for _ in range(200):
        log.add()
    store.append(sealed(*log.records[1:]))
    texts = sorted(to_text(record.id) for record in log.records[1:])
    for length in (8, 9, 10, 11, 12, 30, len(texts[0])):
        prefix = texts[17][:length]
        expected = {text for text in texts if text.startswith(prefix)}
        assert {to_text(cid) for cid in store.by_prefix(prefix, limit=1000)} == expected, length
    assert len(store.by_prefix("bafyrei")) == 16
    assert store.by_prefix("b", limit=3) == sorted(ids(*log.records[1:]))[:3]
    assert store.by_prefix(to_text(log.owner)) == []
    for prefix in ("", "z", "b!", "B" + texts[0][1:], texts[0].upper(), texts[0] + "a", "b" + "7" * 9000, "bſ"):
        assert store.by_prefix(prefix) == [], prefix


def test_by_kind(store, new_log):
    one, two = new_log("one"), new_log("two")
    one.add(time=5)
    one.add(time=5)
    two.add(time=9)
    store.append(sealed(*one.records, *two.records))
    assert store.by_kind("state") == [two.last.id, one.records[2].id, one.records[1].id]
    assert store.by_kind("state", one.owner) == [one.records[2].id, one.records[1].id]
    assert store.by_kind("state", limit=1) == [two.last.id]
    assert store.by_kind("genesis") == sorted([one.owner, two.owner])
    assert store.by_kind("action") == store.by_kind("state", compute(b"nobody")) == []


def test_records_in_which_some_bytes_stand(store, new_log):
    log = new_log("one")
    for text in ("needle", "straw", "needle too"):
        log.add(body={"data": {"seen": text.encode()}})
    store.append(sealed(*log.records))
    found = sorted((log.records[1].id, log.records[3].id))
    assert store.mentioning(b"needle", ["state"]) == found
    assert store.mentioning(b"needle", ["state", "action"], limit=1) == found[:1]
    assert store.mentioning(b"needle", ["action"]) == store.mentioning(b"haystack", ["state"]) == []
    store.set_attachment(log.records[2].id, b"beside it a needle")
    assert log.records[2].id in store.mentioning(b"a needle", ["state"])


def test_meta(store):
    assert store.get_meta("federation") is None
    store.set_meta("federation", b"\x01")
    store.set_meta("federation", b"")
    assert store.get_meta("federation") == b""


def test_meta_that_is_kept_once_or_changed(store):
    assert store.keep_meta("federation", b"first") == b"first"
    assert store.keep_meta("federation", b"second") == b"first" == store.get_meta("federation")
    store.change_meta("count", lambda value: b"1" if value is None else b"wrong")
    store.change_meta("count", lambda value: value + b"2")
    store.change_meta("count", lambda value: None)
    assert store.get_meta("count") == b"12"


def head(owner, size, source, seen_ms, root=bytes(32), record=None):
    return SeenHead(owner, size, root, record, source, seen_ms)


def test_heads_keep_the_newest_and_the_largest_of_each_source(store):
    owner, other = compute(b"owner"), compute(b"other")
    given = [
        head(owner, 5, "witness", 10),
        head(owner, 9, "witness", 20, record=compute(b"ninth")),
        head(owner, 9, "witness", 30, root=b"\x01" * 32),
        head(owner, 7, "peer", 25),
        head(owner, 6, "peer", 24),
        head(other, 99, "peer", 1),
    ]
    for seen in given:
        store.record_head(*seen)
    assert store.heads(owner) == [given[2], given[1], given[3]]
    store.record_head(*head(owner, 4, "witness", 40))
    assert store.heads(owner) == [given[1], given[3], head(owner, 4, "witness", 40)]
    assert store.heads(other) == [given[5]] and store.heads(compute(b"nobody")) == []


def test_heads_of_many_sources_are_bounded_and_never_lose_the_largest(store):
    owner = compute(b"owner")
    store.record_head(*head(owner, 1000, "first", 0))
    for number in range(DEFAULT.heads_per_log + 10):
        store.record_head(*head(owner, number, f"peer {number}", number + 1))
    kept = store.heads(owner)
    assert len(kept) == DEFAULT.heads_per_log
    assert kept[0].source == "first"
    assert [seen.size for seen in kept[1:3]] == [DEFAULT.heads_per_log + 9, DEFAULT.heads_per_log + 8]


def test_verified(store):
    cid = compute(b"foreign")
    assert store.verified(cid) is None
    store.set_verified(cid, 0)
    assert store.verified(cid) == Verified(0)
    store.set_all_verified([cid], None)
    assert store.verified(cid) == Verified(None)
    assert not store.has(cid)


def test_blobs(store):
    large = bytes(range(256)) * 4096
    for data in (b"", b"small", large, large):
        digest = store.put_blob(data)
        assert digest == hashlib.sha256(data).digest()
        assert store.get_blob(digest) == data
    many = [b"small", b"one", b"two", b"one"]
    assert store.put_blobs(many) == [hashlib.sha256(data).digest() for data in many]
    assert [store.get_blob(hashlib.sha256(data).digest()) for data in many] == many
    assert store.put_blobs([]) == []
    assert store.get_blob(bytes(32)) is None
    assert store.check() == []


def test_what_is_attached_stays_beside_its_record(store, diamond, state_of):
    first, second, third = diamond.records[1:4]
    store.append(sealed(*diamond.records), [state_of(diamond)], {second.id: b"beside"})
    assert store.get(second.id) == entry(second)._replace(attachment=b"beside")
    assert store.get(first.id).attachment is None
    assert store.get_many([first.id, second.id])[second.id].attachment == b"beside"
    assert [item.attachment for _, item in store.log_range(diamond.owner, 1, 4)] == [None, b"beside", None]
    store.append(sealed(second), (), {second.id: b"another"})
    assert store.get(second.id).attachment == b"beside"
    store.set_attachment(second.id, None)
    store.set_attachment(third.id, b"later")
    assert [item.attachment for _, item in store.log_range(diamond.owner, 1, 4)] == [None, None, b"later"]


def test_nothing_is_attached_to_what_is_not_held(store, diamond):
    store.append(sealed(*diamond.records[4:]))
    for cid in (diamond.records[3].id, compute(b"unknown")):
        with pytest.raises(StoreError) as caught:
            store.set_attachment(cid, b"beside")
        assert caught.value.code == "TSLG-D-NOT-HELD"
    store.append(sealed(*diamond.records[3:4]), (), {diamond.records[3].id: b"it came with its record"})
    assert store.get(diamond.records[3].id).attachment == b"it came with its record"


def test_what_is_erased_is_gone(store, diamond, tmp_path):
    secret = b"a secret that must go" * 50
    first, second = diamond.records[1:3]
    store.append(sealed(*diamond.records), (), {first.id: b"1" + secret, second.id: b"2" + secret})
    digest = store.put_blob(b"3" + secret)
    store.erase({first.id: None, second.id: b"what is left"}, [digest, bytes(32)])
    assert (store.get(first.id).attachment, store.get(second.id).attachment) == (None, b"what is left")
    assert store.get_blob(digest) is None
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if b"a secret that must go" in path.read_bytes()] == []
    assert store.get(diamond.last.id) == entry(diamond.last)
    store.append(sealed(diamond.add()))
    store.erase({}, [])
    with pytest.raises(StoreError) as caught:
        store.erase({compute(b"unknown"): None}, [])
    assert caught.value.code == "TSLG-D-NOT-HELD"


def test_check_finds_what_is_attached_and_does_not_belong(store, diamond):
    store.append(sealed(*diamond.records), (), {diamond.last.id: b"beside"})
    assert [(problem.code, problem.record) for problem in store.check()] == [("TSLG-T-NONE", diamond.last.id)]


def test_check_finds_bytes_that_are_not_their_id(store, diamond):
    one = diamond.records[1]
    store.append([(one._replace(data=one.data.replace(b"step", b"stop")), SEAL)])
    assert [(problem.code, problem.record) for problem in store.check()] == [("TSLG-R-ID", one.id)]


def test_check_finds_columns_and_edges_that_are_not_in_the_bytes(store, diamond):
    one = diamond.records[1]
    store.append([(one._replace(time=77, preds={}), SEAL)])
    assert [problem.code for problem in store.check()] == ["TSLG-D-COLUMNS", "TSLG-D-EDGES"]


def test_check_finds_a_state_that_is_not_the_tree_of_the_log(store, new_log):
    log = new_log("wrong")
    peaks = Peaks()
    peaks.append(b"another leaf")
    store.append(sealed(log.last), [LogState(log.owner, 1, log.owner, 0, peaks)])
    assert [(problem.code, problem.record) for problem in store.check()] == [("TSLG-D-STATE", log.owner)]


def test_check_finds_a_hole_below_a_state(store, new_log, state_of):
    log = new_log("hole")
    log.add()
    log.add()
    store.append(sealed(log.records[0], log.records[2]), [state_of(log)])
    assert [problem.code for problem in store.check()] == ["TSLG-D-STATE"]
