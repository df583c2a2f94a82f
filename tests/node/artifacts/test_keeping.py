"""Packages recorded, checked, rebuilt and archived; and bad ones, of which nothing is left."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os

import pytest
from pruning_scene import Clock, Setting, let_go

from tslg.node.artifacts import archiving, course
from tslg.node.artifacts.keeping import check, in_order, register
from tslg.node.artifacts.package import FileEntry, read_file
from tslg.node.artifacts.rebuilding import rebuild, rebuildable
from tslg.protocol.cid import to_text
from tslg.protocol.errors import PackageError, UsageError
from tslg.protocol.limits import DEFAULT

DAY = 86_400_000


def test_files_are_held_against_the_record(farm):
    root = farm.package(a="1", b_in_c="2")
    made = register(farm.breeder, root, "m", type="model")
    assert check(farm.store, made.id, root) == (True, [], True)
    (root / "b" / "c").write_text("3")
    assert check(farm.store, made.id, root) == (False, [("changed", "b/c")], True)
    (root / "b" / "c").unlink()
    assert check(farm.store, made.id, root).differences == [("missing", "b/c")]


@pytest.mark.parametrize(
    ("spoil", "licence", "code"),
    [
        (lambda root: (root / "x").symlink_to("/etc/passwd"), "MIT", "TSLG-F-LINK"),
        (lambda root: (root / "weights.bin").unlink(), "MIT", "TSLG-F-PACKAGE"),
        (lambda root: None, "No-Such-Licence", "TSLG-F-LICENCE"),
    ],
)
def test_of_a_bad_package_nothing_is_recorded(farm, spoil, licence, code):
    root = farm.package()
    spoil(root)
    size = farm.store.log_state(farm.breeder.id).size
    with pytest.raises(PackageError) as caught:
        register(farm.breeder, root, "m", type="model", licences=[licence], keep=True)
    assert caught.value.code == code and caught.value.mend
    assert farm.store.log_state(farm.breeder.id).size == size


def test_a_file_that_is_swapped_after_it_was_hashed_is_not_kept(farm):
    root = farm.package(a="1")
    secret = hashlib.sha256(b"secret").digest()
    with pytest.raises(PackageError, match="changed while it was read"):
        register(farm.breeder, root, "m", type="model", keep=True, tick=lambda _: (root / "a").write_bytes(b"secret"))
    assert farm.store.get_blob(secret) is None


@pytest.mark.parametrize("swap", [lambda place: os.mkfifo(place), lambda place: place.symlink_to("/dev/zero")])
def test_what_takes_a_files_place_after_it_was_hashed_is_not_read(farm, swap):
    root = farm.package(a="1", b="2")

    def tick(_):
        if not (root / "a").is_file():
            return
        (root / "a").unlink()
        swap(root / "a")

    with pytest.raises(PackageError):
        register(farm.breeder, root, "m", type="model", keep=True, tick=tick)
    place = root / "b"
    entry = FileEntry(1, hashlib.sha256(b"2").digest())
    assert read_file(place, entry) == b"2"
    place.unlink()
    swap(place)
    with pytest.raises(PackageError):
        read_file(place, entry)


def test_of_a_package_too_large_to_be_kept_nothing_is(farm, monkeypatch):
    monkeypatch.setattr("tslg.node.artifacts.keeping.DEFAULT", dataclasses.replace(DEFAULT, kept_bytes=3))
    with pytest.raises(PackageError, match="b is too large"):
        register(farm.breeder, farm.package(a="few", b="more"), "m", type="model", keep=True)
    assert farm.store.get_blob(hashlib.sha256(b"few").digest()) is None


def test_names_that_derive_from_one_another_in_a_circle_are_refused():
    assert in_order({"c": ["a", "b"], "b": ["a"], "a": []}) == ["a", "b", "c"]
    with pytest.raises(PackageError, match="in a circle: a from c from b from a") as caught:
        in_order({"a": ["c"], "b": ["a"], "c": ["b"], "d": ["a"], "e": []})
    assert caught.value.code == "TSLG-F-CYCLE"
    with pytest.raises(PackageError, match="'b', which is not there"):
        in_order({"a": ["b"]})


def combine(recipe):
    """An operator: the parents' files one after another, in the order of the configuration."""
    names = json.loads(recipe.config)
    parts = [(recipe.parents[id] / "weights.bin").read_text() for id in sorted(recipe.parents)]
    (recipe.out / "weights.bin").write_text(names["mark"].join(parts))


