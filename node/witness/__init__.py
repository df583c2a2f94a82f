"""Witnesses: the server that cosigns checkpoints of logs, and the client by which a log asks for cosignatures."""
