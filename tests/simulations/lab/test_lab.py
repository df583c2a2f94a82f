"""The lab as a whole, and the five things that it must be able to do before anybody would let it near production."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tslg.node.artifacts import course, graph, keeping
from tslg.node.artifacts.package import hash_folder
from tslg.node.cli.root import tslg as command
from tslg.node.home import Home
from tslg.node.net.errors import PeerError
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol import cid
from tslg.protocol.errors import PackageError, UsageError
from tslg.simulations.lab import cell, evaluator, factory, premises, releasing, reproducing
from tslg.simulations.lab.errors import LabError
from tslg.simulations.lab.premises import Premises
from tslg.simulations.lab.registry import CODE_TYPE, Sources
from tslg.simulations.lab.rounds import Breeding, ask
from tslg.simulations.lab.run import run


class Shop:
    """Vendor A's side of a lab that has run: its home and what it breeds from."""

    def __init__(self, home: Home, folder: Path) -> None:
        breeder = home.agent(premises.BREEDER)
        self.home, self.store, self.breeder = home, home.store, breeder
        self.lab = Premises(folder, premises.settings(folder), SimpleNamespace(home=home), None, breeder, None)
        held = graph.load(home.store, home.store.by_kind("artifact", limit=10_000)).values()
        self.named = {one.body["name"]: one for one in held}
        code = next(one for one in held if one.body["type"] == CODE_TYPE)
        policy = code.preds["policy"][0].cid
        parts = {"field": self.named["digits/field"], "base": self.named["digits/base"]}
        self.sources = Sources(policy, policy, code, self.named["digits"], parts)
        self.champion = graph.artifact(self.store, course.points_at(self.store, "champion", breeder.id))
        self.batch = breeder.cohort("attempts", [self.champion])

    def order(self, operator: str = "quantize", how: dict | None = None, **parents) -> factory.Order:
        return factory.Order(operator, how or {"levels": 90}, parents or {"model": self.champion}, self.batch)

    def make(self, code: str | None = None, order: factory.Order | None = None, **how):
        path = None
        if code is not None:
            path = self.lab.folder / "other.py"
            path.write_text(code)
        return factory.make(self.lab, self.sources, order or self.order(), code=path, **how)

    def verified(self, record) -> str:
        source = StoreSource(self.store)
        return verify(source, record.id, self.home.federation, now_ms=self.home.clock()).verdict


@pytest.fixture
def shop(copy):
    with Home.open(copy / premises.A) as home:
        yield Shop(home, copy)


@pytest.fixture
def reading(ran):
    with Home.read(Path(ran.folder) / premises.A) as home:
        yield home


# --- the five exit criteria ----------------------------------------------------------------------------------------


@pytest.mark.thorough
def test_every_candidate_is_reproduced_bit_for_bit_from_its_record(ran, reading):
    bred = reproducing.bred(reading.store)
    made = {one["package"] for each in ran.document["rounds"] for one in each["candidates"]}
    assert {one.body["package"]["digest"].hex() for one in bred} >= made
    assert {one.body["operator"] for one in bred} == {"train", "distill", "adapter_train", "quantize", "merge"}
    for one in bred[-4:]:
        again = reproducing.reproduce(reading.store, one.id)
        assert (again.same, again.how, again.differences) == (True, "operator", [])


def test_bad_candidates_are_rejected_with_reasons(ran, reading):
    rejected = [one for each in ran.document["rounds"] for one in each["candidates"] if one["failed"]]
    assert rejected
    for one in rejected:
        moved = course.transitions(reading.store, cid.from_text(one["id"]))
        assert moved[-1].body["to"] == "rejected"
        assert moved[-1].body["reason"].startswith(f"failed {one['failed'][0]}")
        kinds = {graph.load(reading.store, [edge.cid])[edge.cid].kind for edge in moved[-1].preds["evidence"]}
        assert kinds == {"artifact", "decision", "evaluation"}


def test_doing_nothing_is_explained(ran, reading):
    """The round's decision names every candidate and why it was not worth it, on the evaluations of all of them."""
    idle = ran.document["rounds"][1]
    assert idle["outcome"] == "no-op" and idle["candidates"]
    decision = graph.load(reading.store, [cid.from_text(idle["decision"])])[cid.from_text(idle["decision"])]
    assert decision.body["outcome"] == "no-op"
    cited = graph.load(reading.store, [edge.cid for edge in decision.preds["evidence"]]).values()
    judged = {one.body["target"] for one in cited if one.kind == "evaluation"}
    for one in idle["candidates"]:
        assert one["name"] in decision.body["reason"]
        assert decision.body["data"]["reasons"][one["name"]] == one["reason"]
        assert cid.from_text(one["id"]) in judged
    assert {edge.cid for one in cited for edge in one.preds.get("policy", ())}


