"""Both sides of delegations against loss, repetition, reordering, and crashes between any two effects."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tslg.protocol import cid
from tslg.protocol.delegate import INTERRUPTED, Answer, Begin, Delegate, Recorded, Stop, Taken, Tell
from tslg.protocol.delegating import CANCELLED, ENDED, EXPIRED, OPEN, STATE_OF
from tslg.protocol.delegator import Delegator, Prove, Send, Sent

A, B = cid.compute(b"delegator"), cid.compute(b"delegate")
HOUR = 3_600_000


class Reply:
    """Stands in the queue behind what an offer caused: the delegate answers once that is done."""

    def __init__(self, id):
        self.id = id


class Network(RuleBasedStateMachine):
    """A delegator, a delegate and the messages between them. What is durable is what `Keep` and the logs hold."""

    @initialize(again=st.booleans())
    def start(self, again):
        self.again = again
        self.now = 0
        self.names = count()
        self.mail: list[tuple] = []
        self.sent: dict = {}
        self.taken: dict = {}
        self.log: dict = {}
        self.retracted: dict = {}
        self.heard_of: set = set()
        self.begun: Counter = Counter()
        self.crashes: set = set()
        self.restart_delegator()
        self.restart_delegate()
        self.hand_out(24 * HOUR)
        self.time_passes(0)

    # --- the delegator's node ---------------------------------------------------------------------------------------

    def restart_delegator(self):
        self.out = Delegator()
        self.out.load([one for one in self.sent.values() if one.live], self.now)
        self.out_queue: list = []

    @rule()
    def crash_delegator(self):
        self.restart_delegator()

    @precondition(lambda self: len(self.sent) < 3)
    @rule(lasts=st.sampled_from([HOUR, 24 * HOUR]))
    def hand_out(self, lasts):
        id = cid.compute(b"delegation %d" % next(self.names))
        sent = Sent(id, A, B, self.now + lasts, ())
        # The delegation is recorded and kept before anybody is told that it is.
        self.sent[id] = sent
        self.out_queue += self.out.offer(sent, self.now)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def cancel(self, data):
        id = data.draw(st.sampled_from(sorted(self.sent)))
        if self.out.get(id) is not None:
            gone = self.retracted.setdefault(id, cid.compute(b"gone" + id))
            self.out_queue += self.out.cancel(id, gone, self.now)

    @precondition(lambda self: self.out_queue)
    @rule()
    def delegator_does_one_thing(self):
        effect = self.out_queue.pop(0)
        if isinstance(effect, Send):
            entry = self.out.get(effect.delegation)
            if entry is not None:
                self.mail.append(("offer", entry, None) if entry.retraction is None else ("cancel", entry, None))
            self.out.missed(effect.delegation, self.now)
        elif isinstance(effect, Prove):
            raise AssertionError("everybody here is known by name")
        else:
            self.sent[effect.entry.delegation] = effect.entry

    # --- the delegate's node ----------------------------------------------------------------------------------------

    def restart_delegate(self):
        self.inbox = Delegate()
        kept = [one for one in self.taken.values() if one.live]
        withdrawn = {id: self.retracted[id] for id in self.heard_of}
        self.in_queue = self.inbox.load(kept, self.log, withdrawn, self.now) + self.inbox.serve(B, 2)
        self.known_gone = set(self.heard_of)
        self.at_work: set = set()

    @rule()
    def crash_delegate(self):
        self.crashes |= {id for id, one in self.taken.items() if one.state in OPEN}
        self.restart_delegate()

    @precondition(lambda self: self.in_queue)
    @rule()
    def delegate_does_one_thing(self):
        effect = self.in_queue.pop(0)
        if isinstance(effect, Begin):
            id = effect.delegation
            assert self.taken[id].state == "working", "the intent is not durable"
            assert id not in self.log, "it is answered"
            assert id not in self.known_gone, "it is withdrawn"
            self.begun[id] += 1
            self.at_work.add(id)
        elif isinstance(effect, Answer):
            self.in_queue += self.record(effect)
        elif isinstance(effect, Tell):
            entry = self.inbox.get(effect.delegation)
            if entry is not None:
                self.mail.append(("push", entry, entry.answer))
            self.in_queue += self.inbox.untold(effect.delegation, self.now)
        elif isinstance(effect, Reply):
            entry = self.inbox.get(effect.id) or self.taken.get(effect.id)
            if entry is not None:
                self.mail.append(("state", effect.id, self.inbox.state(entry)))
        elif not isinstance(effect, Stop):
            self.taken[effect.entry.delegation] = effect.entry

    def record(self, effect):
        """Append the answer as admission lets it be: the first, and a result only in time."""
        id = effect.delegation
        assert id not in self.log, "answered twice"
        if effect.outcome == "result" and self.now > self.inbox.get(id).expires:
            return self.inbox.unrecorded(id, EXPIRED, None, self.now)
        result = effect.evidence if effect.outcome == "result" else None
        self.log[id] = Recorded(effect.outcome, cid.compute(b"answer" + id), effect.reason, result)
        return self.inbox.recorded(id, self.log[id], self.now)

    @precondition(lambda self: self.at_work)
    @rule(data=st.data(), fails=st.booleans())
    def a_work_ends(self, data, fails):
        id = data.draw(st.sampled_from(sorted(self.at_work)))
        self.at_work.discard(id)
        made = cid.compute(b"made" + id)
        self.in_queue += (
            self.inbox.returned(id, "failed", "no") if fails else self.inbox.returned(id, "result", None, made)
        )

    # --- between them -----------------------------------------------------------------------------------------------

    def deliver(self, index):
        what, about, more = self.mail[index]
        if what == "state":
            self.out_queue += self.out.heard(about, more, named=True)
            return
        id = about.delegation
        if what == "push":
            entry = self.sent[id]
            if entry.answer != more:
                self.out_queue += self.out.proven(entry, self.log[id])
            self.mail.append(("ack", about, None))
        elif what == "ack":
            self.in_queue += self.inbox.acknowledged(id)
        elif self.taken.get(id) is not None and not self.taken[id].live:
            self.in_queue.append(Reply(id))
        elif what == "offer":
            given = Taken(id, B, A, about.expires, again=self.again)
            # The retraction is held from when it is heard of, whatever the machine forgot of it in a crash.
            gone = self.retracted[id] if id in self.heard_of else None
            taken = self.inbox.offer(given, self.now) if gone is None else self.inbox.withdrawn(id, gone, given)
            self.in_queue += [*taken, Reply(id)]
        else:
            self.heard_of.add(id)
            given = Taken(id, B, A, about.expires, again=self.again)
            self.in_queue += [*self.inbox.withdrawn(id, about.retraction, given), Reply(id)]

    @precondition(lambda self: self.mail)
    @rule(data=st.data(), twice=st.booleans())
    def deliver_one(self, data, twice):
        index = data.draw(st.integers(0, len(self.mail) - 1))
        self.deliver(index)
        if not twice:
            del self.mail[index]

    @precondition(lambda self: self.mail)
    @rule(data=st.data())
    def lose_one(self, data):
        del self.mail[data.draw(st.integers(0, len(self.mail) - 1))]

    @rule(ms=st.sampled_from([0, 1_000, HOUR, 12 * HOUR]))
    def time_passes(self, ms):
        self.now += ms
        self.out_queue += self.out.tick(self.now)
        self.in_queue += self.inbox.tick(self.now)

    @rule(steps=st.integers(1, 12))
    def all_goes_well_for_a_while(self, steps):
        """Without it, hardly any delegation would get far between faults."""
        for _ in range(steps):
            if self.out_queue:
                self.delegator_does_one_thing()
            elif self.in_queue:
                self.delegate_does_one_thing()
            elif self.mail:
                self.deliver(0)
                del self.mail[0]
            else:
                self.time_passes(0)

    # --- what must hold ---------------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_done_twice(self):
        if hasattr(self, "begun") and not self.again:
            assert all(times <= 1 for times in self.begun.values())

    def teardown(self):
        """Once messages get through, both sides end, and alike."""
        if not hasattr(self, "now"):
            return
        for _ in range(600):
            while self.out_queue or self.in_queue or self.mail or self.at_work:
                if self.out_queue:
                    self.delegator_does_one_thing()
                elif self.in_queue:
                    self.delegate_does_one_thing()
                elif self.mail:
                    self.deliver(0)
                    del self.mail[0]
                else:
                    id = self.at_work.pop()
                    self.in_queue += self.inbox.returned(id, "result", None, cid.compute(b"made" + id))
            due = [at for at in (self.out.wake(), self.inbox.wake()) if at is not None]
            if not due:
                break
            self.now = max(self.now, *due)
            self.time_passes(0)
        for id, sent in self.sent.items():
            self.agree(id, sent)

    def agree(self, id, sent):
        taken, said = self.taken.get(id), self.log.get(id)
        assert sent.state in ENDED
        if said is not None:
            assert sent.state == taken.state == STATE_OF[said.outcome]
            assert (sent.result, sent.answer) == (taken.result, taken.answer) == (said.result, said.answer)
            if said.outcome == "result":
                assert self.begun[id] == 1 or self.again
            assert said.reason != INTERRUPTED or id in self.crashes
        else:
            assert taken is None or taken.state == EXPIRED
            assert sent.state in (EXPIRED, CANCELLED)
            assert sent.state != CANCELLED or id in self.retracted


Network.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestBothSides = pytest.mark.spec("DLG-9", "DLG-10", "DLG-14")(Network.TestCase)
