"""`tslg vault` and backups of vaults, as people use them."""

from __future__ import annotations

import base64
import json
import shutil
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

from tslg.node.backup import back_up, restore
from tslg.node.cli.root import tslg
from tslg.node.home import Home
from tslg.protocol.cid import to_text
from tslg.protocol.errors import VaultError

CONTENT = {"inputs/prompt": b"who is it?", "output": b"Ada Example", "tools": b"[]"}


def run(*arguments, code=0):
    result = CliRunner().invoke(tslg, [str(one) for one in arguments], env={"TSLG_DATA": ""})
    assert result.exit_code == code, result.output
    return result


def told(*arguments, code=0):
    return json.loads(run(*arguments, "--json", code=code).stdout)


@pytest.fixture
def kept(node, manifest, step):
    """A data directory, and the id of a step whose plaintexts are kept in it."""
    with node(manifest("keep_ms = 1000", 'expiry = "recorded"')) as home:
        made = step(home, home.agent("a"), CONTENT)
        home.agent("b")
        return home.path, to_text(made.id)


@pytest.fixture
def still(monkeypatch, clock):
    """The command's clock stands where the test's does."""
    monkeypatch.setattr("tslg.node.home.wall_clock", clock)
    monkeypatch.setattr(Home.open.__func__, "__kwdefaults__", Home.open.__func__.__kwdefaults__ | {"clock": clock})
    monkeypatch.setattr(Home.read.__func__, "__kwdefaults__", Home.read.__func__.__kwdefaults__ | {"clock": clock})


@pytest.mark.usefixtures("still")
def test_plaintexts_are_listed_read_and_destroyed(kept, tmp_path):
    path, id = kept
    listed = told("vault", "list", "--data", path)
    assert {one["part"] for one in listed} == set(CONTENT) and listed == told("vault", "list", id, "--data", path)
    assert "Ada" not in run("vault", "list", "--data", path).output
    assert run("vault", "get", id[:20], "output", "--data", path).stdout_bytes == b"Ada Example"
    assert base64.b64decode(told("vault", "get", id, "output", "--data", path)["base64"]) == b"Ada Example"
    run("vault", "get", id, "output", "--out", tmp_path / "o", "--data", path)
    assert (tmp_path / "o").read_bytes() == b"Ada Example" and (tmp_path / "o").stat().st_mode & 0o077 == 0
    assert "TSLG-U-FILE" in run("vault", "get", id, "output", "--out", tmp_path / "o", "--data", path, code=3).output
    # Neither a link nor a file that somebody put there takes the plaintext.
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "p.partial").symlink_to(tmp_path / "mine")
    (tmp_path / "q").symlink_to(tmp_path / "elsewhere")
    run("vault", "get", id, "output", "--out", tmp_path / "p", "--data", path)
    assert (tmp_path / "mine").read_bytes() == b"mine" and (tmp_path / "p.partial").is_symlink()
    assert "TSLG-U-FILE" in run("vault", "get", id, "output", "--out", tmp_path / "q", "--data", path, code=3).output
    assert not (tmp_path / "elsewhere").exists()
    assert "TSLG-P-DENIED" in run("vault", "get", id, "output", "--as", "b", "--data", path, code=3).output
    assert run("vault", "get", id, "output", "--as", "a", "--data", path).stdout == "Ada Example"
    made = told("vault", "shred", id, "output", "--reason", "asked to", "--agent", "a", "--data", path)
    assert made["parts"] == ["output"]
    (ended,) = [one for one in told("vault", "list", "--data", path) if one["destroyed"]]
    assert (ended["part"], ended["redaction"]) == ("output", made["record"])
    assert "TSLG-P-GONE" in run("vault", "get", id, "output", "--data", path, code=3).output
    again = run("vault", "shred", id, "output", "--reason", "again", "--agent", "a", "--data", path, code=3)
    assert "TSLG-P-NONE" in again.output
    (tmp_path / "p").write_bytes(b"Ada Example")
    assert "TSLG-P-KEPT" in run("vault", "put", id, "output", tmp_path / "p", "--data", path, code=3).output


