"""Flat federations: classes are recovered from what edges lead to, and every rule then holds as it does elsewhere."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from breach import OPEN, Scene
from breaches_flat import FLAT, working
from world import BODIES, World

from tslg.protocol import codec
from tslg.protocol import record as records
from tslg.protocol.admission import RuleBook
from tslg.protocol.cid import compute
from tslg.protocol.errors import RecordError, Refusal
from tslg.protocol.flat import Recovered, class_of, flatten, recover
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge

pytestmark = pytest.mark.spec("FLA-1", "FLA-2", "FLA-3", "FLA-4", "FLA-5", "FLA-6", "FLA-7")


@pytest.fixture
def w() -> Scene:
    return Scene(FLAT)


def test_records_are_written_in_one_list_and_read_by_class(w):
    made = working(w)
    raw = records.parse(made["action"].data)
    assert list(raw.preds) == ["any"] and len(raw.preds["any"]) == 5
    held = w.held[raw.id]
    assert {name: [edge.cid for edge in edges] for name, edges in held.preds.items()} == {
        "absence": [made["missing"].id],
        "delegation": [w.granted.id],
        "evidence": [made["seen"].id],
        "policy": [made["narrow"].id],
        "prior": [made["state"].id],
    }
    assert isinstance(held, Recovered) and (held.id, held.data) == (raw.id, raw.data)
    assert flatten(held.preds) == {"any": list(raw.preds["any"])}
    assert recover(raw, {}.get).preds == raw.preds, "what is not at hand has no class"
    assert w.held[made["correction"].id].preds.keys() == {"corrects"}
    assert w.held[made["retraction"].id].preds.keys() == {"retracts"}


def test_every_row_of_the_table():
    me, other = compute(b"me"), compute(b"other")
    names = {"action": {"name": "x"}, "policy": BODIES["policy"], "artifact": {"name": "x"}}

    def made(kind: str, owner=me, **body):
        data = codec.encode([kind, owner, sorted(body)])
        value = names.get(kind, {}) | body
        return records.Record(compute(data), data, kind, owner, 5, None, 0, None, None, None, {}, value, owner)

    rows = [
        ("verification", made("policy", other), "evidence", {"target": made("policy", other).id}),
        ("consensus", made("state"), "evidence", {"proposal": made("state").id}),
        ("equivocation", made("policy", other), "evidence", {}),
        ("correction", made("decision", other), "corrects", {}),
        ("correction", made("policy"), "policy", {}),
        ("amendment", made("state"), "amends", {}),
        ("retraction", made("delegation"), "retracts", {}),
        ("retraction", made("genesis"), "prior", {}),
        ("policy", made("policy"), "amends", BODIES["policy"]),
        ("policy", made("policy", other), "policy", BODIES["policy"]),
        ("policy", made("policy", name="wider"), "policy", BODIES["policy"]),
        ("action", made("policy", other), "policy", {}),
        ("prune", made("gc-policy", other), "policy", {}),
        ("action", made("gc-policy", other), "evidence", {}),
        ("action", made("delegation", other, delegate=me), "delegation", {}),
        ("action", made("delegation", other, delegate=other), "evidence", {}),
        ("action", made("delegation", delegate=me), "evidence", {}),
        ("state", made("consensus", other), "consensus", {}),
        ("state", made("joint-authorization", other), "joint", {}),
        ("artifact", made("artifact", other), "parent", {}),
        ("state", made("artifact", other), "evidence", {}),
        ("composite", made("inference", other), "part", {}),
        ("inference", made("inference", other), "evidence", {}),
        ("inference", made("decomposition"), "part", {}),
        ("summary", made("state"), "part", {}),
        ("summary", made("state", other), "evidence", {}),
        ("state", made("observation", sought="x"), "absence", {}),
        ("observation", made("observation", sought="x"), "evidence", {}),
        ("state", made("observation"), "evidence", {}),
        ("state", made("state"), "prior", {}),
        ("state", made("genesis"), "prior", {}),
        ("state", made("state", other), "evidence", {}),
        ("registration", made("observation"), "prior", {}),
    ]
    for kind, cited, name, body in rows:
        citing = made(kind)._replace(body=body)
        edge = Edge(cited.id, None if cited.owner == me else cited.owner)
        assert class_of(citing, edge, cited) == name, (kind, cited.kind)


@pytest.mark.parametrize(
    "preds",
    [{"any": []}, {"any": [{"cid": 1}]}, {"any": {}}, {"any": "b", "prior": "a"}, {"anything": "a"}],
)
def test_the_one_list_is_read_as_strictly_as_the_classes(w, preds):
    record = w.make(w.a, "state")
    value = codec.decode(record.data)
    edge = value["preds"]["any"][0]
    preds = {name: [edge] if isinstance(items, str) else items for name, items in preds.items()}
    with pytest.raises(RecordError):
        records.parse(codec.encode(value | {"preds": preds}))


def test_rules_hold_as_they_do_elsewhere(w):
    working(w)
    for kind, body, preds, code in [
        ("decision", {}, {"policy": [w.policy]}, "CLASSES"),
        ("action", {}, {"evidence": [w.seen]}, "CLASSES"),
        ("action", {"uses": ["erase"]}, {"policy": [w.policy]}, "SCOPE"),
        ("state", {"uses": ["read"]}, None, "SCOPE"),
        ("action", {"principal": w.b.owner}, {"policy": [w.policy]}, "PRINCIPAL"),
        ("action", {}, {"policy": [w.policy]}, "SUPERSEDED"),
        ("policy", {"name": "wide", "limits": {"n": 9}}, {"prior": [w.a.prior], "policy": [w.policy]}, "WIDENED"),
    ]:
        record = w.make(w.a, kind, body, preds)
        with pytest.raises(Refusal) as caught:
            w.admit(record, w.seal(record, w.a), w.a)
        assert caught.value.code == f"TSLG-A-{code}", kind
    for record in (
        w.make(w.b, "action", {}, {"policy": [w.policy]}),
        w.make(w.b, "state", None, {"prior": [w.b.prior], "evidence": [Edge(compute(b"x"), w.a.owner)]}),
    ):
        code = "TSLG-A-GRANT" if record.kind == "action" else "TSLG-A-RESOLVE"
        with pytest.raises(Refusal, match=code):
            w.admit(record, w.seal(record, w.b), w.b)


@pytest.mark.parametrize("signatures", ["all", "heads"])
def test_walks_judge_by_recovered_classes(w, signatures):
    made = working(w)
    report = w.verify(made["decision"], signatures=signatures)
    assert report.verdict == "valid", (report.findings, report.undetermined)
    assert made["action"].id in report.records and not report.frontier
    for depth in range(report.edges + 1):
        bounded = w.verify(made["decision"], signatures=signatures, depth=depth)
        assert bounded.verdict == "valid" and bounded.edges == depth, (depth, bounded.findings)
    forged = w.slip(w.b, "action", {"uses": ["write"]}, {"policy": [made["narrow"]], "delegation": [w.granted]})
    target = w.add(w.b, "state", {}, {"prior": [w.b.prior], "evidence": [forged]})
    report = w.verify(target, signatures=signatures)
    assert [(f.code, f.record) for f in report.findings] == [("TSLG-A-SCOPE", forged.id)]
    assert w.verify(target, signatures=signatures, depth=2).verdict == "valid", "what claims lack lies beyond the bound"


def test_what_lacks_a_mandatory_class_is_found_out_as_deep_as_it_is_read(w):
    hollow = w.slip(w.a, "decision", {}, {"policy": [w.policy]})
    assert [(f.code, f.record) for f in w.verify(hollow).findings] == [("TSLG-A-CLASSES", hollow.id)]
    assert w.verify(hollow, depth=0).verdict == "valid"


def test_an_absent_predecessor_leaves_its_class_undetermined(w):
    made = working(w)
    supply = w.supply()
    del supply.handed[made["narrow"].id]
    report = w.verify(made["action"], supply)
    assert report.verdict == "undetermined" and not report.findings
    assert made["narrow"].id in {item.record for item in report.undetermined}


def test_edges_must_stand_in_the_form_of_the_manifest():
    typed, flat = Scene(OPEN), Scene(FLAT)
    loose = typed.slip(typed.a, "state", as_written={"any": [Edge(typed.a.owner)]})
    classed = flat.slip(flat.a, "state", as_written={"prior": [Edge(flat.a.owner)]})
    for w, record in ((typed, loose), (flat, classed)):
        assert [(f.code, f.record) for f in w.verify(record).findings] == [("TSLG-A-EDGES", record.id)]


def test_an_amendment_changes_the_form_from_then_on():
    w = Scene(OPEN)
    before = w.add(w.a, "state")
    w.amend(edges="flat")
    after = w.add(w.a, "state")
    assert list(records.parse(before.data).preds) == ["prior"] and list(records.parse(after.data).preds) == ["any"]
    assert w.verify(after).verdict == "valid"
    back = w.slip(w.a, "state", as_written={"prior": [Edge(after.id)]})
    assert [f.code for f in w.verify(back).findings] == ["TSLG-A-EDGES"]
    loose = w.slip(w.b, "state", manifest=w.federation)
    assert [f.code for f in w.verify(loose).findings] == ["TSLG-A-EDGES"]


def test_a_lying_edge_is_found_by_where_it_leads(w):
    for edge, code in [
        (Edge(w.seen.id, w.b.owner), "TSLG-A-EDGE-OWNER"),
        (Edge(w.policy.id), "TSLG-A-EDGE-OWNER"),
    ]:
        record = w.make(w.b, "state", as_written={"any": sorted([Edge(w.b.owner), edge])})
        assert w.judge_as_book(record).code == code


def test_the_classes_of_a_typed_federation_are_left_alone():
    w = World(OPEN)
    a = w.agent("a")
    record = w.add(a, "state")
    assert recover(record, w.held.get) is record


@pytest.mark.parametrize("kind", sorted(name for name, one in KINDS.items() if not one.first))
def test_no_rule_stumbles_over_what_has_no_class_yet(w, kind):
    path = Path(__file__).with_name("test_kinds.py")
    spec = spec_from_file_location("kinds_of_bodies", path)
    bodies = module_from_spec(spec)
    spec.loader.exec_module(bodies)
    edges = [Edge(compute(b"nowhere")), Edge(compute(b"elsewhere"), w.a.owner)]
    record = w.make(w.b, kind, bodies.BODIES_OF[kind], as_written={"any": sorted(edges)})
    w.complete = False
    for graph in (w, Scene(OPEN)):
        graph.complete = False
        refusal = RuleBook(graph).refusal(record, b"")
        assert refusal is None or refusal.code not in ("TSLG-A-CLASSES", "TSLG-A-RESOLVE")
    w.complete = True
    assert RuleBook(w).refusal(record, b"") is not None
