"""Key ceremonies over files: whole, repeated, killed at every point, and with files that are damaged or foreign."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tslg.manifests import ceremony_files as steps
from tslg.manifests import dkg, files, keys, text
from tslg.manifests.ceremony import Ceremony, Commitment, Shares
from tslg.manifests.multisig_files import multisig_close, multisig_join
from tslg.protocol import bls
from tslg.protocol.errors import ManifestError

Random = Callable[[str], Callable[[int], bytes]]

MEMBERS = ("alice", "bob", "Carol C.")
TEXT = """
[federation]
name = "T"
[anchors]
scheme = "SCHEME"
threshold = 2
members = ["alice", "bob", "Carol C."]
[envelope]
"""


def wanted(scheme: str) -> text.ManifestText:
    return text.parse(TEXT.replace("SCHEME", scheme))


class Table:
    """A shared folder, and a private one for each member."""

    def __init__(self, folder: Path, randomness: Random) -> None:
        self.shared = folder / "shared"
        self.folder = folder
        self.randomness = randomness

    def private(self, name: str) -> Path:
        return self.folder / "private" / name.split()[0]

    def start(self) -> None:
        steps.dkg_start(self.shared, MEMBERS, 2, random_bytes=self.randomness("start"))

    def commit(self, name: str) -> steps.Step:
        return steps.dkg_commit(self.shared, self.private(name), name, random_bytes=self.randomness(name))

    def share(self, name: str) -> steps.Step:
        return steps.dkg_share(self.shared, self.private(name), name)

    def finish(self, name: str) -> steps.Step:
        return steps.dkg_finish(self.shared, self.private(name), name)

    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in paths}


@pytest.fixture
def table(tmp_path: Path, randomness: Random) -> Table:
    made = Table(tmp_path, randomness)
    made.start()
    return made


def until_shared(table: Table) -> None:
    for name in MEMBERS:
        table.commit(name)
    for name in MEMBERS:
        table.share(name)


def test_a_ceremony_gives_keys_that_sign_together(table: Table) -> None:
    commits = [table.commit(name) for name in MEMBERS]
    assert commits[0].waiting == ("bob", "Carol C.")
    assert commits[0].transcript is None
    transcripts = {table.share(name).transcript for name in MEMBERS}
    assert transcripts == {commits[-1].transcript}
    assert [table.finish(name).waiting for name in MEMBERS] == [("bob", "Carol C."), ("Carol C.",), ()]
    public = keys.read_anchors(table.shared / keys.ANCHORS_FILE, wanted("threshold"))
    assert [member.name for member in public.members] == list(MEMBERS)
    member_keys = [member.key for member in public.members]
    assert public.group_key is not None
    assert bls.shares_match_group(member_keys, 2, public.group_key)
    secret = [keys.read_key(next(table.private(name).glob("*.key.json"))) for name in MEMBERS]
    assert [key.public for key in secret] == member_keys
    with pytest.raises(ManifestError, match="TSLG-M-KEYS"):
        keys.read_anchors(table.shared / keys.ANCHORS_FILE, wanted("multisig"))


def test_every_step_repeated_gives_the_same_files(table: Table) -> None:
    for step in (table.commit, table.share, table.finish, table.finish):
        for name in MEMBERS:
            step(name)
            before = table.files()
            step(name)
            table.start()
            assert table.files() == before
    for step in (table.commit, table.share, table.finish):
        for name in MEMBERS:
            step(name)
    assert table.files() == before


@pytest.mark.thorough
def test_a_step_killed_at_any_write_is_taken_up_again(
    tmp_path: Path, randomness: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = Table(tmp_path / "whole", randomness)
    whole.start()
    run_all(whole)
    writes = 0
    link = Path.hardlink_to

    def counting(self: Path, target: Path) -> None:
        nonlocal writes, deadline
        writes += 1
        if writes == deadline:
            raise KeyboardInterrupt
        link(self, target)

    monkeypatch.setattr(Path, "hardlink_to", counting)
    deadline, count = 1, len(whole.files())
    while deadline <= count:
        broken, writes = Table(tmp_path / f"killed-{deadline}", randomness), 0
        with pytest.raises(KeyboardInterrupt):
            broken.start()
            run_all(broken)
        broken.start()
        run_all(broken)
        assert broken.files() == whole.files()
        deadline += 1


def run_all(table: Table) -> None:
    for step in (table.commit, table.share, table.finish, table.finish):
        for name in MEMBERS:
            step(name)


def test_secrets_are_private_and_stay_out_of_the_shared_folder(table: Table) -> None:
    until_shared(table)
    for name in MEMBERS:
        table.finish(name)
    for path in table.folder.rglob("*"):
        if path.is_file() and path.parent.parent.name == "private":
            assert path.stat().st_mode & 0o777 == 0o600
    state = next(table.private("alice").glob("*.state-3"))
    participant = dkg.Participant.from_bytes(state.read_bytes())
    key = keys.read_key(next(table.private("alice").glob("*.key.json")))
    public = b"".join(path.read_bytes() for path in table.shared.iterdir())
    for secret in (participant.seed, key.secret):
        assert secret not in public
        assert secret.hex() not in repr((participant, key))
        assert repr(secret) not in repr((participant, key))


def test_steps_out_of_order_say_for_whom_to_wait(table: Table) -> None:
    with pytest.raises(ManifestError, match=r"TSLG-M-ABSENT: .* holds no state of bob"):
        table.share("bob")
    table.commit("alice")
    with pytest.raises(ManifestError, match=r"TSLG-M-DKG-MISSING: no commitment of 'bob', 'Carol C\.'"):
        table.share("alice")
    for name in MEMBERS[1:]:
        table.commit(name)
    table.share("alice")
    with pytest.raises(ManifestError, match=r"TSLG-M-DKG-MISSING: no shares of bob, Carol C\. yet"):
        table.finish("alice")
    with pytest.raises(ManifestError, match="TSLG-M-DKG-CEREMONY: 'mallory' takes no part"):
        table.commit("mallory")


def test_a_wrong_threshold_is_refused(tmp_path: Path) -> None:
    for threshold in (0, 1, 4):
        with pytest.raises(ManifestError, match="TSLG-M-DKG-CEREMONY"):
            steps.dkg_start(tmp_path, MEMBERS, threshold)


def test_another_ceremony_does_not_overwrite_one(table: Table) -> None:
    before = table.files()
    with pytest.raises(ManifestError, match="TSLG-M-EXISTS"):
        steps.dkg_start(table.shared, MEMBERS, 3)
    assert table.files() == before


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("ceremony.cbor", "commit"),
        ("1-commitment-bob.cbor", "share"),
        ("2-shares-bob.cbor", "finish"),
        ("3-confirmation-bob.cbor", "finish"),
    ],
)
@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "huge"])
def test_a_damaged_file_is_named(table: Table, name: str, step: str, damage: str) -> None:
    until_shared(table)
    table.finish("bob")
    path = table.shared / name
    good = path.read_bytes()
    bad = {"cut": good[:-3], "empty": b"", "flipped": good[:-9] + bytes([good[-9] ^ 1]) + good[-8:], "huge": good * 999}
    path.write_bytes(bad[damage])
    before = table.files()
    with pytest.raises(ManifestError) as caught:
        getattr(table, step)("alice")
    if (name, damage) != ("ceremony.cbor", "flipped"):
        assert name in caught.value.detail
    assert caught.value.mend
    assert before.items() <= table.files().items()
    path.write_bytes(good)
    getattr(table, step)("alice")


def test_a_foreign_file_is_named(table: Table, tmp_path: Path, randomness: Random) -> None:
    other = Table(tmp_path / "other", lambda seed: randomness("other" + seed))
    other.start()
    other.commit("bob")
    for name in MEMBERS:
        table.commit(name)
    name = "1-commitment-bob.cbor"
    (table.shared / name).write_bytes((other.shared / name).read_bytes())
    with pytest.raises(ManifestError, match=r"1-commitment-bob\.cbor belongs to another ceremony"):
        table.share("alice")
    with pytest.raises(ManifestError, match="TSLG-M-EXISTS"):
        table.commit("bob")


def test_the_transcript_agreed_on_is_enforced(table: Table) -> None:
    for name in MEMBERS:
        transcript = table.commit(name).transcript
    assert transcript is not None
    with pytest.raises(ManifestError, match="TSLG-M-DKG-TRANSCRIPT"):
        steps.dkg_share(table.shared, table.private("bob"), "bob", transcript=bytes(32))
    steps.dkg_share(table.shared, table.private("bob"), "bob", transcript=transcript)


def test_a_bad_share_names_the_culprit_and_the_others_go_on(table: Table, randomness: Random) -> None:
    until_shared(table)
    spoil_share(table, dealer="bob", victim="alice")
    for _ in range(2):
        with pytest.raises(ManifestError) as caught:
            table.finish("alice")
        assert caught.value.code == "TSLG-M-DKG-COMPLAINT"
        assert "complaint-alice-about-bob.cbor" in caught.value.detail
        assert "bob is at fault" in caught.value.detail
        assert "without bob" in caught.value.mend
    assert not list(table.private("alice").glob("*.key.json"))
    with pytest.raises(ManifestError, match="bob is at fault"):
        table.finish("Carol C.")
    again = Table(table.folder / "again", randomness)
    steps.dkg_restart(table.shared, again.shared, "bob")
    for step in (again.commit, again.share, again.finish, again.finish):
        for name in ("alice", "Carol C."):
            done = step(name)
    assert done.waiting == ()
    assert (again.shared / keys.ANCHORS_FILE).exists()


def spoil_share(table: Table, dealer: str, victim: str) -> None:
    """Let the dealer send a share that does not fit, in a message that it does sign."""
    ceremony = steps.read_ceremony(table.shared)
    state = next(table.private(dealer).glob("*.state-2"))
    participant = dkg.Participant.from_bytes(state.read_bytes())
    path = table.shared / f"2-shares-{dealer}.cbor"
    message = Shares.from_bytes(path.read_bytes())
    boxes = list(message.boxes)
    boxes[ceremony.index(victim)] = bytes(48)
    path.write_bytes(
        Shares.signed(
            participant._sign_key(),
            ceremony=message.ceremony,
            member=message.member,
            transcript=message.transcript,
            boxes=tuple(boxes),
        ).to_bytes()
    )


def test_a_false_complaint_falls_back_on_its_author(table: Table) -> None:
    until_shared(table)
    ceremony = steps.read_ceremony(table.shared)
    state = next(table.private("bob").glob("*.state-2"))
    participant = dkg.Participant.from_bytes(state.read_bytes())
    shares = Shares.from_bytes((table.shared / "2-shares-alice.cbor").read_bytes())
    commitments = [Commitment.from_bytes(path.read_bytes()) for path in table.shared.glob("1-*.cbor")]
    complaint = participant._complain(dkg.transcript(ceremony, commitments), 0, shares)
    (table.shared / "complaint-bob-about-alice.cbor").write_bytes(complaint.to_bytes())
    with pytest.raises(ManifestError, match="alice's share is good; bob is at fault"):
        table.finish("alice")


def test_silence_can_be_complained_of_and_answered(table: Table) -> None:
    for name in MEMBERS:
        table.commit(name)
    for name in MEMBERS[:2]:
        table.share(name)
    with pytest.raises(ManifestError, match=r"Carol C\. sent no shares; Carol C\. is at fault"):
        steps.dkg_finish(table.shared, table.private("alice"), "alice", accuse_missing=True)
    table.share("Carol C.")
    for name in MEMBERS:
        table.finish(name)
    assert (table.shared / keys.ANCHORS_FILE).exists()


def test_multisig_members_join_and_close(tmp_path: Path, randomness: Random) -> None:
    table = Table(tmp_path, randomness)
    for name in MEMBERS[:2]:
        multisig_join(table.shared, table.private(name), name, random_bytes=randomness(name))
    with pytest.raises(ManifestError, match=r"TSLG-M-MISSING: Carol C\. did not join"):
        multisig_close(table.shared, MEMBERS, 2)
    multisig_join(table.shared, table.private(MEMBERS[2]), MEMBERS[2], random_bytes=randomness("c"))
    multisig_close(table.shared, MEMBERS, 2)
    before = table.files()
    for name in MEMBERS:
        multisig_join(table.shared, table.private(name), name)
    multisig_close(table.shared, MEMBERS, 2)
    assert table.files() == before
    public = keys.read_anchors(table.shared / keys.ANCHORS_FILE, wanted("multisig"))
    assert [member.name for member in public.members] == list(MEMBERS)
    assert bls.verify_possessions([m.key for m in public.members], [m.possession for m in public.members])
    with pytest.raises(ManifestError, match="TSLG-M-EXISTS"):
        multisig_join(table.shared, tmp_path / "elsewhere", "bob")
    with pytest.raises(ManifestError, match="TSLG-M-EXISTS"):
        multisig_close(table.shared, MEMBERS[::-1], 2)


def test_a_proof_that_does_not_hold_is_named(tmp_path: Path, randomness: Random) -> None:
    table = Table(tmp_path, randomness)
    for name in MEMBERS:
        multisig_join(table.shared, table.private(name), name)
    bob = table.shared / "member-bob.cbor"
    fields = files.decode_message(bob.read_bytes(), "tslg multisig member", everything(), "bob")
    alice = files.decode_message(
        (table.shared / "member-alice.cbor").read_bytes(), "tslg multisig member", everything(), "a"
    )
    bob.write_bytes(files.encode_message("tslg multisig member", {**fields, "possession": alice["possession"]}))
    with pytest.raises(ManifestError, match=r"member-bob\.cbor does not prove bob's key"):
        multisig_close(table.shared, MEMBERS, 2)


def everything() -> dict[str, Callable[[object], bool]]:
    return {"name": lambda _: True, "key": lambda _: True, "possession": lambda _: True}


def test_ceremony_names_are_files_apart() -> None:
    names = ["a", "A", "a b", "a-b", "a/b", "../a", "ä", "…", "x" * 60, "x" * 61]
    slugs = [files.slug(name) for name in names]
    assert len(set(slugs)) == len(names)
    assert all(slug.strip(".") == slug and "/" not in slug and len(slug) <= 60 for slug in slugs)
    assert files.slug("a-b") == "a-b"


def test_state_of_another_ceremony_is_not_used(table: Table, randomness: Random) -> None:
    table.commit("alice")
    state = next(table.private("alice").glob("*.state-1"))
    participant = dkg.Participant.from_bytes(state.read_bytes())
    other = Ceremony(b"n" * 32, 2, MEMBERS)
    state.write_bytes(replace(participant, ceremony=other).to_bytes())
    with pytest.raises(ManifestError, match="is of another ceremony or member"):
        table.commit("alice")
