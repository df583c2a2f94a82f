"""The vault of a node: what is kept is read again, what is destroyed is nowhere, and crashes leave no halves."""

from __future__ import annotations

import threading
from hashlib import sha256

import pytest

from tslg.manifests.files import read_bytes
from tslg.node.vault import master
from tslg.node.vault.database import GONE, KEPT, PENDING, WRITING
from tslg.node.vault.sealing import CHUNK_BYTES
from tslg.protocol.cid import compute
from tslg.protocol.errors import Refusal, StoreError, UsageError, VaultError
from tslg.protocol.limits import Limits

SECRET = b"the patient's name is Ada Example, born on the tenth of December"
ASKED = {"inputs/prompt": b"who is it? " + SECRET, "output": SECRET * 3, "tools": b"[]"}
WORK = master.Work(1, 8 * 1024 * 1024)


def traces(folder, secret):
    return [path.name for path in folder.rglob("*") if path.is_file() and secret in path.read_bytes()]


@pytest.mark.spec("RCD-9", "RCD-11")
def test_what_is_kept_for_a_record_is_read_again_and_stands_nowhere_in_plain(node, manifest, step):
    with node(manifest()) as home:
        agent = home.agent("a")
        made = step(home, agent, ASKED)
        assert {name: home.plaintexts.read(made.id, name) for name in ASKED} == ASKED
        path = home.path
        assert traces(path, SECRET) == []
    with node() as home:
        assert home.plaintexts.read(made.id, "output") == ASKED["output"]
        assert [entry.state for entry in home.plaintexts.vault().entries(made.id)] == [KEPT] * 3
    assert traces(path, SECRET) == []
    for file in ("vault/keys.sqlite", "vault/data.sqlite", "keys/vault.key"):
        assert (path / file).stat().st_mode & 0o077 == 0


def test_only_what_the_manifest_wants_is_kept(home, step):
    made = step(home, home.agent("a"), ASKED)
    kept = home.plaintexts.keep(made.owner, {"facts": b"never", "scratch": b"never"})
    assert kept == []
    with pytest.raises(VaultError, match="TSLG-P-NONE"):
        home.plaintexts.read(made.id, "facts")
    with pytest.raises(UsageError, match="TSLG-U-UNKNOWN"):
        home.plaintexts.read(compute(b"nothing"), "output")


def test_a_node_that_keeps_nothing_has_no_vault(node):
    with node() as home:
        assert home.plaintexts.keep(home.agent("a").id, {"output": b"x"}) == []
        made = home.agent("a").state({})
        with pytest.raises(VaultError, match="TSLG-P-NONE"):
            home.plaintexts.read(made.id, "output")
        assert not (home.path / "vault").exists() and not (home.path / "keys" / "vault.key").exists()


@pytest.mark.spec("RCD-9")
def test_plaintexts_of_many_threads_are_each_their_own(home, step):
    agent, made = home.agent("a"), {}

    def work(number):
        for turn in range(4):
            content = {"inputs/prompt": b"%d %d" % (number, turn), "output": b"same", "tools": b"%d" % turn}
            made[number, turn] = (step(home, agent, content).id, content)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 24
    for id, content in made.values():
        assert {name: home.plaintexts.read(id, name) for name in content} == content


@pytest.mark.spec("RCD-12")
def test_a_long_plaintext_is_streamed_in_and_out(home, draft):
    agent = home.agent("a")
    content = [bytes([i % 256]) * 10_000 for i in range(100)]
    whole = b"".join(content)
    made = home.ledger.append(agent.id, draft(home, agent, {"output": whole}))
    entry = home.plaintexts.put(made.id, "output", iter(content))
    assert entry.size == len(whole)
    pieces = list(home.plaintexts.open(made.id, "output"))
    assert b"".join(pieces) == whole and max(map(len, pieces)) == CHUNK_BYTES
    with pytest.raises(VaultError, match="TSLG-P-KEPT"):
        home.plaintexts.put(made.id, "output", [whole])
    with pytest.raises(VaultError, match="TSLG-P-DIGEST"):
        home.plaintexts.put(made.id, "tools", [b"something else"])
    assert home.plaintexts.vault().select("state <> ?", (KEPT,)) == []