def test_a_package_is_rebuilt_from_what_is_kept_or_by_its_operator(farm, tmp_path):
    parents = sorted([farm.add(name, keep=True) for name in "ab"], key=lambda one: one.id)
    weights = "+".join((farm.folder / str(farm.count - 1 + n) / "weights.bin").read_text() for n in (0, 1))
    order = [one.body["name"] for one in parents]
    weights = weights if order == ["a", "b"] else "+".join(reversed(weights.split("+")))
    made = farm.made("m", *parents, files={"weights__bin": weights}, config=b'{"mark": "+"}', keep=True)
    loose = farm.made("n", *parents, files={"weights__bin": "else"}, config=b'{"mark": "+"}')
    assert rebuild(farm.store, made.id, tmp_path / "kept").same
    found = rebuild(farm.store, made.id, tmp_path / "made", combine)
    assert found.same and found.how == "operator" and found.digest == made.body["package"]["digest"]
    other = rebuild(farm.store, loose.id, tmp_path / "other", combine)
    assert not other.same and other.differences == [("changed", "weights.bin")]
    assert rebuildable(farm.store, made.id).possible and rebuildable(farm.store, made.id).kept == ()
    assert rebuildable(farm.store, loose.id).kept == ("weights.bin",)
    with pytest.raises(PackageError) as caught:
        rebuild(farm.store, loose.id, tmp_path / "none")
    assert caught.value.code == "TSLG-F-MISSING"
    half = farm.made(
        "h", *parents, files={"a__bin": "kept elsewhere", "sub_in_b__bin": "gone", "long" * 63: "x"}, keep=True
    )
    gone = hashlib.sha256(b"gone").digest()
    farm.store.drop_blobs([gone])
    with pytest.raises(PackageError, match="1 of its files are not kept"):
        rebuild(farm.store, half.id, tmp_path / "half")
    assert list((tmp_path / "half").iterdir()) == [], "nothing is left of what is not whole"
    farm.store.put_blobs([b"gone"])
    assert rebuild(farm.store, half.id, tmp_path / "half").same
    with pytest.raises(PackageError, match="not empty"):
        rebuild(farm.store, made.id, tmp_path / "kept", combine)


def test_what_is_lacking_to_rebuild_is_told(farm, tmp_path):
    suite = farm.add("suite", "suite", keep=True)
    base = farm.add("base")
    made = farm.made("m", base, config=b"{}")
    digest = suite.body["package"]["digest"]
    frozen = farm.tested(made, "task", suite_digest=digest, evidence=suite)
    loose = farm.tested(made, "task")
    found = rebuildable(farm.store, made.id)
    assert not found.possible
    assert found.operator == [f"the package of parent {to_text(base.id)} is not kept"]
    assert found.evaluations == {frozen.id: [], loose.id: ["no artifact that it cites is its suite"]}
    assert rebuildable(farm.store, base.id).operator == ["it was taken in as it is, and not made"]
    with pytest.raises(PackageError):
        rebuild(farm.store, made.id, tmp_path / "x", combine, {base.id: farm.folder / "1"})
    with pytest.raises(UsageError):
        rebuild(farm.store, farm.breeder.id, tmp_path / "y")


