"""Vendor B's records and vendor A's decision, on made-up environments and without a network."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tslg.node.demo import release, scanner
from tslg.node.demo.errors import DemoError
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.errors import Refusal
from tslg.protocol.record import parse_as


class Fetches:
    """A node whose fetch verifies what is at hand."""

    def __init__(self, home):
        self._home = home

    async def fetch(self, target, peers, *, tick=None):
        home = self._home
        return verify(StoreSource(home.store), target, home.federation, now_ms=home.clock())


def cited(scene, record, name="evidence"):
    return [parse_as(edge.cid, scene.home.store.get(edge.cid).data) for edge in record.edges(name)]


async def answered(scene, **changes):
    given = replace(scene.given, **changes)
    return await release.check(Fetches(scene.home), given, scene.delegation, scene.summary.id, "nowhere")


async def test_a_sound_environment_ships(site, play):
    for name in ("one", "two"):
        site.install(name)
    scene = play()
    answer = await answered(scene)
    decision = await release.decide(scene.a, answer)
    assert (scene.summary.body["outcome"], decision.body["outcome"]) == ("ok", "ship")
    assert scene.told == [(1, 2), (2, 2)]
    observed, group = sorted(cited(scene, scene.summary), key=lambda record: record.kind, reverse=True)
    assert observed.body["blob"]["media_type"] == "text/csv"
    for record in cited(scene, group):
        assert record.body["uses"] == ["inspect:distribution", "licence:MIT"]
        assert record.body["spends"] == {"missing_files": 0, "digest_mismatches": 0}
        assert [edge.cid for edge in record.edges("delegation")] == [scene.delegation.id]


async def test_one_bad_distribution_holds_the_release_and_is_named(site, play):
    site.install("good")
    site.install("changed", {"changed/a.py": b"honest"})
    site.install("silent", headers="")
    (site.folder / "changed/a.py").write_bytes(b"hostile")
    scene = play()
    decision = await release.decide(scene.a, await answered(scene))
    assert decision.body["outcome"] == "hold"
    assert decision.body["reason"] == "changed: 1 digest mismatches, 0 allowed; silent: licence none is stated"
    assert decision.body["data"] == {"ok": 1, "review": 1, "refuse": 1}
    data = scene.summary.body["data"]
    assert (data["digest_mismatches"], data["missing_files"], data["distributions"]) == (1, 0, 3)


async def test_many_distributions_are_decided_in_groups(site, play, monkeypatch):
    monkeypatch.setattr(scanner, "GROUP", 3)
    for number in range(7):
        site.install(f"package{number}")
    scene = play()
    groups = [record for record in cited(scene, scene.summary) if record.kind == "decision"]
    assert sorted(record.body["data"]["distributions"] for record in groups) == [1, 3, 3]
    assert len((await answered(scene)).decisions) == 7


def test_too_many_distributions_are_refused(site, play, monkeypatch):
    monkeypatch.setattr(scanner, "GROUP", 1)
    monkeypatch.setattr(scanner, "GROUPS", 1)
    site.install("one")
    site.install("two")
    with pytest.raises(DemoError, match="2 distributions"):
        play()


async def test_an_answer_about_another_environment_is_not_taken(site, play):
    site.install("one")
    scene = play()
    with pytest.raises(DemoError, match="another environment"):
        await answered(scene, fingerprint="0" * 64)
    with pytest.raises(DemoError, match="1 decisions for 2"):
        await answered(scene, distributions=2)


async def test_an_answer_that_does_not_add_up_is_not_taken(site, play):
    site.install("silent", headers="")
    scene = play()
    body = scene.summary.body
    lie = scene.b.decide(
        "environment",
        "ok",
        evidence=[edge.cid for edge in scene.summary.edges("evidence")],
        delegation=scene.delegation,
        data={**body["data"], "ok": 1, "review": 0},
    )
    scene.summary = lie
    with pytest.raises(DemoError, match="counts 1 as ok"):
        await answered(scene)


async def test_an_answer_under_no_delegation_is_not_taken(site, play):
    site.install("one")
    scene = play()
    scene.summary = scene.b.decide("environment", "ok", evidence=scene.summary, data=scene.summary.body["data"])
    with pytest.raises(DemoError, match="something else"):
        await answered(scene)


def test_vendor_b_cannot_claim_what_it_must_refuse(site, play):
    site.install("one")
    scene = play()
    claim = {"evidence": scene.summary, "delegation": scene.delegation}
    with pytest.raises(Refusal) as refused:
        scene.b.decide("lost", "ok", spends={"missing_files": 1}, **claim)
    assert refused.value.code == "TSLG-A-SCOPE"
    with pytest.raises(Refusal) as refused:
        scene.b.decide("odd", "ok", uses=["licence:AGPL-3.0-only"], **claim)
    assert refused.value.code == "TSLG-A-SCOPE"
