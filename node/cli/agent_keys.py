"""`tslg agent keys|rotate|revoke|recover`: which keys speak for an agent, and how they change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, data_option, find_log, find_record, read_home, write_home
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.manifests.agent_keys import SigningKey
    from tslg.manifests.signing import Request
    from tslg.node.home import Home
    from tslg.node.keyring import Binding, KeyState
    from tslg.protocol.codec import Link

_NUMBERS: Final = {"Ed25519": -19, "ES256K": -47}

alg_option = click.option(
    "--alg", type=click.Choice(list(_NUMBERS)), help="The key's scheme.  [that of the key in use]"
)
prepare_option = click.option(
    "--prepare", is_flag=True, help="Only make the key and print what hardware shall attest; then --attestation."
)
binding_option = click.option(
    "--binding",
    type=click.Choice(["tenant", "platform", "hardware"]),
    help="What holds the key.  [tenant, or hardware with --attestation]",
)
attestation_option = click.option("--attestation", type=FILE, help="The evidence that hardware holds a prepared key.")
out_option = click.option("--out", type=FILE, help="Write a request to the anchors in place of sealing it here.")


def number_of(alg: str | None) -> int | None:
    """Return the COSE number of a scheme that a command names."""
    return None if alg is None else _NUMBERS[alg]


def binding_of(kind: str | None, attestation: Path | None) -> Binding:
    """Return what a command says of what holds a key."""
    from tslg.manifests.files import read_bytes
    from tslg.node.keyring import Binding
    from tslg.protocol.limits import DEFAULT

    if attestation is None:
        return Binding(kind or "tenant")
    return Binding(kind or "hardware", read_bytes(attestation, DEFAULT.attestation_bytes))


def tell_prepared(key: SigningKey, as_json: bool) -> None:
    """Print what hardware shall attest: the 32 bytes that go into its evidence, and the public key."""
    from tslg.protocol.attestation import key_digest

    told = {"user_data": key_digest(key.fields()).hex(), "public_key": key.public.hex()}
    emit(told, as_json, told["user_data"])
    note("have that attested as user data, then run the same with --attestation FILE in place of --prepare")


def described(state: KeyState) -> dict[str, Any]:
    """Return what commands say of a key: the record that registers it, its scheme and its state."""
    from tslg.node.keyring import NAMES
    from tslg.protocol.cid import to_text

    if not state.alive:
        told = f"revoked from {state.revoked_from}"
    elif state.used:
        told = "in use"
    else:
        told = ("in force" if state.fits else "of another suite") + ("" if state.here else ", its secret elsewhere")
    beside = "" if state.key.post_quantum is None else f"+{NAMES[-49]}"
    return {
        "key": to_text(state.key.record),
        "position": state.key.seq,
        "scheme": NAMES[state.key.alg] + beside,
        "public_key": state.key.public.hex(),
        "hardware": state.key.hardware,
        "state": told,
        "revoked_from": state.revoked_from,
    }


@click.command(name="keys")
@click.argument("name", metavar="NAME|ID")
@data_option
@json_option
def keys(name: str, data: Path | None, as_json: bool) -> None:
    """List the keys of an agent, in the order in which its log registers them."""
    from tslg.node.cli.terminal import print_table

    with read_home(data) as home:
        found = [described(state) for state in home.keyring.states(find_log(home.store, name))]
    if as_json:
        emit({"keys": found}, True, "")
        return
    columns = ("position", "scheme", "state", "key")
    print_table(columns, [[one[column] for column in columns] for one in found])


@click.command(name="rotate")
@click.argument("name", metavar="NAME|ID")
@data_option
@alg_option
@prepare_option
@binding_option
@attestation_option
@out_option
@json_option
def rotate(
    name: str,
    data: Path | None,
    alg: str | None,
    prepare: bool,
    binding: str | None,
    attestation: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Register a fresh key for an agent, and seal with it from here on. The old one stays until it is revoked."""
    with write_home(data) as home:
        agent = find_log(home.store, name)
        if prepare:
            tell_prepared(home.keyring.prepare(agent, number_of(alg)), as_json)
            return
        held = binding_of(binding, attestation)
        if out is not None:
            _ask(home.keyring.request_rotation(agent, number_of(alg), held), out, as_json)
            return
        _tell(home, agent, home.keyring.rotate(agent, number_of(alg), held).id, as_json)


@click.command(name="revoke")
@click.argument("name", metavar="NAME|ID")
@click.argument("key")
@click.option("--reason", required=True, help="What happened; everybody can read it.")
@click.option("--last", is_flag=True, help="Also if it is the only key: the log ends with it.")
@data_option
@out_option
@json_option
def revoke(name: str, key: str, reason: str, last: bool, data: Path | None, out: Path | None, as_json: bool) -> None:
    """End the key that the record KEY registers: nothing that it seals from here on counts."""
    with write_home(data) as home:
        agent = find_log(home.store, name)
        dead = find_record(home.store, key)
        if out is not None:
            _ask(home.keyring.request_revocation(agent, dead, reason, last=last), out, as_json)
            return
        _tell(home, agent, home.keyring.revoke(agent, dead, reason, last=last).id, as_json)


@click.command(name="recover")
@click.argument("name", metavar="NAME|ID")
@click.option("--out", type=FILE, required=True, help="The request to write.")
@data_option
@alg_option
@binding_option
@attestation_option
@json_option
def recover(
    name: str,
    out: Path,
    data: Path | None,
    alg: str | None,
    binding: str | None,
    attestation: Path | None,
    as_json: bool,
) -> None:
    """Ask the anchors to put a fresh key in the place of lost ones, where the manifest allows it.

    `tslg agent rotate NAME --prepare` makes a key that hardware shall attest first.
    """
    with write_home(data) as home:
        agent, held = find_log(home.store, name), binding_of(binding, attestation)
        _ask(home.keyring.request_recovery(agent, number_of(alg), held), out, as_json)


def _ask(request: Request, out: Path, as_json: bool) -> None:
    from tslg.manifests.files import write_once
    from tslg.manifests.signing import encode_request
    from tslg.protocol.cid import to_text

    write_once(out, encode_request(request))
    told = {"request": str(out), "record": to_text(request.record.id), "agent": to_text(request.record.owner)}
    emit(told, as_json, f"request {out}")
    note("record nothing else before it is sealed and joined, or it has to be asked for anew")


def _tell(home: Home, agent: Link, record: Link, as_json: bool) -> None:
    from tslg.protocol.cid import to_text

    used = [described(state) for state in home.keyring.states(agent) if state.used]
    told = {"record": to_text(record), "agent": to_text(agent), "in_use": used[0]["key"] if used else None}
    emit(told, as_json, told["record"] or "")


change_commands: Final = (keys, rotate, revoke, recover)
