"""`tslg federation dkg …` and `multisig …`: the key ceremonies of anchors, over a shared folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from tslg.node.cli.access import FILE, FOLDER
from tslg.node.cli.federation_show import read_text
from tslg.node.cli.output import emit, errors_to_exit, json_option

if TYPE_CHECKING:
    from tslg.manifests.files import Step


C = TypeVar("C", bound=Callable[..., None])


def _of_member(command: C) -> C:
    """Add what every member's own step is given."""
    command = click.option("--member", required=True, help="Your anchor's name.")(command)
    command = click.option("--private", type=FOLDER, required=True, help="Your own folder, for secrets.")(command)
    return click.argument("shared", type=FOLDER)(command)


def _of_set(command: C) -> C:
    """Add the ways to say who takes part."""
    command = click.option("--threshold", type=int, help="How many anchors sign together.")(command)
    command = click.option("--member", "members", multiple=True, help="An anchor's name; repeat, in order.")(command)
    return click.option("--manifest", type=FILE, help="Take members and threshold from this TOML file.")(command)


@click.group()
def dkg() -> None:
    """Make a threshold key together, without anybody ever holding it.

    One member runs `start`. Then all run `commit`, compare the transcript that it shows once all have committed, run
    `share`, and run `finish` until nobody is waited for. Every step may be repeated.
    """


@dkg.command()
@click.argument("shared", type=FOLDER)
@_of_set
@click.option("--restart", "old", type=FOLDER, help="Start again after the ceremony in this folder …")
@click.option("--without", "culprit", help="… without this member.")
@json_option
@errors_to_exit
def start(
    shared: Path,
    manifest: Path | None,
    members: tuple[str, ...],
    threshold: int | None,
    old: Path | None,
    culprit: str | None,
    as_json: bool,
) -> None:
    """Begin a ceremony in the folder SHARED."""
    from tslg.manifests import ceremony_files
    from tslg.protocol.errors import UsageError

    if (old is None) != (culprit is None):
        raise UsageError("--restart and --without go together", mend="give both or none")
    if old is not None and culprit is not None:
        step = ceremony_files.dkg_restart(old, shared, culprit)
    else:
        step = ceremony_files.dkg_start(shared, *_who(manifest, members, threshold))
    _report(step, "commit", as_json)


@dkg.command()
@_of_member
@json_option
@errors_to_exit
def commit(shared: Path, private: Path, member: str, as_json: bool) -> None:
    """First round: make your secret, publish the commitment to it."""
    from tslg.manifests.ceremony_files import dkg_commit

    _report(dkg_commit(shared, private, member), "commit", as_json)


@dkg.command()
@_of_member
@click.option("--transcript", help="The transcript that all members agreed on, to be checked here.")
@json_option
@errors_to_exit
def share(shared: Path, private: Path, member: str, transcript: str | None, as_json: bool) -> None:
    """Second round: publish the others' shares, encrypted to them. Compare the transcript before."""
    from tslg.manifests.ceremony_files import dkg_share

    agreed = None if transcript is None else _transcript(transcript)
    _report(dkg_share(shared, private, member, transcript=agreed), "share", as_json)


@dkg.command()
@_of_member
@click.option("--accuse-missing", is_flag=True, help="Complain of members without shares instead of waiting.")
@json_option
@errors_to_exit
def finish(shared: Path, private: Path, member: str, accuse_missing: bool, as_json: bool) -> None:
    """Check your shares, keep your key, confirm; run it again until nobody is waited for."""
    from tslg.manifests.ceremony_files import dkg_finish

    _report(dkg_finish(shared, private, member, accuse_missing=accuse_missing), "finish", as_json)


@click.group()
def multisig() -> None:
    """Make keys for multisig: every anchor joins with a key of its own, then the set is closed."""


@multisig.command()
@_of_member
@json_option
@errors_to_exit
def join(shared: Path, private: Path, member: str, as_json: bool) -> None:
    """Make your own key and publish it, with the proof that you hold it."""
    from tslg.manifests.multisig_files import multisig_join

    _report(multisig_join(shared, private, member), "join", as_json)


@multisig.command()
@click.argument("shared", type=FOLDER)
@_of_set
@json_option
@errors_to_exit
def close(shared: Path, manifest: Path | None, members: tuple[str, ...], threshold: int | None, as_json: bool) -> None:
    """Write the anchors file once every member has joined."""
    from tslg.manifests.multisig_files import multisig_close

    _report(multisig_close(shared, *_who(manifest, members, threshold)), "close", as_json)


def _who(manifest: Path | None, members: tuple[str, ...], threshold: int | None) -> tuple[tuple[str, ...], int]:
    """Return members and threshold, from the manifest's text or from the options."""
    from tslg.protocol.errors import UsageError

    if manifest is not None and not members and threshold is None:
        wanted = read_text(manifest)
        return wanted.members, wanted.threshold
    if manifest is None and members and threshold is not None:
        return members, threshold
    raise UsageError("who takes part?", mend="give --manifest FILE, or --member for each and --threshold")


def _transcript(text: str) -> bytes:
    from tslg.protocol.errors import UsageError

    try:
        return bytes.fromhex(text)
    except ValueError as error:
        raise UsageError("a transcript is 64 hex digits", mend="copy it from what `commit` shows") from error


def _report(step: Step, name: str, as_json: bool) -> None:
    from tslg.manifests.keys import ANCHORS_FILE

    anchors = next((str(path) for path in step.written if path.name == ANCHORS_FILE), None)
    data = {
        "step": name,
        "files": [str(path) for path in step.written],
        "waiting": list(step.waiting),
        "transcript": step.transcript.hex() if step.transcript is not None else None,
        "anchors": anchors,
    }
    lines = [f"wrote      {path}" for path in step.written]
    if step.transcript is not None:
        lines.append(f"transcript {step.transcript.hex()}")
    if step.waiting:
        lines.append(f"waiting    {', '.join(step.waiting)}")
    if anchors is not None:
        lines.append(f"anchors    {anchors}: compile the manifest with it")
    emit(data, as_json, "\n".join(lines))
