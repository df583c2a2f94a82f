"""The table of kinds: every field of every kind refuses the wrong type, and no field is left out of the check."""

from __future__ import annotations

import pytest
from lineage import LogBuilder
from world import BODIES, NOW, ONE, founded

from tslg.protocol import cid, fields
from tslg.protocol.cid import Link
from tslg.protocol.errors import RecordError
from tslg.protocol.fields import optional
from tslg.protocol.kinds import CLASSES, KINDS
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Edge, build, parse

LINK = cid.compute(b"linked")
HIGHER = max(cid.compute(bytes([i])) for i in range(9))
LOWER = min(cid.compute(bytes([i])) for i in range(9))
BIG = DEFAULT.integer
MEMBER = {"name": "a", "key": b"k", "possession": b"p"}
ANCHORS = {"scheme": -70002, "threshold": 1, "members": [MEMBER], "group_key": None}
ENTRY = {"agent": LINK, "record": LINK, "size": 0, "root": bytes(32)}
VOTE = {"proposal": LINK, "choice": "for"}
VOTE_TERMS = {"electorate": [LINK], "threshold": 1}
SIGNER = {"agent": LINK, "key": LINK}
BLS_MEMBER = {"agent": LINK, "key": b"k", "possession": b"p", "consent": b"c"}
GROUP = {"scheme": -70001, "members": [BLS_MEMBER], "group_key": None}
RULE = {"acts": ["corrects", "retracts"], "kinds": ["state"], "by": "author"}
READERS = {"agents": [LINK], "groups": ["anyone", "members", "parties"], "peers": []}
ISSUE = {"origin": LINK, "what": "licence", "name": "MIT"}
TERMS = {"vocabulary": ["a", "b"], "capabilities": bytes(64), "limits": {"n": bytes(32)}}
BLOB = {"digest": bytes(32), "size": 0, "media_type": "text/plain"}

# By the field's type in the published table: values that are accepted, and values that are not.

