"""Governed inference: what a policy says of a step before it is taken. Pure; normative: docs/spec/inference.md."""
