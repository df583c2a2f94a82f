"""Walks over a federation's own log: what envelopes name comes with the chain, and no old or forged version passes."""

from __future__ import annotations

import pytest
from breach import CLOSED, NOWHERE, OPEN, Scene
from world import NOW, THREE, Author, World, founded, source

from tslg.manifests import genesis as geneses
from tslg.protocol import seal as seals
from tslg.protocol.chains import named_records, rests_on
from tslg.protocol.errors import Refusal
from tslg.protocol.walker import OutsideHead

pytestmark = pytest.mark.spec(
    "FED-1", "FED-2", "FED-3", "FED-4", "FED-5", "FED-6", "FED-7", "FED-8", "FED-9", "FED-10", "FED-11"
)


def peers(w: World, *members) -> object:
    """Put a peer set of these agents into force."""
    alike = [r for r in w.anchors.log if r.kind == "peer-set"]
    preds = {"prior": [w.founded.manifest_record]} | ({"amends": alike[-1:]} if alike else {})
    made = w.add(w.anchors, "peer-set", {"members": sorted(members)}, preds)
    w.amend(cross_agent={"kinds": ["delegation", "policy"], "peers": made.id})
    return made


def expiring(w: World, expires: int):
    """Put a version into force that expires then."""
    newest = w.held[w.newest_manifest]
    return w.add(w.anchors, "manifest-amendment", w.amended_body() | {"expires": expires}, {"amends": [newest]})


@pytest.fixture
def w() -> Scene:
    return Scene(CLOSED)


def delegated(w: Scene):
    """The record of an agent that cites another's policy and delegation."""
    return w.add(w.b, "action", {}, {"policy": [w.policy], "delegation": [w.granted], "prior": [w.b.last]})


def test_what_an_envelope_names_is_part_of_the_chain(w):
    made = peers(w, w.a.owner)
    w.add(w.anchors, "policy")
    target = delegated(w)
    amended = w.held[target.manifest]
    assert [named.id for named in named_records(amended.body["envelope"])] == [made.id]
    assert set(rests_on(amended)) == {w.federation, made.id} and set(rests_on(made)) == {w.federation}
    report = w.verify(target)
    assert report.verdict == "valid", (report.findings, report.undetermined)
    assert report.manifest == (amended.id, 2, None)


def test_without_the_peer_set_nothing_under_its_version_is_judged(w):
    made = peers(w, w.a.owner)
    target = delegated(w)
    supply = w.supply()
    del supply.handed[made.id]
    report = w.verify(target, supply)
    assert report.verdict == "undetermined" and not report.findings
    assert (made.id, "absent") in report.undetermined and target.id not in report.records


def test_a_peer_set_is_changed_by_the_next_and_its_amendment(w):
    peers(w, w.a.owner)
    first = delegated(w)
    peers(w, w.b.owner)
    with pytest.raises(Refusal, match="not in the peer set"):
        delegated(w)
    assert w.verify(first).verdict == "valid", "what was cited under the earlier version stays valid"
    second = w.slip(w.b, "action", {}, {"policy": [w.policy], "delegation": [w.granted], "prior": [w.b.last]})
    (finding,) = w.verify(second).findings
    assert (finding.code, finding.record) == ("TSLG-A-CROSS-AGENT", second.id)


def test_a_peer_set_may_not_be_slipped_in_by_an_agent(w):
    forged = w.slip(w.a, "peer-set", {"members": [w.a.owner]})
    amended = w.slip(
        w.anchors,
        "manifest-amendment",
        w.amended_body(cross_agent={"kinds": ["delegation", "policy"], "peers": forged.id}),
        {"amends": [w.held[w.newest_manifest]]},
    )
    report = w.verify(w.slip(w.a, "state"))
    codes = {finding.record: finding.code for finding in report.findings}
    assert codes[forged.id] == "TSLG-A-ISSUER" and report.verdict == "invalid" and amended.id not in report.records


@pytest.mark.parametrize("seats", [(0, 0), (1, 1)], ids=["old anchors alone", "new anchors alone"])
def test_an_amendment_needs_the_old_and_the_new_anchors(seats):
    w = Scene(OPEN)
    other = geneses.found_federation(
        geneses.text.parse(OPEN.replace('["a"]', '["x"]')), random_bytes=source("other"), time_ms=NOW
    )
    body = w.amended_body() | {"anchors": other.manifest_record.body["anchors"]}
    record = w.make(w.anchors, "manifest-amendment", body, {"amends": [w.founded.manifest_record]})
    whose = [w, Signer(other, w)]
    entries = [
        whose[seat].by_anchors(record, kid, True) for seat, kid in zip(seats, [w.federation, record.id], strict=True)
    ]
    sealed = seals.encode(entries)
    assert w.judge(record, sealed).code == "TSLG-A-SEAL"
    right = seals.encode([w.by_anchors(record, w.federation, True), whose[1].by_anchors(record, record.id, True)])
    assert w.judge(record, right) is None
    w.put(record, sealed)
    (finding,) = w.verify(w.slip(w.a, "state")).findings
    assert (finding.code, finding.record) == ("TSLG-A-SEAL", record.id)


