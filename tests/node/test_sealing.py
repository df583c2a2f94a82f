"""Signatures checked beside other work: outcomes in order of nothing, and the interpreter as it was before."""

from __future__ import annotations

import sys

from tslg.node.sealing import Checks


def test_the_last_to_leave_puts_the_switching_interval_back() -> None:
    before = sys.getswitchinterval()
    first, second = Checks(2, {}), Checks(2, {})
    first.__enter__()
    second.__enter__()
    assert sys.getswitchinterval() < before
    first.__exit__()
    assert sys.getswitchinterval() < before
    second.__exit__()
    assert sys.getswitchinterval() == before


def test_one_worker_leaves_it_alone() -> None:
    before = sys.getswitchinterval()
    with Checks(1, {}):
        assert sys.getswitchinterval() == before
