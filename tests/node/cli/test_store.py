"""`tslg store`: where the lineage is, and its move into a database, as people and programs are told of it."""

from __future__ import annotations

import sys

import pytest

from tslg.node.store.naming import FILE, Named
from tslg.protocol.errors import StoreError


def test_a_directory_moves_and_says_so(cli, world, place):
    before = cli.json("store", "show", "--data", world.data)
    assert (before["kind"], before["where"], before["writers"]) == ("sqlite", str(world.data / "tslg.sqlite"), [])
    told = cli.json("store", "postgresql", place.dsn, "--schema", place.schema, "--data", world.data)
    assert told == {
        "data": str(world.data),
        "schema": place.schema,
        "kept": str(world.data / "tslg.sqlite.before-move"),
    }
    after = cli.json("store", "show", "--data", world.data)
    assert after["kind"] == "postgresql" and place.schema in after["where"]
    assert (after["records"], after["logs"]) == (before["records"], before["logs"])
    assert cli.json("fsck", "--data", world.data)["problems"] == []
    assert cli.json("verify", world.target, "--data", world.data)["verdict"] == "valid"
    assert "TSLG-D-MOVED" in cli.error("store", "postgresql", place.dsn, "--data", world.data)
    assert "REINDEX" in cli.error("fsck", "--repair", "--data", world.data)


def test_what_is_wrong_with_a_database_is_one_line(cli, world, place, tmp_path):
    error = cli.error("store", "postgresql", "host=localhost password=hunter2", "--data", world.data)
    assert "TSLG-D-DSN" in error and "hunter2" not in error
    nowhere = place.dsn.replace("dbname=postgres", "dbname=nowhere")
    assert "TSLG-D-MISSING" in cli.error("store", "postgresql", nowhere, "--data", tmp_path / "new")
    away = "host=127.0.0.1 port=1 connect_timeout=1"
    assert "TSLG-D-SERVER" in cli.error("store", "postgresql", away, "--data", world.data)
    assert (world.data / "tslg.sqlite").exists() and not (world.data / FILE).exists()
    assert "TSLG-D-MISSING" in cli.error("store", "show", "--data", tmp_path / "nothing")


def test_an_empty_database_has_no_lineage_yet(cli, place, tmp_path):
    cli.text("store", "postgresql", place.dsn, "--schema", place.schema, "--data", tmp_path)
    assert cli.json("store", "show", "--data", tmp_path)["records"] == 0
    assert "belongs to no federation yet" in cli.error("log", "--data", tmp_path)


def test_without_what_reaches_databases_it_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("tslg.node.store.postgres")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreError) as caught:
        Named("host=localhost").place()
    assert caught.value.code == "TSLG-D-EXTRA" and "tslg[postgres]" in caught.value.mend
