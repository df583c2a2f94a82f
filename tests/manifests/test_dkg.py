"""The key ceremony: honest runs, culprits, false complaints, crashes, split views, damaged messages."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.public import Box, PrivateKey, PublicKey

from tslg.manifests import bls, threshold
from tslg.manifests.ceremony import Ceremony, Commitment, Complaint, Confirmation, Message, Shares
from tslg.manifests.dkg import Agreement, Outcome, Participant, conclude, judge, transcript
from tslg.manifests.feldman import box_nonce, challenge, keys_of
from tslg.protocol import bls as verifying
from tslg.protocol import codec
from tslg.protocol.curve import ORDER, decode_g1
from tslg.protocol.errors import ManifestError

IDENTITY = b"\xc0" + bytes(47)
NAMES = ("Ada", "Bo", "Cy", "Dee", "Eve", "Flo", "Gus")


class Run:
    """A ceremony of honest members up to the end of round two."""

    def __init__(self, needed: int, count: int, seed: int = 1) -> None:
        draw = random.Random(seed).randbytes
        self.ceremony = Ceremony(draw(32), needed, NAMES[:count])
        self.members = [Participant.create(self.ceremony, name, draw) for name in self.ceremony.members]
        self.first = [member.commitment() for member in self.members]
        dealt = [member.deal(self.first) for member in self.members]
        self.members = [member for member, _ in dealt]
        self.second = [shares for _, shares in dealt]

    def outcomes(self) -> list[Outcome]:
        found = [member.finish(self.first, self.second)[1] for member in self.members]
        assert all(isinstance(outcome, Outcome) for outcome in found)
        return [outcome for outcome in found if isinstance(outcome, Outcome)]

    def conclude(self) -> tuple[list[Outcome], Agreement]:
        outcomes = self.outcomes()
        return outcomes, conclude(self.ceremony, self.first, [outcome.confirmation for outcome in outcomes])

    def tampered(self, dealer: int, victim: int, change: Callable[[bytes], bytes]) -> list[Shares]:
        """Round two where a dealer encrypts something else for one member, properly signed."""
        member, honest = self.members[dealer], self.second[dealer]
        box = Box(member._box_key(), PublicKey(self.first[victim].box_key))
        nonce = box_nonce(honest.transcript, dealer, victim)
        boxes = list(honest.boxes)
        boxes[victim] = box.encrypt(change(box.decrypt(boxes[victim], nonce)), nonce).ciphertext
        return self.resigned(dealer, boxes=tuple(boxes))

    def resigned(self, dealer: int, **content: Any) -> list[Shares]:
        honest = self.second[dealer]
        fields = {"ceremony": honest.ceremony, "member": dealer, "transcript": honest.transcript, "boxes": honest.boxes}
        forged = Shares.signed(self.members[dealer]._sign_key(), **{**fields, **content})
        return [*self.second[:dealer], forged, *self.second[dealer + 1 :]]

    def complaints(self, member: int, second: list[Shares]) -> tuple[Complaint, ...]:
        _, found = self.members[member].finish(self.first, second)
        assert isinstance(found, tuple)
        return found


def refused(rule: str) -> Any:
    return pytest.raises(ManifestError, match=f"TSLG-M-DKG-{rule}")


@pytest.mark.parametrize(("needed", "count"), [(1, 1), (2, 2), (2, 3), (3, 3), (3, 5), (4, 7)])
def test_any_quorum_signs_alike_and_fewer_do_not(needed: int, count: int) -> None:
    outcomes, agreement = Run(needed, count).conclude()
    keys, message = agreement.member_keys, b"one manifest"
    assert len({(outcome.group_key, outcome.member_keys, outcome.transcript) for outcome in outcomes}) == 1
    assert [bls.public_key(outcome.secret) for outcome in outcomes] == list(keys)
    assert verifying.shares_match_group(keys, needed, agreement.group_key)
    assert verifying.verify_possessions(keys, agreement.possessions)
    partials = {outcome.member: threshold.partial_sign(outcome.secret, message) for outcome in outcomes}
    signatures = set()
    for quorum in itertools.islice(itertools.combinations(range(count), needed), 10):
        chosen = {index: partials[index] for index in quorum}
        signatures.add(threshold.combine(chosen, needed, keys, message))
    assert len(signatures) == 1
    assert verifying.verify(agreement.group_key, message, signatures.pop())
    if needed > 1:
        too_few = verifying.interpolate_signatures({index: partials[index] for index in range(needed - 1)})
        assert not verifying.verify(agreement.group_key, message, too_few)


def test_messages_and_state_survive_as_bytes_and_steps_repeat() -> None:
    run = Run(2, 3)
    first = [Commitment.from_bytes(message.to_bytes()) for message in run.first]
    second = [Shares.from_bytes(message.to_bytes()) for message in run.second]
    assert (first, second) == (run.first, run.second)
    draw = random.Random(1).randbytes
    ceremony = Ceremony.from_bytes(Ceremony(draw(32), 2, NAMES[:3]).to_bytes())
    fresh = Participant.from_bytes(Participant.create(ceremony, "Ada", draw).to_bytes())
    assert fresh.commitment() == first[0]
    dealt, shares = fresh.deal(reversed(first))
    assert shares == second[0]
    resumed = Participant.from_bytes(dealt.to_bytes())
    assert resumed.deal(first) == (resumed, second[0])
    done, outcome = resumed.finish(first, reversed(second))
    again = Participant.from_bytes(done.to_bytes())
    assert again == done
    assert again.finish([*first, first[1]], second[1:]) == (done, outcome), (
        "repeated messages and one's own change nothing"
    )
    assert isinstance(outcome, Outcome)
    assert Confirmation.from_bytes(outcome.confirmation.to_bytes()) == outcome.confirmation


def test_secrets_do_not_show() -> None:
    run = Run(2, 3)
    outcome = run.outcomes()[0]
    for secret in (run.members[0].seed, outcome.secret, bytes(run.members[0]._box_key())):
        for shown in (repr(run.members[0]), repr(outcome)):
            assert repr(secret) not in shown
            assert secret.hex() not in shown


def plus_order(number: bytes) -> bytes:
    """The same number modulo the order, encoded in a way that is not canonical."""
    return (int.from_bytes(number, "big") + ORDER).to_bytes(32, "big")


BAD_SHARES: dict[str, Callable[[bytes], bytes]] = {
    "other share": lambda share: share[:-1] + bytes([share[-1] ^ 1]),
    "not reduced": plus_order,
    "too long": lambda share: b"\0" + share,
    "empty": lambda share: b"",
}


@pytest.mark.parametrize("change", BAD_SHARES.values(), ids=BAD_SHARES.keys())
def test_a_bad_share_names_its_dealer(change: Callable[[bytes], bytes]) -> None:
    run = Run(2, 3)
    second = run.tampered(dealer=1, victim=2, change=change)
    (complaint,) = run.complaints(2, second)
    complaint = Complaint.from_bytes(complaint.to_bytes())
    assert judge(run.ceremony, run.first, complaint).culprit == "Bo"
    assert judge(run.ceremony, run.first, complaint, run.second).culprit == "Bo", "a later good share excuses nothing"
    assert isinstance(run.members[0].finish(run.first, second)[1], Outcome), "only the victim sees it"


@pytest.mark.parametrize("boxes", [(), (b"", b"", b""), (bytes(48), b"", bytes(48), bytes(48)), (bytes(48),) * 3])
def test_boxes_that_do_not_open_name_their_dealer(boxes: tuple[bytes, ...]) -> None:
    run = Run(2, 3)
    (complaint,) = run.complaints(0, run.resigned(1, boxes=boxes))
    assert judge(run.ceremony, run.first, complaint).culprit == "Bo"


def test_several_culprits_are_all_named() -> None:
    run = Run(2, 4)
    second = run.resigned(1, boxes=())
    second[3] = run.resigned(3, boxes=())[3]
    found = run.complaints(0, second)
    assert [judge(run.ceremony, run.first, complaint).culprit for complaint in found] == ["Bo", "Dee"]


def test_silence_is_a_complaint_that_the_message_answers() -> None:
    run = Run(2, 3)
    state, found = run.members[0].finish(run.first, run.second[:2])
    assert isinstance(found, tuple)
    (complaint,) = found
    assert not complaint.box_secret, "silence reveals nothing"
    assert judge(run.ceremony, run.first, complaint).culprit == "Cy"
    assert judge(run.ceremony, run.first, complaint, run.second).culprit is None
    assert isinstance(state.finish(run.first, run.second)[1], Outcome)


def forged_complaints(run: Run) -> dict[str, dict[str, Any]]:
    honest = {"evidence": run.second[1].to_bytes(), "box_secret": bytes(run.members[0]._box_key())}
    altered = replace(run.second[1], boxes=(bytes(48),) * 3)
    return {
        "the share is good": honest,
        "the evidence is altered": {**honest, "evidence": altered.to_bytes()},
        "the evidence is another's": {**honest, "evidence": run.second[2].to_bytes()},
        "the evidence is the complainant's own": {**honest, "evidence": run.second[0].to_bytes()},
        "the evidence is no message": {**honest, "evidence": b"\xa0"},
        "the secret is another": {**honest, "box_secret": bytes(PrivateKey(b"\7" * 32))},
        "the secret is missing": {**honest, "box_secret": b""},
        "it accuses its author": {**honest, "accused": 0},
        "it accuses nobody": {**honest, "accused": 9},
    }


@pytest.mark.parametrize("case", forged_complaints(Run(2, 3)).keys())
def test_a_false_complaint_names_the_complainant(case: str) -> None:
    run = Run(2, 3)
    fields = {"ceremony": run.ceremony.id, "member": 0, "transcript": run.second[0].transcript, "accused": 1}
    content: dict[str, Any] = {**fields, **forged_complaints(run)[case]}
    complaint = Complaint.signed(run.members[0]._sign_key(), **content)
    assert judge(run.ceremony, run.first, complaint).culprit == "Ada"


def test_nobody_complains_in_anothers_name() -> None:
    run = Run(2, 3)
    (complaint,) = run.complaints(2, run.tampered(1, 2, lambda share: b""))
    with refused("MESSAGE"):
        judge(run.ceremony, run.first, replace(complaint, accused=0))
    with refused("MESSAGE"):
        judge(run.ceremony, run.first, replace(complaint, member=0))


def test_the_others_start_again_without_the_culprit() -> None:
    run = Run(2, 4)
    again = run.ceremony.without("Bo")
    assert again.members == ("Ada", "Cy", "Dee") and again.threshold == 2
    assert again == run.ceremony.without("Bo") and again.id not in (run.ceremony.id, run.ceremony.without("Cy").id)
    with refused("MESSAGE"):
        transcript(again, run.first[:3])
    with refused("CEREMONY"):
        again.without("Ada").without("Cy")


def test_a_split_first_round_is_seen() -> None:
    run = Run(2, 3)
    other = Participant.create(run.ceremony, "Cy", random.Random(9).randbytes)
    split = [*run.first[:2], other.commitment()]
    assert transcript(run.ceremony, split) != transcript(run.ceremony, run.first)
    with refused("TRANSCRIPT"):
        run.members[0].deal(split)
    with refused("TRANSCRIPT"):
        run.members[0].finish(split, run.second)
    with refused("TRANSCRIPT"):
        run.members[2].deal(split)
    with refused("TRANSCRIPT"):
        replace(run.members[2], transcript=None).deal(split)
    with refused("EQUIVOCATION"):
        transcript(run.ceremony, [*run.first, split[2]])
    fresh = replace(run.members[1], transcript=None)
    misled = [run.second[0], fresh.deal(split)[1], run.second[2]]
    with pytest.raises(ManifestError, match="'Bo' saw another first round"):
        run.members[0].finish(run.first, misled)


def test_confirmations_of_another_view_are_refused() -> None:
    run = Run(2, 3)
    confirmations = [outcome.confirmation for outcome in run.outcomes()]
    key = run.members[1]._sign_key()
    honest = confirmations[1]
    fields = {"ceremony": honest.ceremony, "member": 1, "transcript": honest.transcript}
    fields |= {"group_key": honest.group_key, "possession": honest.possession}
    for rule, change in (
        ("TRANSCRIPT", {"transcript": bytes(32)}),
        ("TRANSCRIPT", {"group_key": run.first[0].points[0]}),
        ("PROOF", {"possession": confirmations[0].possession}),
    ):
        content: dict[str, Any] = {**fields, **change}
        with pytest.raises(ManifestError, match=f"TSLG-M-DKG-{rule}: .*'Bo'"):
            conclude(run.ceremony, run.first, [confirmations[0], Confirmation.signed(key, **content), confirmations[2]])
    with pytest.raises(ManifestError, match="MISSING: no confirmation of 'Ada', 'Cy'"):
        conclude(run.ceremony, run.first, confirmations[1:2])


def test_a_member_answers_one_set_of_shares_only() -> None:
    """A dealer that signs a good and a bad share must not get both a confirmation and the member's keys."""
    run = Run(2, 3)
    bad = run.tampered(1, 2, lambda share: b"")
    done, _ = run.members[2].finish(run.first, run.second)
    with refused("EQUIVOCATION"):
        done.finish(run.first, bad)
    complained, _ = run.members[2].finish(run.first, bad)
    with refused("EQUIVOCATION"):
        complained.finish(run.first, run.second)
    with refused("EQUIVOCATION"):
        run.members[2].finish(run.first, [*run.second, bad[1]])


