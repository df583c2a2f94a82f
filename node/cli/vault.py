"""`tslg vault`: plaintexts of models' steps, kept encrypted beside the records that name their digests."""

from __future__ import annotations

import base64
import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, SHORT, data_option, find_record, held_record, read_home, write_home
from tslg.node.cli.files import fresh
from tslg.node.cli.output import emit, json_option, note, printable
from tslg.node.cli.recording import agent_id, author_of, common

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.vault.database import Entry
    from tslg.node.vault.vault import Vault

_STEP: Final = 1024 * 1024
_PHRASE_BYTES: Final = 4096


@click.group()
def vault() -> None:
    """Keep plaintexts of models' steps, encrypted, for those who may read them.

    The master key is in keys/vault.key of the data directory, in the file that TSLG_VAULT_KEY names, or derived from
    the passphrase in TSLG_VAULT_PASSPHRASE. Whoever loses it loses the plaintexts; the records stay.
    """


@vault.command("list")
@click.argument("target", metavar="[ID]", required=False)
@data_option
@json_option
def list_(target: str | None, data: Path | None, as_json: bool) -> None:
    """List what is, or was, kept: for the record ID, or for all records."""
    with read_home(data) as home:
        record = None if target is None else find_record(home.store, target)
        entries = home.plaintexts.vault().entries(record) if home.plaintexts.here else []
    told = [_told(entry) for entry in entries]
    rows = [
        [one["record"][:SHORT], one["part"], one["size"], one["digest"][:16], _when(one["destroyed"]), one["redaction"]]
        for one in told
    ]
    if as_json:
        emit(told, True, "")
        return
    from tslg.node.cli.terminal import print_table

    print_table(
        ["record", "part", "bytes", "digest", "destroyed", "by"],
        [[cell if cell is not None else "" for cell in row] for row in rows],
    )


@vault.command()
@click.argument("target", metavar="ID")
@click.argument("part")
@click.option("--out", type=FILE, help="A new file to write it to.  [standard output]")
@click.option("--as", "reader", metavar="AGENT", help="Read it as this agent, as far as the manifest lets it.")
@data_option
@json_option
def get(target: str, part: str, out: Path | None, reader: str | None, data: Path | None, as_json: bool) -> None:
    """Print the plaintext of a part of the record ID: output, scratch, activations, tools, facts or inputs/NAME.

    Where the manifest has readings recorded, this one is.
    """
    from tslg.protocol.access import Reader
    from tslg.protocol.cid import to_text

    with reading_home(data) as home:
        record = held_record(home.store, target)
        who = None if reader is None else Reader(frozenset((agent_id(home, reader),)))
        unlock(home)
        pieces = home.plaintexts.open(record.id, part, who)
        if as_json and out is None:
            content = b"".join(pieces)
            told = {"record": to_text(record.id), "part": part, "size": len(content)}
            emit(told | {"base64": base64.b64encode(content).decode()}, True, "")
        elif out is not None:
            with fresh(out) as stream:
                size = sum(map(stream.write, pieces))
            emit({"record": to_text(record.id), "part": part, "size": size, "file": str(out)}, as_json, str(out))
        else:
            for piece in pieces:
                sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()


@vault.command()
@click.argument("target", metavar="ID")
@click.argument("part")
@click.argument("file", type=FILE)
@data_option
@json_option
def put(target: str, part: str, file: Path, data: Path | None, as_json: bool) -> None:
    """Keep FILE as the plaintext of a part of the record ID, if the record has its digest."""
    with write_home(data) as home:
        record = find_record(home.store, target)
        unlock(home)
        with file.open("rb") as stream:
            entry = home.plaintexts.put(record, part, iter(lambda: stream.read(_STEP), b""))
    emit(_told(entry._replace(record=record)), as_json, f"kept {entry.size} bytes")


@vault.command()
@click.argument("target", metavar="ID")
@click.argument("parts", metavar="[PART]...", nargs=-1)
@click.option("--reason", required=True, help="Why, for everybody to read.")
@common
def shred(target: str, parts: tuple[str, ...], reason: str, **options: Any) -> None:
    """Destroy plaintexts of the record ID, all or these parts, and record that; prints the redaction's id.

    The record, its digests and every proof stay valid. Copies and backups elsewhere are out of reach, but that a backup
    of this directory needs the master key of its time: `tslg vault rotate --master` ends them all.
    """
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import VaultError

    with author_of(options) as author:
        home = author.home
        record = find_record(home.store, target)
        entries = home.plaintexts.vault().entries(record) if home.plaintexts.here else []
        chosen = [one for one in entries if one.wrapped is not None and (not parts or one.name in parts)]
        odd = sorted(set(parts) - {one.name for one in chosen})
        if odd or not chosen:
            what = ", ".join(odd)[:200] or "that record"
            mend = "`tslg vault list` says what is kept"
            raise VaultError(f"no plaintext of {what} is kept", code="TSLG-P-NONE", mend=mend, record=record)
        made = author.agent.redact(record, blobs=[one.digest for one in chosen], reason=reason)
    names = sorted(one.name for one in chosen)
    if not options["as_json"]:
        note(f"destroyed: {', '.join(names)} of {to_text(record)}")
    printed = to_text(made.id)
    emit({"record": printed, "target": to_text(record), "parts": names}, options["as_json"], printed)


