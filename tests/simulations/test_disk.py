"""A disk keeps what was synced over a crash, and nothing else."""

from __future__ import annotations

import pytest

from tslg.simulations.disk import Disk, PowerLoss
from tslg.simulations.founding import Founding


@pytest.fixture(scope="module")
def items():
    founding = Founding(1)
    agents = [founding.agent(f"a{number}")[:2] for number in range(3)]
    return [*founding.log, *agents]


def test_what_was_written_is_there_after_a_crash(items):
    disk = Disk(journalled=True)
    disk.append(items[:2])
    disk.set_meta("name", b"value")
    found = disk.after_crash()
    assert [found.has(record.id) for record, _ in items] == [True, True, False, False]
    assert found.get_meta("name") == b"value" and found.check() == []


@pytest.mark.parametrize("after", [False, True])
def test_power_may_go_before_a_sync_or_after(items, after):
    disk = Disk(journalled=True)
    disk.append(items[:1])
    disk.fail_at(1, after=after)
    with pytest.raises(PowerLoss):
        disk.append(items[1:2])
    assert disk.after_crash().has(items[1][0].id) is after
    assert disk.after_crash().has(items[0][0].id)


def test_a_disk_without_a_journal_does_not_pretend_to_survive():
    with pytest.raises(ValueError, match="journal"):
        Disk().after_crash()


def test_a_slow_disk_takes_longer():
    fast, slow = Disk(), Disk()
    slow.slowness = 10
    for disk in (fast, slow):
        disk.set_meta("a", b"b")
    assert slow.owed == 10 * fast.owed > 0