def test_a_plaintext_that_is_too_long_leaves_nothing(home, draft, monkeypatch):
    agent = home.agent("a")
    made = home.ledger.append(agent.id, draft(home, agent, {"output": b"x" * 200}))
    vault = home.plaintexts.unlock()
    monkeypatch.setattr(vault, "_limits", Limits(plaintext_bytes=100))
    with pytest.raises(VaultError, match="TSLG-P-SIZE"):
        home.plaintexts.put(made.id, "output", [b"x" * 60, b"x" * 60])
    with pytest.raises(VaultError, match="TSLG-P-SIZE"):
        home.plaintexts.keep(agent.id, {"output": b"x" * 101})
    assert vault.select(f"state NOT IN ({WRITING})", ()) == []


# --- destroying ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RCD-13", "RCD-14")
def test_a_redaction_destroys_the_key_down_to_the_file(home, step):
    agent = home.agent("a")
    others = [step(home, agent, ASKED) for _ in range(30)]
    made = step(home, agent, ASKED)
    vault = home.plaintexts.vault()
    entry = vault.entry(made.id, "output")
    wrapped, some = entry.wrapped, vault.db.chunk(entry.id, 0)
    assert traces(home.path / "vault", wrapped) and traces(home.path / "vault", some[100:140])
    redaction = agent.redact(made.id, blobs=[entry.digest], reason="asked to")
    ended = vault.entry(made.id, "output")
    assert (ended.wrapped, ended.state, ended.redaction) == (None, GONE, redaction.id)
    assert traces(home.path, wrapped) == []
    assert vault.db.chunk(entry.id, 0) is None
    with pytest.raises(VaultError, match="TSLG-P-GONE"):
        home.plaintexts.read(made.id, "output")
    with pytest.raises(VaultError, match="TSLG-P-KEPT"):
        home.plaintexts.put(made.id, "output", [ASKED["output"]])
    assert home.plaintexts.read(made.id, "tools") == b"[]"
    # The same words elsewhere are other records' plaintexts.
    assert all(home.plaintexts.read(one.id, "output") == ASKED["output"] for one in others)


@pytest.mark.spec("RCD-13", "RCD-14")
def test_a_redaction_that_a_crash_left_undone_is_carried_out_before_anything_is_read(node, manifest, step, monkeypatch):
    with node(manifest()) as home:
        agent = home.agent("a")
        made = step(home, agent, ASKED)
        entry = home.plaintexts.vault().entry(made.id, "output")
        monkeypatch.setattr(home.ledger, "plaintexts", None)
        redaction = agent.redact(made.id, blobs=[entry.digest], reason="asked to")
        assert home.plaintexts.vault().entry(made.id, "output").wrapped is not None
        with pytest.raises(VaultError, match="TSLG-P-GONE"):
            home.plaintexts.read(made.id, "output")
        path = home.path
    (path / "keys" / "vault.key").rename(path / "elsewhere")
    with node():
        # A locked vault destroys all the same.
        pass
    (path / "elsewhere").rename(path / "keys" / "vault.key")
    assert traces(path, entry.wrapped) == []
    with node() as home:
        ended = home.plaintexts.vault().entry(made.id, "output")
        assert (ended.wrapped, ended.redaction) == (None, redaction.id)


def test_a_crash_in_the_midst_of_shredding_is_finished(node, manifest, step, monkeypatch):
    with node(manifest()) as home:
        made = step(home, home.agent("a"), ASKED)
        vault = home.plaintexts.vault()
        entry = vault.entry(made.id, "output")
        monkeypatch.setattr(vault, "finish_shredding", lambda: None)
        vault.shred([entry])
        path = home.path
        assert traces(path / "vault", entry.wrapped)
    with node() as home:
        assert traces(path, entry.wrapped) == []
        assert home.plaintexts.vault().entry(made.id, "output").state == GONE


