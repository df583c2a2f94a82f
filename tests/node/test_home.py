"""The data directory: founding, reopening, the lock, and processes that are killed at any moment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from world import NOW, source

from tslg.manifests import genesis as geneses
from tslg.manifests.signing import encode_sealed
from tslg.node.home import Home, wall_clock
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.errors import StoreError, TslgError, UsageError

ROOT = Path(__file__).parents[2]
KILLS = 20


def clock():
    return NOW


def opened(path, seed="home", **how):
    return Home.open(path, clock=clock, random_bytes=source(seed), **how)


def valid(home, record):
    return (
        verify(StoreSource(home.store), record.id, home.federation, now_ms=wall_clock(), log="full").verdict == "valid"
    )


def test_what_was_recorded_is_there_after_reopening(tmp_path):
    with opened(tmp_path) as home:
        agent = home.agent("a")
        state = agent.state({"step": 1})
        policy = agent.policy("own")
        agent.adopt(policy)
        federation = home.federation
    with opened(tmp_path, "again") as home:
        assert home.federation == federation and [one.name for one in home.agents] == ["a"]
        made = home.agent("a").act("x")
        assert made.preds["prior"][0].cid == state.id and made.preds["policy"][0].cid == policy.id
        assert valid(home, made) and home.store.check() == []


def test_two_processes_cannot_write_one_directory(tmp_path):
    with opened(tmp_path) as home:
        with pytest.raises(StoreError) as caught:
            opened(tmp_path)
        assert caught.value.code == "TSLG-D-LOCKED" and str(os.getpid()) in caught.value.mend
        other = subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys; from pathlib import Path; from tslg.node.home import Home;Home.open(Path(sys.argv[1]))",
                str(tmp_path),
            ],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert other.returncode != 0 and "TSLG-D-LOCKED" not in other.stdout and "in use by process" in other.stderr
        record = home.agent("a").observe("x")
        with Home.read(tmp_path) as reader:
            assert valid(reader, record)
    opened(tmp_path).close()


def test_reading_needs_a_directory_that_belongs_to_a_federation(tmp_path):
    with pytest.raises(StoreError):
        Home.read(tmp_path / "nothing")


def test_a_directory_belongs_to_one_federation(tmp_path):
    sealed = {}
    for name in ("one", "two"):
        founded = geneses.single_organisation(name, random_bytes=source(name), time_ms=NOW)
        sealed[name] = tmp_path / name
        sealed[name].write_bytes(encode_sealed(founded.manifest_record.data, founded.seal))
    opened(tmp_path / "home", federation=sealed["one"]).close()
    opened(tmp_path / "home", federation=sealed["one"]).close()
    opened(tmp_path / "home").close()
    with pytest.raises(UsageError, match="belongs to federation"):
        opened(tmp_path / "home", federation=sealed["two"])
    opened(tmp_path / "home").close()


def test_a_manifest_with_a_bad_seal_is_not_pinned(tmp_path):
    founded = geneses.single_organisation("one", random_bytes=source("one"), time_ms=NOW)
    other = geneses.single_organisation("two", random_bytes=source("two"), time_ms=NOW)
    (tmp_path / "sealed").write_bytes(encode_sealed(founded.manifest_record.data, other.seal))
    with pytest.raises(TslgError) as caught:
        opened(tmp_path / "home", federation=tmp_path / "sealed")
    assert caught.value.code == "TSLG-A-SEAL"
    with opened(tmp_path / "home") as home:
        assert home.federation != founded.manifest_record.id


def test_an_anchor_key_left_over_from_a_crash_is_replaced(tmp_path):
    with opened(tmp_path / "first") as home:
        federation = home.federation
    (tmp_path / "home" / "keys").mkdir(parents=True)
    shutil.copy(tmp_path / "first" / "keys" / "anchor.json", tmp_path / "home" / "keys" / "anchor.json")
    with opened(tmp_path / "home", "other") as home:
        assert home.federation != federation
        assert valid(home, home.agent("a").observe("x"))


def test_a_federation_that_was_founded_and_not_pinned_is_founded_anew(tmp_path, monkeypatch):
    from tslg.node.store.sqlite import SqliteStore

    keep = SqliteStore.set_meta
    monkeypatch.setattr(SqliteStore, "set_meta", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        opened(tmp_path)
    monkeypatch.setattr(SqliteStore, "set_meta", keep)
    with opened(tmp_path, "again") as home:
        assert valid(home, home.agent("a").observe("x")) and home.store.check() == []


def test_a_key_file_without_its_genesis_is_taken_up_again(tmp_path):
    with opened(tmp_path) as home:
        key = home.request_agent("a")
    with opened(tmp_path, "again") as home:
        assert home.agents == []
        agent = home.agent("a")
        assert agent.id == key.genesis.id and valid(home, agent.observe("x"))
        with pytest.raises(UsageError, match="already"):
            home.request_agent("a")


def test_an_agent_that_crashed_before_its_first_policy_gets_one(tmp_path, monkeypatch):
    from tslg.node.agent import BlockingAgent

    keep = BlockingAgent.policy
    monkeypatch.setattr(BlockingAgent, "policy", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    with opened(tmp_path) as home, pytest.raises(KeyboardInterrupt):
        home.agent("a")
    monkeypatch.setattr(BlockingAgent, "policy", keep)
    with opened(tmp_path, "again") as home:
        assert valid(home, home.agent("a").act("x"))


def test_keys_are_for_their_owner_alone_and_damage_is_named(tmp_path):
    with opened(tmp_path) as home:
        home.agent("a")
        home.peer_seed()
    for path in (tmp_path / "keys").iterdir():
        assert path.stat().st_mode & 0o077 == 0
    (key,) = (tmp_path / "keys").glob("b*.json")
    content = key.read_text()
    key.write_text(content[:-40])
    with pytest.raises(StoreError) as caught:
        opened(tmp_path)
    assert caught.value.code == "TSLG-D-KEY" and content[200:260] not in str(caught.value)
    key.write_text(content)
    opened(tmp_path).close()


WRITER = """
import sys
from pathlib import Path
from tslg.node.home import Home
with Home.open(Path(sys.argv[1])) as home:
    agent = home.agent("a")
    print("open", flush=True)
    step = 0
    while True:
        step += 1
        if step % 3:
            print(agent.act("step", {"n": step}).id.hex(), flush=True)
        else:
            with agent.batch():
                made = [agent.state({"n": step}), agent.observe("x", {"n": step}), agent.act("y")]
            print(*(one.id.hex() for one in made), sep="\\n", flush=True)
