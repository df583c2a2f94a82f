"""OpenRange snapshots: chains load as they are, several parents beside them, and bad folders leave nothing behind."""

from __future__ import annotations

import json
import os
from dataclasses import replace

import pytest
from world import NOW, source

from tslg.node.adapters.openrange import reading
from tslg.node.adapters.openrange.importing import import_snapshots, known
from tslg.node.adapters.openrange.reading import read_folder
from tslg.node.artifacts import graph
from tslg.node.artifacts.rebuilding import rebuildable
from tslg.node.home import Home
from tslg.protocol.errors import AdapterError


def node(id, parent=None, **more):
    return {
        "id": id,
        "parent_id": parent,
        "manifest": {"weight": 0.25, "big": 123456789012345678901234567890},
        "pack": "web",
        "prompt": "patch ü",
        "builder_summary": None,
        "touched_files": ["a.py"],
        "curriculum": None if parent is None else {"step": id},
        **more,
    }


def many(id, *parents, **more):
    made = node(id, "x", parent_ids=list(parents), **more)
    del made["parent_id"]
    return made


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    ticks = iter(range(NOW, NOW + 10**6))
    folder = tmp_path_factory.mktemp("openrange")
    with Home.open(folder, clock=lambda: next(ticks), random_bytes=source("openrange")) as opened:
        yield opened


@pytest.fixture
def agent(home, request):
    return home.agent(request.node.name[:60])


def write(folder, files):
    folder.mkdir(exist_ok=True)
    for name, lineage in files.items():
        text = lineage if isinstance(lineage, str) else json.dumps({"lineage": lineage, "world": {"x": 1.5}})
        (folder / f"{name}.json").write_text(text)
    return folder


CHAIN = [node("a"), node("b", "a"), node("c", "b")]


def names(found, ids):
    by_id = {id: name for name, id in found.artifacts.items()}
    return [by_id[id] for id in ids]


def test_chains_load_unchanged_and_answer_with_new_ones_alike(home, agent, tmp_path):
    legacy = write(tmp_path / "x", {"a": CHAIN[:1], "b": CHAIN[:2], "c": CHAIN})
    found = import_snapshots(agent, home.store, read_folder(legacy))
    assert found.new == ["a", "b", "c"] and found.files == []
    assert names(found, graph.ancestors(home.store, found.artifacts["c"])) == ["b", "a"]
    # A batch of variants of one parent, and one that derives from two of them.
    batch = [node(id, "b", cohort="harden") for id in ("d", "e")]
    mixed = write(tmp_path / "y", {"m": [*CHAIN[:2], *batch, many("m", "e", "d")], "e": [*CHAIN[:2], batch[1]]})
    more = import_snapshots(agent, home.store, read_folder(mixed))
    assert more.new == ["d", "e", "m"] and more.artifacts["a"] == found.artifacts["a"]
    assert set(names(more, graph.ancestors(home.store, more.artifacts["m"]))) == {"a", "b", "d", "e"}
    everything = more._replace(artifacts=more.artifacts | found.artifacts)
    assert set(names(everything, graph.children(home.store, found.artifacts["b"]))) == {"c", "d", "e"}
    assert set(names(everything, graph.cohort(home.store, more.artifacts["d"]))) == {"d", "e"}
    assert rebuildable(home.store, found.artifacts["a"]).kept == ()
    assert set(known(home.store, agent.id)) == {"a", "b", "c", "d", "e", "m"}


def test_doing_it_again_records_nothing(home, agent, tmp_path):
    folder = write(tmp_path / "x", {"c": CHAIN})
    first = import_snapshots(agent, home.store, read_folder(folder))
    size = home.store.log_state(agent.id).size
    again = import_snapshots(agent, home.store, read_folder(folder))
    assert again == first._replace(new=[]) and home.store.log_state(agent.id).size == size
    # The own file of one that was known from the lineage of another is kept once it is there.
    write(folder, {"b": json.dumps({"lineage": CHAIN[:2]}, indent=3)})
    for files in (["b"], []):
        assert import_snapshots(agent, home.store, read_folder(folder)).files == files
    kept = home.store.by_kind("observation", agent.id)
    assert len(kept) == 1 and graph.load(home.store, kept)[kept[0]].body["blob"]["size"] > 0


