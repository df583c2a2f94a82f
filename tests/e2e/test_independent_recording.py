"""The reader written from docs/spec alone agrees on what is recorded of models' steps, and on manifests that say so."""

from __future__ import annotations

from importlib import import_module

import breaches_recording  # noqa: F401 (it puts its cases into the table)
import pytest
from both_readers import agreed, everything
from breach import CASES, OPEN, Scene
from independent_formats import Bad
from independent_recording import check_recording

from tslg.protocol.recording import KEPT_OF, OPTIONAL, STEPS, read_recording

BROKEN = [case for case in CASES if case.breach.__module__ == "breaches_recording"]
READERS = {"agents": [], "groups": [], "peers": []}
GOOD = dict.fromkeys((*OPTIONAL, "inputs", "output"), "plaintext") | {
    "binding": "tenant",
    "expiry": "recorded",
    "keep_ms": 1_000,
    "readers": READERS,
    "readings": True,
}
REST = {"rotation": {}, "genesis": {"anchors": 0}, "retention": {}, "redaction": {}}
ENTRIES = [
    {},
    GOOD,
    GOOD | {"tools": "none", "facts": "digest"},
    GOOD | {"inputs": "none"},
    GOOD | {"output": None},
    GOOD | {"scratch": "all"},
    GOOD | {"binding": "platform"},
    GOOD | {"binding": "hardware"},
    GOOD | {"binding": 1},
    GOOD | {"expiry": "loud"},
    GOOD | {"expiry": "silent", "keep_ms": None},
    GOOD | {"keep_ms": None},
    GOOD | {"keep_ms": 0},
    GOOD | {"keep_ms": False},
    GOOD | {"keep_ms": 2**53},
    GOOD | {"readers": READERS | {"groups": ["members"]}},
    GOOD | {"readers": READERS | {"groups": ["anyone"]}},
    GOOD | {"readers": None},
    GOOD | {"readings": 1},
    GOOD | {"more": 1},
    {"inputs": "digest"},
    [],
    None,
]
RESTS = [
    REST,
    REST | {"genesis": {"anchors": 1}},
    REST | {"rotation": {"anchors": False, "recovery": False, "hardware": {}}},
    REST | {"retention": {"inference": 1_000, "state": 9_000}},
    REST | {"retention": {"observation": 1_001}},
    REST | {"redaction": {"by": "author", "kinds": sorted(KEPT_OF)}},
    REST | {"redaction": {"by": "author", "kinds": sorted(STEPS)}},
    REST | {"redaction": {"by": "anchors", "kinds": sorted(KEPT_OF)}},
]


def holds(judge, *arguments):
    try:
        judge(*arguments)
    except (Bad, ValueError):
        return False
    return True


@pytest.mark.spec("RCD-1", "RCD-2", "RCD-3", "RCD-4")
def test_both_accept_and_refuse_the_same_entries():
    answers = set()
    for entry in ENTRIES:
        for rest in RESTS:
            ours = holds(read_recording, entry, rest)
            assert ours is holds(check_recording, rest | {"recording": entry}), (entry, rest)
            answers.add(ours)
    assert answers == {True, False}


@pytest.mark.spec("RCD-6", "RCD-7")
@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case.name)
def test_both_refuse_what_breaks_a_rule(case):
    w = Scene(case.toml)
    record, sealed = case.breach(w)
    w.put(record, sealed, w.a)
    assert agreed(everything(w, record), w.federation, now=w.now_ms) == ("invalid", {case.code})


@pytest.mark.spec("RCD-5", "RCD-6", "RCD-7")
def test_both_accept_steps_under_a_manifest_that_keeps_everything():
    w = Scene(OPEN)
    peers = w.add(w.anchors, "peer-set")
    w.amend(recording=GOOD | {"readers": READERS | {"peers": [peers.id]}, "binding": "platform"})
    key = w.fresh_key()
    body = {"purpose": "signing", "binding": "platform", **key.fields()}
    registered = w.make(w.a, "registration", body)
    w.a.keys[registered.id] = key
    w.put(registered, w.seal(registered, w.a), w.a)
    w.a.key = registered.id
    step = import_module("breaches_authority").step
    for kind in STEPS:
        record, sealed = step(w, kind, **dict.fromkeys(OPTIONAL, bytes(32)))
        w.put(record, sealed, w.a)
        assert agreed(everything(w, record), w.federation, now=w.now_ms) == ("valid", set())
