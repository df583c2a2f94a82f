"""What a manifest says of the records of models' steps, and which records keep to it."""

from __future__ import annotations

from importlib import import_module

import pytest
from breach import OPEN, Scene

from tslg.manifests import text
from tslg.protocol import codec
from tslg.protocol.admission import RuleBook, admit
from tslg.protocol.cid import compute
from tslg.protocol.errors import ManifestError, Refusal
from tslg.protocol.recording import KEPT_OF, NOTHING_MORE, OPTIONAL, STEPS, read_recording
from tslg.protocol.rules.recording import rule_binding

READERS = {"agents": [], "groups": [], "peers": []}
FULL = dict.fromkeys((*OPTIONAL, "inputs", "output"), "plaintext") | {
    "binding": "tenant",
    "expiry": "recorded",
    "keep_ms": 1_000,
    "readers": READERS,
    "readings": True,
}
REST = {"rotation": {}, "genesis": {"anchors": 1}, "retention": {}, "redaction": {}}
HARDWARE = {"rotation": {"anchors": False, "recovery": False, "hardware": {}}}


def step(world, kind, **claims):
    return import_module("breaches_authority").step(world, kind, **claims)


def keeping(**said):
    return import_module("breaches_recording").keeping(**said)


@pytest.mark.spec("RCD-1")
def test_nothing_said_keeps_the_digests_that_every_step_has():
    assert read_recording({}, REST) == NOTHING_MORE
    assert NOTHING_MORE.plaintexts == frozenset() and NOTHING_MORE.digests == ()
    said = read_recording(FULL | {"facts": "digest", "tools": "none"}, REST)
    assert said.plaintexts == {"activations", "inputs", "output", "scratch"}
    assert said.digests == ("activations", "facts", "scratch")


@pytest.mark.spec("RCD-1", "RCD-2", "RCD-3", "RCD-4", "MAN-10")
@pytest.mark.parametrize(
    ("entry", "rest", "said"),
    [
        ({"inputs": "none"}, {}, "`recording.inputs`"),
        ({"output": "none"}, {}, "`recording.output`"),
        ({"scratch": "all"}, {}, "`recording.scratch`"),
        ({"scratch": ["none"]}, {}, "`recording.scratch`"),
        ({"tools": None}, {}, "`recording.tools`"),
        ({"binding": "enclave"}, {}, "`recording.binding`"),
        ({"binding": []}, {}, "`recording.binding`"),
        ({"binding": "hardware"}, {}, "`rotation.hardware`"),
        ({"expiry": "loud"}, {}, "`recording.expiry`"),
        ({"keep_ms": 0}, {}, "`recording.keep_ms`"),
        ({"keep_ms": True}, {}, "`recording.keep_ms`"),
        ({"keep_ms": None}, {}, "nothing expires"),
        ({"keep_ms": 999}, {"retention": {"rejection": 1_000}}, "shorter than the 1000 ms"),
        ({"keep_ms": 999}, {"retention": {"observation": 1_000}}, "shorter than the 1000 ms"),
        ({}, {"redaction": {"by": "anchors", "kinds": sorted(KEPT_OF)}}, "must be let redact"),
        ({}, {"redaction": {"by": "author", "kinds": sorted(STEPS)}}, "must be let redact"),
        ({"readers": {}}, {}, "`recording.readers`"),
        ({"readers": READERS | {"groups": ["members"]}}, {"genesis": {"anchors": 0}}, "`members`"),
        ({"readings": 1}, {}, "`recording.readings`"),
        ({"more": 1}, {}, "`recording` is {} or"),
    ],
)
def test_what_cannot_be_enforced_is_refused(entry, rest, said):
    with pytest.raises(ValueError, match=r".") as caught:
        read_recording(FULL | entry, REST | rest)
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [None, [], "all", {"inputs": "digest"}, 1])
def test_what_is_no_such_entry_is_refused(value):
    with pytest.raises(ValueError, match=r"`recording` is \{\} or"):
        read_recording(value, REST)


