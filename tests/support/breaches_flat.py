"""Records whose edges stand in a form that their manifest does not allow."""

from __future__ import annotations

from breach import OPEN, Scene, breaks

from tslg.protocol.record import Edge
from tslg.protocol.rules.edges import rule_form

FLAT = OPEN.replace("[envelope]\n", '[envelope]\nedges = "flat"\n')


@breaks(rule_form, "EDGES", "in one list without classes", alone=False)
def edges_without_classes_under_a_typed_manifest(w):
    return w.sealed(w.a, "state", as_written={"any": [Edge(w.a.last.id)]})


@breaks(rule_form, "EDGES", "stand by class", toml=FLAT)
def edges_by_class_under_a_flat_manifest(w):
    return w.sealed(w.a, "state", as_written={"prior": [Edge(w.a.owner)]})


@breaks(rule_form, "EDGES", "in one list without classes", toml=FLAT, alone=False)
def edges_without_classes_in_the_federations_log(w):
    return w.sealed(w.anchors, "policy", as_written={"any": [Edge(w.federation)]})


def working(w: Scene) -> dict:
    """An agent's work for another, of every class that can be recovered."""
    made = {"seen": w.add(w.b, "observation"), "state": w.add(w.b, "state")}
    made["missing"] = w.add(w.b, "observation", {"sought": "a permit"})
    preds = {"prior": [made["state"]], "policy": [w.policy], "delegation": [w.granted]}
    made["narrow"] = w.add(w.b, "policy", w.under(name="narrow", capabilities=["read"]), preds)
    cited = {"policy": [made["narrow"]], "delegation": [w.granted], "prior": [made["state"]]}
    made["action"] = w.add(
        w.b, "action", {"uses": ["read"]}, cited | {"evidence": [made["seen"]], "absence": [made["missing"]]}
    )
    own = {"policy": [w.policy], "evidence": [made["action"], w.seen], "prior": [w.a.prior]}
    made["decision"] = w.add(w.a, "decision", {"uses": ["write"], "spends": {"n": 3}}, own)
    made["correction"] = w.add(w.b, "correction", {"reason": "", "data": {}}, {"corrects": [made["action"]]})
    made["retraction"] = w.add(w.a, "retraction", {"reason": ""}, {"retracts": [w.policy]})
    return made
