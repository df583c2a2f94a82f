"""Deterministic federated populations that drive the same protocol code as a node."""
