"""Manifest texts: what compiles, where problems are, and that text and body are two forms of one thing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.manifests import examples, text, text_reader
from tslg.manifests.text import AnchorKeys
from tslg.manifests.text_position import position
from tslg.protocol import cid
from tslg.protocol.envelope import ENVELOPE_KEYS
from tslg.protocol.errors import ManifestError, UsageError
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Member
from tslg.protocol.note import COSIGNATURE, VerifierKey
from tslg.protocol.recording import LEVELS, MANDATORY, OPTIONAL
from tslg.protocol.signatures import Alg, ed25519_public_key

GOOD = """\
[federation]
name = "North"

[anchors]
scheme = "multisig"
threshold = 2
members = ["a", "b", "c"]

[envelope]
verify_depth = 50
fan_in = { min = 1, max = 16 }
"""


SEAL = cid.to_text(cid.compute_raw(b""))


def problems(source: str) -> list[str]:
    with pytest.raises(ManifestError) as caught:
        text.parse(source, "m.toml")
    assert caught.value.code == "TSLG-M-TEXT"
    return caught.value.detail.splitlines()


def keys_for(*names: str, group: bool = False) -> AnchorKeys:
    members = tuple(Member(name, bytes([i]) * 48, bytes([i]) * 96) for i, name in enumerate(names))
    return AnchorKeys(members, b"g" * 48 if group else None)


def test_a_text_without_an_envelope_entry_has_defaults_for_all() -> None:
    source = GOOD.split("verify_depth")[0]
    envelope = text.parse(source).envelope
    assert envelope.keys() == ENVELOPE_KEYS
    assert envelope["recording"] == {}
    assert envelope["hash"] == "sha2-256"
    assert envelope["signatures"] == [-19]
    assert envelope["verify_depth"] is None
    assert envelope["genesis"] == {"anchors": 2}
    assert envelope["fan_in"] == {"min": 1, "max": DEFAULT.fan_in}


def test_body_takes_keys_and_nonce() -> None:
    read = text.parse(GOOD)
    body = read.body(keys_for("a", "b", "c"), bytes(16))
    assert body["version"] == 1
    assert body["anchors"]["scheme"] == Alg.BLS_MULTISIG
    assert [member["name"] for member in body["anchors"]["members"]] == ["a", "b", "c"]
    with pytest.raises(ManifestError, match="TSLG-M-KEYS"):
        read.body()
    with pytest.raises(ManifestError, match="TSLG-M-KEYS: the keys are those of b, a, c"):
        read.body(keys_for("b", "a", "c"), bytes(16))


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("max = 16", "max = 999", 11, "envelope.fan_in.max: must be an integer from 1 to 256, not 999; say 16 to 256"),
        (
            "min = 1,",
            "min = 17,",
            11,
            "envelope.fan_in.min: must be 1, not 17: an amendment or a new key has a single edge",
        ),
        ("min = 1,", "mni = 1,", 11, "envelope.fan_in.mni: unknown entry; did you mean min?"),
        (
            "verify_depth = 50",
            "verify_dept = 50",
            10,
            "envelope.verify_dept: unknown entry; did you mean verify_d",
        ),
        ("verify_depth = 50", "verify_depth = 0", 10, "envelope.verify_depth: must be a count of edges from 1"),
        ("verify_depth = 50", 'verify_depth = "all"', 10, "envelope.verify_depth: must be a count of edges from 1"),
        ("verify_depth = 50", "verify_depth = true", 10, "envelope.verify_depth: must be a count of edges from 1"),
        ("verify_depth = 50", 'hash = "md5"', 10, 'envelope.hash: must be "sha2-256" or'),
        ("verify_depth = 50", 'address = "tree"', 10, 'envelope.address: must be "flat" or "merkle", not'),
        ("verify_depth = 50", "signatures = []", 10, "envelope.signatures: must name at least one scheme: Ed25519"),
        (
            "verify_depth = 50",
            'signatures = ["RSA"]',
            10,
            'envelope.signatures[0]: must be "Ed25519" or "ES256K", not \'RSA\'',
        ),
        ("verify_depth = 50", 'signatures = ["ML-DSA-65"]', 10, 'envelope.signatures[0]: must be "Ed25519" or'),
        ("verify_depth = 50", "post_quantum = 0", 10, "envelope.post_quantum: must be true or false, not 0"),
        ("verify_depth = 50", "rotation = true", 10, "envelope.rotation: must be a table"),
        ("verify_depth = 50", "rotation = { anchors = 1 }", 10, "envelope.rotation.anchors: must be true or false"),
        ("verify_depth = 50", "rotation = { recovery = true }", 10, "envelope.rotation.recovery: needs anchors = true"),
        (
            "verify_depth = 50",
            "recording = { x = 5 }",
            10,
            "envelope.recording.x: unknown entry; known here: ",
        ),
        ("verify_depth = 50", "gc = { horizon = 5 }", 10, "envelope.gc.horizon: unknown entry; known here: policy"),
        ("verify_depth = 50", 'gc = { policy = "bx" }', 10, "envelope.gc.policy: not an id"),
        ("verify_depth = 50", "corrections = { policy = 5 }", 10, "envelope.corrections.policy: not an id"),
        ("verify_depth = 50", f'gc = {{ policy = "{SEAL}" }}', 10, "envelope.gc.policy: is not the id of a record"),
        ("verify_depth = 50", 'cross_agent = { kinds = [], peers = "me" }', 10, "envelope.cross_agent.peers: not an"),
        ("verify_depth = 50", "genesis = { anchors = 1 }", 10, "envelope.genesis.anchors: must be 0"),
        ("verify_depth = 50", "clock_skew_ms = 300001", 10, "envelope.clock_skew_ms: must be an integer from 0 to"),
        ("verify_depth = 50", 'classes = ["x", "x"]', 10, "envelope.classes[1]: 'x' stands here twice"),
        (
            "verify_depth = 50",
            'tiers = ["x", 3]',
            10,
            "envelope.tiers[1]: must be a text of 1 to 256 characters",
        ),
        ("verify_depth = 50", 'cross_agent = "shut"', 10, 'envelope.cross_agent: must be "open" or a table'),
        ("verify_depth = 50", 'cross_agent = { kinds = ["decison"] }', 10, "envelope.cross_agent.kinds[0]: no such"),
        ("threshold = 2", "threshold = 4", 6, "anchors.threshold: must be an integer from 1 to 3, not 4; say 2 of 3"),
        ("threshold = 2\n", "", 4, "anchors.threshold: is missing"),
        ('"multisig"', '"bls"', 5, 'anchors.scheme: must be "threshold" or "multisig", not \'bls\''),
        ('["a", "b", "c"]', '["a",\n "b",\n "b"]', 9, "anchors.members[2]: 'b' stands here twice"),
        ('["a", "b", "c"]', "[]", 7, "anchors.members: must name 1 to 64 anchors, not 0"),
        ('name = "North"', 'name = ""', 2, "federation.name: must be a text of 1 to 256 characters, not ''"),
        ("[federation]", "[federaton]", 1, "federaton: unknown entry; did you mean federation?"),
        (
            "[envelope]",
            "[envelope]\n[envelope.acess]\nx=1\n[e2]",
            10,
            "envelope.acess: unknown entry; did you mean access?",
        ),
    ],
)
def test_each_problem_is_named_at_its_line(old: str, new: str, line: int, message: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new))
    assert any(item.startswith(f"m.toml:{line}:") and f": {message}" in item for item in found), found


def test_all_problems_are_reported_together_in_the_order_of_the_text() -> None:
    source = GOOD.replace("threshold = 2", "threshold = 9").replace("max = 16", "max = 0").replace("North", "")
    found = problems(source)
    assert [item.split(": ")[1] for item in found] == ["federation.name", "anchors.threshold", "envelope.fan_in.max"]
    assert [item.split(":")[1] for item in found] == ["2", "6", "11"]


def test_a_flood_of_problems_is_cut() -> None:
    found = problems(GOOD + "".join(f"x{number} = 1\n" for number in range(60)))
    assert len(found) == 51
    assert found[-1] == "m.toml: and 10 more problems"


def test_columns_count_from_one() -> None:
    (found,) = problems(GOOD.replace("max = 16", "max = 0"))
    assert found.startswith("m.toml:11:27: ")


def test_a_threshold_of_one_among_several_needs_multisig() -> None:
    source = GOOD.replace("multisig", "threshold").replace("threshold = 2", "threshold = 1")
    (found,) = problems(source)
    assert found.endswith('must be 2 or more; say 2 of 3, or scheme = "multisig"')


def test_an_empty_text_misses_every_section() -> None:
    assert [item.split(": ")[1] for item in problems("")] == ["anchors", "envelope", "federation"]


@pytest.mark.parametrize("source", ["[federation\n", "a = 1\na = 2\n", "x = " + "[" * 5000, "\0", 'name = "a\n'])
def test_what_is_not_toml_is_refused(source: str) -> None:
    with pytest.raises(ManifestError, match=r"TSLG-M-TOML: m\.toml"):
        text.parse(source, "m.toml")


def test_a_syntax_error_names_its_line() -> None:
    with pytest.raises(ManifestError, match=r"m\.toml:3:\d+: not TOML"):
        text.parse('[federation]\nname = "x"\n===\n', "m.toml")


def test_a_text_beyond_the_limit_is_refused_unread() -> None:
    with pytest.raises(ManifestError, match="the limit is"):
        text.parse("#" * (DEFAULT.manifest_text + 1))


@pytest.mark.parametrize("name", examples.names())
def test_every_example_compiles_and_comes_back(name: str) -> None:
    read = text.parse(examples.read(name), name)
    group = read.scheme == Alg.BLS_THRESHOLD
    body = read.body(keys_for(*read.members, group=group), bytes(16))
    assert text.parse(text.to_toml(body)).body() == body


def test_the_examples_are_there() -> None:
    assert examples.names() == ["constrained-readers", "single-organisation", "three-organisations"]
    assert text.parse(examples.read("constrained-readers")).envelope["verify_depth"] == 50
    three = text.parse(examples.read("three-organisations"))
    assert (three.scheme, three.threshold, len(three.members)) == (Alg.BLS_THRESHOLD, 2, 3)
    with pytest.raises(UsageError, match="single-organisation"):
        examples.read("../secret")


def test_compiled_section_is_checked() -> None:
    body = text.parse(GOOD).body(keys_for("a", "b", "c"), bytes(16))
    source = text.to_toml(body)
    assert any("compiled.nonce" in item for item in problems(source.replace("0" * 32, "0" * 31)))
    assert any("compiled.members[1].possession" in item for item in problems(source.replace("01" * 96, "zz")))
    assert any("compiled.members[1].key: is missing" in item for item in problems(drop_key(source)))


def drop_key(source: str) -> str:
    lines = source.splitlines(keepends=True)
    return "".join(line for line in lines if f'key = "{"01" * 48}"' not in line)


names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
fresh = st.binary(min_size=48, max_size=48)
ids = st.sampled_from([cid.compute(b"", name) for name in cid.HASHES])
LINKS = sorted(cid.compute(b"", name) for name in cid.HASHES)
policies = st.just({}) | st.fixed_dictionaries({"policy": ids})


WITNESSES = sorted(
    VerifierKey(f"w.example/{name}", COSIGNATURE, ed25519_public_key(name.encode() * 32)).text for name in "abc"
)
anchorings = st.just({}) | st.fixed_dictionaries(
    {"cadence": st.sampled_from(["record", "batch"]), "witnesses": st.just(WITNESSES), "quorum": st.integers(1, 3)}
)


def accesses(attested: int) -> st.SearchStrategy[dict[str, Any]]:
    """What a manifest may say of reading; of members only where anchors attest geneses."""
    groups = st.sampled_from([[], ["anyone"], ["parties"], ["anyone", "parties"], *([["members"]] if attested else [])])
    links = st.sampled_from([[], LINKS[:1], LINKS])
    readers = st.fixed_dictionaries({"agents": links, "groups": groups, "peers": links})
    rule = st.fixed_dictionaries(
        {
            "agents": st.none() | st.just(LINKS),
            "kinds": st.sampled_from([None, ["decision"], ["decision", "policy"]]),
            "fields": st.sampled_from([None, ["outcome"], ["outcome", "reason"]]),
            "readers": readers,
        }
    )
    filled = dict.fromkeys(("default", "grantable", "guaranteed"), readers)
    return st.just({}) | st.fixed_dictionaries({**filled, "rules": st.lists(rule, max_size=3)})


def recordings(attested: int) -> st.SearchStrategy[dict[str, Any]]:
    """What a manifest may say of models' steps."""
    groups = st.sampled_from([[], ["parties"], *([["members"]] if attested else [])])
    links = st.sampled_from([[], LINKS[:1]])
    return st.just({}) | st.fixed_dictionaries(
        {
            **dict.fromkeys(MANDATORY, st.sampled_from(["digest", "plaintext"])),
            **dict.fromkeys(OPTIONAL, st.sampled_from(LEVELS)),
            "binding": st.sampled_from(["tenant", "platform"]),
            "expiry": st.just("silent"),
            "keep_ms": st.none() | st.integers(1, DEFAULT.integer),
            "readers": st.fixed_dictionaries({"agents": links, "groups": groups, "peers": links}),
            "readings": st.booleans(),
        }
    )


