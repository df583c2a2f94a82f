"""`tslg prove`: proofs that a record lies in its log, as JSON and as `tlog-proof` files, and their checks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, data_option, held_record, read_home
from tslg.node.cli.log_proofs import check_log_proof, is_log_proof, policy_options
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.store.interface import Store
    from tslg.protocol.record import Record

_FIELDS: Final = frozenset(("record", "agent", "index", "size", "root", "proof"))
_FILE_BYTES: Final = 64 * 1024
"""A proof of 64 hashes takes 5 KiB of JSON."""


@click.command()
@click.argument("id", metavar="ID", required=False)
@click.option("--check", type=FILE, help="Check the proof in this file instead of making one.")
@click.option("--head", type=FILE, help="With --check of JSON: a checkpoint whose root the proof must lead to.")
@click.option("--out", type=FILE, help="Write a tlog-proof file with a signed checkpoint instead of JSON.")
@click.option("--fresh", is_flag=True, help="With --out: sign the present head, whatever witnesses cosigned before.")
@policy_options
@data_option
@json_option
def prove(
    id: str | None,
    check: Path | None,
    head: Path | None,
    out: Path | None,
    fresh: bool,
    data: Path | None,
    as_json: bool,
    **policy: Any,
) -> int:
    """Prove that the record ID lies in its log, to somebody who has nothing but the proof.

    JSON leads to the root that stands in it: compare that with a checkpoint, or give --head. With --out the proof is a
    `tlog-proof` that holds the newest checkpoint that witnesses cosigned, or else one signed now; `tslg verify FILE`
    checks it.
    """
    from tslg.protocol.errors import UsageError

    if (id is None) == (check is None):
        raise UsageError("give either an ID or --check FILE", mend="see `tslg prove --help`")
    if check is not None:
        return check_log_proof(check, policy, as_json) if is_log_proof(check) else _check(check, head, as_json)
    with read_home(data) as home:
        record = held_record(home.store, id or "")
        if out is not None:
            return _write_log_proof(home, record, out, fresh, as_json)
        proof = _proof(home.store, record)
    click.echo(json.dumps(proof))
    return 0


def _write_log_proof(home: Home, record: Record, out: Path, fresh: bool, as_json: bool) -> int:
    from tslg.node import checkpoints, kept_checkpoints
    from tslg.node.cli.files import write_replacing
    from tslg.protocol.cid import to_text

    signed = None if fresh else kept_checkpoints.kept(home.store, record.owner)
    if signed is None or signed.checkpoint.size <= record.seq:
        signed = checkpoints.sign_head(home.store, record.owner, home.keyring.note_key(record.owner))
    proof = checkpoints.prove(home.store, record.id, signed)
    write_replacing(out, proof.to_bytes())
    told = {
        "proof": str(out),
        "record": to_text(record.id),
        "index": proof.position,
        "size": signed.checkpoint.size,
        "signatures": [entry.name for entry in signed.signatures],
    }
    emit(told, as_json, f"proof {out}")
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
        if (stated.agent, stated.size, stated.root) != (from_text(proof["agent"]), proof["size"], root):
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
