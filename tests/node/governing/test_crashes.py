"""A governed agent that is killed at any instant leaves no state without its record, and no half record."""

from __future__ import annotations

import pytest
from governed_process import check, instants, killed, verified


def killed_again_and_again(tmp_path, count, seed, each=25):
    told_of = steps = 0
    for number, after in enumerate(instants(count, seed)):
        path = tmp_path / str(number // each)
        told = killed(path, seed + number, after)
        log = check(path, told)
        told_of += len(told)
        steps += sum("before" in record.body for record in log)
    assert told_of > count and steps > told_of
    verified(path)


@pytest.mark.thorough
@pytest.mark.spec("INF-13")
def test_a_process_that_is_killed_leaves_state_and_log_agreeing(tmp_path):
    killed_again_and_again(tmp_path, 8, seed=8)


@pytest.mark.slow
def test_two_hundred_instants(tmp_path):
    killed_again_and_again(tmp_path, 200, seed=200)
