"""Attacks on a vault's files, and by readers who may not: nothing is handed out that is not what the record says."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing

import pytest

from tslg.protocol.access import STRANGER, Reader
from tslg.protocol.errors import StoreError, UsageError, VaultError

SECRET = b"the patient's name is Ada Example"
ONE = {"inputs/prompt": b"first " + SECRET, "output": b"yes " + SECRET, "tools": b"[]"}
OTHER = {"inputs/prompt": b"second", "output": b"no, and that is all", "tools": b"[]"}


@pytest.fixture
def scene(node, manifest, step):
    """Two steps of one agent and one of another's, in a vault that is closed; its folder and the records."""
    with node(manifest()) as home:
        a, b = home.agent("a"), home.agent("b")
        made = [step(home, a, ONE), step(home, a, OTHER), step(home, b, OTHER)]
        path = home.path
    return path, made


def tampered(path, *statements, file="keys.sqlite"):
    with closing(sqlite3.connect(path / "vault" / file)) as db, db:
        for statement, values in statements:
            assert db.execute(statement, values).rowcount != 0


def broken(node, record, name, code="TSLG-P-BROKEN"):
    with node() as home, pytest.raises(VaultError) as caught:
        home.plaintexts.read(record.id, name)
    assert caught.value.code == code and SECRET.decode() not in str(caught.value)
    return True


@pytest.mark.spec("RCD-11", "RCD-12")
def test_ciphertexts_that_change_places_are_found(node, scene):
    path, (one, other, _) = scene
    swap = (
        "UPDATE chunk SET entry = CASE entry WHEN 2 THEN 5 WHEN 5 THEN 2 END, place = place + 100 WHERE entry IN (2, 5)"
    )
    tampered(path, (swap, ()), ("UPDATE chunk SET place = place - 100 WHERE place >= 100", ()), file="data.sqlite")
    assert broken(node, one, "output") and broken(node, other, "output")


@pytest.mark.spec("RCD-11", "RCD-12")
@pytest.mark.parametrize(
    "columns",
    ["record", "wrapped", "wrapped, mark", "mark", "digest", "record, wrapped, mark", "name", "size", "owner"],
)
def test_entries_whose_values_change_places_are_found(node, scene, columns):
    path, (one, _, foreign) = scene
    names = columns.split(", ")
    with closing(sqlite3.connect(path / "vault" / "keys.sqlite")) as db:
        get = f"SELECT {columns} FROM entry WHERE record = ? AND name = ?"
        mine = db.execute(get, (one.id, "output")).fetchone()
        theirs = db.execute(get, (foreign.id, "inputs/prompt" if columns == "name" else "output")).fetchone()
    assert mine != theirs
    change = f"UPDATE entry SET {', '.join(f'{name} = ?' for name in names)} WHERE id = ?"
    if "record" in names or "name" in names:
        tampered(path, ("DELETE FROM entry WHERE record = ? AND name <> 'output'", (one.id,)))
    if "record" in names:
        tampered(path, ("DELETE FROM entry WHERE record = ?", (foreign.id,)))
    tampered(path, (change, (*theirs, 2)))
    target = foreign if "record" in names else one
    assert broken(node, target, "inputs/prompt" if columns == "name" else "output")


@pytest.mark.spec("RCD-12")
def test_a_plaintext_that_was_cut_short_is_found(node, scene):
    path, (one, *_) = scene
    tampered(path, ("DELETE FROM chunk WHERE entry = 2", ()), file="data.sqlite")
    assert broken(node, one, "output")


@pytest.mark.spec("RCD-12")
def test_ciphertexts_of_the_same_key_from_before_are_no_others(node, scene):
    path, (one, *_) = scene
    tampered(
        path, ("UPDATE chunk SET data = substr(data, 1, length(data) - 1) WHERE entry = 2", ()), file="data.sqlite"
    )
    assert broken(node, one, "output")


@pytest.mark.spec("RCD-11")
def test_keys_of_tenants_that_change_places_are_found(node, scene):
    path, (one, _, foreign) = scene
    with closing(sqlite3.connect(path / "vault" / "keys.sqlite")) as db:
        (theirs,) = db.execute("SELECT wrapped FROM tenant WHERE owner = ?", (foreign.owner,)).fetchone()
    tampered(path, ("UPDATE tenant SET wrapped = ? WHERE owner = ?", (theirs, one.owner)))
    assert broken(node, one, "output")


