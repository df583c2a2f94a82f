"""What others hand in: taken if it is what it claims, refused on record if not, and nothing else disturbed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil

import pytest

from tslg.node.artifacts import graph
from tslg.node.artifacts.package import hash_folder
from tslg.node.home import Home
from tslg.simulations.lab import intake


class Desk:
    """A folder of submissions, and the registry that takes them."""

    def __init__(self, home: Home, folder) -> None:
        self.home, self.folder, self.agent = home, folder, home.agent("registrar")
        (folder / "packages").mkdir()

    def submit(self, name: str, *, files=None, claimed=None, **claim):
        place = self.folder / "in" / name
        (place / "files").mkdir(parents=True)
        files = {"weights": f"of {name}"} if files is None else files
        for path, content in files.items():
            (place / "files" / path).write_text(content)
        listed = files if claimed is None else claimed
        listing = {path: [len(one), hashlib.sha256(one.encode()).hexdigest()] for path, one in listed.items()}
        told = {"name": name, "type": "model", "operator": "source", "licences": ["Apache-2.0"], "parents": []}
        (place / "claim.json").write_text(json.dumps({**told, "files": listing, **claim}))
        return place

    def take(self) -> dict[str, str | None]:
        taken = intake.take_in(self.folder, self.agent, self.home.store, self.folder / "in")
        for one in taken:
            wanted = "artifact" if one.code is None else "decision"
            held = graph.load(self.home.store, [one.record.id])[one.record.id]
            assert held.kind == wanted and (one.code is None or held.body["reason"].startswith(one.code))
        return {one.name: one.code for one in taken}


@pytest.fixture
def desk(tmp_path):
    with Home.open(tmp_path / "home") as home:
        yield Desk(home, tmp_path)


def test_each_is_judged_for_itself(desk):
    desk.submit("child", operator="quantize", parents=["good"])
    desk.submit("good")
    desk.submit("missing", files={"a": "1"}, claimed={"a": "1", "b": "2"})
    desk.submit("changed", files={"a": "1"}, claimed={"a": "2"})
    desk.submit("added", files={"a": "1", "b": "2"}, claimed={"a": "1"})
    desk.submit("egg", operator="merge", parents=["hen"])
    desk.submit("hen", operator="merge", parents=["egg", "good"])
    desk.submit("itself", operator="merge", parents=["itself"])
    desk.submit("below-a-circle", operator="merge", parents=["egg"])
    desk.submit("unlicensed", licences=["My-Own-Terms-7"])
    desk.submit("unlawful", operator="steal")
    desk.submit("orphan", operator="merge", parents=["nobody"])
    desk.submit("below-refused", operator="merge", parents=["changed"])
    (desk.submit("linked") / "files" / "out").symlink_to("/etc/passwd")
    assert desk.take() == {
        "good": None,
        "child": None,
        "missing": "TSLG-F-CHANGED",
        "changed": "TSLG-F-CHANGED",
        "added": "TSLG-F-CHANGED",
        "egg": "TSLG-F-CYCLE",
        "hen": "TSLG-F-CYCLE",
        "itself": "TSLG-F-CYCLE",
        "below-a-circle": "TSLG-F-PARENT",
        "unlicensed": "TSLG-F-LICENCE",
        "unlawful": "TSLG-L-OPERATOR",
        "orphan": "TSLG-F-PARENT",
        "below-refused": "TSLG-F-PARENT",
        "linked": "TSLG-F-LINK",
    }
    assert len(desk.home.store.by_kind("artifact")) == 2


@pytest.mark.parametrize(
    "claim",
    [
        "",
        "[]",
        "null",
        '{"files": []}',
        '{"files": {"a": [1, "zz"]}, "licences": [], "parents": []}',
        '{"files": {}, "licences": [1], "parents": [], "name": "a", "type": "b", "operator": "source"}',
        '{"files": {}, "licences": "MIT", "parents": [], "name": "a", "type": "b", "operator": "source"}',
        '{"files": {}, "licences": [], "parents": [], "name": "a\\u0007", "type": "b", "operator": "source"}',
        "[" * 100_000,
        *(
            f'{{"files": {{"weights": [{size}, "{"00" * 32}"]}}, "licences": [], "parents": [], "name": "odd",'
            ' "type": "b", "operator": "source"}'
            for size in ("Infinity", "1e999", "NaN", "-1", "9" * 40)
        ),
        '{"name": "a", "type": "b", "operator": "source", "files": {}, "licences": [], "parents": ["x"'
        + ', "x"' * 200
        + "]}",
        " " * (intake.CLAIM_BYTES + 1),
    ],
)
def test_a_claim_that_is_none_is_refused(desk, claim):
    (desk.submit("odd") / "claim.json").write_text(claim)
    desk.submit("good")
    assert desk.take() == {"odd": "TSLG-F-PACKAGE", "good": None}


@pytest.mark.parametrize("of", [os.mkfifo, lambda place: place.symlink_to("/dev/zero"), os.mkdir])
def test_nobody_waits_for_a_claim_that_is_no_file(desk, of):
    place = desk.submit("odd") / "claim.json"
    place.unlink()
    of(place)
    assert desk.take()["odd"].startswith("TSLG-F-")


def test_a_package_that_was_put_in_its_place_half_or_changed_is_not_recorded_for_it(desk):
    place = desk.submit("good")
    where = desk.folder / "packages" / hash_folder(place / "files").digest.hex()
    where.mkdir()
    assert desk.take() == {"good": "TSLG-F-PACKAGE"}
    (where / "weights").write_text("others")
    assert desk.take() == {"good": "TSLG-F-CHANGED"}
    shutil.rmtree(where)
    assert desk.take() == {"good": None} and [one.name for one in where.parent.iterdir()] == [where.name]


def test_a_name_that_is_taken_is_refused(desk):
    desk.submit("good")
    assert desk.take() == {"good": None}
    assert desk.take() == {"good": "TSLG-F-PACKAGE"}
