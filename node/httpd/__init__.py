"""HTTP for the project's own servers: the witness, and a node's local interface."""
