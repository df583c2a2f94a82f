"""What descendants inherit, against a model that walks every path by itself."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol.cid import compute
from tslg.protocol.inheritance import Facts, Inheritance, Issue, reached

IDS = [compute(bytes([number])) for number in range(9)]
NAMES = [("licence", "MIT"), ("restriction", "personal"), ("vulnerability", "V-1")]


def naive(target, facts):
    """Every path by recursion: issue by issue, whether one of them is free."""

    def paths(id):
        if id in facts:
            yield (id,)
            for parent in facts[id].parents:
                for path in paths(parent):
                    yield (*path, id)

    free = {}
    for path in paths(target):
        for what, name in facts[path[0]].issues:
            issue = Issue(path[0], what, name)
            if not any(issue in facts[id].resolved for id in path):
                free.setdefault(issue, set()).add(path)
    return free


@st.composite
def ancestries(draw):
    facts = {}
    for number, id in enumerate(IDS):
        parents = draw(st.sets(st.sampled_from(IDS[:number]), max_size=4)) if number else set()
        issues = draw(st.sets(st.sampled_from(NAMES), max_size=2))
        named = st.builds(Issue, st.sampled_from(IDS[: number + 1]), st.just("licence"), st.just("MIT"))
        resolved = draw(st.sets(named, max_size=3))
        facts[id] = Facts(tuple(parents), tuple(sorted(issues)), frozenset(resolved))
    return facts


@pytest.mark.spec("ART-15", "ART-16", "ART-18")
@settings(max_examples=60)
@given(facts=ancestries(), number=st.integers(0, 8))
def test_what_reaches_an_artifact_does_so_over_some_free_path(facts, number):
    target = IDS[number]
    expected = naive(target, facts)
    found = Inheritance(target, facts)
    assert set(found.issues) == set(expected) and len(found.issues) == len(set(found.issues))
    for issue in found.issues:
        path = found.path(issue)
        assert path in expected[issue] and len(path) == min(map(len, expected[issue]))
    for issue in found.resolved:
        assert issue not in expected and found.where(issue)


@pytest.mark.spec("ART-16")
@settings(max_examples=60)
@given(facts=ancestries(), number=st.integers(0, 8))
def test_what_an_issue_reaches_is_what_inherits_it(facts, number):
    issue = Issue(IDS[number], "licence", "MIT")
    facts[issue.origin] = facts[issue.origin]._replace(issues=(("licence", "MIT"),))
    children = {}
    for id, one in facts.items():
        for parent in one.parents:
            children.setdefault(parent, []).append(id)
    resolved = [id for id, one in facts.items() if issue in one.resolved]
    assert set(reached(issue, children, resolved)) == {id for id in IDS if issue in naive(id, facts)}


def test_what_is_not_known_is_told():
    top, middle, target = IDS[:3]
    found = Inheritance(target, {target: Facts((middle,)), middle: Facts((top,), NAMES[:1])})
    assert found.unknown == [top] and found.issues == [Issue(middle, "licence", "MIT")]
    assert found.path(found.issues[0]) == (middle, target)


def test_a_long_chain_and_many_resolutions_are_no_trouble():
    chain = [compute(number.to_bytes(4, "big")) for number in range(6_000)]
    facts = {}
    for number, id in enumerate(chain):
        issue = Issue(chain[number - 1], "vulnerability", "V") if number % 2 else None
        resolved = frozenset() if issue is None else frozenset((issue,))
        facts[id] = Facts(tuple(chain[max(0, number - 1) : number]), (("vulnerability", "V"),), resolved)
    found = Inheritance(chain[-1], facts)
    assert len(found.issues) == len(found.resolved) == 3_000
    assert len(found.path(found.issues[-1])) == 5_999
