"""Who broke a rule is in the log, and no flood of it."""

from __future__ import annotations

from tslg.node.net.offenders import Offenders


def test_a_peer_is_named_once_a_minute_for_each_rule(caplog):
    now = [0.0]
    offenders = Offenders(lambda: now[0])
    for second in range(120):
        now[0] = float(second)
        offenders.name("peer", "rule", "what it did")
        offenders.name("peer", "another", "what it did")
    assert [(one.peer, one.rule) for one in caplog.records].count(("peer", "rule")) == 2
    assert len(caplog.records) == 4


def test_what_is_kept_in_mind_is_bounded(caplog):
    offenders = Offenders(lambda: 0.0)
    for number in range(5_000):
        offenders.name(f"peer {number}", "rule", "what it did")
    assert len(offenders._named) == 1_024


def test_what_may_be_done_is_named_when_it_is_done_too_often(caplog):
    now = [0.0]
    offenders = Offenders(lambda: now[0])
    for number in range(900):
        now[0] = number / 4
        offenders.often("steady", "rule", "what it did")
        offenders.often("varied", "rule", "what it did", b"%d" % number)
    assert not caplog.records
    for number in range(400):
        now[0] = 300 + number / 8
        offenders.often("hasty", "rule", "what it did")
    assert [(one.peer, one.rule) for one in caplog.records] == [("hasty", "rule")]
    assert sum(map(len, offenders._counts.values())) <= 1_024
