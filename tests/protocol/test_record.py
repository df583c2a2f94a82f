"""Records: what is built is parsed, and every other shape is refused with the code of the rule that it breaks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineage import LogBuilder
from world import ONE, founded

from tslg.protocol import cid, codec
from tslg.protocol import record as records
from tslg.protocol.cid import Link
from tslg.protocol.errors import CodecError, RecordError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, parse, parse_as

LOG = LogBuilder("a")
LOG.add()
OTHER = LogBuilder("b")
STATE = LOG.make("state", {"prior": [Edge(LOG.last.id)], "evidence": [Edge(OTHER.owner, OTHER.owner, 3)]})
VALUE = codec.decode(STATE.data)
GENESIS = codec.decode(LOG.records[0].data)
RAW = cid.compute_raw(b"")
LINKS = sorted(cid.compute(bytes([number])) for number in range(3))
FOREIGN = {"cid": OTHER.owner, "agent": OTHER.owner, "verified": None}


def changed(value=VALUE, **fields):
    return {name: item for name, item in (value | fields).items() if item is not ...}


def own(*links):
    return [{"cid": link} for link in links]


CASES = [
    ("KEYS", []),
    ("KEYS", changed(v=...)),
    ("KEYS", changed(extra=1)),
    ("KEYS", changed(seal=b"")),
    ("VERSION", changed(v=2)),
    ("VERSION", changed(v=True)),
    ("VERSION", changed(v="1")),
    ("KIND", changed(kind="thought")),
    ("KIND", changed(kind=1)),
    ("KIND", changed(kind=["state"])),
    ("FIELD", changed(seq=-1)),
    ("FIELD", changed(seq=2**53)),
    ("FIELD", changed(seq=True)),
    ("FIELD", changed(time=-1)),
    ("FIELD", changed(time=None)),
    ("FIELD", changed(time=2**53)),
    *[("LINK", changed(**{name: bytes(VALUE[name])})) for name in ("agent", "prev", "manifest", "key")],
    *[("LINK", changed(**{name: RAW})) for name in ("agent", "prev", "manifest", "key")],
    *[("LINK", changed(**{name: "bafy"})) for name in ("agent", "prev", "manifest", "key")],
    ("PLACE", changed(agent=None)),
    ("PLACE", changed(prev=None)),
    ("PLACE", changed(log=None)),
    ("PLACE", changed(seq=0)),
    ("PLACE", changed(kind="genesis", body=GENESIS["body"])),
    ("PLACE", changed(GENESIS, prev=LOG.owner)),
    ("PLACE", changed(GENESIS, agent=LOG.owner)),
    ("PLACE", changed(GENESIS, log={"size": 0, "root": bytes(32)})),
    ("PLACE", changed(GENESIS, seq=1)),
    ("PLACE", changed(GENESIS, kind="state", body={"data": {}})),
    ("LOG", changed(log={"size": 1, "root": bytes(32)})),
    ("LOG", changed(log={"size": 3, "root": bytes(32)})),
    ("LOG", changed(log={"size": True, "root": bytes(32)})),
    ("LOG", changed(log={"size": 2, "root": bytes(31)})),
    ("LOG", changed(log={"size": 2, "root": "x" * 32})),
    ("LOG", changed(log={"size": 2, "tree": bytes(32)})),
    ("BODY", changed(body=[])),
    ("BODY", changed(body={})),
    ("BODY", changed(body={"data": {}, "x": 1})),
    ("BODY", changed(body={"data": []})),
    ("EDGES", changed(preds=[])),
    ("EDGES", changed(preds=None)),
    ("EDGES", changed(preds={"prior": []})),
    ("EDGES", changed(preds={"prior": {"cid": LOG.owner}})),
    ("CLASS", changed(preds={"cause": own(LOG.owner)})),
    ("FAN-IN", changed(preds={"prior": own(*[LOG.owner] * 257)})),
    ("ORDER", changed(preds={"prior": own(LINKS[1], LINKS[0])})),
    ("ORDER", changed(preds={"prior": own(LINKS[0], LINKS[0])})),
    ("EDGE", changed(preds={"prior": [LOG.owner]})),
    ("EDGE", changed(preds={"prior": [{}]})),
    ("EDGE", changed(preds={"prior": [{"cid": bytes(LOG.owner)}]})),
    ("EDGE", changed(preds={"prior": [{"id": LOG.owner}]})),
    ("EDGE", changed(preds={"evidence": [{"cid": LOG.owner, "agent": OTHER.owner}]})),
    ("EDGE", changed(preds={"evidence": [FOREIGN | {"agent": None}]})),
    ("EDGE", changed(preds={"evidence": [FOREIGN | {"agent": bytes(OTHER.owner)}]})),
    ("EDGE", changed(preds={"evidence": [FOREIGN | {"verified": -1}]})),
    ("EDGE", changed(preds={"evidence": [FOREIGN | {"verified": True}]})),
    ("EDGE", changed(preds={"evidence": [FOREIGN | {"verified": 2**53}]})),
    ("EDGE", changed(preds={"evidence": [FOREIGN | {"note": 1}]})),
]


def refusal(value) -> RecordError:
    with pytest.raises((RecordError, CodecError)) as caught:
        parse(codec.encode_unchecked(value))
    return caught.value


@pytest.mark.spec("REC-1", "REC-3", "REC-4", "REC-5", "REC-6", "REC-7", "REC-8", "REC-10", "REC-11", "REC-12")
@pytest.mark.spec("REC-13", "REC-14")
@pytest.mark.parametrize(("rule", "value"), CASES, ids=[f"{rule}-{number}" for number, (rule, _) in enumerate(CASES)])
def test_what_is_no_record_is_refused_by_name(rule, value):
    assert refusal(value).code == f"TSLG-R-{rule}"
    assert refusal(value).record is not None


@pytest.mark.spec("REC-5", "REC-12")
@pytest.mark.parametrize("value", [{"cid": RAW}, FOREIGN | {"cid": RAW}, FOREIGN | {"agent": RAW}])
def test_an_edge_leads_to_a_record(value):
    assert refusal(changed(preds={"evidence": [value]})).code in ("TSLG-R-EDGE", "TSLG-R-LINK")


@pytest.mark.spec("REC-1")
def test_a_record_of_64_kib_is_accepted_and_none_larger():
    def sized(length: int) -> dict[str, object]:
        return changed(body={"data": {"x": "y" * length}})

    room = DEFAULT.record_bytes - len(codec.encode(sized(60_000))) + 60_000
    assert len(parse(codec.encode(sized(room))).data) == DEFAULT.record_bytes
    assert refusal(sized(room + 1)).code == "TSLG-R-SIZE" and "blobs" in refusal(sized(room + 1)).mend
    with pytest.raises(RecordError) as caught:
        LOG.make("state", None, {"data": {"x": "y" * (room + 200)}})
    assert caught.value.code == "TSLG-R-SIZE"


def test_every_code_of_the_parser_has_a_case():
    source = Path(records.__file__).read_text(encoding="utf-8")
    codes = set(re.findall(r'_wrong\("([A-Z-]+)"', source)) | set(re.findall(r'"TSLG-R-([A-Z-]+)"', source))
    assert codes == {rule for rule, _ in CASES} | {"SIZE", "ID"}


@pytest.mark.spec("REC-2")
@pytest.mark.parametrize("hash_name", sorted(cid.HASHES))
def test_the_id_is_the_hash_of_the_bytes(hash_name):
    record = parse(STATE.data, hash_name)
    assert cid.matches(record.id, STATE.data) and cid.hash_name(record.id) == hash_name
    assert parse_as(record.id, STATE.data) == record


def test_bytes_with_another_id_are_refused():
    with pytest.raises(RecordError) as caught:
        parse_as(LOG.owner, STATE.data)
    assert caught.value.code == "TSLG-R-ID" and caught.value.record == LOG.owner


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_an_altered_byte_never_has_the_same_id(draw):
    at = draw.draw(st.integers(0, len(STATE.data) - 1))
    altered = bytearray(STATE.data)
    altered[at] ^= draw.draw(st.integers(1, 255))
    try:
        parsed = parse(bytes(altered))
    except (RecordError, CodecError):
        pass
    else:
        assert parsed.id != STATE.id and parsed.data == bytes(altered)
    with pytest.raises((RecordError, CodecError)):
        parse_as(STATE.id, bytes(altered))


@pytest.mark.spec("REC-9")
@settings(max_examples=200, deadline=None)
@given(st.permutations(LINKS), st.none() | st.integers(0, 2**53 - 1))
def test_what_is_built_is_parsed(links, verified):
    edges = [Edge(link, OTHER.owner, verified) for link in links]
    made = LOG.make("state", {"prior": [Edge(LOG.owner)], "evidence": edges})
    read = parse(made.data)
    assert read == made and hash(read) == hash(made)
    assert [edge.cid for edge in read.edges("evidence")] == LINKS
    assert [edge.cid for edge in read.edges()] == [*LINKS, LOG.owner]
    assert read.owner == LOG.owner and all(type(edge.cid) is Link for edge in read.edges())


def test_a_repeated_edge_cannot_be_built():
    with pytest.raises(RecordError, match="without repeats"):
        LOG.make("state", {"prior": [Edge(LOG.owner), Edge(LOG.owner)]})


def test_a_link_that_was_read_before_is_no_bytes_the_next_time():
    """What is remembered of links must not turn equal bytes, which are another type, into a link."""
    parse(STATE.data)
    for name in ("agent", "prev", "manifest", "key"):
        assert refusal(changed(**{name: bytes(VALUE[name])})).code == "TSLG-R-LINK"
    assert refusal(changed(preds={"prior": own(bytes(LOG.last.id))})).code == "TSLG-R-EDGE"


ROOT = founded(ONE.format(attested=0), "world").manifest_record


def manifest_with(**changes):
    value = codec.decode(ROOT.data)
    for name, item in changes.items():
        part = value["body"]["anchors" if name in value["body"]["anchors"] else "envelope"]
        part[name] = item
    return parse(codec.encode(value))


@pytest.mark.spec("MAN-4", "MAN-5", "MAN-6", "MAN-8", "MAN-9")
@pytest.mark.parametrize(
    ("entry", "value", "said"),
    [
        ("recording", {"x": 1}, "`recording` is {} or"),
        ("access", {"x": 1}, "`access` is {} or"),
        ("access", None, "`access` is {} or"),
        ("gc", None, "`gc` is {} or {policy}"),
        ("gc", {"policy": b"x"}, "the id of a record"),
        ("hash", "md5", "whitelist"),
        ("hash", ["sha2-256"], "whitelist"),
        ("address", "tree", "`address`"),
        ("edges", "loose", "`edges`"),
        ("signatures", [], "`signatures`"),
        ("signatures", [-47, -19], "`signatures`"),
        ("signatures", [-19, -49], "`signatures`"),
        ("signatures", [-19, -19], "`signatures`"),
        ("signatures", -19, "`signatures`"),
        ("post_quantum", None, "`post_quantum`"),
        ("post_quantum", 0, "`post_quantum`"),
        ("rotation", {"anchors": True}, "`rotation`"),
        ("rotation", {"anchors": 1, "recovery": False}, "`rotation.anchors`"),
        ("rotation", {"anchors": False, "recovery": True}, "`rotation.recovery`"),
        ("rotation", None, "`rotation`"),
        ("fan_in", {"min": 0, "max": 1}, "`fan_in`"),
        ("fan_in", {"min": 1, "max": 0}, "`fan_in`"),
        ("fan_in", {"min": 2, "max": 256}, "`fan_in`"),
        ("fan_in", {"min": 1, "max": 257}, "`fan_in`"),
        ("fan_in", {"min": 1}, "`fan_in`"),
        ("fan_in", {"min": True, "max": 1}, "`fan_in`"),
        ("verify_depth", 0, "`verify_depth`"),
        ("verify_depth", True, "`verify_depth`"),
        ("clock_skew_ms", 300_001, "`clock_skew_ms`"),
        ("clock_skew_ms", -1, "`clock_skew_ms`"),
        ("genesis", {"anchors": 2}, "`genesis.anchors`"),
        ("genesis", {}, "`genesis`"),
        ("cross_agent", "closed", "`cross_agent`"),
        ("cross_agent", {"kinds": ["state", "action"], "peers": None}, "sorted set"),
        ("cross_agent", {"kinds": ["thought"], "peers": None}, "unknown kind"),
        ("cross_agent", {"kinds": [], "peers": bytes(ROOT.id)}, "`cross_agent.peers`"),
        ("classes", ["b", "a"], "sorted set"),
        ("classes", ["a", "a"], "repeats"),
        ("classes", [""], "classes"),
        ("tiers", ["a", "a"], "repeats"),
        ("tiers", "low", "tiers"),
        ("scheme", -19, "scheme -19"),
        ("threshold", 0, "threshold 0 of 1"),
        ("threshold", 2, "threshold 2 of 1"),
        ("group_key", bytes(48), "no group key"),
        ("members", ROOT.body["anchors"]["members"] * 2, "share a name or a key"),
        ("members", [ROOT.body["anchors"]["members"][0] | {"key": bytes(48)}], "valid BLS12-381"),
    ],
)
def test_a_manifest_that_cannot_be_enforced_is_refused(entry, value, said):
    with pytest.raises(RecordError) as caught:
        Manifest.from_record(manifest_with(**{entry: value}))
    assert caught.value.code == "TSLG-R-MANIFEST" and said in caught.value.detail


@pytest.mark.spec("MAN-10")
def test_an_envelope_has_all_its_entries_and_no_others():
    value = codec.decode(ROOT.data)
    for name in ROOT.body["envelope"]:
        lacking = changed(value, body=value["body"] | {"envelope": changed(ROOT.body["envelope"], **{name: ...})})
        with pytest.raises(RecordError, match=name):
            Manifest.from_record(parse(codec.encode(lacking)))
    extra = changed(value, body=value["body"] | {"envelope": ROOT.body["envelope"] | {"extra": 1}})
    with pytest.raises(RecordError, match="extra"):
        Manifest.from_record(parse(codec.encode(extra)))


def test_a_manifest_is_read_from_manifests_alone():
    manifest = Manifest.from_record(ROOT)
    assert (manifest.id, manifest.federation, manifest.previous, manifest.version) == (ROOT.id, ROOT.id, None, 1)
    assert manifest.proofs_hold()
    with pytest.raises(RecordError, match="a state holds no manifest"):
        Manifest.from_record(STATE)
