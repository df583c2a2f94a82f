"""What is said about delegations, and each side's machine step by step."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tslg.protocol import cid, codec
from tslg.protocol.delegate import INTERRUPTED, Answer, Begin, Delegate, Recorded, Stop, Taken, Tell, backed_off
from tslg.protocol.delegate import Keep as KeepTaken
from tslg.protocol.delegating import (
    ENDED,
    OPEN,
    Cancel,
    Offer,
    Proof,
    Push,
    State,
    Status,
    one_line,
    read_request,
    vouched,
)
from tslg.protocol.delegator import Delegator, Prove, Send, Sent
from tslg.protocol.exchange import MessageError
from tslg.protocol.limits import DEFAULT

A, B, C = (cid.compute(name) for name in (b"delegator", b"delegate", b"another"))
TASK, OTHER, MADE, SAID, GONE = (cid.compute(name) for name in (b"task", b"other", b"made", b"said", b"gone"))
PROOF = Proof(A, bytes(64))
END = 1_000_000
TAKEN = Taken(TASK, B, A, END)
SENT = Sent(TASK, A, B, END, ("/memory/b/p2p/b",))
MESSAGES = [
    Offer(TASK, ("a",), PROOF),
    Status(TASK, PROOF),
    Cancel(TASK, GONE, (), PROOF),
    Push(TASK, SAID, ("a", "b")),
]


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("DLG-1", "DLG-2")
@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_request_is_read_as_it_was_written_and_in_no_other_shape(message):
    data = message.to_bytes()
    assert read_request(data) == message
    value = codec.decode(data)
    wrong = [b"", b"\xff", codec.encode([]), codec.encode({}), codec.encode(value | {"more": 1})]
    wrong += [codec.encode({k: v for k, v in value.items() if k != name}) for name in value]
    wrong += [codec.encode(value | {name: None}) for name in value]
    wrong += [codec.encode(value | {"op": op}) for op in ("x", 1, [], "result" if value["op"] != "result" else "offer")]
    wrong += [codec.encode(value | {name: b"x"}) for name in value]
    for data in wrong:
        with pytest.raises(MessageError):
            read_request(data)


@pytest.mark.spec("DLG-2")
def test_what_a_request_holds_is_bounded():
    longest = Offer(TASK, ("a" * 512,) * 64, Proof(A, bytes(DEFAULT.delegation_signature_bytes)))
    assert read_request(longest.to_bytes()) == longest
    value = codec.decode(longest.to_bytes())
    for change in (
        {"addresses": ["a"] * 65},
        {"addresses": ["a" * 513]},
        {"addresses": [1]},
        {"proof": {"key": A, "signature": bytes(DEFAULT.delegation_signature_bytes + 1)}},
        {"proof": {"key": b"a", "signature": b""}},
        {"proof": {"key": A, "signature": b"", "more": 1}},
        {"proof": {"key": A}},
    ):
        with pytest.raises(MessageError):
            read_request(codec.encode(value | change))


@pytest.mark.spec("DLG-3")
def test_a_state_is_read_as_it_was_written_and_in_no_other_shape():
    for state in sorted(OPEN | ENDED):
        said = State(state, 1, 2, "why" * 3, MADE if state == "answered" else None, SAID)
        assert State.from_bytes(said.to_bytes()) == said
        assert said.ended == (state in ENDED)
    assert State.from_bytes(State("working").to_bytes()) == State("working", 0, None, None, None, None)
    value = codec.decode(State("answered", 0, 1, "x", MADE, SAID).to_bytes())
    wrong = [{"state": "done"}, {"state": 1}, {"done": -1}, {"done": None}, {"total": -1}, {"total": "1"}]
    wrong += [{"reason": 1}, {"reason": "x" * (DEFAULT.delegation_reason + 1)}, {"result": b"x"}, {"answer": b"x"}]
    wrong += [{"result": None}, {"state": "failed"}, {"more": 1}]
    for change in wrong:
        with pytest.raises(MessageError):
            State.from_bytes(codec.encode(value | change))
    for name in value:
        with pytest.raises(MessageError):
            State.from_bytes(codec.encode({k: v for k, v in value.items() if k != name}))


def test_a_reason_travels_in_one_line():
    assert one_line("a\nb\x1b[31m") == "a b [31m"
    assert len(one_line("x" * 10_000)) == DEFAULT.delegation_reason
    assert one_line("") == "no reason given"


@pytest.mark.spec("DLG-4")
def test_what_is_vouched_for_is_one_peer_and_one_delegation():
    assert len({vouched(TASK, "x"), vouched(TASK, "y"), vouched(OTHER, "x")}) == 3


def test_what_is_kept_is_read_back():
    for taken in (TAKEN, TAKEN._replace(addresses=("a", "b"), state="answered", result=MADE, answer=SAID, told=True)):
        assert Taken.from_bytes(taken.to_bytes()) == taken
    for sent in (SENT, SENT._replace(state="failed", reason="x", retraction=GONE)):
        assert Sent.from_bytes(sent.to_bytes()) == sent


# --- the delegate -----------------------------------------------------------------------------------------------------


def kinds(effects) -> list[str]:
    return [f"Keep {one.entry.state}" if type(one).__name__ == "Keep" else type(one).__name__ for one in effects]


def delegate(limits=DEFAULT, at_once=2) -> Delegate:
    machine = Delegate(limits)
    assert machine.serve(B, at_once) == []
    return machine


@pytest.mark.spec("DLG-8", "DLG-9")
def test_the_intent_is_kept_before_the_work_begins_and_a_repeated_offer_changes_nothing():
    machine = delegate()
    assert kinds(machine.offer(TAKEN, 0)) == ["Keep accepted", "Keep working", "Begin"]
    assert machine.offer(TAKEN, 0) == []
    machine.progressed(TASK, 3, 7)
    assert machine.state(machine.get(TASK))[:3] == ("working", 3, 7)
    assert machine.returned(TASK, "result", None, MADE) == [Answer(TASK, "result", None, MADE)]
    assert machine.returned(TASK, "result", None, OTHER) == []
    assert kinds(machine.recorded(TASK, Recorded("result", SAID, None, MADE), 5)) == ["Keep answered"]
    assert machine.recorded(TASK, Recorded("failed", OTHER, "no"), 5) == []
    assert machine.offer(TAKEN, 6) == []
    assert machine.tick(6) == [Tell(TASK)] and machine.tick(7) == []
    assert kinds(machine.acknowledged(TASK)) == ["Keep answered"]
    assert machine.get(TASK) is None and machine.wake() is None


@pytest.mark.spec("DLG-13")
@pytest.mark.parametrize("told", [False, True])
def test_who_was_not_told_is_told_again_later_each_time_and_one_day_no_more(told):
    machine = delegate()
    machine.offer(TAKEN, 0)
    machine.returned(TASK, "failed", "no", None)
    machine.recorded(TASK, Recorded("failed", SAID, "no"), 0)
    waits, now = [], 0
    while machine.get(TASK) is not None:
        assert Tell(TASK) in machine.tick(now)
        if told:
            machine.acknowledged(TASK)
            break
        machine.untold(TASK, now)
        if machine.get(TASK) is not None:
            waits.append(machine.wake() - now)
            now = machine.wake()
    assert told or (waits == sorted(waits) and waits[-1] <= DEFAULT.delegation_retry_ms)
    assert told or END + DEFAULT.delegation_tell_ms < now <= END + DEFAULT.delegation_tell_ms + waits[-1]


@pytest.mark.spec("DLG-7")
def test_what_has_expired_is_not_begun_and_what_expires_at_work_is_stopped():
    machine = delegate(at_once=1)
    assert kinds(machine.offer(TAKEN._replace(delegation=OTHER), END + 1)) == ["Keep expired"]
    machine.offer(TAKEN, 0)
    waiting = TAKEN._replace(delegation=GONE)
    assert kinds(machine.offer(waiting, 0)) == ["Keep accepted"]
    assert machine.wake() == END + 1 and machine.tick(END) == []
    assert kinds(machine.tick(END + 1)) == ["Stop", "Keep expired", "Keep expired"]
    assert machine.returned(TASK, "result", None, MADE) == []


@pytest.mark.spec("DLG-11")
def test_a_withdrawal_ends_what_waits_what_is_at_work_and_what_never_came():
    machine = delegate(at_once=1)
    machine.offer(TAKEN, 0)
    machine.offer(TAKEN._replace(delegation=OTHER), 0)
    assert machine.withdrawn(TASK, GONE) == [Stop(TASK), Answer(TASK, "cancelled", None, GONE)]
    assert machine.withdrawn(TASK, GONE) == []
    assert machine.withdrawn(OTHER, GONE) == [Answer(OTHER, "cancelled", None, GONE)]
    assert machine.returned(TASK, "result", None, MADE) == [], "a result that crosses it comes too late"
    assert kinds(machine.recorded(TASK, Recorded("cancelled", SAID), 0)) == ["Keep cancelled"]
    never = TAKEN._replace(delegation=MADE)
    assert kinds(machine.withdrawn(MADE, GONE, never)) == ["Keep accepted", "Answer"]
    assert machine.withdrawn(SAID, GONE) == []
    assert machine.offer(never, 0) == [], "an offer that comes after its withdrawal begins nothing"


@pytest.mark.spec("DLG-11")
def test_a_withdrawal_that_crosses_a_result_comes_too_late():
    machine = delegate()
    machine.offer(TAKEN, 0)
    machine.returned(TASK, "result", None, MADE)
    assert machine.withdrawn(TASK, GONE) == []


@pytest.mark.spec("DLG-10")
@pytest.mark.parametrize("again", [False, True])
def test_after_a_crash_in_the_middle_the_work_has_failed_or_is_begun_again(again):
    machine = Delegate()
    kept = TAKEN._replace(state="working", again=again)
    effects = machine.load([kept], {}, {}, 0) + machine.serve(B, 1)
    if again:
        assert kinds(effects) == ["Keep accepted", "Keep working", "Begin"]
    else:
        assert effects == [Answer(TASK, "failed", INTERRUPTED)]


@pytest.mark.spec("DLG-10")
def test_after_a_crash_the_own_log_and_what_is_held_count():
    for state in sorted(OPEN - {"offered"}):
        machine = Delegate()
        kept = TAKEN._replace(state=state)
        said = {TASK: Recorded("result", SAID, None, MADE)}
        (effect,) = machine.load([kept], said, {TASK: GONE}, 0)
        assert effect.entry.result == MADE and effect.entry.state == "answered"
        assert Delegate().load([kept], {}, {TASK: GONE}, 0) == [Answer(TASK, "cancelled", None, GONE)]
        assert kinds(Delegate().load([kept], {}, {}, END + 1)) == ["Keep expired"]
    told = Delegate()
    assert told.load([TAKEN._replace(state="failed", answer=SAID)], {}, {}, 9) == [] and told.tick(9) == [Tell(TASK)]


@pytest.mark.spec("DLG-12")
def test_room_is_bounded_in_all_by_delegator_and_by_agent():
    limits = replace(DEFAULT, delegations_open=3, delegations_per_delegator=2, works_per_delegator=1)
    machine = delegate(limits, at_once=2)
    ids = [cid.compute(bytes([i])) for i in range(9)]
    for id in ids[:2]:
        assert machine.full(A) is None
        machine.offer(TAKEN._replace(delegation=id), 0)
    assert "by that agent" in machine.full(A) and machine.full(C) is None
    effects = machine.offer(TAKEN._replace(delegation=ids[2], delegator=C), 0)
    assert Begin(ids[2]) in effects, "another delegator's is begun, though it came later"
    assert "as it takes" in machine.full(C)
    assert Begin(ids[1]) in machine.returned(ids[0], "failed", "no")
    busy = delegate(at_once=1)
    busy.offer(TAKEN, 0)
    assert Begin(OTHER) not in busy.offer(TAKEN._replace(delegation=OTHER, delegator=C), 0)
    assert busy.withdrawn(TASK, GONE) and busy.recorded(TASK, Recorded("cancelled", SAID), 0)
    assert busy.get(OTHER).state == "accepted", "a work that goes on although it was stopped takes its place"
    assert Begin(OTHER) in busy.returned(TASK, "failed", "stopped")
    busy.offer(TAKEN._replace(delegation=MADE), 0)
    busy.pause()
    assert Begin(MADE) not in busy.returned(OTHER, "failed", "no")


def test_an_end_that_cannot_be_recorded_is_kept_and_not_pushed():
    machine = delegate()
    machine.offer(TAKEN, 0)
    machine.returned(TASK, "failed", "no", None)
    (effect,) = machine.unrecorded(TASK, "failed", "no", 0)
    assert isinstance(effect, KeepTaken) and effect.entry.told and not effect.entry.live
    assert machine.unrecorded(TASK, "failed", "no", 0) == [] and machine.tick(1) == []


# --- the delegator ----------------------------------------------------------------------------------------------------


@pytest.mark.spec("DLG-5")
def test_a_delegation_is_sent_again_later_each_time_until_it_is_ended():
    machine = Delegator()
    machine.offer(SENT, 0)
    assert machine.offer(SENT, 0) == [], "handed out once"
    now, waits = 0, []
    while now <= END:
        assert machine.tick(now) == [Send(TASK)] and machine.tick(now) == []
        machine.missed(TASK, now)
        waits.append(machine.wake() - now)
        now = machine.wake()
    assert waits == sorted(waits) and waits[0] < 1_000 and waits[-1] <= DEFAULT.delegation_retry_ms
    machine.reached(TASK)
    machine.missed(TASK, now)
    assert machine.wake() - now < 1_000
    machine.tick(END + DEFAULT.clock_skew_ms)
    assert machine.get(TASK) is not None
    (effect,) = machine.tick(END + DEFAULT.clock_skew_ms + 1)
    assert effect.entry.state == "expired" and machine.wake() is None


@pytest.mark.spec("DLG-6")
@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_end_is_believed_of_the_named_peer_and_of_a_record(state):
    said = State(state, reason="x", result=MADE if state == "answered" else None, answer=SAID)
    machine = Delegator()
    machine.offer(SENT, 0)
    assert machine.heard(TASK, said._replace(answer=None), named=False) == []
    assert machine.heard(TASK, said, named=False) == [Prove(TASK, SAID)]
    assert machine.get(TASK).state == "offered"
    (effect,) = machine.heard(TASK, said, named=True)
    assert effect.entry.state == state and machine.get(TASK) is None
    assert machine.heard(TASK, said, named=True) == []


@pytest.mark.spec("DLG-6")
def test_what_the_delegates_log_says_counts_more_than_what_was_believed():
    machine = Delegator()
    machine.offer(SENT, 0)
    machine.drop(TASK, "nobody there")
    (effect,) = machine.proven(SENT._replace(state="failed"), Recorded("result", SAID, None, MADE))
    assert (effect.entry.state, effect.entry.result) == ("answered", MADE)
    assert machine.proven(effect.entry, Recorded("result", SAID, None, MADE)) == []


@pytest.mark.spec("DLG-11")
def test_what_is_cancelled_is_sent_as_such_at_once_and_ends_when_nobody_can_do_it_any_more():
    machine = Delegator()
    machine.offer(SENT, 0)
    machine.tick(0)
    machine.missed(TASK, 0)
    assert machine.tick(1) == []
    (effect,) = machine.cancel(TASK, GONE, 1)
    assert effect.entry.retraction == GONE and machine.cancel(TASK, OTHER, 1) == []
    assert machine.tick(1) == [Send(TASK)]
    (effect,) = machine.tick(END + DEFAULT.clock_skew_ms + 1)
    assert effect.entry.state == "cancelled"
    assert machine.cancel(TASK, GONE, 1) == []


def test_after_a_restart_what_is_open_is_sent_at_once():
    machine = Delegator()
    machine.load([SENT, SENT._replace(delegation=OTHER, state="failed")], 7)
    assert machine.live() == [TASK] and machine.tick(7) == [Send(TASK)]


def test_there_is_room_for_so_many():
    machine = Delegator(replace(DEFAULT, delegations_out=1))
    assert not machine.full
    machine.offer(SENT, 0)
    assert machine.full


def test_attempts_are_spread_out():
    assert [backed_off(tries, DEFAULT, 0.0) for tries in range(3)] == [500, 1_000, 2_000]
    assert backed_off(2, DEFAULT, 0.999) in range(3_990, 4_000)
    assert backed_off(10**6, DEFAULT, 1.0) == DEFAULT.delegation_retry_ms
