"""Governed steps written by hand, and what stands for a model's inputs and outputs."""

from __future__ import annotations

from hashlib import sha256


def digest(text: str) -> bytes:
    """Return the digest of a text."""
    return sha256(text.encode()).digest()


def step(agent, n: int = 0, kind: str = "inference", *, policy=None, delegation=None, **body):
    """Record a step of a model."""
    said = {
        "model": "example",
        "model_version": "1",
        "inputs": {"prompt": digest(f"prompt {n}")},
        "intent": "answer",
        **body,
    }
    if kind in ("inference", "composite"):
        said["output"] = digest(f"output {n}")
    if kind == "rejection":
        said["stage"] = "policy"
    if kind in ("rejection", "decomposition"):
        said["reason"] = "because"
    return agent._append(kind, said, policy=policy, delegation=delegation, authorised=True)