def test_what_is_possible_is_read():
    assert read_recording(FULL | {"keep_ms": 1_000}, REST | {"retention": {"inference": 1_000, "state": 9_000}})
    assert read_recording(FULL, REST | {"redaction": {"by": "author", "kinds": sorted((*KEPT_OF, "state"))}})
    assert read_recording(FULL | {"binding": "hardware"}, REST | HARDWARE).binding == "hardware"


def test_a_text_says_where_an_entry_is_wrong():
    for said, told in (
        ({"scratch": "all"}, 'envelope.recording.scratch: must be "none" or "digest" or "plaintext"'),
        ({"inputs": "none"}, 'envelope.recording.inputs: must be "digest" or "plaintext"'),
        ({"expiry": "recorded"}, "envelope.recording: `recording`: without `keep_ms` nothing expires"),
    ):
        with pytest.raises(ManifestError) as caught:
            text.parse(keeping(**said))
        assert told in str(caught.value)


@pytest.mark.spec("RCD-6", "RCD-8")
@pytest.mark.parametrize("kind", STEPS)
def test_steps_that_show_what_the_manifest_asks_for_are_admitted(kind):
    world = Scene(keeping(scratch="digest", tools="plaintext"))
    admit(*step(world, kind, scratch=bytes(32), tools=bytes(32)), world)
    with pytest.raises(Refusal, match="TSLG-A-RECORDING"):
        admit(*step(world, kind, scratch=bytes(32)), world)
    admit(*step(Scene(OPEN), kind), Scene(OPEN))


@pytest.mark.spec("RCD-6")
def test_an_amendment_changes_what_later_records_show():
    world = Scene(OPEN)
    admit(*step(world, "inference"), world)
    entry = FULL | dict.fromkeys(("activations", "scratch", "tools"), "none") | {"facts": "digest"}
    world.amend(recording=entry)
    with pytest.raises(Refusal, match="TSLG-A-RECORDING"):
        admit(*step(world, "inference"), world)
    admit(*step(world, "inference", facts=bytes(32)), world)


@pytest.mark.spec("RCD-5")
def test_a_manifest_names_only_peer_sets_of_its_federation():
    world = Scene(OPEN)
    entry = FULL | {"readers": READERS | {"peers": [compute(b"nowhere")]}}
    record = world.make(
        world.anchors,
        "manifest-amendment",
        world.amended_body(recording=entry),
        {"amends": [world.held[world.newest_manifest]]},
    )
    with pytest.raises(Refusal, match="TSLG-A-ENVELOPE"):
        admit(record, world.seal(record, world.anchors), world)


@pytest.mark.spec("RCD-7")
@pytest.mark.parametrize(("binding", "fine"), [("tenant", False), ("platform", True)])
def test_a_key_is_held_by_no_less_than_the_manifest_demands(binding, fine):
    world = Scene(keeping(binding="platform"))
    key = world.fresh_key()
    body = {"purpose": "signing", "binding": binding, **key.fields()}
    registered = world.add(world.a, "registration", body)
    world.a.keys[registered.id] = key
    world.a.key = registered.id
    record, sealed = step(world, "inference")
    assert (rule_binding(record, sealed, world) is None) is fine
    assert rule_binding(*world.sealed(world.a, "state"), world) is None


@pytest.mark.spec("RCD-7")
def test_a_key_that_comes_to_hand_later_is_judged_then():
    world = Scene(keeping(binding="platform"))
    record, sealed = step(world, "inference")
    book, known = RuleBook(world), world.key
    world.complete = False
    world.key = lambda id: None
    assert book.refusal(record, sealed) is None or book.refusal(record, sealed).code == "TSLG-A-KEY"
    world.key = known
    assert book.refusal(record, sealed).code == "TSLG-A-BINDING"


def test_the_entry_has_bytes():
    assert codec.decode(codec.encode(FULL)) == FULL
