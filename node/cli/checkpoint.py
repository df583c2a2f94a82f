"""`tslg checkpoint` and `tslg prove`: what others hold a log against, and proofs that a record lies in it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, data_option, find_log, held_record, read_home
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.store.interface import Store
    from tslg.protocol.record import Record

_FIELDS: Final = frozenset(("record", "agent", "index", "size", "root", "proof"))
_FILE_BYTES: Final = 64 * 1024
"""A proof of 64 hashes takes 5 KiB of JSON."""


@click.command()
@click.argument("agent", metavar="NAME|ID")
@click.option("--out", type=FILE, help="Where to write it.  [stdout]")
@data_option
@json_option
def checkpoint(agent: str, out: Path | None, data: Path | None, as_json: bool) -> None:
    """Sign the present size and root of an agent's log, for others to keep.

    Whoever keeps it finds out later if the log was cut off or rewritten: `tslg verify --head FILE`.
    """
    from tslg.node.cli.files import write_replacing
    from tslg.protocol import checkpoint as checkpoints
    from tslg.protocol.cid import to_text
    from tslg.protocol.signatures import ed25519_secret

    with read_home(data) as home:
        owner = find_log(home.store, agent)
        key = home.agent_key(owner)
        state = home.store.log_state(owner)
        assert state is not None
        head = checkpoints.Checkpoint(owner, state.size, state.peaks.root())
        note = checkpoints.encode(head, ed25519_secret(key.seed))
    if out is not None:
        write_replacing(out, note)
    told = {
        "agent": to_text(owner),
        "size": head.size,
        "root": head.root.hex(),
        "record": to_text(state.last),
        "checkpoint": note.decode(),
        "file": None if out is None else str(out),
    }
    emit(told, as_json, note.decode().removesuffix("\n") if out is None else f"checkpoint {out}")


@click.command()
@click.argument("id", metavar="ID", required=False)
@click.option("--check", type=FILE, help="Check the proof in this file instead of making one.")
@click.option("--head", type=FILE, help="With --check: a checkpoint whose root the proof must lead to.")
@data_option
@json_option
def prove(id: str | None, check: Path | None, head: Path | None, data: Path | None, as_json: bool) -> int:
    """Prove, as JSON, that the record ID lies in its log.

    A proof leads to the root that stands in it: compare that with a checkpoint, or give --head.
    """
    from tslg.protocol.errors import UsageError

    if (id is None) == (check is None):
        raise UsageError("give either an ID or --check FILE", mend="see `tslg prove --help`")
    if check is not None:
        return _check(check, head, as_json)
    with read_home(data) as home:
        proof = _proof(home.store, held_record(home.store, id or ""))
    click.echo(json.dumps(proof))
    return 0


def _proof(store: Store, record: Record) -> dict[str, Any]:
    from tslg.node.store.interface import incomplete
    from tslg.protocol.cid import to_text
    from tslg.protocol.log import Tree

    state = store.log_state(record.owner)
    if state is None:
        raise incomplete(record.owner, record.seq + 1)
    tree = Tree(store.leaves(record.owner, state.size))
    return {
        "record": to_text(record.id),
        "agent": to_text(record.owner),
        "index": record.seq,
        "size": state.size,
        "root": tree.root().hex(),
        "proof": [item.hex() for item in tree.inclusion_proof(record.seq)],
    }


def _check(path: Path, head: Path | None, as_json: bool) -> int:
    from tslg.node.cli.heads import read_checkpoint
    from tslg.protocol.cid import from_text
    from tslg.protocol.log import verify_inclusion

    proof = _read(path)
    leaf, root = from_text(proof["record"]), bytes.fromhex(proof["root"])
    hashes = [bytes.fromhex(item) for item in proof["proof"]]
    holds = verify_inclusion(leaf, proof["index"], proof["size"], hashes, root)
    why = "" if holds else "the hashes do not lead to the root"
    if holds and head is not None:
        stated = read_checkpoint(head).checkpoint
        if stated != (from_text(proof["agent"]), proof["size"], root):
            holds, why = False, "the checkpoint states another log, size or root"
    told = {name: proof[name] for name in ("record", "agent", "index", "size", "root")}
    verdict = "valid" if holds else "invalid"
    text = f"{verdict}  record {proof['index']} of the log of {proof['size']} records with root {proof['root']}"
    emit({"verdict": verdict, **told, "detail": why}, as_json, text if holds else f"{text}: {why}")
    return 0 if holds else 1


def _read(path: Path) -> dict[str, Any]:
    """Read a proof as `tslg prove` writes it. Raises UsageError for any other file."""
    from tslg.protocol.errors import UsageError
    from tslg.protocol.limits import DEFAULT

    try:
        with path.open("rb") as file:
            value = json.loads(file.read(_FILE_BYTES))
        texts = [value["record"], value["agent"], value["root"], *value["proof"]]
        if value.keys() != _FIELDS or len(value["proof"]) > DEFAULT.proof_hashes:
            raise ValueError("other fields")
        if not all(type(text) is str for text in texts) or not all(type(value[n]) is int for n in ("index", "size")):
            raise ValueError("other types")
        for text in (value["root"], *value["proof"]):
            bytes.fromhex(text)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UsageError(f"{path} is no proof as `tslg prove` writes it", mend="have it made again") from error
    return dict(value)
