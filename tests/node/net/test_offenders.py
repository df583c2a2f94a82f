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
