"""`tslg federation`: found a federation, have its anchors make keys and sign, amend it, and look at the files of it.

Commands exchange files, so that anchors can work on machines without a network. Modules beyond click are imported where
they are used: `--help` stays fast.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE, data_option
from tslg.node.cli.federation_keys import dkg, multisig
from tslg.node.cli.federation_records import adopt, attested, log_option, read_log, record
from tslg.node.cli.federation_show import read_text, show
from tslg.node.cli.output import emit, errors_to_exit, json_option, note

if TYPE_CHECKING:
    from tslg.manifests.keys import AnchorKey
    from tslg.manifests.signing import Request


@click.group()
def federation() -> None:
    """Found, sign, amend and show federations."""


federation.add_command(dkg)
federation.add_command(multisig)
federation.add_command(show)
federation.add_command(record)
federation.add_command(adopt)
federation.add_command(attested)


@federation.command()
@click.argument("file", type=FILE, required=False)
@click.option("--anchors", type=FILE, help="The anchors file that the key ceremony ended with.")
@click.option("--single", is_flag=True, help="Found a federation of one anchor, key and all, in this one step.")
@click.option("--name", help="With --single and without FILE: the federation's name.")
@click.option("--key", type=FILE, help="With --single: where the anchor's secret key goes.  [anchor.key.json]")
@click.option("--example", help="Print an example manifest to start from; `list` names them.")
@click.option("--out", type=FILE, help="What to write: the request, or with --single the sealed manifest.")
@json_option
@errors_to_exit
def new(
    file: Path | None,
    anchors: Path | None,
    single: bool,
    name: str | None,
    key: Path | None,
    example: str | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Compile the manifest FILE (TOML) into a request for its anchors to sign.

    A second run with the same texts finds the request that is there.
    """
    from tslg.protocol.errors import UsageError

    if example is not None:
        _print_example(example, as_json)
    elif single:
        _found_single(file, name, key or Path("anchor.key.json"), out, as_json)
    elif file is None:
        raise UsageError("no manifest given", mend="name a TOML file, or see --example list")
    else:
        _request_root(file, anchors, out or file.with_suffix(".request"), as_json)


def _print_example(name: str, as_json: bool) -> None:
    from tslg.manifests import examples

    if name == "list":
        emit({"examples": examples.names()}, as_json, "\n".join(examples.names()))
        return
    text = examples.read(name)
    emit({"example": name, "text": text}, as_json, text.rstrip("\n"))


def _request_root(file: Path, anchors: Path | None, out: Path, as_json: bool) -> None:
    from tslg.manifests import signing, versions
    from tslg.manifests.keys import read_anchors

    wanted = read_text(file)
    keys = read_anchors(anchors, wanted) if anchors is not None else None
    nonce, time_ms = nonce_and_time(out)
    body = wanted.body(keys, nonce, 1)
    write_request(out, signing.propose(versions.root_manifest(body, time_ms=time_ms)), as_json)


def _found_single(file: Path | None, name: str | None, key_file: Path, out: Path | None, as_json: bool) -> None:
    from tslg.manifests import genesis
    from tslg.manifests.files import write_once
    from tslg.manifests.keys import write_key
    from tslg.manifests.signing import encode_sealed
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    if (file is None) == (name is None):
        raise UsageError("--single needs a manifest FILE or a --name", mend="give one of them")
    sealed_file = out or (file.with_suffix(".sealed") if file is not None else Path("federation.sealed"))
    for path in (key_file, sealed_file):
        if path.exists():
            raise UsageError(f"{path} is there already", mend="nothing was changed; name other files")
    if file is not None:
        wanted = read_text(file)
        if len(wanted.members) > 1:
            raise UsageError(f"{file} names {len(wanted.members)} anchors", mend="--single is for one")
        founded = genesis.found_federation(wanted, random_bytes=os.urandom, time_ms=_now_ms())
    else:
        founded = genesis.single_organisation(name or "", random_bytes=os.urandom, time_ms=_now_ms())
    write_key(key_file, founded.anchor_keys[0])
    write_once(sealed_file, encode_sealed(founded.manifest_record.data, founded.seal))
    id = to_text(founded.manifest_record.id)
    data = {"federation": id, "name": founded.manifest.name, "sealed": str(sealed_file), "key": str(key_file)}
    emit(
        data, as_json, f"federation {id}\nmanifest   {sealed_file}\nanchor key {key_file} (keep it secret, back it up)"
    )


