"""Each way of tampering with a bundle has a finding of its own, and an untouched one has none."""

from __future__ import annotations

import io

import pytest

from tslg.node.bundling import write_walked
from tslg.node.demo import release, tampering
from tslg.node.demo.errors import DemoError
from tslg.node.sources import StoreSource
from tslg.node.verifying import walk
from tslg.protocol.codec import Link
from tslg.protocol.record import parse_as


@pytest.fixture
def scene(site, play):
    for name in ("one", "two"):
        site.install(name)
    return play()


@pytest.fixture
def content(scene, now):
    home = scene.home
    decision = scene.a.decide("release", release.SHIP, evidence=[scene.summary, scene.given.observed])
    stream = io.BytesIO()
    write_walked(stream, walk(StoreSource(home.store), decision.id, home.federation, now_ms=now))
    return stream.getvalue()


def victim(scene):
    """A record of vendor B's in the middle of the ancestry."""
    group = next(edge.cid for edge in scene.summary.edges("evidence"))
    return parse_as(group, scene.home.store.get(group).data)


def test_untouched(content, now):
    for depth in (None, 20, 5, 0):
        assert tampering.judged(content, now, depth).verdict == "valid"


def test_altered(scene, content, now):
    changed = tampering.altered(content, victim(scene))
    assert len(changed) == len(content) and sum(a != b for a, b in zip(changed, content, strict=True)) == 1
    report = tampering.judged(changed, now)
    assert report.verdict == "invalid"
    assert [(finding.code, finding.record) for finding in report.findings] == [("TSLG-R-ID", victim(scene).id)]


def test_dropped(scene, content, now):
    report = tampering.judged(tampering.dropped(content, victim(scene)), now)
    assert report.verdict == "undetermined" and not report.findings
    assert (victim(scene).id, "absent") in report.undetermined


def test_a_record_that_the_bundle_does_not_hold_cannot_be_dropped(scene, content):
    other = scene.a.state({"later": True})
    with pytest.raises(DemoError):
        tampering.dropped(content, other)


def pens(scene, now):
    home = scene.home
    seed = home.agent_key(scene.b.id).seed
    found = []
    for agent in (scene.a, scene.b):
        size = home.store.log_state(agent.id).size
        ids = [Link(leaf) for leaf in home.store.leaves(agent.id, size)]
        found.append(tampering.Pen(agent.id, agent.id, seed, ids, now, home.manifest.id))
    return found


def test_forged(scene, content, now):
    forgery = tampering.forged(tampering.read(content), scene.summary, scene.delegation, *pens(scene, now))
    report = tampering.judged(forgery.content, now)
    assert report.verdict == "invalid" and not report.undetermined
    assert {(finding.code, finding.record) for finding in report.findings} == {
        ("TSLG-A-SEAL", forgery.policy),
        ("TSLG-A-SEAL", forgery.delegation),
        ("TSLG-A-WIDENED", forgery.overreach),
    }


def test_what_the_pens_wrote_would_be_valid_if_the_keys_were_right(scene, content, now):
    """The lie is the signature alone: with A's own key the same delegation holds, so the finding is not an accident."""
    delegator, delegate = pens(scene, now)
    delegator.seed = scene.home.agent_key(scene.a.id).seed
    forgery = tampering.forged(tampering.read(content), scene.summary, scene.delegation, delegator, delegate)
    report = tampering.judged(forgery.content, now)
    assert [(finding.code, finding.record) for finding in report.findings] == [("TSLG-A-WIDENED", forgery.overreach)]


def test_no_pen_shows_its_seed(scene, now):
    (pen, _) = pens(scene, now)
    assert pen.seed.hex() not in repr(pen) and repr(pen.seed) not in repr(pen)