VALUES: dict[str, tuple[list[object], list[object]]] = {
    "text": (["", "x" * 999], [b"x", 1, None, ["x"]]),
    "text (1 to 256 characters)": (["x", "x" * 256], ["", "x" * 257, b"x", 1, None]),
    "uint": ([0, BIG], [-1, BIG + 1, True, "1", None]),
    "int": ([-BIG, BIG], [-BIG - 1, BIG + 1, False, "1", None]),
    "bytes": ([b"", b"x"], ["x", 1, None, LINK]),
    "bytes (16)": ([bytes(16)], [bytes(15), bytes(17), "x" * 16, None]),
    "bytes (32)": ([bytes(32)], [bytes(31), bytes(33), "x" * 32, None]),
    "link": ([LINK], [bytes(LINK), cid.compute_raw(b""), "bafy", None]),
    "sorted set of text": ([[], ["a", "b"]], [["b", "a"], ["a", "a"], [""], ["x" * 257], [1], ("a",), "a", None]),
    "sorted set of bytes (32)": (
        [[], [bytes(32), b"1" * 32]],
        [[b"1" * 32, bytes(32)], [bytes(32), bytes(32)], [b""], ["x" * 32], {}, None],
    ),
    "map of text to bytes (32)": ([{}, {"a": bytes(32)}], [{"a": b""}, {"a": None}, [], None]),
    "sorted set of links": (
        [[], [LOWER, HIGHER]],
        [[HIGHER, LOWER], [LINK, LINK], [bytes(LINK)], LINK, None, [cid.compute_raw(b"")]],
    ),
    "map of text to int": ([{}, {"a": -1, "b": BIG}], [{"a": True}, {"a": BIG + 1}, {"a": "1"}, [], None]),
    "map of text to uint": ([{}, {"a": 0}], [{"a": -1}, {"a": False}, {"a": None}, [], None]),
    "ms or null": ([None, 0, BIG], [-1, True, "now"]),
    "uint or null": ([None, 0, BIG], [-1, True, "all"]),
    "map": ([{}, {"a": [1, {"b": LINK}]}], [[], None, {"a": 1.5}, {"a": BIG + 1}, "map", {"a": {"b": Link(b"x")}}]),
    "`token`, `segment`, `call` or `plan`": (["token", "segment", "call", "plan"], ["Token", "", None, 1, ["call"]]),
    "`tenant`, `platform` or `hardware`": (["tenant", "platform", "hardware"], ["Tenant", "", None, 1, ["tenant"]]),
    "{alg: int, key: bytes}": (
        [{"alg": -49, "key": b""}],
        [{"alg": "a", "key": b""}, {"alg": -49, "key": "k"}, {"alg": -49}, {"alg": 1, "key": b"", "x": 1}, [], None],
    ),
    "`signing` or `peer`": (["signing", "peer"], ["sign", b"peer", None]),
    "`valid`, `invalid` or `undetermined`": (["valid", "invalid", "undetermined"], ["true", True, None]),
    "`result`, `refused`, `failed` or `cancelled`": (
        ["result", "refused", "failed", "cancelled"],
        ["Result", "", None, ["failed"]],
    ),
    "`all` or `heads`": (["all", "heads"], ["none", None, True]),
    "{digest: bytes (32), size: uint, media_type: text}": (
        [BLOB],
        [BLOB | {"digest": b""}, BLOB | {"size": -1}, BLOB | {"media_type": ""}, BLOB | {"x": 1}, {}, [], None],
    ),
    "list of {agent: link, record: link, size: uint, root: bytes (32)}": (
        [[], [ENTRY, ENTRY]],
        [ENTRY, [ENTRY | {"root": b""}], [ENTRY | {"size": -1}], [ENTRY | {"agent": None}], [ENTRY | {"x": 1}], [{}]],
    ),
    "{proposal: link, choice: text}": (
        [VOTE, VOTE | {"choice": "against"}, VOTE | {"choice": "abstain"}],
        [VOTE | {"choice": "maybe"}, VOTE | {"choice": None}, VOTE | {"proposal": None}, VOTE | {"x": 1}, {}, [], None],
    ),
    "{electorate: sorted set of links, threshold: uint}": (
        [VOTE_TERMS, VOTE_TERMS | {"electorate": []}],
        [VOTE_TERMS | {"electorate": [HIGHER, LOWER]}, VOTE_TERMS | {"threshold": -1}, VOTE_TERMS | {"x": 1}, {}, None],
    ),
    "list of {agent: link, key: link}": (
        [[SIGNER], [SIGNER | {"agent": LOWER}, SIGNER | {"agent": HIGHER}]],
        [
            [],
            SIGNER,
            None,
            [None],
            [SIGNER, SIGNER],
            [SIGNER | {"agent": HIGHER}, SIGNER | {"agent": LOWER}],
            [SIGNER | {"key": None}],
            [SIGNER | {"x": 1}],
            [SIGNER | {"agent": bytes(LINK)}],
            [SIGNER | {"agent": LOWER}] * (DEFAULT.anchors + 1),
        ],
    ),
    "{scheme: int, members: [{agent: link, key, possession, consent}], group_key: bytes or null}": (
        [GROUP, GROUP | {"group_key": b"g"}],
        [
            GROUP | {"members": []},
            GROUP | {"members": [BLS_MEMBER] * (DEFAULT.anchors + 1)},
            GROUP | {"members": [BLS_MEMBER | {"consent": None}]},
            GROUP | {"members": [BLS_MEMBER | {"agent": None}]},
            GROUP | {"members": [BLS_MEMBER | {"x": b""}]},
            GROUP | {"members": BLS_MEMBER},
            GROUP | {"scheme": "bls"},
            GROUP | {"group_key": "g"},
            GROUP | {"x": 1},
            {},
            None,
        ],
    ),
    "list of {acts, kinds, by}": (
        [[], [RULE], [RULE, RULE | {"by": "anyone"}], [RULE | {"by": [LINK]}], [RULE | {"kinds": []}]],
        [
            {},
            None,
            [None],
            [RULE | {"acts": ["retracts", "corrects"]}],
            [RULE | {"acts": ["counters"]}],
            [RULE | {"kinds": "state"}],
            [RULE | {"by": "nobody"}],
            [RULE | {"by": [HIGHER, LOWER]}],
            [RULE | {"by": None}],
            [RULE | {"x": 1}],
            [{}],
        ],
    ),
    "`grant` or `restrict`": (["grant", "restrict"], ["deny", "", None, True, ["grant"]]),
    "{agents: sorted set of links, groups: sorted set of text, peers: sorted set of links}": (
        [READERS, READERS | {"agents": []}, READERS | {"groups": []}, READERS | {"peers": [LOWER, HIGHER]}],
        [
            READERS | {"agents": [HIGHER, LOWER]},
            READERS | {"agents": None},
            READERS | {"groups": ["members", "anyone"]},
            READERS | {"groups": ["strangers"]},
            READERS | {"groups": "anyone"},
            READERS | {"peers": [bytes(LINK)]},
            READERS | {"x": 1},
            {"agents": [], "groups": []},
            {},
            [],
            None,
        ],
    ),
    "{vocabulary: sorted set of text, capabilities: bytes (32 a name), limits: map of text to bytes (32)}": (
        [
            TERMS,
            TERMS | {"limits": {}},
            {
                "vocabulary": [f"{i:03}" for i in range(DEFAULT.vocabulary)],
                "capabilities": bytes(32 * DEFAULT.vocabulary),
                "limits": {str(i): bytes(32) for i in range(DEFAULT.hidden_limits)},
            },
        ],
        [
            TERMS | {"vocabulary": ["b", "a"]},
            TERMS | {"vocabulary": [], "capabilities": b""},
            {
                "vocabulary": [f"{i:03}" for i in range(DEFAULT.vocabulary + 1)],
                "capabilities": bytes(32 * DEFAULT.vocabulary + 32),
                "limits": {},
            },
            TERMS | {"capabilities": bytes(63)},
            TERMS | {"limits": {"n": bytes(31)}},
            TERMS | {"limits": {str(i): bytes(32) for i in range(DEFAULT.hidden_limits + 1)}},
            TERMS | {"x": 1},
            {},
            None,
        ],
    ),
    "list of {policy: link, proof: bytes (32)}, sorted by policy": (
        [[{"policy": LOWER, "proof": bytes(32)}], [{"policy": one, "proof": bytes(32)} for one in (LOWER, HIGHER)]],
        [
            [],
            [{"policy": one, "proof": bytes(32)} for one in (HIGHER, LOWER)],
            [{"policy": LOWER, "proof": bytes(32)}] * 2,
            [{"policy": LOWER, "proof": bytes(31)}],
            [{"policy": bytes(LOWER), "proof": bytes(32)}],
            [{"policy": LOWER}],
            {},
            None,
        ],
    ),
    "list of {origin: link, what: text, name: text}, sorted": (
        [
            [ISSUE],
            [ISSUE | {"what": what} for what in ("licence", "restriction", "vulnerability")],
            [ISSUE | {"origin": LOWER}, ISSUE | {"origin": HIGHER}],
        ],
        [
            [],
            ISSUE,
            None,
            [None],
            [ISSUE, ISSUE],
            [ISSUE | {"origin": HIGHER}, ISSUE | {"origin": LOWER}],
            [ISSUE | {"what": "score"}],
            [ISSUE | {"what": ["licence"]}],
            [ISSUE | {"name": ""}],
            [ISSUE | {"origin": bytes(LINK)}],
            [ISSUE | {"x": 1}],
            [ISSUE | {"name": f"{i:03}"} for i in range(DEFAULT.fan_in + 1)],
        ],
    ),
    "{scheme: int, threshold: uint, members: [{name, key, possession}], group_key: bytes or null}": (
        [ANCHORS, ANCHORS | {"group_key": b"g"}],
        [
            ANCHORS | {"members": []},
            ANCHORS | {"members": [MEMBER] * (DEFAULT.anchors + 1)},
            ANCHORS | {"members": [MEMBER | {"name": ""}]},
            ANCHORS | {"members": [MEMBER | {"key": "k"}]},
            ANCHORS | {"members": [MEMBER | {"possession": None}]},
            ANCHORS | {"members": [MEMBER | {"x": 1}]},
            ANCHORS | {"members": MEMBER},
            ANCHORS | {"scheme": "bls"},
            ANCHORS | {"threshold": -1},
            ANCHORS | {"group_key": "g"},
            ANCHORS | {"x": 1},
            {},
            None,
        ],
    ),
}
STEP = {"model": "m", "model_version": "1", "inputs": {"prompt": bytes(32)}, "intent": "answer"}
BODIES_OF = {
    "manifest": founded(ONE.format(attested=0), "world").manifest_record.body,
    "manifest-amendment": founded(ONE.format(attested=0), "world").manifest_record.body,
    "genesis": {"nonce": bytes(16), "name": "a", "alg": -19, "key": b"k", "binding": "tenant"},
    "registration": {"purpose": "peer"},
    "delegation": {"delegate": LINK, "task": {}, "grant": LINK, "expires": NOW, "hops": 0},
    "answer": {"outcome": "failed", "reason": "the disk is full"},
    "verification": dict(BODIES["verification"]) | {"target": LINK},
    "policy": BODIES["policy"],
    "state": BODIES["state"],
    "action": BODIES["action"],
    "decision": BODIES["decision"],
    "observation": BODIES["observation"],
    "consensus": {"proposal": LINK, "electorate": [LINK], "threshold": 1},
    "joint-authorization": {"name": "launch", "signers": [SIGNER], "threshold": 1, "expires": None},
    "correction": {"reason": "a typing error", "data": {"price": 10}},
    "amendment": {"reason": "the market moved", "data": {"price": 11}},
    "retraction": {"reason": "it was a test"},
    "revocation": {"key": LINK, "from_seq": 3, "reason": "lost"},
    "redaction": {"target": LINK, "fields": ["name"], "blobs": [], "reason": "asked to"},
    "prune": {"before": 10, "count": 9, "root": bytes(32)},
    "summary": {"first": 1, "last": 9, "root": bytes(32)},
    "access-rule": {"effect": "restrict", "readers": READERS, "expires": None},
    "equivocation": {"agent": LINK, "seq": 3},
    "peer-set": {"name": "partners", "members": [LINK]},
    "correction-policy": {"name": "corrections", "rules": [RULE]},
    "gc-policy": {"name": "a year", "horizon_ms": 31_536_000_000, "kinds": ["state"]},
    "inference": STEP | {"output": bytes(32)},
    "rejection": STEP | {"stage": "policy", "reason": "too wide"},
    "decomposition": STEP | {"reason": "one part was not allowed"},
    "composite": STEP | {"output": bytes(32), "rule": "concatenate"},
    "artifact": {
        "name": "m",
        "type": "model",
        "package": BLOB,
        "files": 1,
        "bytes": 9,
        "operator": "merge",
        "operator_version": "1",
        "licences": [],
        "restrictions": [],
        "vulnerabilities": [],
        "lifecycle": "candidate",
    },
    "evaluation": {
        "target": LINK,
        "package": bytes(32),
        "suite": "s",
        "suite_digest": bytes(32),
        "scores": {"accuracy": 93},
        "passed": ["task"],
        "failed": [],
    },
    "advisory": {"target": LINK, "restrictions": [], "vulnerabilities": ["V-1"], "withdrawn": [], "reason": "found"},
    "transition": {"target": LINK, "from": "candidate", "to": "shadow"},
    "release": {"alias": "champion", "target": LINK},
}
FIELDS = [(kind.name, name) for kind in KINDS.values() for name in kind.fields]
LOG = LogBuilder("a")


