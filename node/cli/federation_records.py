"""`tslg federation record` and `adopt`: a federation's own records, and how they come into a node's data."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE, data_option, read_home, write_home
from tslg.node.cli.output import emit, errors_to_exit, json_option

if TYPE_CHECKING:
    from tslg.manifests.signing import Sealed
    from tslg.protocol.record import Record

KINDS = ("peer-set", "correction-policy", "gc-policy", "policy")

log_option = click.option(
    "--log",
    "log",
    type=FILE,
    multiple=True,
    help="Each sealed record of the federation's log, in order; or name a node's --data that holds it.",
)


@click.command()
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("file", type=FILE)
@log_option
@data_option
@click.option("--out", type=FILE, help="The request to write; beside FILE if not given.")
@json_option
@errors_to_exit
def record(kind: str, file: Path, log: tuple[Path, ...], data: Path | None, out: Path | None, as_json: bool) -> None:
    """Compile FILE (TOML) into the federation's next record of KIND, for its anchors to sign.

    An earlier one of the same kind and name is superseded. `amend` puts it into force, with a manifest that names it.
    """
    from tslg.manifests import record_text, signing, versions
    from tslg.manifests.files import read_bytes
    from tslg.node.cli.federation import nonce_and_time, write_request
    from tslg.protocol.errors import ManifestError

    history = read_log(log, data)
    try:
        text = read_bytes(file).decode()
    except UnicodeDecodeError as error:
        raise ManifestError(f"{file} is not UTF-8 text", code="TSLG-M-TOML", mend="save it as UTF-8") from error
    body = record_text.body_of(kind, text, str(file))
    path = out or file.with_suffix(".request")
    time_ms = max(nonce_and_time(path)[1], history[-1].time)
    made = versions.federation_record(history, kind, body, time_ms=time_ms)
    write_request(path, signing.propose(made, versions.support(history, made)), as_json)


@click.command()
@click.argument("files", type=FILE, nargs=-1, required=True)
@data_option
@json_option
@errors_to_exit
def adopt(files: tuple[Path, ...], data: Path | None, as_json: bool) -> None:
    """Take sealed records of the federation's log, in order, into a node's data; the newest manifest is in force then.

    What is there already is left as it is, so the whole log may be given. Nodes also learn of it when they audit.
    """
    from tslg.manifests.files import read_bytes
    from tslg.manifests.signing import decode_sealed
    from tslg.protocol.cid import to_text

    with write_home(data) as home:
        taken = []
        for path in files:
            # Ids use the hash of the version in force, which the records before this one decide.
            taken += home.follow_federation([decode_sealed(read_bytes(path), str(path), home.manifest.envelope.ids)])
        adopted = [{"id": to_text(item.id), "kind": item.kind} for item in taken]
        said = {
            "federation": to_text(home.federation),
            "adopted": adopted,
            "manifest": to_text(home.manifest.id),
            "version": home.manifest.version,
        }
    lines = [f"{item['kind']} {item['id']}" for item in adopted] or ["nothing new"]
    emit(said, as_json, "\n".join([*lines, f"in force: version {said['version']}  {said['manifest']}"]))


@click.command()
@click.argument("file", type=FILE)
@log_option
@data_option
@json_option
@errors_to_exit
def attested(file: Path, log: tuple[Path, ...], data: Path | None, as_json: bool) -> int:
    """Tell which federations attest the genesis in FILE, and whether the one whose log is given really does.

    FILE holds a sealed genesis, or is a bundle, of whose target's agent it is then. The agent's records are under the
    manifest that the genesis names: verify them as that federation's.

    Exit code: 0 if the federation whose log is given attests it, 1 if it does not.
    """
    from tslg.protocol.cid import to_text
    from tslg.protocol.jointly import attestations
    from tslg.protocol.manifest import Manifest
    from tslg.protocol.rules.context import MANIFEST_KINDS

    genesis, seal = _genesis_in(file)
    history = read_log(log, data)
    versions = {item.id: Manifest.from_record(item) for item in history if item.kind in MANIFEST_KINDS}
    found = attestations(genesis, seal, versions)
    told = [
        {"federation": to_text(one.federation), "manifest": to_text(one.manifest), "holds": one.holds} for one in found
    ]
    says = {True: "attested", False: "falsely said to be attested", None: "not checked: said to be attested"}
    lines = [f"{says[one.holds]} by {to_text(one.federation)}" for one in found]
    holds = any(one.federation == history[0].id and one.holds for one in found)
    if not holds:
        lines.append("the federation whose log is given does not attest it: do not accept the agent on its word")
    said = {"agent": to_text(genesis.id), "manifest": to_text(genesis.manifest or genesis.id), "attested": told}
    emit(said, as_json, "\n".join(lines))
    return 0 if holds else 1


def _genesis_in(file: Path) -> Sealed:
    """Return the sealed genesis in a file of its own, or that of the agent of a bundle's target.

    Raises:
        ManifestError, BundleError: it is no such file. UsageError: the bundle holds no such genesis.
    """
    from tslg.manifests.files import read_bytes
    from tslg.manifests.signing import decode_sealed
    from tslg.node.cli.verify import read_bundle
    from tslg.protocol.errors import UsageError
    from tslg.protocol.record import parse_as

    if file.suffix != ".car":
        return decode_sealed(read_bytes(file), str(file))
    bundle = read_bundle(file)
    target = bundle.targets[0]
    if target in bundle.records:
        owner = parse_as(target, bundle.records[target][0]).owner
        if owner in bundle.records:
            return parse_as(owner, bundle.records[owner][0]), bundle.records[owner][1]
    raise UsageError(f"{file} does not hold its target, or not the genesis of its agent", mend="have it exported anew")


def read_log(files: Sequence[Path], data: Path | None) -> list[Record]:
    """Return the federation's log from its files, verified, or as a node holds it.

    Raises:
        ManifestError: the files do not make a log. StoreError: there is no such data.
    """
    from tslg.manifests import versions
    from tslg.manifests.files import read_bytes

    if files:
        return [item for item, _ in versions.read_history([(str(path), read_bytes(path)) for path in files])]
    with read_home(data) as home:
        return home.federation_log()


def describe_home(data: Path | None) -> dict[str, Any]:
    """Return what a node's data says of its federation: versions, expiry, peers and policies."""
    from tslg.manifests.files import to_plain
    from tslg.protocol.cid import to_text
    from tslg.protocol.manifest import Manifest
    from tslg.protocol.rules.context import MANIFEST_KINDS

    with read_home(data) as home:
        log, current = home.federation_log(), home.manifest
    versions, others = [], []
    for item in log:
        if item.kind in MANIFEST_KINDS:
            manifest = Manifest.from_record(item)
            anchors = {"threshold": manifest.anchors.threshold, "members": [m.name for m in manifest.anchors.members]}
            version = {"version": manifest.version, "id": to_text(item.id), "time": item.time}
            versions.append({**version, "expires": manifest.expires, "anchors": anchors})
        else:
            others.append({"kind": item.kind, "id": to_text(item.id), **to_plain(item.body)})
    in_force = next(item for item in log if item.id == current.id)
    return {
        "file": "node's data",
        "federation": to_text(log[0].id),
        "name": current.name,
        "in_force": {"version": current.version, "id": to_text(current.id), "expires": current.expires},
        "envelope": to_plain(in_force.body["envelope"]),
        "versions": versions,
        "records": others,
    }
