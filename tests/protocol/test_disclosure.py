"""Records that commit to their fields: what may be shown of them, what cannot be faked, what the rules still read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import BODIES, MERKLE, World

from tslg.protocol import attachments, cid, codec, committed, disclosure
from tslg.protocol import record as records
from tslg.protocol.committed import Leaf
from tslg.protocol.errors import AttachmentError, RecordError
from tslg.protocol.kinds import KINDS
from tslg.protocol.log import Tree, leaf_hash, node_hash

pytestmark = [
    pytest.mark.spec("MRK-1", "MRK-2", "MRK-3", "MRK-4", "MRK-5", "MRK-6", "MRK-7", "MRK-8", "MRK-9", "MRK-10"),
    pytest.mark.spec("ATT-2", "ATT-4", "KND-7"),
]

DECISION = {"name": "credit", "outcome": "granted", "reason": "a good one", "uses": ["read"], "data": {"x": [1, None]}}
COMMITTING = sorted(name for name, kind in KINDS.items() if kind.committed)
VALUES = {
    "text": "a text",
    "text (1 to 256 characters)": "a name",
    "bytes": b"bytes",
    "bytes (32)": bytes(32),
    "uint": 3,
    "map": {"k": {"deep": [1, "two", None, True]}},
    "map of text to bytes (32)": {"file": bytes(32)},
    "map of text to int": {"score": -3},
    "map of text to uint": {"n": 1},
    "sorted set of text": ["a", "b"],
    "sorted set of links": [],
    "link": cid.compute(b"somebody"),
    "ms or null": None,
    "{digest: bytes (32), size: uint, media_type: text}": {"digest": bytes(32), "size": 1, "media_type": "text/plain"},
}


@pytest.fixture(scope="module")
def w():
    world = World(MERKLE)
    world.a = world.agent("a")
    world.policy = world.add(world.a, "policy")
    world.seen = world.add(world.a, "observation", {"data": {"t": 1}, "sought": "nothing"})
    preds = {"prior": [world.seen], "policy": [world.policy], "evidence": [world.seen]}
    world.decision = world.add(world.a, "decision", DECISION, preds)
    return world


def parts(w):
    """The decision as it stands in its bytes, and its leaves."""
    return records.parse_as(w.decision.id, w.decision.data), disclosure.decode(w.attached[w.decision.id])[0]


def refused(record, attachment):
    with pytest.raises(AttachmentError) as caught:
        attachments.check(record, attachment)
    return caught.value.code


@pytest.mark.spec("MRK-2", "MRK-3")
def test_the_bytes_hold_what_rules_read_and_nothing_else(w):
    bare, _ = parts(w)
    assert bare.body == {"uses": ["read"]}
    assert bare.withheld == bare.commitment.names == ("blob", "data", "name", "outcome", "reason")
    for text in (b"credit", b"granted", b"a good one"):
        assert text not in w.decision.data
    assert codec.decode(bare.data)["body"] == {"merkle": bare.commitment.root, "fields": 5, "uses": ["read"]}


@pytest.mark.spec("MRK-4", "MRK-6")
def test_the_whole_disclosure_gives_the_whole_body_back(w):
    assert w.decision.body == DECISION and w.decision.withheld == ()


@pytest.mark.spec("MRK-9")
@settings(max_examples=40, deadline=None)
@given(keep=st.sets(st.sampled_from(KINDS["decision"].committed)))
def test_any_selection_of_leaves_holds(w, keep):
    bare, _ = parts(w)
    cut = disclosure.restrict(bare, w.attached[bare.id], keep)
    if cut is None:
        assert not keep
        return
    shown = attachments.check(bare, cut)
    assert shown.body == {name: value for name, value in DECISION.items() if name in keep or name == "uses"}
    assert shown.withheld == tuple(name for name in bare.commitment.names if name not in keep)
    assert attachments.check(shown, w.attached[bare.id]).body == DECISION
    assert disclosure.encode(*disclosure.decode(cut)) == cut


@pytest.mark.spec("MRK-7", "MRK-8")
@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_altered_disclosure_says_anything_else(w, draw):
    bare, _ = parts(w)
    attachment = bytearray(w.attached[bare.id])
    attachment[draw.draw(st.integers(0, len(attachment) - 1))] ^= draw.draw(st.integers(1, 255))
    assert refused(bare, bytes(attachment)).startswith("TSLG-T-")


@pytest.mark.spec("MRK-7")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_altered_salts_names_values_paths_and_places_are_refused(w, draw):
    bare, leaves = parts(w)
    at = draw.draw(st.integers(0, len(leaves) - 1))
    place, data, path = leaves[at]
    salt, name, *value = codec.decode(data)
    other = draw.draw(st.sampled_from([one for one in range(len(leaves)) if one != at]))
    altered = draw.draw(
        st.sampled_from(
            [
                Leaf(place, codec.encode([bytes(16), name, *value]), path),
                Leaf(place, codec.encode([salt, bare.commitment.names[other], *value]), path),
                Leaf(place, codec.encode([salt, name, "another value"]), path),
                Leaf(place, codec.encode([salt, name, *value, "more"]), path),
                Leaf(place, data, path[1:]),
                Leaf(place, data, (*path, bytes(32))),
                Leaf(place, data, (bytes(32), *path[1:])),
                Leaf(place, data, leaves[other].path),
                Leaf(other, data, path),
                Leaf(other, data, leaves[other].path),
                Leaf(place + len(leaves), data, path),
            ]
        )
    )
    if altered == leaves[at]:
        return
    assert refused(bare, disclosure.encode([altered])) in ("TSLG-T-PROOF", "TSLG-T-FIELD")


@pytest.mark.spec("MRK-5")
def test_an_inner_node_is_no_leaf(w):
    """Two leaves joined, with the path of their parent: what a tree without separated hashes would take."""
    bare, leaves = parts(w)
    below = [leaf_hash(committed.LEAF_START + leaf.data) for leaf in leaves[:2]]
    assert node_hash(*below) == leaves[2].path[-1] or node_hash(*below) in leaves[2].path
    for joined in (b"".join(below), b"\x01" + b"".join(below)):
        forged = Leaf(0, joined, leaves[0].path[1:])
        assert refused(bare, disclosure.encode([forged])) == "TSLG-T-PROOF"


@pytest.mark.spec("MRK-5")
def test_a_tree_without_the_field_prefix_is_not_the_records(w):
    bare, leaves = parts(w)
    assert refused(bare, disclosure.encode([Leaf(0, committed.LEAF_START + leaves[0].data, leaves[0].path)]))


@pytest.mark.parametrize(
    ("at", "leaf"),
    [
        (0, [bytes(16), "data", {}]),
        (1, [bytes(16), "outcome", "twice"]),
        (2, [bytes(16), "name"]),
        (2, [bytes(16), "name", 7]),
        (2, [bytes(15), "name", "n"]),
        (2, ["salt", "name", "n"]),
        (2, [bytes(16), "name", "n", "n"]),
        (2, {"name": "n"}),
    ],
)
def test_what_an_author_commits_to_against_the_rules_cannot_be_shown(w, at, leaf):
    """No field twice, none of another type, none required and said not to be there."""
    names = KINDS["decision"].committed
    data = [committed.leaf_data(bytes(16), name, DECISION) for name in names]
    data[at] = codec.encode(leaf)
    record, attachment = committing(w, data)
    assert refused(record, attachment) == "TSLG-T-FIELD"
    others = disclosure.restrict(record, attachment, set(names) - {names[at]})
    assert attachments.check(record, others).withheld == (names[at],)


def committing(w, data):
    """A decision whose author commits to these leaves, and its disclosure."""
    tree = Tree(committed.LEAF_START + leaf for leaf in data)
    fields = {name: getattr(w.decision, name) for name in ("agent", "seq", "prev", "time", "manifest", "key", "log")}
    body = {committed.ROOT: tree.root(), committed.COUNT: len(data)}
    record = records.build(kind="decision", preds=w.decision.preds, body=body, **fields)
    leaves = [Leaf(at, leaf, tuple(tree.inclusion_proof(at))) for at, leaf in enumerate(data)]
    return record, disclosure.encode(leaves)


def test_a_leaf_that_is_no_value_is_refused(w):
    data = [committed.leaf_data(bytes(16), name, DECISION) for name in KINDS["decision"].committed]
    data[3] = b"\xff"
    record, attachment = committing(w, data)
    assert refused(record, attachment) == "TSLG-T-FIELD"


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"leaves": []},
        {"leaves": [], "redacted": []},
        {"leaves": {}, "redacted": []},
        {"leaves": [], "redacted": [b"no link"]},
        {"leaves": [[0, b""]], "redacted": []},
        {"leaves": [[0, b"", [bytes(31)]]], "redacted": []},
        {"leaves": [[-1, b"", []]], "redacted": []},
        {"leaves": [[True, b"", []]], "redacted": []},
        {"leaves": [[0, "text", []]], "redacted": []},
        {"leaves": [[1, b"", []], [0, b"", []]], "redacted": []},
        {"leaves": [[0, b"", []], [0, b"", []]], "redacted": []},
        {"leaves": [[0, b"", []]], "redacted": [], "more": 1},
    ],
)
def test_what_is_no_disclosure(w, value):
    assert refused(parts(w)[0], codec.encode(value)) == "TSLG-T-FORM"
    assert refused(parts(w)[0], codec.encode(value) + b"\x00") == "TSLG-T-FORM"


@pytest.mark.spec("MRK-6")
def test_a_redaction_is_named_by_the_id_of_a_record_once(w):
    bare, _ = parts(w)
    ids = sorted([w.policy.id, w.seen.id])
    shown = attachments.check(bare, disclosure.encode([], ids))
    assert shown.commitment.redacted == tuple(ids) and shown.withheld == bare.withheld
    for redacted in (ids[::-1], [ids[0]] * 2):
        assert refused(bare, codec.encode({"leaves": [], "redacted": redacted})) == "TSLG-T-FORM"


@pytest.mark.spec("MRK-1", "MRK-4")
@pytest.mark.parametrize("kind", COMMITTING)
def test_every_kind_commits_to_what_it_can_show(kind):
    rules = KINDS[kind]
    assert set(rules.committed) <= rules.fields.keys() and list(rules.committed) == sorted(rules.committed)
    # What is stated is left to the record's own check.
    stated = {name: "stated" for name in rules.fields if name != "narrowing"}
    body = stated | {name: VALUES[rules.fields[name].type] for name in rules.committed}
    for given_body in (body, {name: value for name, value in body.items() if name in rules.required}):
        shown, leaves = committed.commit(rules, given_body, [bytes([at]) * 16 for at in range(len(rules.committed))])
        assert set(shown) == (given_body.keys() - set(rules.committed)) | {"merkle", "fields"}
        assert len(leaves) == len(rules.committed)
        plain, commitment = committed.read(rules, shown)
        assert commitment.root == shown["merkle"] and plain.keys() == given_body.keys() - set(rules.committed)


def test_a_draft_is_judged_whole_before_it_is_committed_to(w):
    for body in ({"name": "n"}, {"name": "n", "outcome": 7}, {"name": "", "outcome": "o"}):
        with pytest.raises(RecordError) as caught:
            committed.commit(KINDS["decision"], body, [bytes(16)] * 5)
        assert caught.value.code == "TSLG-R-BODY"
    for salts in ([bytes(16)] * 4, [bytes(15)] * 5):
        with pytest.raises(ValueError, match="salts"):
            committed.commit(KINDS["decision"], DECISION, salts)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("decision", {"merkle": bytes(32), "fields": 4}),
        ("decision", {"merkle": bytes(31), "fields": 5}),
        ("decision", {"merkle": bytes(32)}),
        ("decision", {"merkle": bytes(32), "fields": True}),
        ("decision", {"merkle": bytes(32), "fields": 5, "name": "in plain"}),
        ("decision", {"merkle": bytes(32), "fields": 5, "uses": "wrong"}),
        ("decision", {"fields": 5, "name": "n", "outcome": "o"}),
        ("decision", {"merkle": bytes(32), "fields": 5, "narrowing": []}),
        ("joint-authorization", {"merkle": bytes(32), "fields": 2}),
        ("policy", {"merkle": bytes(32), "fields": 0} | dict(BODIES["policy"])),
    ],
)
def test_malformed_commitments_are_no_records(w, kind, body):
    fields = {name: getattr(w.decision, name) for name in ("agent", "seq", "prev", "time", "manifest", "key", "log")}
    with pytest.raises(RecordError) as caught:
        records.build(kind=kind, preds={}, body=body, **fields)
    assert caught.value.code == "TSLG-R-BODY"


@pytest.mark.spec("MRK-10")
@pytest.mark.parametrize("mode", ["all", "heads"])
def test_the_verdict_is_the_same_whatever_is_disclosed(w, mode):
    whole = w.verify(w.decision, signatures=mode)
    bare = w.supply()
    bare.handed = {id: pair[:2] for id, pair in bare.handed.items()}
    hidden = w.verify(w.decision, bare, signatures=mode)
    assert whole.verdict == hidden.verdict == "valid" and whole.digest == hidden.digest
    assert whole.undisclosed == () and "undisclosed" not in whole.to_json()
    assert [(item.record, len(item.fields)) for item in hidden.undisclosed] == sorted(
        [(w.seen.id, 3), (w.decision.id, 5)]
    )
    assert len(hidden.to_json()["undisclosed"]) == 2


@pytest.mark.spec("ATT-2", "MRK-8")
def test_a_bad_disclosure_is_nobodys_finding(w):
    spoilt = w.supply()
    data, seal, attachment = spoilt.handed[w.decision.id]
    spoilt.handed[w.decision.id] = (data, seal, attachment[:-1] + b"\x00")
    spoilt.handed[w.policy.id] = (*spoilt.handed[w.policy.id], b"something beside a policy")
    report = w.verify(w.decision, spoilt)
    assert report.verdict == "valid" and [item.record for item in report.undisclosed] == [w.decision.id]


@pytest.mark.spec("ATT-4", "MRK-3")
def test_every_rule_says_the_same_of_a_record_that_withholds_all(w):
    for record in w.held.values():
        if record.commitment is not None:
            bare = records.parse_as(record.id, record.data)
            assert bare.body != record.body
            for seal in (w.seals[record.id], b""):
                first, second = w.judge(record, seal), w.judge(bare, seal)
                assert (first and (first.code, first.detail)) == (second and (second.code, second.detail))
