"""The threshold key ceremony over files: each step one function that may be repeated, each anchor on its own machine.

The shared folder holds what is public: the ceremony, one message for each member and round, and in the end the anchors
file that a manifest is compiled with. It may travel on a memory stick. Each anchor has a private folder of its own.
Somebody calls `dkg_start`; then every member `dkg_commit`, `dkg_share`, `dkg_finish`. The transcript that `dkg_commit`
gives once all have committed is compared by voice or in a meeting before shares are made.

State is saved before the message that it stands for leaves, under a new name for each step, so nothing is overwritten:
a step that was killed is simply run again and gives the same bytes.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tslg.manifests import dkg
from tslg.manifests.ceremony import Ceremony, Commitment, Complaint, Confirmation, Message, Shares
from tslg.manifests.files import PRIVATE_MODE, Step, read_bytes, slug, write_once
from tslg.manifests.keys import ANCHORS_FILE, AnchorKey, encode_anchors, write_key
from tslg.manifests.text import AnchorKeys
from tslg.protocol.errors import ManifestError
from tslg.protocol.manifest import Member
from tslg.protocol.signatures import Alg

CEREMONY_FILE: Final = "ceremony.cbor"

_STEPS: Final = (1, 2, 3)
"""A member's state after commit, share and finish."""

M = TypeVar("M", bound=Message)
RandomBytes = Callable[[int], bytes]


def dkg_start(
    shared: Path, members: tuple[str, ...], threshold: int, *, random_bytes: RandomBytes = secrets.token_bytes
) -> Step:
    """Begin a ceremony in a shared folder. Repeated with the same members and threshold it changes nothing.

    Raises:
        ManifestError: `TSLG-M-DKG-CEREMONY` for impossible members or threshold, `TSLG-M-EXISTS` if the folder holds
            another ceremony.
    """
    path = shared / CEREMONY_FILE
    ceremony = Ceremony(random_bytes(32), threshold, members)
    if path.exists():
        found = read_ceremony(shared)
        if (found.members, found.threshold) == (members, threshold):
            ceremony = found
    write_once(path, ceremony.to_bytes())
    return Step((path,), members)


def dkg_restart(old: Path, shared: Path, culprit: str) -> Step:
    """Begin the ceremony anew in another folder, without a member. Everybody arrives at the same one."""
    ceremony = read_ceremony(old).without(culprit)
    path = shared / CEREMONY_FILE
    write_once(path, ceremony.to_bytes())
    return Step((path,), ceremony.members)


def dkg_commit(shared: Path, private: Path, member: str, *, random_bytes: RandomBytes = secrets.token_bytes) -> Step:
    """First round: make this member's secret and publish the commitment to it.

    Raises:
        ManifestError: the ceremony is not there, is damaged or has no such member, or a file cannot be written.
    """
    ceremony = read_ceremony(shared)
    ceremony.index(member)
    state = _state_file(private, ceremony, member, 1)
    if not state.exists():
        write_once(state, dkg.Participant.create(ceremony, member, random_bytes).to_bytes(), PRIVATE_MODE)
    participant = _load_state(private, ceremony, member)
    path = _message_file(shared, ceremony, participant.member, Commitment)
    write_once(path, participant.commitment().to_bytes())
    found = _first_round(shared, ceremony)
    waiting = _absent(ceremony, found)
    transcript = None if waiting else dkg.transcript(ceremony, found.values())
    return Step((state, path), waiting, transcript)


def dkg_share(shared: Path, private: Path, member: str, *, transcript: bytes | None = None) -> Step:
    """Second round: publish each other member's share, encrypted to it.

    Args:
        shared, private, member: as `dkg_commit`.
        transcript: the digest that the members agreed on, if it shall be checked here once more.

    Raises:
        ManifestError: `TSLG-M-DKG-MISSING` naming members to wait for, `TSLG-M-DKG-TRANSCRIPT` if the first round is
            not the agreed one, or a file is damaged.
    """
    ceremony = read_ceremony(shared)
    participant = _load_state(private, ceremony, member)
    first = _first_round(shared, ceremony)
    found = dkg.transcript(ceremony, first.values())
    if transcript is not None and transcript != found:
        raise ManifestError(
            f"the first round here is {found.hex()}, not the one agreed on",
            code="TSLG-M-DKG-TRANSCRIPT",
            mend="find out who changed a commitment, and start a new ceremony",
        )
    participant, message = participant.deal(first.values())
    state = _save_state(private, participant, member)
    path = _message_file(shared, ceremony, participant.member, Shares)
    write_once(path, message.to_bytes())
    waiting = _absent(ceremony, _later_round(shared, ceremony, Shares, first))
    return Step((state, path), waiting, found)


