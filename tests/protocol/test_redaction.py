"""Redactions that the rules admit: by an author, and by the anchors where the manifest has them do it."""

from __future__ import annotations

import pytest
from world import MERKLE, World

from tslg.protocol import record as records

pytestmark = pytest.mark.spec("RED-1", "RED-2", "RED-3")

BY_ANCHORS = MERKLE + '[envelope.redaction]\nby = "anchors"\nkinds = ["observation"]\n'


def body(target, *fields):
    return {"target": target.id, "fields": sorted(fields), "blobs": [], "reason": "asked to"}


def test_an_author_redacts_its_own_record():
    w = World(MERKLE)
    a = w.agent("a")
    policy, seen = w.add(a, "policy"), w.add(a, "observation", {"data": {"x": 1}})
    made = w.add(a, "redaction", body(seen, "data", "source"), {"policy": [policy], "evidence": [seen]})
    assert w.verify(made).verdict == "valid"


def test_the_anchors_redact_the_record_of_an_agent():
    w = World(BY_ANCHORS)
    a = w.agent("a")
    policy = w.add(w.anchors, "policy")
    seen = w.add(a, "observation", {"data": {"x": 1}})
    made = w.add(w.anchors, "redaction", body(seen, "data"), {"policy": [policy], "evidence": [seen]})
    assert made.owner == w.federation and w.verify(made).verdict == "valid"


def test_a_redaction_is_judged_alike_whatever_its_target_discloses():
    w = World(MERKLE)
    a = w.agent("a")
    policy, seen = w.add(a, "policy"), w.add(a, "observation", {"data": {"x": 1}})
    made = w.make(a, "redaction", body(seen, "data"), {"policy": [policy], "evidence": [seen]})
    assert w.judge(made, w.seal(made, a)) is None
    w.held[seen.id] = records.parse_as(seen.id, seen.data)
    assert w.judge(made, w.seal(made, a)) is None
    del w.held[seen.id]
    w.complete = False
    assert w.judge(made, w.seal(made, a)) is None
