"""Two programs recover the same classes of flat records, and judge by them alike, however far they read."""

from __future__ import annotations

import io

import independent_reader
import pytest
from both_readers import agreed, everything
from breach import OPEN, Scene
from breaches_flat import FLAT, working
from world import NOW

from tslg.node.sources import BundleSource
from tslg.node.verifying import verify
from tslg.protocol import bundle
from tslg.protocol.record import Edge

LATER = NOW + 400_000


@pytest.fixture
def w() -> Scene:
    return Scene(FLAT)


def both(w: Scene, target, **options):
    return agreed(everything(w, target), w.federation, now=LATER, **options)


@pytest.mark.spec("FLA-2", "FLA-3", "FLA-5")
def test_the_same_walk_to_every_depth(w):
    made = working(w)
    for target in (made["decision"], made["correction"], made["retraction"]):
        assert both(w, target) == ("valid", set())
    data = everything(w, made["decision"])
    for depth in range(12):
        held = bundle.read(io.BytesIO(data))
        report = verify(BundleSource(held), made["decision"].id, w.federation, now_ms=LATER, depth=depth)
        document = independent_reader.read_file(data, w.federation, LATER, depth)
        assert report.verdict == document["verdict"] == "valid"
        assert report.edges == document["targets"][0]["edges"]


@pytest.mark.spec("FLA-1", "FLA-5", "FLA-6")
def test_both_find_the_same_faults(w):
    made = working(w)
    cases = [
        ("decision", {}, {"policy": [w.policy]}, "CLASSES"),
        ("action", {}, {"evidence": [w.seen]}, "CLASSES"),
        ("action", {"uses": ["erase"]}, {"policy": [w.policy]}, "SCOPE"),
        ("state", {"uses": ["read"]}, {"prior": [w.a.prior]}, "SCOPE"),
        ("action", {"principal": w.b.owner}, {"policy": [w.policy]}, "PRINCIPAL"),
        ("action", {}, {"policy": [made["narrow"]]}, "GRANT"),
    ]
    for kind, body, preds, code in cases:
        changed = Scene(FLAT)
        working(changed)
        record = changed.slip(changed.a, kind, body, preds)
        assert both(changed, record) == ("invalid", {f"TSLG-A-{code}"}), code
        bounded = both(changed, record, depth=0)
        # A state that derives from its genesis is known whole: the genesis is always read.
        assert bounded == ("invalid", {f"TSLG-A-{code}"}) if kind == "state" else bounded == ("valid", set()), code


@pytest.mark.spec("FLA-1")
def test_both_demand_the_form_of_the_manifest():
    typed, flat = Scene(OPEN), Scene(FLAT)
    loose = typed.slip(typed.a, "state", as_written={"any": [Edge(typed.a.owner)]})
    classed = flat.slip(flat.a, "state", as_written={"prior": [Edge(flat.a.owner)]})
    for w, record in ((typed, loose), (flat, classed)):
        assert both(w, record) == ("invalid", {"TSLG-A-EDGES"})
