"""Two programs, one written from docs/spec alone, agree on what records withhold and what their disclosures show."""

from __future__ import annotations

import io

import federations
import independent_disclosure
import independent_formats
import independent_reader
import independent_records
import pytest
from both_readers import NOW, agreed
from federations import Federation, Log

from tslg.node.sources import BundleSource
from tslg.node.verifying import verify
from tslg.protocol import bundle, cid, codec, committed, disclosure, record, seal
from tslg.protocol.kinds import KINDS

pytestmark = pytest.mark.thorough

own = Log.own


@pytest.fixture(scope="module")
def world() -> Federation:
    return Federation()


@pytest.fixture(scope="module")
def withholding() -> Federation:
    return Federation(amended={"envelope": federations.envelope(address="merkle")})


def undisclosed(data: bytes, federation: bytes) -> dict[str, list[str]]:
    """What both programs say that nothing discloses, which is the same."""
    held = bundle.read(io.BytesIO(data))
    report = verify(BundleSource(held), held.targets[0], federation, now_ms=NOW)
    document = independent_reader.read_file(data, federation, NOW)
    ours = {cid.to_text(item.record): list(item.fields) for item in report.undisclosed}
    assert ours == document["undisclosed"] and report.verdict == document["verdict"]
    return ours


def test_both_read_records_that_withhold_their_fields(withholding):
    whole = withholding.bundle(withholding.target)
    assert agreed(whole, withholding.root.id) == ("valid", set())
    assert undisclosed(whole, withholding.root.id) == {}
    bare = withholding.bundle(withholding.target, attachments={})
    assert agreed(bare, withholding.root.id) == ("valid", set())
    assert len(undisclosed(bare, withholding.root.id)) > 10


@pytest.mark.parametrize(
    ("cut", "withheld"),
    [
        (lambda record, given: disclosure.restrict(record, given, {"name", "outcome"}), 3),
        (lambda record, given: given[:-1] + bytes([given[-1] ^ 1]), 5),
        (lambda record, given: given.replace(b"approved", b"rejected"), 5),
        (lambda record, given: disclosure.encode([], [record.id]), 5),
        (lambda record, given: codec.encode({"leaves": [[0, b"", []]], "redacted": []}), 5),
        (lambda record, given: b"", 5),
    ],
)
def test_both_drop_the_same_disclosures(withholding, cut, withheld):
    target = withholding.target
    held = {record.id for record in withholding.needed(target)}
    given = {id: one for id, one in (withholding.a.attachments | withholding.b.attachments).items() if id in held}
    given[target.id] = cut(target, given[target.id])
    left = undisclosed(withholding.bundle(target, attachments=given), withholding.root.id)
    assert list(left) == [cid.to_text(target.id)]
    assert len(left[cid.to_text(target.id)]) == withheld


def test_the_independent_reader_shows_what_was_disclosed(withholding):
    target = withholding.target
    given = withholding.a.attachments[target.id]
    read = independent_records.read_record(bytes(target.id), target.data)
    assert independent_disclosure.disclosed(read, given) == {"name": "pay", "outcome": "approved"}
    for altered in (given[:-1], given.replace(b"approved", b"rejected")):
        with pytest.raises(independent_formats.Bad):
            independent_disclosure.disclosed(read, altered)


def test_both_refuse_a_record_of_the_other_address_scheme(withholding, world):
    for made in (withholding, world):
        other = made.clone()
        log = other.a
        shown, _ = committed.commit(KINDS["state"], {"data": {}}, [bytes(16)] * 2)
        # As the log would make it, but for the body.
        like = log.make("state", {"prior": [own(log.last)]}, {"data": {}})
        odd = record.build(**fields_of(like) | {"body": {"data": {}} if made is withholding else shown})
        log.keep(odd, seal.encode([federations.key_sign(log.key, odd.data, log.key_record)]))
        assert agreed(other.bundle(odd), other.root.id) == ("invalid", {"TSLG-A-ADDRESS"})


def fields_of(made) -> dict:
    """What `record.build` takes."""
    names = ("kind", "agent", "seq", "prev", "time", "manifest", "key", "log", "preds", "body")
    return {name: getattr(made, name) for name in names}


def redacting(made, log, target, edge, policy, **changes):
    """A bundle of a redaction, sealed by the log's own key."""
    body = {"target": target.id, "fields": ["name"], "blobs": [], "reason": "asked to"} | changes
    made = made.clone()
    log = {"A": made.a, "B": made.b}[log]
    redaction = log.add("redaction", {"policy": [policy], "evidence": [edge]}, body)
    return made.bundle(redaction), made.root.id


@pytest.mark.spec("RED-1", "RED-2", "RED-3")
def test_both_say_who_may_redact_what(withholding):
    target, policy = withholding.target, own(withholding.policy)
    assert agreed(*redacting(withholding, "A", target, own(target), policy)) == ("valid", set())
    refused = ("invalid", {"TSLG-A-REDACTION"})
    assert agreed(*redacting(withholding, "A", target, own(target), policy, fields=[])) == refused
    assert agreed(*redacting(withholding, "A", target, own(target), policy, fields=["uses"])) == refused
    assert agreed(*redacting(withholding, "A", target, policy, policy)) == refused
    other = withholding.action
    assert agreed(*redacting(withholding, "A", other, Log.foreign(other), policy)) == refused
