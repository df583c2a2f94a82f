"""Governed steps written by hand, and what stands for a model's inputs and outputs."""

from __future__ import annotations

from hashlib import sha256


def digest(text: str) -> bytes:
    """Return the digest of a text."""
    return sha256(text.encode()).digest()


def _policy(agent, envelope):
    """Return a policy of the agent's that lets it claim classes and tiers, recorded at the first time."""
    context, store = agent._ledger.context, agent._ledger.store
    held = [context.record(id) for id in store.by_kind("policy", agent.id)]
    found = next((one for one in held if one.body["name"] == "steps"), None)
    return found or agent.policy("steps", classes=envelope.classes, tiers=envelope.tiers)


def step(agent, n: int = 0, kind: str = "inference", *, policy=None, delegation=None, **body):
    """Record a step of a model."""
    said = {
        "model": "example",
        "model_version": "1",
        "inputs": {"prompt": digest(f"prompt {n}")},
        "intent": "answer",
        **body,
    }
    envelope = agent._manifest().envelope
    if kind != "rejection":
        said |= {"class": envelope.classes[0]} if envelope.classes else {}
        said |= {"tier": envelope.tiers[0]} if envelope.tiers else {}
    if not delegation and (envelope.classes or envelope.tiers):
        policy = policy or _policy(agent, envelope)
    if kind in ("inference", "composite"):
        said["output"] = digest(f"output {n}")
    if kind == "rejection":
        said["stage"] = "policy"
    if kind in ("rejection", "decomposition"):
        said["reason"] = "because"
    return agent._append(kind, said, policy=policy, delegation=delegation, authorised=True)
