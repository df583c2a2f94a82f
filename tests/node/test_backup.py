"""Backup and restore: the copy is whole, no other file is taken for one, and what is restored forks no log."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from tslg.node import own_log
from tslg.node.backup import INDEX, back_up, restore
from tslg.node.catching_up import catch_up
from tslg.node.home import Home
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.node import Node
from tslg.node.store.moving import move
from tslg.node.store.naming import Named
from tslg.node.store.postgres_engine import Place
from tslg.node.store.shards import Layout
from tslg.node.store.splitting import split
from tslg.protocol.cid import to_text
from tslg.protocol.errors import StoreError, UsageError


@pytest.fixture
def data(tmp_path: Path) -> Path:
    with Home.open(tmp_path / "a") as home:
        agent = home.agent("one")
        for number in range(5):
            agent.state({"number": number})
        home.peer_seed()
    return tmp_path / "a"


def test_a_copy_taken_while_a_process_writes_is_whole(data: Path, tmp_path: Path) -> None:
    with Home.open(data) as home:
        agent = home.agent("one")
        index = back_up(data, tmp_path / "b.tar")
        agent.state({"number": 5})
    assert (tmp_path / "b.tar").stat().st_mode & 0o077 == 0
    restore(tmp_path / "b.tar", tmp_path / "c")
    with Home.read(tmp_path / "c") as home:
        assert home.store.check() == []
        assert index["own_logs"] == {to_text(agent.id): home.store.log_state(agent.id).size}
        assert home.peer_seed() == Home.read(data).peer_seed()


def test_a_restored_log_stays_closed_until_somebody_answers_for_it(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", tmp_path / "c")
    with Home.open(tmp_path / "c") as home:
        agent = home.agent("one")
        with pytest.raises(UsageError) as closed:
            agent.state({})
        assert closed.value.code == "TSLG-U-RESTORED" and "resume" in closed.value.mend
        own_log.reopen_restored(home.store, agent.id)
        home.ledger.examine(agent.id)
        agent.state({})
    with Home.open(tmp_path / "c") as home:
        home.agent("one").state({})


async def test_what_followed_the_copy_is_fetched_back_before_anything_is_recorded(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "b.tar")
    with Home.open(data) as home:
        home.agent("one").state({"number": 5})
    restore(tmp_path / "b.tar", tmp_path / "c")
    hub = MemoryHub()
    async with Node.open(data, network=hub.network("old")) as old:
        network = hub.network("new")
        with Home.open(tmp_path / "c") as home:
            agent = home.agent("one")
            async with running(network):
                done = await catch_up(network, home.ledger, agent.id, old.addresses)
            assert done.added >= 1
            assert agent.state({}).seq == old.home.store.log_state(agent.id).size


async def test_a_peer_that_holds_less_than_the_copy_opens_nothing(data: Path, tmp_path: Path) -> None:
    with Home.open(tmp_path / "other"):
        pass
    back_up(data, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", tmp_path / "c")
    hub = MemoryHub()
    async with Node.open(tmp_path / "other", network=hub.network("other")) as other:
        network = hub.network("new")
        with Home.open(tmp_path / "c") as home:
            agent = home.agent("one")
            async with running(network):
                assert (await catch_up(network, home.ledger, agent.id, other.addresses)).seen == 0
            with pytest.raises(UsageError, match="restored from a copy"):
                agent.state({})


def test_a_copy_without_keys_cannot_be_written_on(data: Path, tmp_path: Path) -> None:
    index = back_up(data, tmp_path / "b.tar", keys=False)
    assert not [name for name in index["files"] if name.startswith(("keys", "openings"))]
    restore(tmp_path / "b.tar", tmp_path / "c")
    with Home.open(tmp_path / "c") as home:
        assert home.agents == []


def test_a_sharded_directory_is_copied_at_rest_alone(data: Path, tmp_path: Path) -> None:
    split(data, Layout(2, 2))
    with Home.open(data), pytest.raises(StoreError) as locked:
        back_up(data, tmp_path / "b.tar")
    assert locked.value.code == "TSLG-D-LOCKED" and not (tmp_path / "b.tar").exists()
    back_up(data, tmp_path / "b.tar")
    restore(tmp_path / "b.tar", tmp_path / "c")
    with Home.read(tmp_path / "c") as home:
        assert home.store.check() == []


def archive(path: Path, members: dict[str, bytes], **links: str) -> Path:
    with tarfile.open(path, "w") as made:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
        for name, target in links.items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            made.addfile(member)
    return path


def index_of(**files: str) -> bytes:
    return json.dumps({"version": 1, "own_logs": {}, "database": False, "files": files}).encode()


@pytest.mark.parametrize(
    ("members", "links"),
    [
        ({}, {}),
        ({"other": b""}, {}),
        ({INDEX: b"{"}, {}),
        ({INDEX: b"[" * 100_000}, {}),
        ({INDEX: b'{"version": 2, "own_logs": {}, "files": {}}'}, {}),
        ({INDEX: index_of(**{"../out.sqlite": "00"})}, {}),
        ({INDEX: index_of(**{"/out.sqlite": "00"})}, {}),
        ({INDEX: index_of(**{"bin/sh": "00"})}, {}),
        ({INDEX: index_of(**{"keys/a": "00"}), "keys/a": b"x"}, {}),
        ({INDEX: index_of(**{"keys/a": "00"})}, {}),
        ({INDEX: index_of(), "keys/a": b"x"}, {}),
        ({INDEX: index_of(keys="00")}, {"keys": "/etc"}),
    ],
)
def test_what_is_no_backup_leaves_nothing_behind(tmp_path: Path, members: dict, links: dict) -> None:
    file = archive(tmp_path / "b.tar", members, **links)
    with pytest.raises(StoreError) as refused:
        restore(file, tmp_path / "c")
    assert refused.value.code == "TSLG-D-BACKUP" and refused.value.mend
    assert sorted(path.name for path in tmp_path.iterdir()) in (["b.tar"], ["b.tar", "c"])
    assert not list((tmp_path / "c").iterdir())


def test_a_file_cut_short_is_refused(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "b.tar")
    whole = (tmp_path / "b.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError):
        restore(tmp_path / "cut.tar", tmp_path / "c")


def test_nothing_is_overwritten(data: Path, tmp_path: Path) -> None:
    back_up(data, tmp_path / "b.tar")
    for again in (lambda: back_up(data, tmp_path / "b.tar"), lambda: restore(tmp_path / "b.tar", data)):
        with pytest.raises(StoreError) as refused:
            again()
        assert refused.value.code == "TSLG-D-BACKUP"
    with Home.read(data) as home:
        assert home.store.check() == []


def test_a_directory_whose_lineage_is_in_a_database_comes_back_without_closing_anybodys_log(
    data: Path, tmp_path: Path, place: Place
) -> None:
    assert move(data, Named(place.dsn, place.schema)) == []
    with Home.open(data) as home:
        agent = home.agent("one")
        back_up(data, tmp_path / "b.tar")
        agent.state({"number": 5})
        restore(tmp_path / "b.tar", tmp_path / "c")
        agent.state({"number": 6})
        with pytest.raises(StoreError, match="TSLG-D-LOCKED"):
            Home.open(tmp_path / "c")
        size = home.store.log_state(agent.id).size
    with Home.open(tmp_path / "c") as home:
        home.agent("one").state({"number": 7})
        assert home.store.log_state(agent.id).size == size + 1 and home.store.check() == []


def test_shards_in_databases_are_not_left_out_of_a_copy_unsaid(data: Path, tmp_path: Path, place: Place) -> None:
    assert split(data, Layout(2, 2), databases={1: Named(place.dsn, place.schema)}) == []
    with pytest.raises(StoreError) as caught:
        back_up(data, tmp_path / "b.tar")
    assert caught.value.code == "TSLG-D-BACKUP" and not (tmp_path / "b.tar").exists()
