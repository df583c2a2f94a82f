"""`tslg federation show`: what a file of a federation holds, for people and programs. Secrets are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE, data_option, read_home
from tslg.node.cli.federation_records import describe_home
from tslg.node.cli.output import emit, errors_to_exit, json_option, printable

if TYPE_CHECKING:
    from tslg.manifests.text import ManifestText
    from tslg.protocol.manifest import Manifest


@click.command()
@click.argument("file", type=FILE, required=False)
@data_option
@click.option("--toml", is_flag=True, help="Print a sealed manifest's text, to amend it.")
@json_option
@errors_to_exit
def show(file: Path | None, data: Path | None, toml: bool, as_json: bool) -> None:
    """Show what FILE holds: a sealed record, request, anchors file, manifest text, or key file (without its secret).

    Without FILE: the federation of a node, as its data holds it: versions, expiry, peers and policies.
    """
    if toml:
        text = _manifest_text(file) if file is not None else _text_in_force(data)
        emit({"text": text}, as_json, text.rstrip("\n"))
        return
    described = _describe(file) if file is not None else describe_home(data)
    emit(described, as_json, lambda: table(described))


def _text_in_force(data: Path | None) -> str:
    from tslg.manifests.text import to_toml

    with read_home(data) as home:
        return to_toml(home.manifest_record.body)


def read_text(file: Path) -> ManifestText:
    """Read a manifest's TOML file. Raises ManifestError, which names file, line and column."""
    from tslg.manifests import text
    from tslg.manifests.files import read_bytes
    from tslg.protocol.errors import ManifestError

    try:
        source = read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file} is not UTF-8 text", code="TSLG-M-TOML", mend="save it as UTF-8") from error
    return text.parse(source, str(file))


def summary_text(summary: Mapping[str, Any]) -> str:
    """Return what a request asks to be signed, in a few lines."""
    lines = [
        f"kind     {summary['kind']}",
        f"name     {printable(summary['name'])}",
        f"id       {summary['id']}",
        f"manifest {summary['manifest']}",
    ]
    if summary["version"] is not None:
        lines.insert(2, f"version  {summary['version']}")
    if summary["expires"] is not None:
        lines.append(f"expires  {summary['expires']}")
    word = "changes" if summary["kind"] == "manifest-amendment" else "says"
    lines += [f"{word:<8} {name}  {printable(value)}" for name, value in _rows("", summary[word])]
    for seat in summary["anchors"]:
        lines.append(f"anchors  {seat['threshold']} of {printable(', '.join(seat['members']))}")
    return "\n".join(lines)


def table(data: Mapping[str, Any]) -> str:
    """Return a description as lines of dotted names and values."""
    rows = list(_rows("", data))
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {printable(value)}" for name, value in rows)


def _rows(prefix: str, value: Any) -> list[tuple[str, str]]:
    """List (dotted name, text) for every entry; descriptions are our own and three levels deep at most."""
    if isinstance(value, Mapping) and value:
        return [row for name, item in value.items() for row in _rows(f"{prefix}.{name}" if prefix else name, item)]
    if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        return [row for index, item in enumerate(value) for row in _rows(f"{prefix}[{index}]", item)]
    if isinstance(value, list):
        return [(prefix, ", ".join(map(str, value)) or "none")]
    return [(prefix, "none" if value is None or value == {} else str(value))]


def _describe(file: Path) -> dict[str, Any]:
    from tslg.manifests.files import read_bytes, to_plain
    from tslg.protocol import codec
    from tslg.protocol.errors import CodecError, ManifestError

    if file.suffix == ".toml":
        return _describe_text(file)
    content = read_bytes(file)
    if content.lstrip()[:1] == b"{":
        return _describe_key(file)
    try:
        value = codec.decode(content)
    except CodecError as error:
        raise ManifestError(f"{file} is damaged: {error.detail}", code="TSLG-M-FILE", mend="get it again") from error
    if isinstance(value, list):
        return _describe_sealed(file, content)
    kind = value.get("type") if isinstance(value, dict) else None
    if kind == "tslg signing request":
        from tslg.manifests.signing import decode_request

        return {"file": "request", **decode_request(content, str(file)).summary()}
    if kind in ("tslg anchors", "tslg partial signature"):
        return {"file": kind.removeprefix("tslg "), **to_plain({k: v for k, v in value.items() if k != "type"})}
    raise ManifestError(f"{file} is no file that can be shown", code="TSLG-M-FILE", mend="check which file it is")


def _describe_text(file: Path) -> dict[str, Any]:
    from tslg.manifests.files import to_plain

    wanted = read_text(file)
    return {
        "file": "manifest text",
        "name": wanted.name,
        "anchors": {"scheme": wanted.scheme, "threshold": wanted.threshold, "members": list(wanted.members)},
        "expires": wanted.expires,
        "envelope": to_plain(wanted.envelope),
    }


def _manifest_text(file: Path) -> str:
    from tslg.manifests.files import read_bytes
    from tslg.manifests.signing import decode_sealed
    from tslg.manifests.text import to_toml
    from tslg.protocol.errors import UsageError

    read, _ = decode_sealed(read_bytes(file), str(file))
    if read.kind not in ("manifest", "manifest-amendment"):
        raise UsageError(f"{file} holds a {read.kind}", mend="give a sealed manifest or amendment")
    return to_toml(read.body)


def _describe_key(file: Path) -> dict[str, Any]:
    from tslg.manifests.keys import read_key

    key = read_key(file)
    return {
        "file": "anchor key",
        "ceremony": key.ceremony,
        "member": key.member,
        "scheme": key.scheme,
        "public": key.public.hex(),
    }


def _describe_sealed(file: Path, content: bytes) -> dict[str, Any]:
    from tslg.manifests.request import Context, Request
    from tslg.manifests.signing import decode_sealed
    from tslg.protocol import cid
    from tslg.protocol.manifest import Manifest
    from tslg.protocol.rules.seals import rule_seal
    from tslg.protocol.seal import parse

    read, sealed = decode_sealed(content, str(file))
    data: dict[str, Any] = {
        "file": "sealed record",
        "kind": read.kind,
        "id": cid.to_text(read.id),
        "name": read.body.get("name"),
        "owner": cid.to_text(read.owner),
        "seq": read.seq,
        "time": read.time,
        "signatures": [{"alg": item.alg, "kid": cid.to_text(item.kid)} for item in parse(sealed).signatures],
    }
    if read.kind in ("manifest", "manifest-amendment"):
        manifest = Manifest.from_record(read)
        data.update(_describe_manifest(manifest, read.body))
    if read.kind == "manifest":
        refusal = rule_seal(read, sealed, Context(Request(read, ())))
        data["seal_verifies"] = refusal is None and manifest.proofs_hold()
    return data


def _describe_manifest(manifest: Manifest, body: Mapping[str, Any]) -> dict[str, Any]:
    from tslg.manifests.files import to_plain

    anchors = manifest.anchors
    return {
        "version": manifest.version,
        "expires": manifest.expires,
        "anchors": {
            "scheme": anchors.scheme,
            "threshold": anchors.threshold,
            "members": [{"name": member.name, "key": member.key.hex()} for member in anchors.members],
            "group_key": anchors.group_key.hex() if anchors.group_key is not None else None,
        },
        "envelope": to_plain(body["envelope"]),
    }