def make(kind, body):
    if KINDS[kind].first:
        empty = {"agent": None, "seq": 0, "prev": None, "time": 0, "key": None, "log": None}
        return build(kind=kind, manifest=None, preds={}, body=body, **empty)
    return LOG.make(kind, {"prior": [Edge(LOG.owner)]}, body)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_examples_are_records(kind):
    made = make(kind, BODIES_OF[kind])
    assert parse(made.data) == made


@pytest.mark.spec("KND-2", "KND-3", "KND-4", "KND-5", "KND-6", "KND-7", "KND-8", "ART-9")
@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_field_accepts_its_type_and_refuses_every_other(kind, field):
    accepted, refused = VALUES[KINDS[kind].fields[field].type]
    for value in accepted:
        assert make(kind, BODIES_OF[kind] | {field: value}).body[field] == value
    for value in refused:
        with pytest.raises(RecordError, match=f"body field '{field}'") as caught:
            make_unencoded(kind, BODIES_OF[kind] | {field: value})
        assert caught.value.code == "TSLG-R-BODY"


def make_unencoded(kind, body):
    """Check a body as a decoded value: some of these values have no canonical bytes at all."""
    from tslg.protocol import record as records

    made = make(kind, BODIES_OF[kind])
    value = records.codec.decode(made.data)
    value["body"] = dict(body)
    return records._from_value(value, made.data, made.id)


