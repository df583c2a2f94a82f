"""A governed agent for tests: a policy with every part of one, and candidates."""

from __future__ import annotations

from tslg.node.governing.candidate import Candidate
from tslg.node.governing.gate import Gate

POLICY = """
name = "support"
capabilities = ["read-orders", "refund"]
class = "internal"
tier = "assistant"

[limits]
cents = 50_000

[intents.answer]
[intents.look-up]
uses = ["read-orders"]
class = "personal-data"
[intents.refund]
uses = ["refund"]
tier = "autonomous"
limits = { cents = 20_000 }
[intents.clean-up]
decompose = true

[[rules]]
name = "confirmed"
intents = ["refund"]
when = { "user.confirmed" = { not = true } }
reason = "the user has not confirmed"
"""


def candidate(intent="answer", **more) -> Candidate:
    """Return a candidate step of a model, unless more is said a harmless one."""
    return Candidate(**({"intent": intent, "model": "model-x", "version": "2026-01"} | more))


def gated(home, policy: str | None = POLICY, name="bot", **how) -> Gate:
    """Return a gate for an agent of a directory that is open."""
    return Gate(home.agent(name), None if policy is None else policy.encode(), **how)
