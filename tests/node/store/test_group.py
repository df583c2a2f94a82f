"""Group commit: everybody's work is done once, groups fill up, and nobody waits for one who went away."""

from __future__ import annotations

import threading
import time

import pytest

from tslg.node.store.group import GroupCommit
from tslg.protocol.errors import StoreError


def together(callers, submit):
    """Run callers at once; return what each raised, or None."""
    raised = [None] * len(callers)

    def call(at, works):
        try:
            for work in works:
                submit(work)
        except BaseException as error:
            raised[at] = error

    threads = [threading.Thread(target=call, args=(at, works)) for at, works in enumerate(callers)]
    for one in threads:
        one.start()
    for one in threads:
        one.join(30)
    assert not any(one.is_alive() for one in threads), "somebody waits for ever"
    return raised


def test_all_work_is_done_once_and_groups_fill_up():
    groups = []

    def commit(works):
        time.sleep(0.001)
        groups.append(list(works))

    raised = together([[(at, n) for n in range(50)] for at in range(8)], GroupCommit(commit).submit)
    assert raised == [None] * 8
    done = [one for group in groups for one in group]
    assert sorted(done) == [(at, n) for at in range(8) for n in range(50)]
    for at in range(8):
        assert [n for caller, n in done if caller == at] == list(range(50)), "in the order of its caller"
    assert len(groups) < 200, "eight callers share commits"


def test_only_the_culprit_learns_of_its_failure():
    committed = []

    def commit(works):
        if 13 in works:
            raise ValueError("13")
        committed.extend(works)

    raised = together([[1], [2], [13], [4]], GroupCommit(commit).submit)
    assert [type(one) for one in raised] == [type(None), type(None), ValueError, type(None)]
    assert sorted(committed) == [1, 2, 4]


def test_a_leader_that_is_interrupted_leaves_the_others_told_and_the_next_leads():
    class Stop(BaseException):
        pass

    first = threading.Event()

    def commit(works):
        if not first.is_set():
            first.set()
            time.sleep(0.05)
            raise Stop

    group = GroupCommit(commit)
    raised = together([["a"], ["b"], ["c"]], group.submit)
    kinds = [type(one) for one in raised]
    assert kinds.count(Stop) == 1 and set(kinds) <= {Stop, StoreError, type(None)}
    group.submit("d")


@pytest.mark.parametrize("leads", [False, True])
def test_who_goes_away_while_waiting_holds_up_nobody(leads):
    go, began = threading.Event(), threading.Event()
    done = []

    def commit(works):
        began.set()
        go.wait(10)
        done.extend(works)

    group = GroupCommit(commit)
    leader = threading.Thread(target=group.submit, args=("first",))
    leader.start()
    began.wait(10)

    class Gone(BaseException):
        pass

    class Impatient:
        """Stands in for the lock of a caller that is interrupted, before or after it is chosen to lead."""

        def __init__(self, wake):
            self._wake = wake

        def acquire(self):
            if leads:
                go.set()
                self._wake.acquire()
            raise Gone

        def release(self):
            self._wake.release()

    waits = group._wait

    def wait(call):
        call.wake = Impatient(call.wake)
        waits(call)

    group._wait = wait
    with pytest.raises(Gone):
        group.submit("gone")
    group._wait = waits
    go.set()
    group.submit("last")
    leader.join(10)
    assert done == ["first", "last"]
