"""A governed desk for tests of agent frameworks: a gate, its policy, and what it wrote."""

from __future__ import annotations

from tslg.node.governing.gate import Gate

POLICY = b"""
name = "desk"
capabilities = ["pay"]
class = "internal"

[limits]
cents = 100_000

[intents.chat]
[intents.ask]
[intents.look]
[intents.fail]
[intents.final]
[intents.triage]
[intents.again]

[intents.refund]
uses = ["pay"]

[[rules]]
name = "large-refunds"
intents = ["refund"]
reason = "refunds above 100.00 need a person"
unless = { cents = { at_most = 10000 } }

[[rules]]
name = "no-shouting"
intents = ["final", "triage"]
reason = "we do not shout"
when = { mood = { is = "loud" } }
"""


class Desk:
    """A gate over an agent of a home, and the records that it wrote since it was last asked."""

    def __init__(self, home, name="desk", policy=POLICY):
        self.home = home
        self.gate = Gate(home.agent(name), policy)
        self.seen = 0
        self.new()

    def new(self):
        """Return the records written since the last time, in order."""
        store, owner = self.home.store, self.gate.agent.id
        upto = store.newest_seq(owner) + 1
        found = [self.gate.agent._held(id) for id in store.ids(owner, self.seen, upto)]
        self.seen = upto
        return found


def told(records):
    """Return kinds and intents, as one reads them."""
    return [" ".join(filter(None, (one.kind, one.body.get("intent")))) for one in records]


def cites(record, class_="evidence"):
    """Return the ids that a record cites in a class."""
    return {edge.cid for edge in record.preds.get(class_, ())}
