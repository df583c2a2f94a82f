"""Signed, content-addressed lineage for AI agents, checkable by a stranger across companies."""

__version__ = "0.1.0"