class Signer(World):
    """Signs with the anchors of another founding."""

    def __init__(self, founded_federation, w):
        self.founded = founded_federation


@pytest.mark.parametrize("version", [1, 3], ids=["repeated", "skipped"])
def test_a_version_follows_the_one_before_it(version):
    w = Scene(OPEN)
    body = w.amended_body() | {"version": version}
    record = w.slip(w.anchors, "manifest-amendment", body, {"amends": [w.founded.manifest_record]})
    assert w.judge(record, w.seals[record.id]).code in ("TSLG-A-VERSION", "TSLG-A-FORK")
    (finding,) = w.verify(w.slip(w.a, "state")).findings
    assert (finding.code, finding.record) == ("TSLG-A-VERSION", record.id)


def test_a_version_may_not_amend_one_that_is_superseded():
    w = Scene(OPEN)
    second = w.amend()
    body = w.amended_body() | {"version": 2}
    again = w.make(
        w.anchors, "manifest-amendment", body, {"amends": [w.founded.manifest_record]}, manifest=w.federation
    )
    refusal = w.judge(again, w.seal(again, w.anchors))
    assert refusal.code == "TSLG-A-ROLLBACK" and w.anchors.last == second


@pytest.mark.parametrize("toml", [OPEN, THREE.format(scheme="threshold"), THREE.format(scheme="multisig")])
def test_anchors_are_replaced_by_those_of_another_scheme(toml):
    w = World(toml, "replaced")
    other = founded(THREE.format(scheme="multisig" if 'threshold"' in toml else "threshold"), "successors")
    body = w.amended_body() | {"anchors": other.manifest_record.body["anchors"]}
    body["envelope"] = body["envelope"] | {"genesis": {"anchors": 2}}
    record = w.make(w.anchors, "manifest-amendment", body, {"amends": [w.founded.manifest_record]})
    entries = [w.by_anchors(record, w.federation, True), Signer(other, w).by_anchors(record, record.id, True)]
    w.admit(record, seals.encode(entries), w.anchors)
    former = w.make(w.anchors, "policy")
    assert w.judge(former, seals.encode([w.by_anchors(former, record.id)])).code == "TSLG-A-SEAL"
    w.founded = other
    assert w.verify(w.add(w.anchors, "policy")).verdict == "valid"


# --- expiry ----------------------------------------------------------------------------------------------------------


def test_an_expired_version_is_amended_and_its_records_stay_valid():
    w = Scene(OPEN)
    expiring(w, NOW + 60_000)
    early = w.add(w.a, "state")
    w.time = NOW + 70_000
    with pytest.raises(Refusal, match="expired") as caught:
        w.add(w.a, "state")
    assert caught.value.code == "TSLG-A-MANIFEST-EXPIRED"
    report = w.verify(early)
    assert report.verdict == "undetermined" and report.manifest.expires == NOW + 60_000
    assert report.undetermined == (
        (w.newest_manifest, f"expired: manifest version 2 expired at {NOW + 60_000}, and no newer one is known"),
    )
    expiring(w, w.now_ms + 1)
    assert w.verify(early).verdict == "valid"
    late = w.add(w.a, "state")
    assert w.verify(late).manifest.version == 3
    assert w.verify(late, now_ms=w.now_ms + 2).verdict == "undetermined"


def test_a_record_that_was_made_too_late_is_a_finding():
    w = Scene(OPEN)
    expiring(w, NOW + 60_000)
    w.time = NOW + 70_000
    late = w.slip(w.a, "state")
    assert [(f.code, f.record) for f in w.verify(late).findings] == [("TSLG-A-MANIFEST-EXPIRED", late.id)]


# --- a federation that is shown as it once was -----------------------------------------------------------------------


def frozen(w: World, size: int):
    """Return a source that shows the federation's log as it was at that size."""
    supply = w.supply()
    supply.serves_logs = "peer"
    for id in supply.logs[w.federation][size:]:
        del supply.handed[id]
    supply.logs[w.federation] = supply.logs[w.federation][:size]
    return supply


def known(w: World) -> OutsideHead:
    log = w.anchors
    return OutsideHead(w.federation, len(log.log), log.tree.root(), "log", 0)


@pytest.mark.parametrize("size", [1, 2])
def test_a_source_that_withholds_a_newer_version_is_found_out(size):
    w = Scene(OPEN)
    before = w.add(w.a, "state")
    w.amend()
    w.add(w.anchors, "policy")
    w.amend(clock_skew_ms=7)
    report = w.verify(before, frozen(w, size), outside=[known(w)])
    assert report.verdict == "undetermined" and report.manifest.version == size
    (doubt,) = report.undetermined
    assert doubt.record == w.federation and doubt.reason.startswith(f"frozen: the log ends at {size} records here")
    entry = next(item for item in report.freshness if item.agent == w.federation)
    assert (entry.size, entry.source) == (4, "log")