@pytest.mark.spec("RCD-11")
def test_the_key_file_of_another_vault_opens_nothing(node, scene, manifest, step, monkeypatch):
    path, (one, *_) = scene
    with node(manifest(), "other") as home:
        step(home, home.agent("a"), ONE)
        other = home.path
    monkeypatch.setenv("TSLG_VAULT_KEY", str(other / "keys" / "vault.key"))
    assert broken(node, one, "output", "TSLG-P-KEY")
    # Nor does it where the settings that would tell are exchanged too.
    with closing(sqlite3.connect(other / "vault" / "keys.sqlite")) as db:
        settings = db.execute("SELECT value, name FROM setting WHERE name IN ('vault', 'check')").fetchall()
    tampered(path, *(("UPDATE setting SET value = ? WHERE name = ?", row) for row in settings))
    assert broken(node, one, "output")


def test_a_file_that_was_cut_off_is_no_vault(node, scene):
    path, _ = scene
    file = path / "vault" / "keys.sqlite"
    file.write_bytes(file.read_bytes()[:5_000])
    with pytest.raises(StoreError, match="TSLG-D-"), node() as home:
        home.plaintexts.unlock()


def test_another_programs_file_is_no_vault(node, scene):
    path, _ = scene
    shutil.copy(path / "tslg.sqlite", path / "vault" / "data.sqlite")
    with pytest.raises(StoreError, match="TSLG-D-NOT-A-STORE"), node():
        pass


@pytest.mark.spec("RCD-13")
def test_what_was_destroyed_does_not_come_back_with_an_older_vault(node, scene):
    path, (one, *_) = scene
    shutil.copytree(path / "vault", path / "copy")
    with node() as home:
        entry = home.plaintexts.unlock().entry(one.id, "output")
        home.agent("a").redact(one.id, blobs=[entry.digest], reason="asked to")
    shutil.rmtree(path / "vault")
    (path / "copy").rename(path / "vault")
    with node() as home:
        assert [name for name in (path / "vault").iterdir() if entry.wrapped in name.read_bytes()] == []
    assert broken(node, one, "output", "TSLG-P-GONE")


@pytest.mark.spec("RCD-13")
def test_a_redaction_by_another_agent_destroys_nothing(node, scene):
    _, (one, *_) = scene
    with node() as home:
        digest = home.plaintexts.unlock().entry(one.id, "output").digest
        stranger = home.agent("b").state({})
        forged = home.ledger.context.record(stranger.id)._replace(
            kind="redaction", body={"target": one.id, "fields": [], "blobs": [digest], "reason": "because"}
        )
        home.ledger.carry_out([forged])
        assert home.plaintexts.read(one.id, "output") == ONE["output"]


# --- readers ---------------------------------------------------------------------------------------------------------


CLOSED = '\n[envelope.access]\ndefault = []\ngrantable = ["anyone"]\n'


@pytest.mark.spec("RCD-16")
def test_who_may_read_a_record_may_not_read_its_plaintexts_by_that(home, step):
    made = step(home, home.agent("a"), ONE)
    b = home.agent("b")
    assert home.plaintexts.read(made.id, "output", Reader(frozenset((made.owner,)))) == ONE["output"]
    for reader in (STRANGER, Reader(frozenset((b.id,)))):
        for name in ("output", "nothing"):
            with pytest.raises(VaultError, match="TSLG-P-DENIED"):
                home.plaintexts.read(made.id, name, reader)


@pytest.mark.spec("RCD-16")
def test_readers_of_plaintexts_must_be_let_read_the_record_too(node, manifest, step):
    with node(manifest('readers = ["anyone"]', then=CLOSED)) as home:
        a, b = home.agent("a"), home.agent("b")
        made = step(home, a, ONE)
        reader = Reader(frozenset((b.id,)))
        with pytest.raises(VaultError, match="TSLG-P-DENIED"):
            home.plaintexts.read(made.id, "output", reader)
        a.access_rule("grant", agents=[b.id], records=[made.id])
        assert home.plaintexts.read(made.id, "output", reader) == ONE["output"]


@pytest.mark.spec("RCD-17")
def test_every_reading_is_recorded_before_it_happens(node, manifest, step, monkeypatch):
    with node(manifest("readings = true")) as home:
        a = home.agent("a")
        made = step(home, a, ONE)
        entry = home.plaintexts.unlock().entry(made.id, "output")
        assert home.plaintexts.read(made.id, "output") == ONE["output"]
        home.plaintexts.read(made.id, "tools", Reader(frozenset((a.id,))))
        seen = [home.ledger.context.record(id) for id in home.store.by_kind("observation", a.id)]
        said = {one.body["data"]["name"]: one for one in seen}
        assert said["output"].body["data"] == {"name": "output", "digest": entry.digest, "reader": "operator"}
        assert said["output"].body["source"] == "tslg.vault"
        assert [edge.cid for edge in said["tools"].preds["observes"]] == [made.id]
        assert said["tools"].body["data"]["reader"].startswith("bafy")
        path = home.path
    # Where it cannot be recorded, it does not happen.
    from tslg.node.home import Home

    with Home.read(path) as reading, pytest.raises(UsageError, match="writes here"):
        reading.plaintexts.read(made.id, "output")