def test_finishing_needs_round_two() -> None:
    run = Run(2, 3)
    with refused("TRANSCRIPT"):
        replace(run.members[0], transcript=None).finish(run.first, run.second)


def test_missing_commitments_are_named() -> None:
    run = Run(2, 3)
    with pytest.raises(ManifestError, match="MISSING: no commitment of 'Bo', 'Cy'"):
        transcript(run.ceremony, run.first[:1])


def recommitted(run: Run, member: int, *, proven: bool = True, **content: Any) -> list[Commitment]:
    """Round one where a member publishes something else, signed, with a proof made for it as well as it can."""
    honest, state = run.first[member], run.members[member]
    names = ("ceremony", "points", "proof_point", "proof_response", "box_key", "sign_key")
    fields: dict[str, Any] = {**{name: getattr(honest, name) for name in names}, "member": member, **content}
    if proven:
        keys, proof_point = [fields["box_key"], fields["sign_key"]], bls.public_key(bytes(31) + b"\5")
        secret = 0 if fields["points"][0] == IDENTITY else state._coefficients()[0]
        response = 5 + secret * challenge(run.ceremony, member, fields["points"], keys, proof_point)
        fields |= {"proof_point": proof_point, "proof_response": (response % ORDER).to_bytes(32, "big")}
    forged = Commitment.signed(state._sign_key(), **fields)
    return [*run.first[:member], forged, *run.first[member + 1 :]]