@st.composite
def bodies(draw: st.DrawFn) -> dict[str, Any]:
    scheme = draw(st.sampled_from(sorted(text.SCHEMES.values())))
    members = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    low = 2 if scheme == Alg.BLS_THRESHOLD and len(members) > 1 else 1
    threshold = draw(st.integers(low, len(members)))
    kinds = draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True))
    expires = draw(st.none() | st.integers(0, DEFAULT.integer))
    anchoring = draw(anchorings)
    attested = draw(st.sampled_from([0, threshold]))
    return ({} if expires is None else {"expires": expires}) | {
        "nonce": draw(st.binary(min_size=16, max_size=16)),
        "name": draw(names),
        "version": draw(st.integers(0, DEFAULT.integer)),
        "anchors": {
            "scheme": scheme,
            "threshold": threshold,
            "members": [
                {"name": name, "key": draw(fresh), "possession": draw(fresh) + draw(fresh)} for name in members
            ],
            "group_key": draw(fresh) if scheme == Alg.BLS_THRESHOLD else None,
        },
        "envelope": {
            "access": draw(accesses(attested)),
            "recording": draw(recordings(attested)),
            "retention": draw(st.just({}) | st.just({"decision": 86_400_000, "state": 0})),
            "hash": draw(st.sampled_from(["sha2-256", "blake3"])),
            "address": "flat",
            "edges": "typed",
            "signatures": draw(st.sampled_from([[-19], [-19, -47]] if anchoring else [[-19], [-47], [-19, -47]])),
            "post_quantum": draw(st.booleans()),
            "redaction": draw(
                st.just({})
                | st.fixed_dictionaries({"by": st.sampled_from(["author", "anchors"]), "kinds": st.just(sorted(kinds))})
            ),
            "rotation": draw(
                st.sampled_from(
                    [{}] + [{"anchors": a, "recovery": r} for a, r in [(False, False), (True, False), (True, True)]]
                )
            ),
            "fan_in": {"min": 1, "max": draw(st.integers(1, DEFAULT.fan_in))},
            "verify_depth": draw(st.none() | st.integers(1, DEFAULT.integer)),
            "anchoring": anchoring,
            "corrections": draw(policies),
            "cross_agent": draw(
                st.just("open") | st.fixed_dictionaries({"kinds": st.just(sorted(kinds)), "peers": st.none() | ids})
            ),
            "gc": draw(policies),
            "genesis": {"anchors": attested},
            "classes": sorted(draw(st.lists(names, max_size=3, unique=True))),
            "tiers": draw(st.lists(names, max_size=3, unique=True)),
            "clock_skew_ms": draw(st.integers(0, DEFAULT.clock_skew_ms)),
        },
    }


