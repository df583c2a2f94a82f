"""Records of models' steps that show more or less than their manifest asks for, or are sealed by lesser keys."""

from __future__ import annotations

from breach import OPEN, breaks
from breaches_authority import step

from tslg.protocol.rules.recording import rule_binding, rule_recording


def keeping(**said: str) -> str:
    """A manifest with this in the entry `recording`."""
    entries = ", ".join(f'{name} = "{value}"' for name, value in said.items())
    return OPEN.replace("[envelope]\n", f"[envelope]\nrecording = {{ {entries} }}\n")


@breaks(rule_recording, "RECORDING", "nothing of `scratch` recorded")
def scratch_that_nobody_asked_for(w):
    return step(w, "inference", scratch=bytes(32))


@breaks(rule_recording, "RECORDING", "nothing of `tools` recorded", toml=keeping(tools="none", facts="digest"))
def tools_that_shall_not_be_recorded(w):
    return step(w, "composite", tools=bytes(32), facts=bytes(32))


@breaks(rule_recording, "RECORDING", "the digest of `facts`", toml=keeping(facts="digest"))
def a_rejection_without_the_facts_that_it_rests_on(w):
    return step(w, "rejection")


@breaks(rule_recording, "RECORDING", "the digest of `activations`", toml=keeping(activations="plaintext"))
def a_plaintext_in_the_vault_without_its_digest(w):
    return step(w, "decomposition")


@breaks(
    rule_binding, "BINDING", "held by its tenant, and its manifest demands platform", toml=keeping(binding="platform")
)
def a_step_by_a_lesser_key(w):
    return step(w, "inference")