def dkg_finish(shared: Path, private: Path, member: str, *, accuse_missing: bool = False) -> Step:
    """Check the shares received, keep the key, confirm it; and once all have confirmed, write the anchors file.

    Run it again until nobody is waited for.

    Args:
        shared, private, member: as `dkg_commit`.
        accuse_missing: do not wait any longer for shares that are absent, but complain of their makers.

    Raises:
        ManifestError: `TSLG-M-DKG-MISSING` naming members to wait for; `TSLG-M-DKG-COMPLAINT` naming who is at fault
            and how to go on without; or a file is damaged.
    """
    ceremony = read_ceremony(shared)
    participant = _load_state(private, ceremony, member)
    first = _first_round(shared, ceremony)
    second = _later_round(shared, ceremony, Shares, first)
    _refuse_complaints(shared, ceremony, first, second)
    missing = [name for name in _absent(ceremony, second) if name != member]
    if missing and not accuse_missing:
        raise ManifestError(
            f"no shares of {', '.join(missing)} yet",
            code="TSLG-M-DKG-MISSING",
            mend="wait for them, or give up on them with a complaint",
        )
    participant, result = participant.finish(first.values(), second.values())
    if not isinstance(result, dkg.Outcome):
        _save_state(private, participant, member)
        for complaint in result:
            write_once(_complaint_file(shared, ceremony, complaint), complaint.to_bytes())
        _refuse_complaints(shared, ceremony, first, second)
        raise ManifestError("the complaints just made are answered", code="TSLG-M-DKG-COMPLAINT", mend="run it again")
    state = _save_state(private, participant, member)
    key_file = private / f"anchor-{slug(member)}-{ceremony.id.hex()[:16]}.key.json"
    write_key(key_file, AnchorKey(ceremony.id.hex()[:16], member, int(Alg.BLS_THRESHOLD), result.secret))
    confirmation = _message_file(shared, ceremony, participant.member, Confirmation)
    write_once(confirmation, result.confirmation.to_bytes())
    third = _later_round(shared, ceremony, Confirmation, first)
    waiting = _absent(ceremony, third)
    written: tuple[Path, ...] = (state, key_file, confirmation)
    if not waiting:
        written += (_conclude(shared, ceremony, first, third),)
    return Step(written, waiting, result.transcript)


def read_ceremony(shared: Path) -> Ceremony:
    """Read the ceremony of a shared folder. Raises ManifestError if there is none or it is damaged."""
    path = shared / CEREMONY_FILE
    with _naming(path):
        return Ceremony.from_bytes(read_bytes(path))


def _first_round(shared: Path, ceremony: Ceremony) -> dict[int, Commitment]:
    """Return the commitments that are there, each whole and in its place."""
    found = {}
    for index, path in _present(shared, ceremony, Commitment):
        message = _read(path, Commitment, ceremony, index)
        if not message.is_signed_by(message.sign_key):
            raise _damaged(path, ceremony.members[index])
        found[index] = message
    return found


def _later_round(shared: Path, ceremony: Ceremony, kind: type[M], first: dict[int, Commitment]) -> dict[int, M]:
    """Return the messages of a later round that are there, each signed by its author."""
    found = {}
    for index, path in _present(shared, ceremony, kind):
        message = _read(path, kind, ceremony, index)
        if index not in first or not message.is_signed_by(first[index].sign_key):
            raise _damaged(path, ceremony.members[index])
        found[index] = message
    return found


def _read(path: Path, kind: type[M], ceremony: Ceremony, index: int) -> M:
    with _naming(path):
        message = kind.from_bytes(read_bytes(path))
    if message.ceremony != ceremony.id or message.member != index:
        raise ManifestError(
            f"{path} belongs to another ceremony or member", code="TSLG-M-FILE", mend="remove it, or put the right one"
        )
    return message


