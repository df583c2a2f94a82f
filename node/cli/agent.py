"""`tslg agent`: make agents, have anchors attest them, and look at those that are here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE, data_dir, data_option, find_log, read_home, write_home
from tslg.node.cli.agent_keys import (
    attestation_option,
    binding_of,
    binding_option,
    change_commands,
    described,
    number_of,
    prepare_option,
    tell_prepared,
)
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.keyfile import AgentKey
    from tslg.protocol.codec import Link

federation_option = click.option(
    "--federation", type=FILE, help="The sealed root manifest to join; a new directory founds a federation without it."
)


@click.group()
def agent() -> None:
    """Make agents, change their keys, and show those that are here."""


alg_option = click.option(
    "--alg", type=click.Choice(["Ed25519", "ES256K"]), help="The key's scheme.  [the first that the manifest lists]"
)


@agent.command()
@click.argument("name")
@data_option
@federation_option
@alg_option
@prepare_option
@binding_option
@attestation_option
@json_option
def new(
    name: str,
    data: Path | None,
    federation: Path | None,
    alg: str | None,
    prepare: bool,
    binding: str | None,
    attestation: Path | None,
    as_json: bool,
) -> None:
    """Make the agent NAME: its key, its genesis and a default policy."""
    from tslg.node.home import Home
    from tslg.protocol.cid import to_text

    path = data_dir(data)
    with Home.open(path, federation=federation) as home:
        if prepare:
            tell_prepared(home.prepare_agent(name, number_of(alg)), as_json)
            return
        made = home.create_agent(name, alg=number_of(alg), binding=binding_of(binding, attestation))
        told = {"agent": to_text(made.id), "name": name, "federation": to_text(home.federation), "data": str(path)}
    emit(told, as_json, told["agent"])
    note(f"agent {name} of federation {told['federation']} in {path}")


@agent.command()
@click.argument("name")
@data_option
@federation_option
@alg_option
@binding_option
@attestation_option
@click.option("--also", type=FILE, multiple=True, help="A manifest of another federation that shall attest it too.")
@click.option("--out", type=FILE, help="The request to write.  [NAME.request]")
@json_option
def request(
    name: str,
    data: Path | None,
    federation: Path | None,
    alg: str | None,
    binding: str | None,
    attestation: Path | None,
    also: tuple[Path, ...],
    out: Path | None,
    as_json: bool,
) -> None:
    """Ask the anchors to attest the agent NAME: write a request for them to sign.

    They run `tslg federation sign` and `combine`; then `tslg agent join` starts the agent. `tslg agent new NAME
    --prepare` makes a key that hardware shall attest first.
    """
    from tslg.manifests.files import slug, write_once
    from tslg.manifests.genesis import propose_genesis
    from tslg.manifests.signing import encode_request, read_sealed
    from tslg.node.home import Home
    from tslg.node.store.opening import has_store
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    path = data_dir(data)
    if federation is None and not has_store(path):
        raise UsageError(f"{path} belongs to no federation yet", mend="give the sealed root manifest with --federation")
    with Home.open(path, federation=federation) as home:
        others = [read_sealed(path)[0] for path in also]
        held = binding_of(binding, attestation)
        owners = [other.owner for other in others]
        key = home.request_agent(name, number_of(alg), federations=owners, binding=held)
        asked = encode_request(propose_genesis(key.genesis, key.key, home.manifest_record, others))
    file = out or Path(f"{slug(name)}.request")
    write_once(file, asked)
    told = {"request": str(file), "agent": to_text(key.genesis.id), "name": name}
    emit(told, as_json, f"{told['agent']}\nrequest {file}")


@agent.command()
@click.argument("file", type=FILE)
@data_option
@json_option
def join(file: Path, data: Path | None, as_json: bool) -> None:
    """Start a requested agent with the genesis in FILE, which the anchors have sealed; or take up a change of keys."""
    from tslg.manifests.files import read_bytes
    from tslg.manifests.signing import decode_sealed
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    with write_home(data) as home:
        genesis, seal = decode_sealed(read_bytes(file), str(file), home.manifest.envelope.ids)
        if genesis.kind in ("registration", "revocation"):
            home.join_record(genesis, seal)
            emit({"agent": to_text(genesis.owner), "record": to_text(genesis.id)}, as_json, to_text(genesis.id))
            return
        if genesis.kind != "genesis":
            raise UsageError(f"{file} holds a {genesis.kind}, not an agent's genesis", mend="check which file it is")
        made = home.join_agent(home.agent_key(genesis.id), seal)
        told = {"agent": to_text(made.id), "name": made.name, "federation": to_text(home.federation)}
    emit(told, as_json, told["agent"])


@agent.command(name="list")
@data_option
@json_option
def list_(data: Path | None, as_json: bool) -> None:
    """List the agents whose keys are here."""
    from tslg.node.cli.terminal import print_table

    with read_home(data) as home:
        found = [_about(home, key) for key in home.agent_keys()]
    found.sort(key=lambda about: (about["name"], about["agent"]))
    if as_json:
        emit({"agents": found}, True, "")
        return
    columns = ("name", "records", "keys", "state", "agent")
    print_table(columns, [[about[column] for column in columns] for about in found])


@agent.command()
@click.argument("name", metavar="NAME|ID")
@data_option
@json_option
def show(name: str, data: Path | None, as_json: bool) -> None:
    """Show an agent whose key is here."""
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        requested = [key for key in home.agent_keys() if key.genesis.body["name"] == name]
        key = requested[0] if len(requested) == 1 else home.agent_key(find_log(home.store, name))
        about = _about(home, key)
        state = home.store.log_state(key.genesis.id)
        policy = home.store.get_meta(f"policy/{to_text(key.genesis.id)}")
        about |= {
            "federation": to_text(home.federation),
            "public_key": key.genesis.body["key"].hex(),
            "keys": [] if state is None else [described(one) for one in home.keyring.states(key.genesis.id)],
            "head": None if state is None else {"record": to_text(state.last), "root": state.peaks.root().hex()},
            "policy": None if policy is None else to_text(policy),
            "log_key": None if state is None else _log_key(home, key.genesis.id),
            "data": str(home.path),
        }
    lines = [f"{item:<10}  {_shown(value)}" for item, value in about.items() if item != "keys"]
    lines += [f"{'key':<10}  {one['key']} {one['scheme']} {one['state']}" for one in about["keys"]]
    emit(about, as_json, "\n".join(lines))


@agent.command(name="catch-up")
@click.argument("name", metavar="NAME|ID")
@click.option("--peer", "peers", multiple=True, required=True, help="An address that ends in /p2p/<id>; repeat.")
@data_option
@json_option
def catch_up(name: str, peers: tuple[str, ...], data: Path | None, as_json: bool) -> int:
    """Fetch back what others hold of an agent's log, as after a restart from an old copy.

    Exit code: 0 if the agent can record again, 2 if something is still missing or its log turned out to be forked.
    """
    import trio

    from tslg.node.catching_up import CaughtUp
    from tslg.node.catching_up import catch_up as fetch
    from tslg.node.cli.audit import throwaway_network
    from tslg.protocol.cid import to_text

    with write_home(data) as home:
        owner = find_log(home.store, name)
        home.agent_key(owner)

        async def work() -> CaughtUp:
            async with throwaway_network(peers) as network:
                return await fetch(network, home.ledger, owner, peers)

        done = trio.run(work)
        left = home.ledger.blocked(owner)
    told = {
        "agent": to_text(owner),
        "seen": done.seen,
        "added": done.added,
        "blocked": None if left is None else {"code": left.code, "detail": left.detail, "mend": left.mend},
    }
    text = f"{done.added} records fetched back of {done.seen} seen elsewhere"
    emit(told, as_json, text if left is None else f"{text}\n{left}")
    return 0 if left is None else 2


@agent.command()
@click.argument("name", metavar="NAME|ID")
@data_option
@json_option
def resume(name: str, data: Path | None, as_json: bool) -> None:
    """Let an agent record again whose directory was restored, knowing that nothing was recorded after the copy.

    If anything was, its log forks, which others can prove for ever. Where anybody may hold more, use `catch-up`.
    """
    from tslg.node.own_log import reopen_restored
    from tslg.protocol.cid import to_text

    with write_home(data) as home:
        owner = find_log(home.store, name)
        home.agent_key(owner)
        reopen_restored(home.store, owner)
        home.ledger.examine(owner)
        left = home.ledger.blocked(owner)
        if left is not None:
            raise left
    emit({"agent": to_text(owner)}, as_json, f"{name} records again")


@agent.command()
@click.argument("name", metavar="NAME|ID")
@data_option
@json_option
def anchor(name: str, data: Path | None, as_json: bool) -> None:
    """Have witnesses cosign the present state of an agent's log, as the manifest asks for it."""
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    with write_home(data) as home:
        owner = find_log(home.store, name)
        signed = home.anchorer.anchor(owner)
        if signed is None:
            raise UsageError(
                "the manifest in force asks for no witnesses", mend="have the anchors amend it with `anchoring`"
            )
    head, names = signed.checkpoint, [line.name for line in signed.signatures]
    told = {"agent": to_text(owner), "size": head.size, "root": head.root.hex(), "signatures": names}
    emit(told, as_json, f"{head.size} records cosigned by {', '.join(names[1:])}")


def _log_key(home: Home, id: Link) -> str | None:
    """Return the key that verifies the agent's checkpoints, as text; None if none can sign any."""
    from tslg.protocol.checkpoint import log_key, origin_of
    from tslg.protocol.errors import CheckpointError

    try:
        return log_key(origin_of(id), home.keyring.note_key(id).public).text
    except CheckpointError:
        return None


def _about(home: Home, key: AgentKey) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    state = home.store.log_state(key.genesis.id)
    return {
        "agent": to_text(key.genesis.id),
        "name": key.genesis.body["name"],
        "state": "requested" if state is None else "joined",
        "records": 0 if state is None else state.size,
        "keys": 0 if state is None else sum(one.alive for one in home.keyring.states(key.genesis.id)),
    }


def _shown(value: Any) -> str:
    from tslg.node.cli.describing import plain

    if isinstance(value, dict):
        return " ".join(f"{name} {item}" for name, item in value.items())
    return "none" if value is None else plain(str(value), 4096)


for _command in change_commands:
    agent.add_command(_command)