def test_what_serves_is_referenced_or_was_used_stays_and_the_rest_may_go(farm):
    base, old, failed, used, young = (farm.add(name, keep=True, files={"f": name}) for name in "bofuy")
    champion = farm.made("c", base, keep=True, files={"f": "c", "g": "f"})
    farm.tested(old, "safety", "compatibility")
    farm.tested(champion, "safety", "compatibility")
    for one in (old, champion):
        for state in ("shadow", "canary", "champion"):
            farm.breeder.transition(one, state)
    for one in (base, failed, used, young):
        farm.breeder.transition(one, "retired", reason="redundant")
    farm.breeder.transition(old, "rolled-back")
    farm.breeder.act("answer", evidence=used)
    now = farm.home.clock()
    planned = archiving.plan(farm.store, farm.breeder.id, now_ms=now, horizon_ms=now - young.time + 1)
    assert list(planned.goes) == [failed.id] and planned.stays[young.id] == "it is young"
    planned = archiving.plan(farm.store, farm.breeder.id, now_ms=now, horizon_ms=0, retention_ms=0)
    assert list(planned.goes) == [failed.id, young.id]
    assert planned.stays == {
        champion.id: "it is champion",
        old.id: "it served",
        used.id: "something was done with it",
        base.id: "something that stays derives from it",
    }
    # The content of `failed` is a file of the champion too.
    assert planned.contents == {hashlib.sha256(b"y").digest()}
    assert archiving.carry_out(farm.breeder, farm.store, planned, "redundant") == 1
    assert course.state(farm.store, young.id, farm.breeder.id) == "archived"
    assert farm.store.get_blob(young.body["package"]["digest"]) is not None
    assert rebuildable(farm.store, young.id).kept == ("f",) and rebuildable(farm.store, base.id).kept == ()
    again = archiving.plan(farm.store, farm.breeder.id, now_ms=now, horizon_ms=0)
    assert archiving.carry_out(farm.breeder, farm.store, again, "redundant") == 0


def test_what_another_agent_here_has_in_use_stays(farm):
    served, pointed, gone = (farm.add(name, keep=True, files={"f": name}) for name in "spg")
    for one in (served, pointed, gone):
        farm.breeder.transition(one, "retired", reason="redundant")
    farm.evaluator.transition(served, "shadow", policy=None)
    farm.evaluator.release("mine", pointed, policy=None)
    now, both = farm.home.clock(), (farm.breeder.id, farm.evaluator.id)
    planned = archiving.plan(farm.store, farm.breeder.id, now_ms=now, horizon_ms=0, beside=both)
    assert list(planned.goes) == [gone.id] and planned.contents == {hashlib.sha256(b"g").digest()}
    assert planned.stays[served.id] == "another agent here has it as shadow"


@pytest.mark.spec("PRN-7")
def test_evaluations_on_which_a_release_rests_are_not_pruned(tmp_path, farm_type):
    setting = Setting(tmp_path / "home", Clock(), {"kinds": ["evaluation"]})
    with setting.open() as home:
        farm = farm_type(home, tmp_path / "packages")
        made = farm.add("m")
        idle, passed = farm.tested(made, "task"), farm.tested(made, "safety", "compatibility")
        for state in ("shadow", "canary"):
            farm.breeder.transition(made, state)
        farm.evaluator.state({"day": 2})
        farm.evaluator.state({"day": 3})
        setting.clock.now += 10_000
        planned, _ = let_go(home, farm.evaluator)
        assert planned.pruned.ids == (idle.id,)
        assert home.store.has(passed.id) and not home.store.has(idle.id)
        assert farm.breeder.transition(made, "champion").body["to"] == "champion"


def test_summaries_are_beside_the_evidence(farm):
    family = farm.family()
    farm.breeder.transition(family.small, "rejected")
    farm.tested(family.small, "task", scores={"accuracy": 3})
    file = io.StringIO()
    assert archiving.write_summaries(farm.store, file, farm.breeder.id) == 6
    lines = {one["name"]: one for one in map(json.loads, file.getvalue().splitlines())}
    assert lines["small"]["state"] == "rejected" and lines["small"]["scores"] == {"suite": {"accuracy": 3}}
    assert lines["people"]["state"] == "source"
