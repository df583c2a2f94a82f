"""The reader written from docs/spec alone agrees on artifacts, what is said of them, and their lives."""

from __future__ import annotations

import breaches_artifacts as scene
import pytest
from both_readers import agreed, everything
from breach import CASES, OPEN, Scene

pytestmark = pytest.mark.spec(
    "ART-5", "ART-6", "ART-7", "ART-8", "ART-9", "ART-10", "ART-11", "ART-12", "ART-13", "ART-14"
)

SEEN_AT_ADMISSION = "comes before it about the same subject"
"""What only whoever holds the whole log can see."""
BROKEN = [case for case in CASES if case.breach.__module__ == "breaches_artifacts"]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_both_refuse_what_breaks_a_rule(case):
    w = Scene(case.toml)
    record, sealed = case.breach(w)
    w.put(record, sealed, w.authors[record.owner])
    expected = ("valid", set()) if case.detail == SEEN_AT_ADMISSION else ("invalid", {case.code})
    assert agreed(everything(w, record), w.federation, now=w.now_ms) == expected


def test_both_accept_a_life_and_what_resolves_an_issue():
    w = Scene(OPEN)
    data = scene.made(w, lifecycle="source", restrictions=["personal"])
    record, sealed = scene.model(w, [data], training_data=bytes(32), evidence=[w.seen], cohort=w.seen.id)
    child = w.put(record, sealed, w.a)
    old = scene.made(w, **scene.other_package(b"o"))
    resolved = [{"origin": data.id, "what": "restriction", "name": "personal"}]
    passed = scene.tested(w, child, "safety", "compatibility", resolves=resolved)
    fits = scene.tested(w, old, "compatibility", package=b"o" * 32)
    last = scene.moved(w, child, "candidate", "shadow")
    last = scene.moved(w, child, "shadow", "canary", last, passed, after=last.id)
    first = scene.released(w, child, old, fits, rollback=old.id)
    newest = scene.released(w, child, first, last, after=first.id)
    assert agreed(everything(w, newest), w.federation, now=w.now_ms) == ("valid", set())
    assert agreed(everything(w, newest), w.federation, now=w.now_ms, depth=1)[0] == "valid"