@settings(max_examples=60, deadline=None)
@given(bodies())
def test_text_and_body_are_two_forms_of_one_thing(body: dict[str, Any]) -> None:
    assert text.parse(text.to_toml(body)).body() == body


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=60) | st.text("[]{}=.,\"'ab1\n #", max_size=60))
def test_no_text_breaks_the_reader(source: str) -> None:
    with pytest.raises(ManifestError):
        text.parse(source)


def test_positions_of_every_shape_of_value() -> None:
    source = "a.b = 1\nc = [ 1,\n  { d = 2 } ]\n\n[t] # t\n  x = 1\n[t.u]\n[[l]]\ny = 1\n[[l]]\nz = 2\n"
    assert position(source, ("a", "b")) == (1, 7)
    assert position(source, ("c", 0)) == (2, 7)
    assert position(source, ("c", 1, "d")) == (3, 9)
    assert position(source, ("t",)) == (5, 1)
    assert position(source, ("t", "x")) == (6, 7)
    assert position(source, ("l", 1, "z")) == (11, 5)
    assert position(source, ("t", "u")) == (7, 1)
    assert position(source, ("t", "absent")) == (5, 1)
    assert position(source, ()) == (1, 1)


@pytest.mark.parametrize(("length", "whole"), [(38, True), (39, False), (60, False)])
def test_a_value_is_repeated_up_to_forty_characters(length: int, whole: bool) -> None:
    repeated = text_reader.shown("x" * length)
    assert len(repeated) <= 40
    assert (repeated == f"'{'x' * length}'") if whole else repeated == "'" + "x" * 38 + "…"