def test_what_is_selected_follows_from_scores_and_policy(shop):
    from tslg.simulations.lab.viability import POLICY, Scored, select

    scores = shop_scores(shop)
    worse = {**scores, "accuracy": scores["accuracy"] - 1_000}
    verdict = select(
        [Scored("same", scores, (), ()), Scored("worse", worse, (), ()), Scored("bad", scores, ("safety",), ("why",))],
        Scored("champion", scores, (), ()),
        POLICY,
    )
    assert verdict.chosen is None
    assert verdict.reasons == {
        "same": "gains 0, doing nothing is worth 2,500",
        "worse": "accuracy falls by 1000, at most 150 may be lost",
        "bad": "failed safety (why)",
    }
    better = {**scores, "bytes": scores["bytes"] - 2_500}
    assert select([Scored("b", better, (), ())], Scored("champion", scores, (), ()), POLICY).chosen == "b"


def shop_scores(shop) -> dict[str, int]:
    found = graph.said(shop.store, [shop.champion.id]).evaluations[shop.champion.id]
    return dict(next(one for one in found if one.body["suite"].endswith("acceptance")).body["scores"])


def test_every_hash_verifies_and_a_changed_byte_does_not(copy):
    found = reproducing.check(copy)
    assert len(found) > 15 and all(one.same for one in found)
    victim = next(one.artifact for one in found if one.artifact.body["operator"] == "distill")
    path = premises.place(copy, victim) / "b1.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert [one.artifact.id for one in reproducing.check(copy) if not one.same] == [victim.id]
    path.unlink()
    assert [one.artifact.id for one in reproducing.check(copy) if not one.same] == [victim.id]


def test_every_promoted_artifact_is_rolled_back(ran, shop):
    """What the run promoted and what a drill promotes: each is rolled back to the one before, down to the founder."""
    released = course.history(shop.store, "champion", shop.breeder.id)
    promoted = [graph.artifact(shop.store, one.body["target"]) for one in released]
    assert len(promoted) == 1 + ran.document["promotions"] == 2
    one = shop.make(order=shop.order("quantize", {"levels": 101}, model=shop.champion))
    evaluated = _evaluated(shop, one)
    stage = releasing.Stage(True, "kept up", [evaluated])
    releasing.to_shadow(shop.lab, one, evaluated, [evaluated])
    releasing.to_canary(shop.lab, one, promoted[-1], stage)
    releasing.promote(shop.lab, one, promoted[-1], stage)
    promoted.append(one)
    for one, before in zip(promoted[:0:-1], promoted[-2::-1], strict=True):
        assert releasing.pointed_at(shop.lab, "champion") == one.id
        done = releasing.roll_back(shop.lab, "a drill")
        assert done.left.body["target"] == one.id
        assert course.state(shop.store, one.id, shop.breeder.id) == "rolled-back"
        assert releasing.pointed_at(shop.lab, "champion") == before.id
        assert course.state(shop.store, before.id, shop.breeder.id) == "champion"
        assert shop.verified(done.release) == "valid"
    with pytest.raises(UsageError):
        releasing.roll_back(shop.lab, "there is nothing before the first")


def test_a_canary_is_taken_back_and_what_could_not_be_put_back_is_no_way_back(shop, monkeypatch):
    one = shop.make()
    evaluated = _evaluated(shop, one)
    stage = releasing.Stage(False, "canary: accuracy 1, of the other 2, 0 behind is allowed", [evaluated])
    releasing.to_shadow(shop.lab, one, evaluated, [evaluated])
    lost = shop.store.get_blob
    monkeypatch.setattr(shop.store, "get_blob", lambda digest: None)
    with pytest.raises(PackageError):
        releasing.to_canary(shop.lab, one, shop.champion, stage)
    monkeypatch.setattr(shop.store, "get_blob", lost)
    releasing.to_canary(shop.lab, one, shop.champion, stage)
    assert releasing.pointed_at(shop.lab, "canary") == one.id
    release = releasing.withdraw(shop.lab, one, shop.champion, stage)
    assert releasing.pointed_at(shop.lab, "canary") == shop.champion.id
    assert course.state(shop.store, one.id, shop.breeder.id) == "rolled-back"
    assert shop.verified(release) == "valid"


