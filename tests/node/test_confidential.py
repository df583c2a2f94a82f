"""Agents under confidential policies: what they record comes with proofs, and strangers verify it unread."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from breach import OPEN
from breaches_flat import FLAT
from world import World

from tslg.node import openings
from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle
from tslg.protocol.errors import AttachmentError, Refusal, StoreError, UsageError
from tslg.protocol.zk.commitments import Opening

WORDS = ("pay", "scan", "sign")


@pytest.fixture(params=["typed", "flat"])
def home(tmp_path, request):
    """A node of its own federation, whose records name edges by class or without."""
    world = World(FLAT if request.param == "flat" else OPEN, "node")
    root = (world.founded.manifest_record, world.founded.seal)
    with Home.open(tmp_path / "node", federation=root) as home:
        yield home


@pytest.fixture
def agents(home):
    return home.agent("principal"), home.agent("delegate")


def granted(agents, **terms):
    """A confidential policy of the first agent, delegated to the second."""
    principal, delegate = agents
    wide = principal.policy(
        "grant", capabilities=["pay", "scan"], limits={"eur": 500}, confidential=True, vocabulary=WORDS
    )
    delegation = principal.delegate(delegate.id, {"what": "buy"}, wide, expires=2**52, hops=1)
    return wide, delegation


def own_policy(delegate, wide, delegation, **terms):
    terms = {"capabilities": ["scan"], "limits": {"eur": 20}, "confidential": True, "not_after": 2**52} | terms
    return delegate.policy("mine", under=wide, delegation=delegation, **terms)


def verified(home, record, **how):
    return verify(StoreSource(home.store), record.id, home.federation, now_ms=home.clock(), **how)


def test_a_chain_of_confidential_policies_verifies_without_their_contents(home, agents):
    wide, delegation = granted(agents)
    mine = own_policy(agents[1], wide, delegation)
    done = agents[1].act("scan", policy=mine, delegation=delegation, uses=["scan"], spends={"eur": 20})
    assert verified(home, done).verdict == "valid"
    for record in (wide, mine):
        assert record.body["capabilities"] == [] and record.body["limits"] == {}
        assert not {500, 20} & set(record.body["commitments"]["limits"].values())
    assert {entry["policy"] for entry in done.body["narrowing"]} == {mine.id}


def test_claims_beyond_a_confidential_policy_are_refused_before_anything_is_recorded(home, agents):
    wide, delegation = granted(agents)
    mine = own_policy(agents[1], wide, delegation)
    for claim in ({"uses": ["pay"]}, {"spends": {"eur": 21}}, {"uses": ["fly"]}, {"spends": {"usd": 1}}):
        with pytest.raises(Refusal) as caught:
            agents[1].act("x", policy=mine, delegation=delegation, **claim)
        assert caught.value.code == "TSLG-A-SCOPE"
    for terms in ({"capabilities": ["sign"]}, {"limits": {"eur": 501}}, {"limits": {"usd": 1}}):
        with pytest.raises(Refusal) as caught:
            own_policy(agents[1], wide, delegation, **terms)
        assert caught.value.code == "TSLG-A-WIDENED"
    assert home.store.log_state(agents[1].id).size == mine.seq + 1


def test_open_and_confidential_policies_narrow_each_other(home, agents):
    wide, delegation = granted(agents)
    plain = own_policy(agents[1], wide, delegation, confidential=False)
    hidden = agents[1].policy(
        "again", under=plain, delegation=delegation, confidential=True, vocabulary=WORDS, capabilities=["scan"],
        not_after=2**52,
    )  # fmt: skip
    done = agents[1].act("scan", policy=hidden, delegation=delegation, uses=["scan"])
    assert verified(home, done).verdict == "valid"
    assert [e["policy"] for e in plain.body["narrowing"]] == [wide.id]
    assert [e["policy"] for e in hidden.body["narrowing"]] == [plain.id]
    nothing = agents[1].act("idle", policy=hidden, delegation=delegation)
    assert "narrowing" not in nothing.body and verified(home, nothing).verdict == "valid"


def test_a_batch_keeps_proofs_of_all_its_records(home, agents):
    principal = agents[0]
    with principal.batch():
        wide = principal.policy("p", capabilities=["pay"], confidential=True, vocabulary=WORDS)
        done = [principal.act("pay", policy=wide, uses=["pay"]) for _ in range(3)]
    assert all(verified(home, record).verdict == "valid" for record in done)
    with pytest.raises(ZeroDivisionError), principal.batch():
        principal.act("pay", policy=wide, uses=["pay"])
        raise ZeroDivisionError
    assert home.ledger.context.attached == {}


def test_without_the_proofs_a_walk_is_undetermined_and_with_them_a_bundle_is_valid(home, agents):
    wide, delegation = granted(agents)
    mine = own_policy(agents[1], wide, delegation)
    done = agents[1].act("scan", policy=mine, delegation=delegation, uses=["scan"])
    stream = io.BytesIO()
    walked = walk(StoreSource(home.store), done.id, home.federation, now_ms=home.clock())
    write_walked(stream, walked)
    stream.seek(0)
    read = bundle.read(stream)
    assert set(read.attachments) == {mine.id, done.id}
    assert verify(BundleSource(read), done.id, home.federation, now_ms=home.clock()).verdict == "valid"
    for spoilt in ({}, {mine.id: read.attachments[mine.id]}, dict.fromkeys(read.attachments, b"\x80")):
        report = verify(BundleSource(replace(read, attachments=spoilt)), done.id, home.federation, now_ms=home.clock())
        assert report.verdict == "undetermined"
        assert done.id in {item.record for item in report.undetermined}
        assert all(item.reason.startswith("withheld: the proofs") for item in report.undetermined)


def test_another_node_takes_a_grant_and_its_opening_and_acts_under_it(home, agents, tmp_path):
    wide, _ = granted(agents)
    with pytest.raises(UsageError, match="no confidential policy"):
        agents[0].opening(agents[1].id)
    opening = agents[0].opening(wide)
    assert opening.capabilities == {"pay", "scan"} and opening.limits == {"eur": 500}
    path = tmp_path / "opening.json"
    openings.write(path, opening)
    assert path.stat().st_mode & 0o077 == 0
    assert openings.read(path) == opening
    for folder in (home.path / "openings").iterdir():
        folder.unlink()
    with pytest.raises(UsageError) as caught:
        agents[0].act("pay", policy=wide, uses=["pay"])
    assert caught.value.code == "TSLG-U-OPENING" and opening.secret.hex() not in str(caught.value)
    with pytest.raises(UsageError):
        agents[0].take_opening(wide, Opening(opening.capabilities, {"eur": 501}, opening.secret))
    agents[0].take_opening(wide, openings.read(path))
    assert verified(home, agents[0].act("pay", policy=wide, uses=["pay"])).verdict == "valid"


@pytest.mark.parametrize(
    "text", ["", "{}", "[" * 9999, '{"type": "tslg policy opening", "capabilities": [1], "limits": {}, "secret": "00"}']
)
def test_what_is_no_opening_is_refused_in_one_line(tmp_path, text):
    path = tmp_path / "o.json"
    path.write_text(text)
    with pytest.raises(StoreError) as caught:
        openings.read(path)
    assert caught.value.code == "TSLG-D-OPENING"


def test_a_confidential_policy_needs_words_and_fitting_contents(agents):
    for how in ({}, {"vocabulary": ["scan"]}, {"vocabulary": WORDS, "limits": {"eur": 2**32}}):
        with pytest.raises(UsageError):
            agents[0].policy("p", capabilities=["pay"], confidential=True, **how)


def test_a_store_takes_no_proofs_that_a_record_does_not_name(home, agents):
    wide, delegation = granted(agents)
    entry = home.store.get(wide.id)
    with pytest.raises(AttachmentError):
        home.ledger.admit(entry.data, entry.seal, b"\x80")
    mine = own_policy(agents[1], wide, delegation)
    entry = home.store.get(mine.id)
    with pytest.raises(AttachmentError) as caught:
        home.ledger.admit(entry.data, entry.seal, entry.attachment + b"\0")
    assert caught.value.code == "TSLG-T-PROOFS"
