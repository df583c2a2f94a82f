"""A policy for a calculator, and what became of its steps."""

from __future__ import annotations

import pytest

from tslg.node.cli.access import find_log
from tslg.node.home import Home

POLICY = """
name = "calculator"
class = "internal"

[intents."*"]

[[rules]]
name = "small-sums"
intents = ["add"]
reason = "we add small numbers only"
when = { a = { above = 100 } }
"""


@pytest.fixture(scope="session")
def policy(tmp_path_factory):
    file = tmp_path_factory.mktemp("policy") / "policy.toml"
    file.write_text(POLICY)
    return file


@pytest.fixture
def steps():
    """Return the kinds, intents and observed results of a log, in order, read from disk."""

    def read(data, name):
        with Home.read(data) as home:
            store = home.store
            owner = find_log(store, name)
            records = [home.ledger.context.record(id) for id in store.ids(owner, 0, store.newest_seq(owner) + 1)]
        return [record for record in records if record.kind in ("inference", "rejection", "observation")]

    return read