@pytest.mark.spec("RCD-15")
@pytest.mark.parametrize("recorded", [True, False])
def test_what_has_had_its_time_is_destroyed_and_recorded_as_the_manifest_says(node, manifest, clock, step, recorded):
    said = 'expiry = "recorded"' if recorded else 'expiry = "silent"'
    with node(manifest("keep_ms = 1000", said)) as home:
        agent = home.agent("a")
        old = [step(home, agent, ASKED) for _ in range(3)]
        clock.now += 2_000
        young = step(home, agent, ASKED)
        with pytest.raises(VaultError, match="TSLG-P-GONE"):
            home.plaintexts.read(old[0].id, "output")
        assert len(home.plaintexts.expire(dry=True)) == 9
        wrapped = home.plaintexts.vault().entry(old[0].id, "output").wrapped
        assert len(home.plaintexts.expire()) == 9 and home.plaintexts.expire() == []
        assert traces(home.path, wrapped) == []
        assert home.plaintexts.read(young.id, "output") == ASKED["output"]
        redactions = home.store.by_kind("redaction", agent.id)
        assert len(redactions) == (3 if recorded else 0)
        ended = home.plaintexts.vault().entry(old[1].id, "tools")
        assert ended.wrapped is None and (ended.redaction in redactions) is recorded


# --- crashes ---------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RCD-10")
def test_after_a_crash_records_have_their_plaintexts_and_no_plaintext_is_without_a_record(node, manifest, step, draft):
    with node(manifest()) as home:
        agent = home.agent("a")
        before = step(home, agent, ASKED)
        kept = home.plaintexts.keep(agent.id, ASKED)
        made = home.ledger.append(agent.id, draft(home, agent, ASKED))
        lost = home.plaintexts.keep(agent.id, {"output": b"never recorded"})
        assert kept and lost
        vault = home.plaintexts.vault()
        row = (1_000, 0, b"ciphertext without an entry")
        with vault.db.changing_data() as data:
            data.execute("INSERT INTO chunk(entry, place, data) VALUES (?, ?, ?)", row)
        assert len(vault.select("state = ?", (PENDING,))) == 4
        # Nothing was bound: it ends here.
    with node() as home:
        assert {name: home.plaintexts.read(made.id, name) for name in ASKED} == ASKED
        assert {name: home.plaintexts.read(before.id, name) for name in ASKED} == ASKED
        vault = home.plaintexts.vault()
        assert vault.select("state <> ?", (KEPT,)) == []
        assert vault.db.chunk(lost[0].entry.id, 0) is None and vault.db.chunk(1_000, 0) is None


def test_a_redaction_that_came_before_its_plaintext_was_bound_is_carried_out(node, manifest, draft):
    with node(manifest()) as home:
        agent = home.agent("a")
        home.plaintexts.keep(agent.id, ASKED)
        made = home.ledger.append(agent.id, draft(home, agent, ASKED))
        agent.redact(made.id, blobs=[sha256(ASKED["output"]).digest()], reason="asked to")
    with node() as home:
        with pytest.raises(VaultError, match="TSLG-P-GONE"):
            home.plaintexts.read(made.id, "output")
        assert home.plaintexts.vault().entry(made.id, "output").wrapped is None
        assert home.plaintexts.read(made.id, "tools") == b"[]"


@pytest.mark.spec("RCD-9")
def test_what_was_discarded_is_gone_and_a_step_that_was_refused_leaves_nothing(home, draft):
    agent = home.agent("a")
    kept = home.plaintexts.keep(agent.id, ASKED)
    with pytest.raises(Refusal):
        home.ledger.append(agent.id, draft(home, agent, ASKED, facts=bytes(32)))
    home.plaintexts.discard(kept)
    assert home.plaintexts.vault().select("1", ()) == []


@pytest.mark.spec("RCD-9")
def test_a_full_disk_keeps_the_step_from_being_recorded(home, step, monkeypatch):
    agent = home.agent("a")
    step(home, agent, ASKED)
    size = home.store.log_state(agent.id).size
    vault = home.plaintexts.vault()

    def full(works):
        raise StoreError("no space", code="TSLG-D-FULL")

    monkeypatch.setattr(vault._data, "_commit", full)
    with pytest.raises(StoreError, match="TSLG-D-FULL"):
        step(home, agent, ASKED)
    assert home.store.log_state(agent.id).size == size and vault.select("state <> ?", (KEPT,)) == []


