"""Everything that touches the world: stores, the network, the agent's interface, the auditor, the command line."""