def _evaluated(shop, one):
    return shop.breeder.evaluation(
        one, suite="drill", suite_digest=bytes(32), scores={}, passed=["safety", "compatibility"]
    )


# --- what a run says -----------------------------------------------------------------------------------------------


def test_the_audit_of_the_champion_reaches_both_vendors(ran):
    audit = ran.document["audit"]
    assert audit["verdict"] == "valid"
    a, b = audit["reached"][premises.BREEDER], audit["reached"][premises.EVALUATOR]
    wanted = {"artifact of dataset", "artifact of model", "artifact of operators", "delegation", "policy", "release"}
    assert wanted <= a.keys()
    assert {"artifact of suite", "decision", "evaluation", "policy"} <= b.keys()


def test_what_judges_was_never_trained_on(reading):
    held = graph.load(reading.store, reading.store.by_kind("artifact", limit=10_000)).values()
    import io

    import numpy as np

    rows = {}
    for one in held:
        listing = keeping.listing_of(reading.store, one)
        if one.body["name"] in ("digits/base", "digits/field"):
            content = reading.store.get_blob(listing.files["x.npy"].digest)
            rows[one.body["name"]] = {row.tobytes() for row in np.load(io.BytesIO(content))}
    suite = next(one for one in held if one.body["name"] == "digits/acceptance")
    judged = np.load(premises.place(Path(reading.path).parent, suite) / "x.npy")
    assert len(judged) > 300 and rows.keys() == {"digits/base", "digits/field"}
    assert {row.tobytes() for row in judged}.isdisjoint(set.union(*rows.values()))


# --- bad candidates ------------------------------------------------------------------------------------------------


def test_a_candidate_that_breaks_out_overruns_or_is_none_is_refused_on_record(shop):
    before = len(shop.store.by_kind("artifact", limit=10_000))
    attempts = {
        "TSLG-L-NETWORK": {"code": "import socket; socket.create_connection(('127.0.0.1', 9))"},
        "TSLG-L-LIMIT": {"code": "while True: pass", "limits": cell.CellLimits(wall_s=0.5)},
        "TSLG-L-FAILED": {"code": "raise ValueError('no good')"},
        "TSLG-L-MODEL": {"code": "open('/out/model.json', 'w').write('{}')"},
        "TSLG-F-LINK": {"code": "import os; os.symlink('/in/config.json', '/out/mean.npy')"},
        "TSLG-F-PACKAGE": {"code": "pass"},
        "TSLG-L-OPERATOR": {"order": shop.order("exfiltrate")},
    }
    for code, how in attempts.items():
        refused = shop.make(**how)
        assert isinstance(refused, factory.Refused) and refused.code == code, refused
        assert refused.record.body["outcome"] == "refused"
        assert refused.record.body["reason"].startswith(code)
        assert shop.verified(refused.record) == "valid"
    assert len(shop.store.by_kind("artifact", limit=10_000)) == before
    # Nothing else is disturbed: the next good one is taken.
    assert shop.make().kind == "artifact"
    again = shop.make()
    assert isinstance(again, factory.Refused) and again.code == "TSLG-L-REPEATED"


def test_a_parent_whose_package_was_changed_is_bred_from_no_more(shop):
    path = shop.lab.package(shop.champion) / "b1.npy"
    path.write_bytes(path.read_bytes() + b"?")
    assert shop.make().code == "TSLG-F-CHANGED"


def test_what_inherits_a_conflict_is_refused(shop):
    """A licence withdrawn from the data reaches whatever is trained on it from then on."""
    shop.breeder.advisory(shop.sources.raw, reason="consent withdrawn", withdrawn=["CC-BY-4.0"])
    refused = shop.make()
    assert refused.code == "TSLG-L-INHERITED"
    assert "withdrawn" in refused.reason


# --- a vendor that cheats ------------------------------------------------------------------------------------------


@pytest.fixture
async def both(copy):
    """Both vendors of a lab that has run, at work again."""
    async with premises.opened(copy, network=False) as lab:
        shop = Shop(lab.a.home, copy)
        suites = {one: shop.named[f"digits/{one}"] for one in evaluator.WORKLOADS}
        frozen = {name: evaluator.Suite(one, lab.package(one)) for name, one in suites.items()}
        lab.b.on_delegation(lab.evaluator, evaluator.work(lab, frozen))
        held = graph.load(shop.store, shop.store.by_kind("policy", shop.breeder.id)).values()
        grant = next(one for one in held if one.body["name"] == "assessment")
        pinned = {name: one.body["package"]["digest"] for name, one in suites.items()}
        yield lab, shop, Breeding(lab, shop.sources._replace(grant=grant), pinned), frozen


