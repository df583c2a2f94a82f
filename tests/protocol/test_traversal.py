"""The order of a walk, against a reference written from the text of the specification and from nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol.cid import compute
from tslg.protocol.traversal import Step, Traversal

IDS = [compute(bytes([number])) for number in range(8)]
CLASSES = st.sampled_from(["evidence", "policy", "prior"])


@st.composite
def graphs(draw):
    """A record may cite any later one of the list, under any classes."""
    graph = {}
    for number, id in enumerate(IDS):
        cited = (
            draw(st.sets(st.tuples(CLASSES, st.sampled_from(IDS[number + 1 :])), max_size=5))
            if IDS[number + 1 :]
            else ()
        )
        graph[id] = draw(st.permutations([(name, parent, id, None) for name, parent in cited]))
    return graph


def reference(graph, root, depth):
    """Levels; class name, cited id, citing id; D edges in all; the first way to each record (VER-3, VER-4, VER-7)."""
    visited, paths, level, traversed = [root], {root: []}, [root], []
    while level:
        edges = sorted((bytes(name, "ascii"), cited, citing) for one in level for name, cited, citing, _ in graph[one])
        level = []
        for name, cited, citing in edges:
            if depth is not None and len(traversed) == depth:
                return visited, paths, traversed
            traversed.append((name.decode(), cited, citing))
            if cited not in visited:
                visited.append(cited)
                level.append(cited)
                paths[cited] = [*paths[citing], (name.decode(), cited)]
    return visited, paths, traversed


@pytest.mark.spec("VER-3", "VER-4")
@settings(max_examples=150, deadline=None)
@given(graphs(), st.none() | st.integers(0, 30))
def test_the_walk_is_that_of_the_text(graph, depth):
    walk = Traversal([IDS[0]], depth)
    while not walk.done:
        walk.expand(graph.__getitem__)
    visited, paths, traversed = reference(graph, IDS[0], depth)
    assert list(walk.visited) == visited
    assert walk.traversed == len(traversed)
    assert {id: [(step.name, step.parent) for step in walk.path(id)] for id in visited} == paths
    total = len(reference(graph, IDS[0], None)[2])
    left = len(walk.rest) + sum(len(graph[id]) for id in walk.level)
    assert (left > 0) == (walk.traversed < total)


@pytest.mark.spec("VER-7")
@given(graphs())
def test_paths_lead_from_the_root(graph):
    walk = Traversal([IDS[0]], None)
    while not walk.done:
        walk.expand(graph.__getitem__)
    for id in walk.visited:
        at = IDS[0]
        for step in walk.path(id):
            assert isinstance(step, Step) and step.child == at
            at = step.parent
        assert at == id
    assert walk.path(compute(b"elsewhere")) == []


def test_records_that_cannot_be_had_have_no_edges():
    walk = Traversal([IDS[0]], None)
    assert walk.expand(lambda id: ()) == [] and walk.done and walk.traversed == 0


@pytest.mark.parametrize("depth", [0, 1, 2, 3])
def test_several_roots_are_one_level(depth):
    graph = {IDS[0]: [("prior", IDS[2], IDS[0], None)], IDS[1]: [("evidence", IDS[2], IDS[1], None)], IDS[2]: []}
    walk = Traversal(IDS[:2], depth)
    while not walk.done:
        walk.expand(graph.__getitem__)
    assert walk.traversed == min(depth, 2)
    assert [step[0] for step in walk.rest] == ([] if depth != 1 else ["prior"])
