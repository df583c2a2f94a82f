"""`tslg joint`: authorise together with agents on other machines, by files that hold nothing secret."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tslg.node.cli.access import FILE
from tslg.node.cli.given import given_map, given_moment
from tslg.node.cli.output import emit
from tslg.node.cli.recording import Author, agent_id, author_of, cites, common, done

if TYPE_CHECKING:
    from tslg.node.joining import JointRequest

_OUT = click.option("--out", type=FILE, required=True, help="The file to write.")


@click.group()
def joint() -> None:
    """Authorise together: propose a record, have its signers sign, and record it.

    Each signer signs on its own machine. A proposal is void once its agent has recorded something else, so give
    authorisations an agent of their own.
    """


@joint.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data-json", metavar="JSON", help="The same as a JSON map.")
@click.option("--signer", multiple=True, metavar="AGENT", help="An agent that may sign, or its key record; repeat.")
@click.option("--threshold", type=click.IntRange(1), help="How many must sign.")
@click.option("--group", type=FILE, help="Instead: the anchors file of a BLS group's key ceremony.")
@click.option("--member", type=FILE, multiple=True, help="With --group: a member's file of `consent`; repeat.")
@click.option("--bearer", multiple=True, metavar="AGENT", help="Who may act on it; repeat.  [author and signers]")
@click.option("--expires", metavar="MOMENT", help="Until when it may be acted on.")
@cites("policy", "evidence", "delegation")
@_OUT
@common
def propose(name: str, pairs: tuple[str, ...], data_json: str | None, **given: Any) -> None:
    """Propose to authorise NAME, the pairs; write the request for its signers."""
    from tslg.manifests.files import read_bytes, write_once
    from tslg.manifests.keys import read_group
    from tslg.node.home import wall_clock
    from tslg.node.joining import read_member

    expires = None if given["expires"] is None else given_moment(given["expires"], wall_clock())
    with author_of(given) as author:
        request = author.agent.propose_joint(
            name,
            [_signer(author, text) for text in given["signer"]],
            given["threshold"],
            given_map(pairs, data_json) or None,
            expires=expires,
            bearers=[agent_id(author.home, text) for text in given["bearer"]] or None,
            group=None if given["group"] is None else read_group(given["group"]),
            members=[read_member(read_bytes(path), str(path)) for path in given["member"]],
            **{cls: author.ids(given[cls]) for cls in ("policy", "evidence", "delegation")},
        )
    write_once(given["out"], request.to_bytes())
    _tell(request, given["out"], given["as_json"])


@joint.command()
@click.argument("file", type=FILE)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def show(file: Path, as_json: bool) -> None:
    """Show what a request is to authorise, and who signs."""
    _tell(_read(file), file, as_json)


@joint.command()
@click.argument("file", type=FILE)
@click.option("--key", type=FILE, help="This agent's share of the group's key, where a group signs.")
@_OUT
@common
def sign(file: Path, key: Path | None, **given: Any) -> None:
    """Sign the request FILE as one of its signers."""
    from tslg.manifests.files import write_once
    from tslg.manifests.keys import read_key

    request = _read(file)
    with author_of(given) as author:
        signed = author.agent.sign_joint(request, None if key is None else read_key(key))
        name = author.agent.name
    write_once(given["out"], signed)
    emit({"signature": str(given["out"]), "signer": name}, given["as_json"], str(given["out"]))


@joint.command()
@click.argument("file", type=FILE)
@click.argument("signatures", nargs=-1, type=FILE, metavar="SIGNATURE...")
@common
def combine(file: Path, signatures: tuple[Path, ...], **given: Any) -> None:
    """Record the request FILE, which its author proposed here, with the signatures of its signers."""
    from tslg.manifests.files import read_bytes

    request = _read(file)
    with author_of(given) as author:
        done(author.agent.record_joint(request, [(str(path), read_bytes(path)) for path in signatures]), given)


@joint.command()
@click.option("--group", required=True, type=FILE, help="The anchors file of the group's key ceremony.")
@click.option("--key", required=True, type=FILE, help="This agent's share of the group's key.")
@_OUT
@common
def consent(group: Path, key: Path, **given: Any) -> None:
    """Say that a key of a BLS group speaks for this agent; write the member's file."""
    from tslg.manifests.files import write_once
    from tslg.manifests.keys import read_group, read_key

    with author_of(given) as author:
        write_once(given["out"], author.agent.consent(read_group(group), read_key(key).public))
        name = author.agent.name
    emit({"member": str(given["out"]), "agent": name}, given["as_json"], str(given["out"]))


def _signer(author: Author, text: str) -> Any:
    """Return the key record that is named, or the agent."""
    from tslg.node.cli.access import find_record
    from tslg.protocol.errors import TslgError

    try:
        return find_record(author.home.store, text)
    except TslgError:
        return agent_id(author.home, text)


def _read(file: Path) -> JointRequest:
    from tslg.manifests.files import read_bytes
    from tslg.node.joining import JointRequest

    return JointRequest.from_bytes(read_bytes(file), str(file))


def _tell(request: JointRequest, file: Path, as_json: bool) -> None:
    from tslg.node.cli.describing import dag_json, plain
    from tslg.protocol.cid import to_text

    body = request.record.body
    signers = [to_text(signer["agent"]) for signer in body["signers"]]
    told = {
        "request": str(file),
        "record": to_text(request.record.id),
        "agent": to_text(request.record.owner),
        "authorises": dag_json({key: body.get(key) for key in ("name", "data", "expires")}),
        "threshold": body["threshold"],
        "signers": signers,
        "group": "group" in body,
    }
    lines = [
        f"record     {told['record']}",
        f"by         {told['agent']}",
        f"authorises {plain(body['name'])}",
        *(f"           {plain(key)}: {plain(str(dag_json(value)))}" for key, value in body.get("data", {}).items()),
        f"signed by  {body['threshold']} of {len(signers)}" + (", as a group" if told["group"] else ""),
        *(f"           {signer}" for signer in signers),
        f"request    {file}",
    ]
    emit(told, as_json, "\n".join(lines))