@vault.command()
@click.option("--dry-run", is_flag=True, help="Only say what would be destroyed.")
@data_option
@json_option
def expire(dry_run: bool, data: Path | None, as_json: bool) -> None:
    """Destroy the plaintexts whose time is over, and record that where the manifest says so."""
    with write_home(data) as home:
        over = home.plaintexts.expire(dry=dry_run)
    said = "would be destroyed" if dry_run else "destroyed"
    emit([_told(entry) for entry in over], as_json, f"{len(over)} plaintexts {said}")


@vault.command()
@data_option
@json_option
def check(data: Path | None, as_json: bool) -> int:
    """Open every plaintext that is kept, and hold it against its record's digest.

    Exit code: 0 if all are what was kept, 1 if some are not.
    """
    from tslg.node.cli.terminal import Counter

    counter, count = Counter("checked"), 0
    problems: list[dict[str, Any]] = []
    with read_home(data) as home:
        if home.plaintexts.here:
            unlock(home)
            for entry, wrong in home.plaintexts.check():
                count += 1
                counter(count)
                if wrong:
                    problems.append(_told(entry) | {"detail": wrong})
        counter.close()
    lines = [f"{one['record']} {printable(one['part'])}: {one['detail']}" for one in problems]
    bad = f"{len(problems)} of {count} plaintexts cannot be had"
    lines.append(bad if problems else f"{count} plaintexts, all whole")
    emit({"checked": count, "problems": problems}, as_json, "\n".join(lines))
    return 1 if problems else 0


@vault.command()
@click.option("--agent", "agents", multiple=True, help="Only this agent's key; repeat.  [all agents']")
@click.option("--master", is_flag=True, help="Change the master key too, so that older copies need the old one.")
@click.option("--passphrase-file", type=FILE, help="Derive the new master key from the passphrase in this file.")
@data_option
@json_option
def rotate(
    agents: tuple[str, ...], master: bool, passphrase_file: Path | None, data: Path | None, as_json: bool
) -> None:
    """Change the keys under which the keys of plaintexts are kept. It may be interrupted, and repeated."""
    from tslg.node.cli.terminal import progress_bar
    from tslg.protocol.cid import to_text

    phrase = None if passphrase_file is None else _phrase(passphrase_file)
    with write_home(data) as home:
        held = unlock(home)
        named = [agent_id(home, agent) for agent in agents]
        owners = [owner for owner, _ in held.tenants.owners() if not named or owner in named]
        counts: dict[str, int] = {}
        with progress_bar("keys") as bar:
            for at, owner in enumerate(owners):
                counts[to_text(owner)] = held.rotate(owner)
                if bar is not None:
                    bar(at + 1, len(owners))
        if master or passphrase_file is not None:
            held.tenants.rotate_master(phrase)
    changed = master or passphrase_file is not None
    text = f"{sum(counts.values())} keys of {len(counts)} agents" + (", and the master key" if changed else "")
    emit({"agents": counts, "master": changed}, as_json, text)


def _phrase(file: Path) -> str:
    """Return the passphrase that a file holds. Raises VaultError `TSLG-P-KEY`, which quotes nothing of it."""
    from tslg.protocol.errors import VaultError

    try:
        with file.open("rb") as stream:
            content = stream.read(_PHRASE_BYTES + 1)
        if len(content) <= _PHRASE_BYTES:
            return content.decode("utf-8").strip("\r\n")
        wrong = f"is larger than {_PHRASE_BYTES} bytes"
    except OSError as error:
        wrong = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError:
        wrong = "is no text in UTF-8"
    raise VaultError(f"{file} {wrong}", code="TSLG-P-KEY", mend="give a file with the passphrase as its one line")


def reading_home(data: Path | None) -> Home:
    """Open the directory for reading; for writing where readings are recorded."""
    home = read_home(data)
    if not home.plaintexts.recording.readings:
        return home
    home.close()
    return write_home(data)


def unlock(home: Home) -> Vault:
    """Unlock the vault, asking for its passphrase if it has one and somebody is there to ask."""
    from tslg.node.vault import master

    settings = home.plaintexts.vault().tenants.settings if home.plaintexts.here else {}
    if settings.get("kind") == "passphrase" and sys.stdin.isatty() and master.PASSPHRASE_ENV not in os.environ:
        phrase = click.prompt("Passphrase of the vault", hide_input=True, err=True)
        return home.plaintexts.unlock(master.from_passphrase(phrase, settings))
    return home.plaintexts.unlock()


def _told(entry: Entry) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    return {
        "record": "" if entry.record is None else to_text(entry.record),
        "agent": to_text(entry.owner),
        "part": entry.name,
        "size": entry.size,
        "digest": entry.digest.hex(),
        "kept": entry.created,
        "destroyed": entry.ended,
        "redaction": None if entry.redaction is None else to_text(entry.redaction),
    }


def _when(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