@pytest.mark.usefixtures("still")
def test_a_plaintext_is_kept_for_a_record_that_is_there(node, kept, draft, tmp_path):
    path, _ = kept
    with node() as home:
        made = to_text(home.ledger.append(home.agent("a").id, draft(home, home.agent("a"), CONTENT)).id)
    (tmp_path / "p").write_bytes(b"Ada Example")
    assert told("vault", "put", made, "output", tmp_path / "p", "--data", path)["size"] == 11
    assert run("vault", "get", made, "output", "--data", path).stdout == "Ada Example"
    assert "TSLG-P-DIGEST" in run("vault", "put", made, "tools", tmp_path / "p", "--data", path, code=3).output


@pytest.mark.usefixtures("still")
def test_keys_are_changed_and_short_passphrases_are_refused(kept, tmp_path):
    path, id = kept
    assert told("vault", "rotate", "--data", path)["agents"] != {}
    before = (path / "keys" / "vault.key").read_bytes()
    assert told("vault", "rotate", "--master", "--agent", "a", "--data", path)["master"] is True
    assert (path / "keys" / "vault.key").read_bytes() != before
    assert run("vault", "get", id, "output", "--data", path).stdout == "Ada Example"
    (tmp_path / "short").write_text("short\n")
    refused = run("vault", "rotate", "--passphrase-file", tmp_path / "short", "--data", path, code=3)
    assert "TSLG-P-KEY" in refused.output and (path / "keys" / "vault.key").exists()
    for content in (b"\xb7 no text", b"a long one " * 1000):
        (tmp_path / "short").write_bytes(content)
        refused = run("vault", "rotate", "--passphrase-file", tmp_path / "short", "--data", path, code=3)
        assert "TSLG-P-KEY" in refused.output and "long one" not in refused.output


@pytest.mark.usefixtures("still")
def test_a_check_names_what_is_not_whole(kept):
    path, id = kept
    assert told("vault", "check", "--data", path) == {"checked": 3, "problems": []}
    with closing(sqlite3.connect(path / "vault" / "data.sqlite")) as db, db:
        db.execute("UPDATE chunk SET data = zeroblob(length(data)) WHERE entry = 2")
    (wrong,) = told("vault", "check", "--data", path, code=1)["problems"]
    assert (wrong["record"], wrong["part"]) == (id, "output") and "not what was sealed" in wrong["detail"]
    assert "1 of 3 plaintexts cannot be had" in run("vault", "check", "--data", path, code=1).stdout


@pytest.mark.usefixtures("still")
def test_what_has_had_its_time_is_destroyed_on_demand(kept, clock):
    path, id = kept
    assert told("vault", "expire", "--data", path) == []
    clock.now += 5_000
    assert "TSLG-P-GONE" in run("vault", "get", id, "output", "--data", path, code=3).output
    assert len(told("vault", "expire", "--dry-run", "--data", path)) == 3
    assert len(told("vault", "expire", "--data", path)) == 3
    assert all(one["redaction"] for one in told("vault", "list", "--data", path))


@pytest.mark.usefixtures("still")
def test_a_backup_has_the_plaintexts_but_not_the_master_key(kept, tmp_path):
    path, id = kept
    done = run("backup", tmp_path / "b.tar", "--data", path)
    assert "master key is not in it" in done.output
    index = back_up(path, tmp_path / "c.tar")
    assert {"vault/keys.sqlite", "vault/data.sqlite"} <= set(index["files"]) and "keys/vault.key" not in index["files"]
    restore(tmp_path / "c.tar", tmp_path / "restored")
    assert "TSLG-P-KEY" in run("vault", "get", id, "output", "--data", tmp_path / "restored", code=3).output
    shutil.copy(path / "keys" / "vault.key", tmp_path / "restored" / "keys" / "vault.key")
    assert run("vault", "get", id, "output", "--data", tmp_path / "restored").stdout == "Ada Example"
    # Once the master key is changed, what is destroyed is out of reach of earlier copies too.
    run("vault", "rotate", "--master", "--data", path)
    restore(tmp_path / "c.tar", tmp_path / "again")
    shutil.copy(path / "keys" / "vault.key", tmp_path / "again" / "keys" / "vault.key")
    with Home.open(tmp_path / "again") as home, pytest.raises(VaultError, match="TSLG-P-KEY"):
        home.plaintexts.unlock()