"""


@pytest.mark.thorough
def test_no_acknowledged_record_is_lost_when_the_process_is_killed(tmp_path):
    """The process is killed at moments that a seed chooses: while it starts, founds, appends, or commits a batch."""
    moments = random.Random(20)
    acknowledged: list[bytes] = []
    for kill in range(KILLS):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path / "home")],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
            stdout=subprocess.PIPE,
        )
        # Every fifth is killed while it starts; the others some milliseconds after they wrote for the first time.
        if kill % 5:
            assert process.stdout.readline() == b"open\n"
            time.sleep(moments.uniform(0, 0.08))
        else:
            time.sleep(moments.uniform(0.2, 0.6))
        process.send_signal(signal.SIGKILL)
        said = process.communicate()[0].split(b"\n")[:-1]
        acknowledged.extend(bytes.fromhex(line.decode()) for line in said if line != b"open")
        if not (tmp_path / "home" / "tslg.sqlite").exists():
            continue
        with Home.open(tmp_path / "home") as home:
            assert home.store.missing(acknowledged) == []
            assert home.store.check() == []
    assert len(acknowledged) > KILLS
    with Home.open(tmp_path / "home") as home:
        agent = home.agent("a")
        state = home.store.log_state(agent.id)
        assert [home.store.at(agent.id, seq) is not None for seq in range(state.size)] == [True] * state.size
        assert valid(home, agent.act("after"))