def test_numbers_and_text_are_kept_as_they_were_written(tmp_path):
    (one,) = read_folder(write(tmp_path / "x", {"a": '{"lineage":[{"parent_id":null,"n":1.50e3,"id":"a","t":"ü"}]}'}))
    assert one.node == '{"id":"a","n":1.50e3,"parent_id":null,"t":"ü"}'.encode()
    assert one.file.startswith(b'{"lineage"')


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"a": [node("a", "b")], "b": [node("b", "a")]}, "in a circle"),
        ({"a": [node("a", "a")]}, "in a circle: a from a"),
        ({"a": [node("a", "gone")]}, "'gone', which is not there"),
        ({"a": [node("a")], "b": [node("a", prompt="other"), node("b", "a")]}, "told of otherwise than in a.json"),
        ({"a": [node("a"), node("a")]}, "two of its nodes have one id"),
        ({"a": [node("b")]}, "does not hold 'a' itself"),
        ({"a": [node(7)]}, "`id` is no text"),
        ({"a": [node("a", 7)]}, "`parent_id` is no text"),
        ({"a": [node("a", curriculum=[])]}, "`curriculum` of 'a' is of the wrong type"),
        ({"a": [node("a", touched_files=[1])]}, "no list of texts"),
        ({"a": [many("a", "a", "a")]}, "has an id twice"),
        ({"a": [node("a", parent_ids=[])]}, "has both"),
        ({"a": [{"id": "a"}]}, "neither"),
        ({"a": ["a"]}, "no object"),
        ({"a": []}, "no list of nodes"),
        ({"a": "[]"}, "a.json:1:1: no object"),
        ({"a": '{"lineage": [{"id": "a",\n "parent_id": NaN}]}'}, "a.json:2:"),
        ({"a": '{"lineage": [], "lineage": []}'}, "second time"),
        ({"a": "[" * 5_000}, "nested deeper"),
        ({"a": '{"lineage": [{"id": "a\\u001b[2J", "parent_id": null}]}'}, "printable"),
    ],
)
def test_a_bad_folder_is_told_of_and_nothing_is_read(tmp_path, files, said):
    with pytest.raises(AdapterError) as caught:
        read_folder(write(tmp_path / "x", {**files, "good": [node("good")]}))
    assert caught.value.code == "TSLG-I-SNAPSHOT" and said in caught.value.detail
    assert "nothing was imported" in caught.value.detail


def test_a_changed_snapshot_leaves_what_was_imported(home, agent, tmp_path):
    found = import_snapshots(agent, home.store, read_folder(write(tmp_path / "x", {"a": [node("a")]})))
    changed = write(tmp_path / "y", {"a": [node("a", prompt="other")], "b": [node("b")]})
    with pytest.raises(AdapterError, match="imported before with other content"):
        import_snapshots(agent, home.store, read_folder(changed))
    assert set(known(home.store, agent.id)) == {"a"} and found.artifacts["a"]


def test_huge_and_special_files_are_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / "x", {"a": [node("a")]})
    (folder / "big.json").write_bytes(b" " * (16 * 1024 * 1024 + 1))
    os.mkfifo(folder / "pipe.json")
    with pytest.raises(AdapterError) as caught:
        read_folder(folder)
    assert "big.json: more than" in caught.value.detail and "pipe.json: no regular file" in caught.value.detail
    for empty in (tmp_path / "none", tmp_path / "x" / "a.json"):
        with pytest.raises(AdapterError):
            read_folder(empty)


def test_a_folder_that_is_too_much_to_hold_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / "snapshots", {"a": CHAIN[:1], "b": CHAIN[:2], "c": CHAIN})
    size = sum(path.stat().st_size for path in folder.iterdir())
    monkeypatch.setattr(reading, "DEFAULT", replace(reading.DEFAULT, snapshot_folder_bytes=size))
    assert len(read_folder(folder)) == 3
    monkeypatch.setattr(reading, "DEFAULT", replace(reading.DEFAULT, snapshot_folder_bytes=size - 1))
    with pytest.raises(AdapterError, match=r"c\.json: with it, more than"):
        read_folder(folder)