def test_commitments_that_do_not_hold_are_refused() -> None:
    run = Run(2, 3)
    ada, bo = run.first[0], run.first[1]
    transcript(run.ceremony, recommitted(run, 1))
    changes: list[dict[str, Any]] = [
        {"points": ada.points},
        {"points": ada.points, "proof_point": ada.proof_point, "proof_response": ada.proof_response, "proven": False},
        {"points": bo.points[:1]},
        {"points": (*bo.points, bo.points[0])},
        {"points": (bo.points[0], IDENTITY)},
        {"points": (IDENTITY, bo.points[1])},
        {"points": (bo.points[0], bytes(48))},
        {"points": (bo.points[0], ada.points[1]), "proven": False},
        {"proof_point": bytes(48), "proven": False},
        {"proof_response": plus_order(bo.proof_response), "proven": False},
        {"box_key": ada.box_key, "proven": False},
        {"box_key": bytes(32)},
    ]
    for change in changes:
        with pytest.raises(ManifestError, match="PROOF: the commitment of 'Bo' does not hold"):
            transcript(run.ceremony, recommitted(run, 1, **change))
    for change in ({"sign_key": ada.sign_key}, {"sign_key": bytes(32)}, {"ceremony": bytes(32)}):
        with refused("MESSAGE"):
            transcript(run.ceremony, recommitted(run, 1, **change))
    with refused("MESSAGE"):
        transcript(run.ceremony, [*run.first, replace(bo, member=3)])


