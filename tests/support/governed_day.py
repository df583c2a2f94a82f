"""One agent's governed day: steps admitted, refused at every stage, tried again, broken down and composed."""

from __future__ import annotations

from gates import POLICY, candidate, gated
from homes import opened
from world import NOW

HOUR = 3_600_000
MORE = """
[[rules]]
name = "never-asked"
intents = ["clean-up"]
when = { user.banned = true }
reason = "the user is banned"
"""


def lived(path):
    """Open a directory and live the day in it; return the directory, the gate and what was recorded, by name."""
    moment = [NOW]
    home = opened(path, clock=lambda: moment[0])
    gate = gated(home, POLICY + MORE)
    told = {}

    def submit(name, *given, hour=0, **more):
        moment[0] = NOW + hour * HOUR
        told[name] = gate.submit(candidate(*given, **more)).record
        return told[name]

    asked = {"inputs": {"prompt": "give it back"}}
    unsure, sure = {"facts": {"user": {"confirmed": False}}}, {"facts": {"user": {"confirmed": True}}}
    refund = {"tier": "autonomous", "spends": {"cents": 900}, **asked}
    submit("found", "look-up", output="it left", **asked)
    submit("unconfirmed", "refund", **refund, **unsure, hour=1)
    submit("unconfirmed too", "refund", **(refund | {"inputs": {"prompt": "mine too"}}), **unsure, hour=1)
    submit("confirmed", "refund", **refund, **sure, output="done", evidence=told["found"], hour=2)
    submit("dear", "refund", **(refund | {"spends": {"cents": 30_000}}), **sure, hour=3)
    submit("dear and greedy", "refund", **(refund | {"spends": {"cents": 90_000, "gold": 1}}), **sure, hour=3)
    submit("unknown", "drop-tables", hour=30)
    submit("unknown too", "drop-tables", hour=30)
    parts = (candidate("look-up", output="a"), candidate("answer", output="b"))
    broken = gate.submit(candidate("clean-up", parts=parts))
    told["broken"], told["part a"], told["part b"] = broken.record, *(one.record for one in broken.parts)
    told["whole"] = gate.compose([told["confirmed"], *broken.parts], rule="join", output=b"all of it\n")
    told["sent"] = gate.agent.act("send", policy=told["whole"].preds["policy"][0].cid, evidence=told["whole"])
    return home, gate, told
