"""PostgreSQL for tests: one private server for a test run, and a schema of its own for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import psycopg

from tslg.node.bench.cluster import Cluster
from tslg.node.store.postgres_engine import Place

_numbers = count()


@contextmanager
def fresh_place(cluster: Cluster) -> Iterator[Place]:
    """Name a schema that is not there yet, and drop it in the end."""
    place = Place(cluster.dsn, f"test_{os.getpid()}_{next(_numbers)}")
    yield place
    with psycopg.connect(cluster.dsn, autocommit=True) as db:
        db.execute("SET client_min_messages = warning")
        db.execute(f"DROP SCHEMA IF EXISTS {place.schema} CASCADE")