def test_a_proof_is_bound_to_its_place_and_ceremony() -> None:
    run, state = Run(2, 3), Run(2, 3).members[1]
    for ceremony in (replace(run.ceremony, nonce=bytes(32)), replace(run.ceremony, members=("Ada", "Bob", "Cy"))):
        other = Run(2, 3)
        other.ceremony, other.members[1] = ceremony, state
        moved = recommitted(other, 1)[1]
        content: dict[str, Any] = {field: getattr(moved, field) for field in moved.shapes}
        forged = Commitment.signed(state._sign_key(), ceremony=run.ceremony.id, member=1, **content)
        with refused("PROOF"):
            transcript(run.ceremony, [run.first[0], forged, run.first[2]])


def test_a_rogue_commitment_cannot_cancel_the_others() -> None:
    """Choosing one's own point so that the sum is a key one knows leaves the proof of knowledge impossible."""
    run = Run(2, 2)
    honest, chosen = decode_g1(run.first[0].points[0]), decode_g1(run.first[1].points[0])
    assert honest is not None and chosen is not None
    rogue = (chosen - honest).to_compressed_bytes()
    with refused("PROOF"):
        transcript(run.ceremony, recommitted(run, 1, points=(rogue, run.first[1].points[1])))


def test_contributions_that_cancel_make_no_key() -> None:
    run = Run(2, 2)
    opposite = tuple(bytes([point[0] ^ 0x20]) + point[1:] for point in run.first[0].points)
    with refused("KEY"):
        keys_of([run.first[0], replace(run.first[1], points=opposite)])


