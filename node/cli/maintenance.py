"""`tslg fsck`, `backup`, `restore` and `completion`."""

from __future__ import annotations

from pathlib import Path

import click

from tslg.node.cli.access import Named, data_dir, data_option, existing_dir
from tslg.node.cli.describing import plain
from tslg.node.cli.output import emit, json_option, note


@click.command()
@click.option("--repair", is_flag=True, help="Rebuild the index from the records, with a copy of the file made first.")
@data_option
@json_option
def fsck(repair: bool, data: Path | None, as_json: bool) -> int:
    """Read everything in the data directory and say what is wrong: ids, edges, logs, blobs, the database itself.

    With --repair, index columns, edges and log states are first made anew from the records' bytes. No record is
    invented or dropped; a record whose bytes are damaged has to be fetched again from whoever holds it.

    Exit code: 0 if nothing is, 1 if something is.
    """
    from tslg.node.store.opening import open_store
    from tslg.protocol.cid import to_text

    path = data_dir(data)
    if repair:
        _repair(path)
    with open_store(path, readonly=True) as store:
        problems = store.check()
        records = sum(log.held for log in store.logs()) if not problems else None
    told = [
        {"code": one.code, "detail": one.detail, "record": None if one.record is None else to_text(one.record)}
        for one in problems
    ]
    lines = [f"{one['code']}: {plain(one['detail'] or '', 300)}  {one['record'] or ''}".rstrip() for one in told]
    lines.append(f"{len(told)} problems in {path}" if told else f"nothing wrong with the {records} records in {path}")
    emit({"data": str(path), "records": records, "problems": told}, as_json, "\n".join(lines))
    return 1 if problems else 0


def _repair(path: Path) -> None:
    """Rebuild the index of the store in a data directory that no other process writes.

    Raises:
        StoreError: there is none, or it is sharded.
    """
    import time

    from tslg.node.store.engine import is_file
    from tslg.node.store.lock import DataDirLock
    from tslg.node.store.naming import named
    from tslg.node.store.opening import FILE
    from tslg.node.store.sharded import CATALOG
    from tslg.node.store.sqlite import SqliteStore
    from tslg.protocol.errors import StoreError

    existing_dir(path)
    if named(path) is not None:
        raise StoreError(
            f"the lineage of {path} is in a database, which is not repaired",
            code="TSLG-D-SERVER",
            mend="make its indexes anew with REINDEX, or restore the database from a backup",
        )
    if is_file(path / CATALOG):
        raise StoreError(
            f"{path} is sharded, and shards are not repaired", code="TSLG-D-SHARDS", mend="restore it from a backup"
        )
    lock = DataDirLock(path)
    lock.acquire()
    try:
        copy = path / f"tslg.before-repair-{time.strftime('%Y%m%d-%H%M%S')}.sqlite"
        with SqliteStore.open(path / FILE) as store:
            store.repair(copy)
    finally:
        lock.release()
    note(f"the store as it was is in {copy}")


@click.command()
@click.argument("file", type=Named(path_type=Path))
@click.option("--without-keys", is_flag=True, help="Leave out the agents' keys: such a copy is read, not written on.")
@data_option
@json_option
def backup(file: Path, without_keys: bool, data: Path | None, as_json: bool) -> None:
    """Copy the data directory into FILE, also while a node runs on it.

    Whoever has the copy has the agents' keys in it: it is readable by this user alone, and should stay so.
    """
    from tslg.node.backup import back_up

    index = back_up(data_dir(data), file, keys=not without_keys)
    logs = index["own_logs"]
    text = f"{file}: {len(index['files'])} files; own logs: {sum(logs.values())} records in {len(logs)}"
    if index["database"]:
        note("the records are in a database: back that up with its own tools, before this copy")
    if any(name.startswith("vault/") for name in index["files"]):
        note("the vault's master key is not in it: keep a copy of keys/vault.key, or the passphrase, somewhere else")
    emit({"file": str(file), **index}, as_json, text)


@click.command()
@click.argument("file", type=Named(path_type=Path, exists=True, dir_okay=False))
@data_option
@json_option
def restore(file: Path, data: Path | None, as_json: bool) -> None:
    """Make a new data directory of a backup. Its own logs stay closed until it is known what was recorded since."""
    from tslg.node.backup import restore as bring_back

    path = data_dir(data)
    index = bring_back(file, path)
    text = f"{path}: {len(index['files'])} files restored"
    emit({"data": str(path), **index}, as_json, text)
    for owner in index["own_logs"]:
        note(f"closed: {owner}; `tslg agent catch-up` asks who holds it, `tslg agent resume` knows that nobody does")


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print the script that makes a shell complete `tslg`: eval "$(tslg completion bash)"."""
    from click.shell_completion import get_completion_class

    from tslg.node.cli.root import COMPLETE, PROGRAM, tslg

    found = get_completion_class(shell)
    assert found is not None
    click.echo(found(tslg, {}, PROGRAM, COMPLETE).source())
