"""The local interface of a running node: other processes of the host write its agents' logs through it."""