async def test_only_the_pinned_suite_and_the_very_package_count(both):
    lab, shop, breeding, frozen = both
    found = await breeding.judged("shadow", [shop.champion])
    assert found[shop.champion.id].body["scores"]["accuracy"] > 9_000
    # Another suite than the one that was pinned before anything was bred.
    easier = Breeding(lab, breeding.sources, {"shadow": bytes(32)})
    with pytest.raises(LabError, match="frozen suite"):
        await easier.judged("shadow", [shop.champion])
    # A package that was exchanged is not measured: it fails compatibility.
    path = lab.package(shop.champion) / "b1.npy"
    path.write_bytes(path.read_bytes()[:-4] + b"????")
    swapped = await breeding.judged("canary", [shop.champion])
    body = swapped[shop.champion.id].body
    assert (body["scores"], body["passed"], body["failed"]) == ({}, [], ["compatibility"])
    # A suite that was exchanged on disk is declined, and so is a task that is none.
    rows = frozen["watch"].folder / "y.npy"
    rows.write_bytes(rows.read_bytes()[:-8] + bytes(8))
    for task in ({"suite": "watch", "artifacts": [shop.champion.id]}, {"suite": "x", "artifacts": []}, {"suite": 1}):
        with pytest.raises(PeerError):
            await ask(lab, breeding.sources, task)


# --- the command line ----------------------------------------------------------------------------------------------


def cli(capsys, *words: str) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        command.main(list(words), "tslg")
    return ended.value.code or 0, capsys.readouterr().out


def test_the_command_line(copy, ran, capsys):
    lab = ["--lab", str(copy)]
    code, out = cli(capsys, "lab", "check", *lab, "--json")
    assert code == 0 and json.loads(out)["wrong"] == []
    made = ran.document["rounds"][0]["candidates"][0]
    code, out = cli(capsys, "lab", "reproduce", made["id"], *lab, "--json")
    assert code == 0 and json.loads(out)["reproduced"][0]["digest"] == made["package"]
    assert cli(capsys, "lab", "run", *lab)[0] == 3
    assert cli(capsys, "lab", "rollback", "--reason", "x", "--lab", str(copy / "none"))[0] == 3
    shutil.rmtree(copy / "packages")
    assert cli(capsys, "lab", "check", *lab)[0] == 1


def test_an_absent_extra_is_said_in_one_line(monkeypatch, tmp_path, capsys):
    import sys

    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(SystemExit) as ended:
        command.main(["lab", "run", "--lab", str(tmp_path / "lab")], "tslg")
    assert ended.value.code == 3
    assert "pip install 'tslg[lab]'" in capsys.readouterr().err
    assert not (tmp_path / "lab").exists()


# --- ten rounds ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_ten_rounds_promote_roll_back_and_leave_things_as_they_are(tmp_path):
    document = run(tmp_path / "lab", rounds=10, seed=7)
    assert document["promotions"] >= 1 and document["rollbacks"] >= 1
    assert document["no_ops"] >= 1 and document["rejected"] >= 1
    assert 0 < document["candidates"] + document["refused"] <= 40
    assert all(one["explanation"] for one in document["rounds"] if one["outcome"] == "no-op")
    assert all(one.same for one in reproducing.check(tmp_path / "lab"))
    with Home.read(tmp_path / "lab" / premises.A) as home:
        for one in reproducing.bred(home.store):
            assert reproducing.reproduce(home.store, one.id).same
        for back in [one for one in course.history(home.store, "champion") if "rollback" in one.body]:
            target = graph.artifact(home.store, back.body["rollback"])
            place = premises.place(tmp_path / "lab", target)
            assert hash_folder(place).digest == target.body["package"]["digest"]


@pytest.mark.slow
def test_the_same_seed_breeds_the_same_packages_over_the_network(ran, tmp_path):
    again = run(tmp_path / "lab", rounds=2, seed=3, network=True)
    packages = [[one["package"] for one in each["candidates"]] for each in again["rounds"]]
    assert packages == [[one["package"] for one in each["candidates"]] for each in ran.document["rounds"]]
    assert [one["outcome"] for one in again["rounds"]] == [one["outcome"] for one in ran.document["rounds"]]
    assert again["audit"]["reached"] == ran.document["audit"]["reached"]
