"""How long a reply may last, and how much of it may be about something else."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
import trio

from tslg.node.home import Home
from tslg.node.net import errors
from tslg.node.pace import Pace
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import parse_as

LIMITS = replace(DEFAULT, progress_timeout_ms=10_000, record_ms=100, loose_bytes=3_000)


@pytest.fixture
def lineage(tmp_path):
    """A chain of states, the newest last, with the chains that they rest on; and records of another log."""
    with Home.open(tmp_path / "a") as home:
        one, two = home.agent("one"), home.agent("two")
        chain = []
        for number in range(20):
            chain.append(one.state({"number": number}))
        other = [two.state({"number": number}) for number in range(20)]
        rest = [parse_as(id, home.store.get(id).data) for id in (one.id, home.federation)]
        return SimpleNamespace(chain=chain, other=other, rest=rest)


async def lasts(pace, steps, autojump_clock) -> float:
    """Feed one step every 9 s until it is over; return after how long that was."""
    started = trio.current_time()
    with pytest.raises(errors.Stalled), pace.kept():
        for step in steps:
            await trio.sleep(9)
            pace.take(step)
        await trio.sleep_forever()
    return trio.current_time() - started


@pytest.mark.spec("WIR-6")
async def test_a_reply_lasts_as_long_as_useful_records_come(lineage, autojump_clock):
    newest = lineage.chain[-1].id
    assert await lasts(Pace([newest], "peer", LIMITS), [], autojump_clock) == 10
    assert await lasts(Pace([newest], "peer", LIMITS), [[]] * 100, autojump_clock) == 10
    assert await lasts(Pace([newest], "peer", LIMITS), [[lineage.other[0]]] * 100, autojump_clock) == 10
    assert await lasts(Pace([newest], "peer", LIMITS), [lineage.chain[::-1]], autojump_clock) == pytest.approx(12)


@pytest.mark.spec("WIR-6")
async def test_one_record_now_and_then_does_not_keep_a_reply_alive(lineage, autojump_clock):
    pace = Pace([lineage.chain[-1].id], "peer", LIMITS)
    assert await lasts(pace, [[record] for record in lineage.chain[::-1]], autojump_clock) < 11


async def test_what_comes_before_what_leads_to_it_counts_once_that_came(lineage):
    pace = Pace([lineage.chain[-1].id], "peer", replace(LIMITS, loose_bytes=100_000))
    pace.take(lineage.rest)
    pace.take(lineage.chain[:-1])
    assert pace._loose_bytes > 3_000
    pace.take(lineage.chain[-1:])
    assert pace._loose_bytes == 0 and not pace._loose


@pytest.mark.spec("WIR-6")
async def test_what_nobody_asked_for_is_bounded(lineage):
    pace = Pace([lineage.chain[-1].id], "peer", LIMITS)
    pace.take(lineage.chain[::-1])
    with pytest.raises(errors.ProtocolViolation, match="nobody asked for"):
        pace.take(lineage.other)


async def test_the_same_again_and_again_is_counted_once(lineage):
    pace = Pace([lineage.chain[-1].id], "peer", LIMITS)
    for _ in range(50):
        pace.take(lineage.other[:2])
    assert pace._loose_bytes == sum(len(record.data) for record in lineage.other[:2])