@federation.command()
@click.argument("request", type=FILE)
@click.option("--key", type=FILE, required=True, help="Your anchor's secret key file.")
@click.option("--out", type=FILE, help="The partial signature to write; beside REQUEST if not given.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal.")
@json_option
@errors_to_exit
def sign(request: Path, key: Path, out: Path | None, yes: bool, as_json: bool) -> None:
    """Show what REQUEST asks to be signed, and sign it with one anchor's key."""
    from tslg.manifests.files import slug, write_once
    from tslg.manifests.keys import read_key
    from tslg.manifests.signing import sign as sign_request
    from tslg.node.cli.federation_show import summary_text
    from tslg.protocol.errors import UsageError

    read = _read_request(request, _now_ms())
    anchor: AnchorKey = read_key(key)
    summary = read.summary()
    note(f"{anchor.member} signs:\n{summary_text(summary)}")
    partial = sign_request(read, anchor)
    if sys.stdin.isatty() and not yes and not click.confirm("Sign it?", err=True):
        raise UsageError("not signed", mend="nothing was written")
    path = out or request.with_name(f"{request.stem}.{slug(anchor.member)}-{anchor.public.hex()[:8]}.partial")
    write_once(path, partial)
    emit({"partial": str(path), "member": anchor.member, "signs": summary}, as_json, f"partial signature {path}")


@federation.command()
@click.argument("request", type=FILE)
@click.argument("partials", type=FILE, nargs=-1, required=True)
@click.option("--out", type=FILE, help="The sealed record to write; beside REQUEST if not given.")
@json_option
@errors_to_exit
def combine(request: Path, partials: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Make the seal of REQUEST from enough PARTIALS, and write the sealed record."""
    from tslg.manifests import signing
    from tslg.manifests.files import read_bytes, write_once
    from tslg.protocol.cid import to_text

    read = _read_request(request)
    seal = signing.combine(read, [(str(path), read_bytes(path)) for path in partials])
    path = out or request.with_suffix(".sealed")
    write_once(path, signing.encode_sealed(read.record.data, seal))
    id = to_text(read.record.id)
    data = {"sealed": str(path), "kind": read.record.kind, "id": id}
    if read.record.kind == "manifest":
        data["federation"] = id
    emit(data, as_json, f"{read.record.kind} {id}\nsealed {path}")


@federation.command()
@click.argument("file", type=FILE)
@log_option
@data_option
@click.option("--anchors", type=FILE, help="The anchors file of a new key ceremony; the old anchors stay if not given.")
@click.option("--out", type=FILE, help="The request to write; beside FILE if not given.")
@json_option
@errors_to_exit
def amend(
    file: Path, log: tuple[Path, ...], data: Path | None, anchors: Path | None, out: Path | None, as_json: bool
) -> None:
    """Compile FILE into the next version of a manifest, for the old and the new anchors to sign.

    Give every sealed record of the federation's log with --log, root manifest first, or a node's --data.
    """
    from tslg.manifests import signing, versions
    from tslg.manifests.keys import read_anchors
    from tslg.manifests.text import AnchorKeys

    wanted = read_text(file)
    history = read_log(log, data)
    current = versions.in_force(history)
    if anchors is not None:
        keys = read_anchors(anchors, wanted)
    else:
        keys = AnchorKeys(current.anchors.members, current.anchors.group_key)
    path = out or file.with_suffix(".request")
    nonce, time_ms = nonce_and_time(path)
    body = wanted.body(keys, nonce, current.version + 1)
    made = versions.amendment(history, body, time_ms=max(time_ms, history[-1].time))
    write_request(path, signing.propose(made, versions.support(history, made)), as_json)


def _read_request(path: Path, now_ms: int | None = None) -> Request:
    from tslg.manifests.files import read_bytes
    from tslg.manifests.signing import decode_request

    return decode_request(read_bytes(path), str(path), now_ms=now_ms)


def nonce_and_time(out: Path) -> tuple[bytes, int]:
    """Return a fresh nonce and the time; those of the request that is there already, so that it is found again."""
    if out.exists():
        there = _read_request(out).record
        return there.body.get("nonce", bytes(16)), there.time
    return os.urandom(16), _now_ms()


def write_request(path: Path, request: Request, as_json: bool) -> None:
    """Write a request to anchors, and say what it asks of them."""
    from tslg.manifests.files import write_once
    from tslg.manifests.signing import encode_request
    from tslg.node.cli.federation_show import summary_text

    write_once(path, encode_request(request))
    summary: dict[str, Any] = request.summary()
    emit({"request": str(path), **summary}, as_json, lambda: f"{summary_text(summary)}\nrequest  {path}")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