CEREMONIES: list[tuple[Any, Any, Any]] = [
    (b"short", 2, NAMES[:3]),
    (bytes(32), 1, NAMES[:3]),
    (bytes(32), 0, NAMES[:1]),
    (bytes(32), 4, NAMES[:3]),
    (bytes(32), True, NAMES[:1]),
    (bytes(32), 2, ()),
    (bytes(32), 2, ("Ada", "Ada")),
    (bytes(32), 2, ("Ada", "")),
    (bytes(32), 2, ("Ada", "two\nlines")),
    (bytes(32), 2, ("Ada", 7)),
    (bytes(32), 2, tuple(map(str, range(65)))),
]


@pytest.mark.parametrize(("nonce", "needed", "members"), CEREMONIES)
def test_impossible_ceremonies_are_refused(nonce: Any, needed: Any, members: Any) -> None:
    with refused("CEREMONY"):
        Ceremony(nonce, needed, members)
    with refused("CEREMONY"):
        Ceremony.from_bytes(codec.encode({"nonce": nonce, "threshold": needed, "members": list(members)}))


def test_the_largest_ceremony_fits_the_limits() -> None:
    ceremony = Ceremony(bytes(32), 64, tuple(f"{index:0>3}" + "\U0001d49c" * 253 for index in range(64)))
    assert Ceremony.from_bytes(ceremony.to_bytes()) == ceremony
    member = Participant.create(ceremony, ceremony.members[63], random.Random(1).randbytes)
    assert Participant.from_bytes(member.to_bytes()) == member
    assert Commitment.from_bytes(member.commitment().to_bytes()) == member.commitment()
    content: dict[str, Any] = {"ceremony": ceremony.id, "member": 63, "transcript": bytes(32)}
    shares = Shares.signed(member._sign_key(), **content, boxes=(bytes(48),) * 64)
    complaint = Complaint.signed(
        member._sign_key(), **content, accused=1, evidence=shares.to_bytes(), box_secret=bytes(32)
    )
    assert Complaint.from_bytes(complaint.to_bytes()) == complaint


def test_a_member_takes_part_under_its_name_only() -> None:
    with refused("CEREMONY"):
        Participant.create(Run(2, 3).ceremony, "Eve", random.Random(1).randbytes)
    with refused("CEREMONY"):
        Participant.create(Run(2, 3).ceremony, "Ada", lambda size: b"")


KINDS: list[type[Message]] = [Commitment, Shares, Complaint, Confirmation]
WIRE = [message.to_bytes() for message in (*Run(2, 3).first[:1], *Run(2, 3).second[:1])]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(WIRE), st.data())
def test_damaged_messages_are_refused_or_fail_their_signature(wire: bytes, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(wire) - 1))
    damaged = wire[:place] + bytes([wire[place] ^ data.draw(st.integers(1, 255))]) + wire[place + 1 :]
    for kind in KINDS:
        try:
            message = kind.from_bytes(damaged)
        except ManifestError as error:
            assert error.code == "TSLG-M-DKG-MESSAGE"
            continue
        assert message.to_bytes() == damaged
        assert not message.is_signed_by(Run(2, 3).first[0].sign_key)


@pytest.mark.parametrize("data", [b"", b"\xa0", b"\x80", b"\x81" * 5000, bytes(20_000), None, "text"])
def test_what_is_no_message_is_refused(data: Any) -> None:
    for kind in (*KINDS, Participant, Ceremony):
        with pytest.raises(ManifestError, match="TSLG-M-DKG"):
            kind.from_bytes(data)


@pytest.mark.parametrize(
    "change",
    [
        {"member": 3},
        {"member": -1},
        {"member": True},
        {"seed": b""},
        {"transcript": b"x"},
        {"received": 1},
        {"more": 1},
    ],
)
def test_a_damaged_state_is_refused(change: dict[str, Any]) -> None:
    value = codec.decode(Run(2, 3).members[0].to_bytes())
    with refused("MESSAGE"):
        Participant.from_bytes(codec.encode({**value, **change}))


def test_a_field_of_another_type_is_refused() -> None:
    for name, value in codec.decode(WIRE[0]).items():
        for other in (7, "text", [b"x"], None, {}):
            if type(other) is not type(value) and name != "kind":
                changed = codec.encode({**codec.decode(WIRE[0]), name: other})
                with pytest.raises(ManifestError) as caught:
                    Commitment.from_bytes(changed)
                assert caught.value.code == "TSLG-M-DKG-MESSAGE"