def test_the_newest_version_is_learnt_from_the_source():
    w = Scene(OPEN)
    before = w.add(w.a, "state")
    assert w.verify(before).manifest.version == 1
    w.amend()
    w.add(w.anchors, "policy")
    report = w.verify(before, outside=[known(w)])
    assert (report.verdict, report.manifest.version) == ("valid", 2)
    assert report.manifest.record == w.anchors.log[1].id


def test_a_head_that_does_not_hold_says_nothing_and_does_no_harm():
    w = Scene(OPEN)
    before = w.add(w.a, "state")
    plain = w.verify(before)
    other = founded(OPEN, "another")
    body = w.amended_body() | {"anchors": other.manifest_record.body["anchors"]}
    forged = w.make(w.anchors, "manifest-amendment", body, {"amends": [w.founded.manifest_record]})
    signer = Signer(other, w)
    seal = seals.encode([signer.by_anchors(forged, w.federation, True), signer.by_anchors(forged, forged.id, True)])
    w.put(forged, seal)
    behind = w.make(w.anchors, "policy")
    w.put(behind, seals.encode([signer.by_anchors(behind, forged.id)]))
    for newest in (forged, behind):
        supply = w.supply()
        supply.logs[w.federation] = [w.federation, forged.id, behind.id][: newest.seq + 1]
        report = w.verify(before, supply)
        assert report.digest == plain.digest, "the report is what it is without that head"


def test_a_fork_of_the_federations_log_is_a_finding():
    w = Scene(OPEN)
    branch: Author = w.anchors.fork(1)
    w.amend()
    ours = w.add(w.a, "state")
    body = w.amended_body(clock_skew_ms=7) | {"version": 2}
    other = w.make(branch, "manifest-amendment", body, {"amends": [w.founded.manifest_record]}, manifest=w.federation)
    w.put(other, w.seal(other, branch), branch)
    theirs = w.slip(w.b, "state", {}, {"prior": [w.b.last], "evidence": [ours]}, manifest=other.id)
    report = w.verify(theirs)
    assert {finding.code for finding in report.findings} == {"TSLG-V-FORK"}
    assert {finding.record for finding in report.findings} == {other.id, w.anchors.log[1].id}
    # Whoever sees one branch alone, and knows the other, is told as well.
    supply = w.supply()
    supply.logs[w.federation] = [w.federation, other.id]
    alone = w.slip(w.b, "state", {}, {"prior": [w.b.last]}, manifest=other.id)
    supply.handed[alone.id] = (alone.data, w.seals[alone.id])
    supply.logs[w.b.owner] = [record.id for record in w.b.log]
    codes = {f.code for f in w.verify(alone, supply, outside=[known(w)], depth=1).findings}
    assert "TSLG-V-FORK" in codes


def test_named_records_on_another_branch_do_not_lie_in_the_log(w):
    branch = w.anchors.fork(1)
    hidden = w.make(branch, "peer-set", {"members": [w.a.owner]}, {"prior": [w.founded.manifest_record]})
    w.put(hidden, w.seal(hidden, branch), branch)
    w.add(w.anchors, "peer-set", {"members": []})
    amended = w.slip(
        w.anchors,
        "manifest-amendment",
        w.amended_body(cross_agent={"kinds": ["delegation", "policy"], "peers": hidden.id}),
        {"amends": [w.founded.manifest_record]},
    )
    target = w.slip(w.b, "action", {}, {"policy": [w.policy], "delegation": [w.granted], "prior": [w.b.last]})
    assert target.manifest == amended.id
    supply = w.supply()
    supply.heads = False
    report = w.verify(target, supply)
    assert report.verdict == "invalid"
    assert {finding.code for finding in report.findings} <= {"TSLG-A-HEAD", "TSLG-A-PREV"}


def test_the_chain_of_a_federation_must_lie_in_one_log():
    w = Scene(OPEN)
    w.add(w.anchors, "policy")
    w.amend()
    target = w.add(w.a, "state")
    supply = w.supply()
    supply.heads = supply.proves = False
    del supply.handed[w.anchors.log[1].id]
    report = w.verify(target, supply)
    assert report.verdict == "undetermined"
    assert [item.record for item in report.undetermined] == [w.newest_manifest]


def test_edges_to_nobody_are_not_named():
    w = Scene(OPEN)
    assert named_records({"gc": {"policy": "no link"}, "corrections": [], "cross_agent": "open"}) == []
    assert NOWHERE in rests_on(w.make(w.anchors, "manifest-amendment", w.amended_body(gc={"policy": NOWHERE})))
