"""Delegation between nodes: handing tasks to agents of others until they answer, and doing those of others once."""
