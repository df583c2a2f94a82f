"""Heads of logs that nodes announce to each other: making, hearing, comparing and keeping them."""