# --- keys ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("RCD-18")
def test_a_tenants_key_is_changed_and_the_old_one_is_nowhere(home, step, monkeypatch):
    monkeypatch.setattr("tslg.node.vault.vault._REWRAPPED", 4)
    agent = home.agent("a")
    made = [step(home, agent, ASKED) for _ in range(3)]
    vault = home.plaintexts.vault()
    with vault.db.keys() as keys:
        (old,) = keys.execute("SELECT wrapped FROM tenant").fetchone()
    wrapped = vault.entry(made[0].id, "output").wrapped
    calls = []
    rewrap = vault._rewrap

    def crashing(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rewrap(*args)

    monkeypatch.setattr(vault, "_rewrap", crashing)
    with pytest.raises(KeyboardInterrupt):
        vault.rotate(agent.id)
    assert all(home.plaintexts.read(one.id, "output") == ASKED["output"] for one in made)
    assert vault.rotate(agent.id) == 5
    assert vault.tenants.owners() == [(agent.id, 2)]
    assert all(home.plaintexts.read(one.id, "output") == ASKED["output"] for one in made)
    assert traces(home.path, old) == [] and traces(home.path, wrapped) == []
    assert vault.rotate(agent.id) == 9 and vault.tenants.owners() == [(agent.id, 3)]


@pytest.mark.spec("RCD-18")
def test_the_master_key_is_changed_and_an_older_copy_of_the_vault_is_closed(node, manifest, step):
    with node(manifest()) as home:
        made = step(home, home.agent("a"), ASKED)
        path = home.path
    old = read_bytes(path / "keys" / "vault.key")
    copies = {name: (path / "vault" / name).read_bytes() for name in ("keys.sqlite", "data.sqlite")}
    with node() as home:
        home.plaintexts.unlock().tenants.rotate_master()
        assert home.plaintexts.read(made.id, "output") == ASKED["output"]
    assert read_bytes(path / "keys" / "vault.key") != old
    with node() as home:
        assert home.plaintexts.read(made.id, "output") == ASKED["output"]
    for name, content in copies.items():
        (path / "vault" / name).write_bytes(content)
    with node() as home, pytest.raises(VaultError, match="TSLG-P-KEY"):
        home.plaintexts.read(made.id, "output")


def test_a_crash_between_the_new_master_key_and_its_name_is_mended(node, manifest, step, monkeypatch):
    with node(manifest()) as home:
        made = step(home, home.agent("a"), ASKED)
        path = home.path
        with monkeypatch.context() as patch:
            patch.setattr("pathlib.Path.replace", lambda self, target: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                home.plaintexts.vault().tenants.rotate_master()
    assert (path / "keys" / "vault.key.next").exists()
    with node() as home:
        assert home.plaintexts.read(made.id, "output") == ASKED["output"]
    assert not (path / "keys" / "vault.key.next").exists()


def test_a_vault_goes_over_to_a_passphrase(node, manifest, step, monkeypatch):
    with node(manifest()) as home:
        made = step(home, home.agent("a"), ASKED)
        home.plaintexts.vault().tenants.rotate_master("correct horse battery", WORK)
        path = home.path
    assert not (path / "keys" / "vault.key").exists()
    with node() as home, pytest.raises(VaultError, match=r"TSLG-P-KEY.*TSLG_VAULT_PASSPHRASE"):
        home.plaintexts.read(made.id, "output")
    monkeypatch.setenv("TSLG_VAULT_PASSPHRASE", "wrong horse battery")
    with node() as home, pytest.raises(VaultError, match="passphrase is not this vault's"):
        home.plaintexts.read(made.id, "output")
    monkeypatch.setenv("TSLG_VAULT_PASSPHRASE", "correct horse battery")
    with node() as home:
        assert home.plaintexts.read(made.id, "output") == ASKED["output"]


def test_a_vault_without_its_key_takes_nothing(node, manifest, step):
    with node(manifest()) as home:
        made = step(home, home.agent("a"), ASKED)
        path = home.path
    (path / "keys" / "vault.key").unlink()
    with node() as home:
        size = home.store.log_state(made.owner).size
        with pytest.raises(VaultError, match="TSLG-P-KEY"):
            step(home, home.agent("a"), ASKED)
        assert home.store.log_state(made.owner).size == size
    assert not (path / "keys" / "vault.key").exists()
