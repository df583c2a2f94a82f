"""What a record is and what makes it valid: pure code without sockets, disk, clock or randomness of its own."""
