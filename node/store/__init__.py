"""Durable storage: one interface, an SQLite store on disk, a store in memory, and the lock of a data directory."""