def _present(shared: Path, ceremony: Ceremony, kind: type[Message]) -> Iterator[tuple[int, Path]]:
    for index in range(len(ceremony.members)):
        path = _message_file(shared, ceremony, index, kind)
        if path.exists():
            yield index, path


def _absent(ceremony: Ceremony, found: dict[int, M]) -> tuple[str, ...]:
    return tuple(name for index, name in enumerate(ceremony.members) if index not in found)


def _refuse_complaints(
    shared: Path, ceremony: Ceremony, first: dict[int, Commitment], second: dict[int, Shares]
) -> None:
    """Judge every complaint in the folder; one that is founded, or false, ends the ceremony."""
    for path in sorted(shared.glob("complaint-*.cbor")):
        with _naming(path):
            complaint = Complaint.from_bytes(read_bytes(path))
            verdict = dkg.judge(ceremony, first.values(), complaint, second.values())
        if verdict.culprit is not None:
            raise ManifestError(
                f"{path}: {verdict.reason}; {verdict.culprit} is at fault",
                code="TSLG-M-DKG-COMPLAINT",
                mend=f"start again in a new folder without {verdict.culprit}",
            )


def _conclude(shared: Path, ceremony: Ceremony, first: dict[int, Commitment], third: dict[int, Confirmation]) -> Path:
    agreement = dkg.conclude(ceremony, first.values(), third.values())
    triples = zip(ceremony.members, agreement.member_keys, agreement.possessions, strict=True)
    keys = AnchorKeys(tuple(Member(*triple) for triple in triples), agreement.group_key)
    path = shared / ANCHORS_FILE
    write_once(path, encode_anchors(int(Alg.BLS_THRESHOLD), ceremony.threshold, keys, agreement.transcript))
    return path


def _load_state(private: Path, ceremony: Ceremony, member: str) -> dkg.Participant:
    """Read the newest state of a member."""
    paths = [path for step in _STEPS if (path := _state_file(private, ceremony, member, step)).exists()]
    if not paths:
        raise ManifestError(
            f"{private} holds no state of {member} in this ceremony",
            code="TSLG-M-ABSENT",
            mend="commit first, with this private folder",
        )
    with _naming(paths[-1]):
        state = dkg.Participant.from_bytes(read_bytes(paths[-1]))
    if state.ceremony != ceremony or ceremony.members[state.member] != member:
        raise ManifestError(f"{paths[-1]} is of another ceremony or member", code="TSLG-M-FILE", mend="restore it")
    return state


def _save_state(private: Path, state: dkg.Participant, member: str) -> Path:
    """Save a state under the step that it has reached, which may be a later one than the step that is repeated."""
    step = 1 + (state.transcript is not None) + (state.received is not None)
    path = _state_file(private, state.ceremony, member, step)
    write_once(path, state.to_bytes(), PRIVATE_MODE)
    return path


def _state_file(private: Path, ceremony: Ceremony, member: str, step: int) -> Path:
    return private / f"dkg-{ceremony.id.hex()[:16]}-{slug(member)}.state-{step}"


def _message_file(shared: Path, ceremony: Ceremony, index: int, kind: type[Message]) -> Path:
    round_number = {Commitment: 1, Shares: 2, Confirmation: 3}[kind]
    what = kind.kind.removeprefix("tslg-dkg-")
    return shared / f"{round_number}-{what}-{slug(ceremony.members[index])}.cbor"


def _complaint_file(shared: Path, ceremony: Ceremony, complaint: Complaint) -> Path:
    names = (slug(ceremony.members[index]) for index in (complaint.member, complaint.accused))
    return shared / "complaint-{}-about-{}.cbor".format(*names)


def _damaged(path: Path, member: str) -> ManifestError:
    return ManifestError(f"{path} is not signed by {member}", code="TSLG-M-FILE", mend=f"get it from {member} again")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before whatever is wrong with its content."""
    try:
        yield
    except ManifestError as error:
        if str(path) in error.detail:
            raise
        mend = error.mend or "get that file from its author again"
        raise ManifestError(f"{path}: {error.detail}", code=error.code, mend=mend) from error
