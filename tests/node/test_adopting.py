"""What is kept of a walk: what can be verified again from the store, and nothing that it only excused."""

from __future__ import annotations

from world import World

from tslg.node.adopting import keep
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify, walk


def test_what_is_only_shown_and_breaks_a_rule_is_not_stored_and_the_accusation_stays_valid(tmp_path):
    w = World()
    author, other, accuser = w.agent("a"), w.agent("b"), w.agent("c")
    before = w.add(author, "observation")
    worse = w.slip(other, "decision", None, {"prior": [other.log[0]]})
    twin = author.fork(len(author.log))
    bad = w.slip(author, "decision", None, {"prior": [before], "evidence": [worse]})
    good = w.slip(twin, "observation", None, {"prior": [before]})
    body = {"agent": author.owner, "seq": good.seq}
    accusation = w.add(accuser, "equivocation", body, {"evidence": [bad, good]})
    walked = walk(w.supply(), accusation.id, w.federation, now_ms=w.now_ms)
    assert walked.report.verdict == "valid"
    root = (w.founded.manifest_record, w.founded.seal)
    with Home.open(tmp_path / "node", federation=root, clock=lambda: w.now_ms) as home:
        keep(home.ledger, walked, source="peer", now_ms=w.now_ms)
        assert home.store.at(author.owner, good.seq) != bad.id
        assert home.store.has(good.id) and home.store.has(bad.id) and not home.store.has(worse.id)
        again = verify(StoreSource(home.store), accusation.id, w.federation, now_ms=w.now_ms)
        assert again.verdict == "valid", again.undetermined
        assert {note.seq for note in again.forks} == {good.seq}