@pytest.mark.spec("REC-10")
@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_a_required_field_is_required_and_no_other(kind, field):
    body = dict(BODIES_OF[kind])
    body.pop(field, None)
    if KINDS[kind].fields[field].required:
        with pytest.raises(RecordError, match="fields") as caught:
            make(kind, body)
        assert caught.value.code == "TSLG-R-BODY"
    else:
        make(kind, body)


@pytest.mark.spec("KND-1", "REC-10")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_an_unknown_field_is_refused(kind):
    with pytest.raises(RecordError, match="'extra' is unknown") as caught:
        make(kind, BODIES_OF[kind] | {"extra": 1})
    assert caught.value.code == "TSLG-R-BODY"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_map_nests_no_deeper_than_a_record_may(kind):
    maps = [name for name, field in KINDS[kind].fields.items() if field.type == "map"]
    deep: dict[str, object] = {}
    for _ in range(DEFAULT.nesting - fields.BODY_LEVEL - 1):
        deep = {"": deep}
    for name in maps:
        make(kind, BODIES_OF[kind] | {name: deep})
        with pytest.raises(RecordError):
            make(kind, BODIES_OF[kind] | {name: {"": deep}})


@pytest.mark.spec("KND-1")
def test_the_table_is_consistent():
    for kind in KINDS.values():
        assert kind.mandatory <= kind.allowed <= CLASSES.keys()
        assert kind.required == {name for name, field in kind.fields.items() if field.required}
        assert kind.issuer in ("agent", "federation", "agent or federation") and kind.meaning
        assert not (kind.first and kind.allowed)
    assert {field.type for kind in KINDS.values() for field in kind.fields.values()} == set(VALUES)
    assert not optional(fields.TEXT).required and fields.TEXT.required
