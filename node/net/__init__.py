"""The network: one small seam, an in-memory network behind it for tests and simulations, libp2p for nodes."""
