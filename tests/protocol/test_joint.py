"""Joint authorisations in walks: who signed is verified whatever is trusted of the author, and keys are fetched."""

from __future__ import annotations

import pytest
from breach import Scene
from breaches_joint import body_of, by, by_group, drafted, given, grouped, sealed, signers

from tslg.node.verifying import verify
from tslg.protocol import seal as seals
from tslg.protocol.chains import JOINT, rests_on
from tslg.protocol.opening import Opened, check_seals, open_record
from tslg.protocol.rules.joint import consent_message, group_of
from tslg.protocol.signatures import Alg

pytestmark = pytest.mark.spec("TOG-6", "TOG-7", "TOG-8", "TOG-9", "TOG-10", "TOG-11", "TOG-12", "TOG-13", "SEA-9")


@pytest.fixture
def w() -> Scene:
    return Scene()


def acted(w, joint, author):
    return w.add(author, "state", {"data": {"launched": True}}, {"prior": [author.last], "joint": [joint]})


@pytest.mark.parametrize(("needed", "count"), [(1, 2), (2, 3), (4, 4)])
def test_enough_signers_authorise_and_one_edge_leads_to_them(w, needed, count):
    joint, authors = given(w, needed, count)
    state = acted(w, joint, authors[-1])
    for signatures in ("all", "heads"):
        report = w.verify(state, signatures=signatures)
        assert report.verdict == "valid"
    assert [edge.cid for edge in state.preds["joint"]] == [joint.id]


def test_an_author_among_the_signers_counts_as_one(w):
    authors = signers(w)
    author, record = drafted(w, body_of(authors), authors[1])
    w.admit(*sealed(record, author, [authors[2]]), author)
    assert w.verify(record).verdict == "valid"


@pytest.mark.parametrize("scheme", [Alg.BLS_THRESHOLD, Alg.BLS_MULTISIG])
def test_a_group_authorises_with_one_signature(w, scheme):
    _, secrets, body = grouped(w, scheme)
    author, record = drafted(w, body)
    w.admit(record, seals.encode([by(record, author), by_group(record, secrets, (0, 2))], many=True), author)
    assert w.verify(acted(w, record, w.a)).verdict == "valid"


def test_the_signers_keys_are_read_whatever_the_bound_and_nothing_is_judged_without_them(w):
    joint, authors = given(w)
    report = w.verify(joint, depth=0)
    assert report.verdict == "valid" and report.edges == 0
    assert {author.key for author in authors} <= set(rests_on(joint))
    supply = w.supply()
    del supply.handed[authors[0].key]
    report = w.verify(joint, supply)
    assert report.verdict == "undetermined" and joint.id not in report.records


def test_a_signer_with_a_rotated_key_signs_by_the_one_that_is_named(w):
    authors = signers(w)
    w.rotate(authors[0])
    author, record = drafted(w, body_of(authors))
    w.admit(*sealed(record, author, authors[:2]), author)
    assert w.verify(record).verdict == "valid"


@pytest.mark.parametrize("signatures", ["all", "heads"])
@pytest.mark.parametrize("workers", [1, 2])
def test_what_its_author_said_later_vouches_for_no_signer(w, signatures, workers):
    """An author who seals it alone, or with too few, and goes on with a log that is otherwise good."""
    for wrong in (lambda record, author, all: w.seal(record, author), lambda *given: sealed(*given)[1]):
        authors = signers(w)
        author, record = drafted(w, body_of(authors))
        w.put(record, wrong(record, author, authors[:1]), author)
        later = w.add(author, "state", None, {"prior": [author.last]})
        target = w.add(author, "observation", None, {"prior": [later], "evidence": [record]})
        report = verify(w.supply(), target.id, w.federation, now_ms=w.now_ms, signatures=signatures, workers=workers)
        assert [(finding.code, finding.record) for finding in report.findings] == [("TSLG-A-SEAL", record.id)]


def test_workers_leave_it_to_the_rule(w):
    joint, _ = given(w)
    author = w.authors[joint.owner]
    keys = {author.key: w.key(author.key)}
    plain = w.seal(joint, author)
    assert joint.kind == JOINT and open_record(joint.id, joint.data, plain, keys).sealed is None
    assert [one.sealed for one in check_seals([Opened(joint, plain), Opened(joint, w.seals[joint.id])], keys)] == [
        None,
        None,
    ]


def test_a_consent_is_to_one_key_in_one_group(w):
    authors, _, body = grouped(w)
    group = group_of(body)
    messages = {consent_message(author.owner, group, i) for author in authors for i in range(3)}
    narrower = group_of(body | {"threshold": 1})
    assert len(messages) == 9 and consent_message(authors[0].owner, narrower, 0) not in messages
    assert all(message[:1] == b"\x86" for message in messages), "a seal's structure begins with 84 or 85"
