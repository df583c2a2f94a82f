"""Proofs of narrowing: honest ones hold, for what they were made and for nothing else; dishonest ones never do."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import narrowings
from tslg.protocol.cid import compute
from tslg.protocol.zk import group, narrowing, orproof, ranges
from tslg.protocol.zk.commitments import MOST, Opening, commit
from tslg.protocol.zk.narrowing import Hidden, Open
from tslg.protocol.zk.orproof import Claim, Nonces, Witness
from tslg.protocol.zk.transcript import Transcript

VOCABULARY = ("pay", "scan", "sign")
WIDE = Opening(frozenset({"pay", "scan"}), {"eur": 500}, b"\x01" * 32)
NARROW = Opening(frozenset({"scan"}), {"eur": 20}, b"\x02" * 32)
WIDE_TERMS, NARROW_TERMS = narrowing.hide(VOCABULARY, WIDE), narrowing.hide(VOCABULARY, NARROW)


def proved(wide=WIDE, narrow=NARROW, binding: bytes = b"edge", vocabulary=VOCABULARY) -> tuple[Hidden, Hidden, bytes]:
    sides = narrowing.hide(vocabulary, wide), narrowing.hide(vocabulary, narrow)
    return *sides, narrowing.prove(*sides, wide, narrow, binding=binding, entropy=bytes(32))


def holds(wide, narrow, proof, binding: bytes = b"edge") -> bool:
    return narrowing.verify(wide, narrow, binding=binding, proof=proof)


class Cheat:
    """Runs the prover's steps on any numbers at all: what a dishonest prover can do who follows the protocol."""

    def __init__(self, wide: Hidden, narrow: Hidden, binding: bytes = b"edge") -> None:
        self.wide, self.narrow = wide, narrow
        self.transcript = narrowing._begin(wide, narrow, binding)
        self.nonces = Nonces(b"cheat" * 13)

    def prove(self, capabilities, limits=()) -> bytes:
        """Prove with witnesses of (wide, narrow) pairs, claiming for each whatever branch is nearest."""
        parts = [ranges.take_apart(*witness, self.nonces) for witness in limits]
        upper = [part.upper for part in parts]
        mixer = narrowing._absorb_bits(self.transcript, upper)
        claims = narrowing._claims(self.wide, self.narrow, upper, mixer)
        mixed = [Witness(w.value + mixer * n.value, w.blinding + mixer * n.blinding) for w, n in capabilities]
        mixed += [one for part in parts for one in part.witnesses]
        # A value that is not among those allowed is passed off as the first of them.
        passed = [
            w if w.value % group.ORDER in c.values else w._replace(value=c.values[0])
            for c, w in zip(claims, mixed, strict=True)
        ]
        return b"".join(e for es in upper for e in es) + orproof.prove(self.transcript, claims, passed, self.nonces)


def test_an_honest_proof_holds():
    wide, narrow, proof = proved()
    assert holds(wide, narrow, proof)
    assert len(proof) == narrowing.proof_size(wide, narrow)


@given(st.data())
@settings(max_examples=8, deadline=None)
def test_whatever_is_narrower_can_be_proved_and_nothing_else(data):
    names = data.draw(st.lists(st.text(min_size=1, max_size=4), unique=True, min_size=1, max_size=4).map(sorted))
    subsets = st.frozensets(st.sampled_from(names))
    limits = st.dictionaries(st.sampled_from("ab"), st.integers(0, MOST), max_size=1)
    wide = Opening(data.draw(subsets), data.draw(limits), b"\x03" * 32)
    narrow = Opening(data.draw(subsets), data.draw(limits), b"\x04" * 32)
    narrower = narrow.capabilities <= wide.capabilities and all(
        limit <= wide.limits.get(name, -1) for name, limit in narrow.limits.items()
    )
    if narrower:
        assert holds(*proved(wide, narrow, vocabulary=tuple(names)))
    else:
        with pytest.raises(ValueError):
            proved(wide, narrow, vocabulary=tuple(names))


def test_a_proof_is_for_one_edge_alone():
    wide, narrow, proof = proved(binding=b"this edge")
    assert holds(wide, narrow, proof, b"this edge")
    assert not holds(wide, narrow, proof, b"that edge")


def test_a_proof_does_not_survive_another_policy_or_swapped_commitments():
    wide, narrow, proof = proved()
    assert not holds(narrow, wide, proof)
    assert not holds(wide, wide, proof)
    first, second, third = narrow.capabilities
    assert not holds(wide, narrow._replace(capabilities=(second, first, third)), proof)
    assert not holds(wide._replace(capabilities=(second, first, third)), narrow, proof)
    renamed = ("pay", "scan", "sing")
    assert not holds(wide._replace(vocabulary=renamed), narrow._replace(vocabulary=renamed), proof)


def test_every_byte_of_a_proof_counts():
    wide, narrow, proof = proved()
    draw = random.Random(7)
    for at in {0, 31, 32, 991, 992, len(proof) - 1, *(draw.randrange(len(proof)) for _ in range(12))}:
        changed = bytearray(proof)
        changed[at] ^= 1 << draw.randrange(8)
        assert not holds(wide, narrow, bytes(changed)), at


@pytest.mark.parametrize("proof", [b"", bytes(32), b"\xff" * 100])
def test_what_has_another_length_is_refused_before_anything_is_computed(proof, monkeypatch):
    monkeypatch.setattr(group, "is_element", None)
    monkeypatch.setattr(narrowing, "is_element", None)
    monkeypatch.setattr(orproof, "_first", None)
    assert not holds(WIDE_TERMS, NARROW_TERMS, proof)


def test_zeros_and_random_bytes_of_the_right_length_are_no_proof():
    size = narrowing.proof_size(WIDE_TERMS, NARROW_TERMS)
    assert not holds(WIDE_TERMS, NARROW_TERMS, bytes(size))
    assert not holds(WIDE_TERMS, NARROW_TERMS, random.Random(1).randbytes(size))
    bits = b"".join([group.VALUE] * 62)
    assert not holds(WIDE_TERMS, NARROW_TERMS, bits + bytes(size - len(bits)))


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [
        *((0, 1), (2, 1), (2, 2), (1, 2), (-1, -1), (0, -1), (1, -1), (-1, 0)),
        *((group.ORDER - 1, 0), (1, group.ORDER + 2), (1 << 251, 1)),
    ],
)
def test_no_other_pair_of_numbers_passes_for_bits(wide, narrow):
    blindings = 11, 13
    terms = [Hidden(("scan",), (commit(value, b),), {}) for value, b in zip((wide, narrow), blindings, strict=True)]
    proof = Cheat(*terms).prove([(Witness(wide, 11), Witness(narrow, 13))])
    assert not holds(*terms, proof)


@pytest.mark.parametrize(("wide", "narrow"), [(0, 0), (1, 0), (1, 1), (1, group.ORDER + 1)])
def test_the_cheat_only_fails_where_it_lies(wide, narrow):
    terms = [Hidden(("scan",), (commit(value, b),), {}) for value, b in ((wide, 11), (narrow, 13))]
    assert holds(*terms, Cheat(*terms).prove([(Witness(wide, 11), Witness(narrow, 13))]))


@pytest.mark.parametrize(
    ("wide", "narrow", "claimed"),
    [
        (500, 501, (501, MOST)),
        (500, 501, (501, 0)),
        (500, group.ORDER - 1, (MOST, 501)),
        (500, -1, (0, 501)),
        (2**40, 2**40 - 1, (0, 1)),
        (0, 2**32, (0, 0)),
    ],
)
def test_no_larger_limit_passes_nor_one_that_wraps_around(wide, narrow, claimed):
    terms = [Hidden(("scan",), (commit(1, 3),), {"eur": commit(value, b)}) for value, b in ((wide, 11), (narrow, 13))]
    limits = [(claimed[0], 13), (claimed[1], 11 - 13)]
    proof = Cheat(*terms).prove([(Witness(1, 3), Witness(1, 3))], limits)
    assert not holds(*terms, proof)
    honest = [Hidden(("scan",), (commit(1, 3),), {"eur": commit(value, b)}) for value, b in ((500, 11), (20, 13))]
    assert holds(*honest, Cheat(*honest).prove([(Witness(1, 3), Witness(1, 3))], [(20, 13), (480, -2)]))


def test_a_bit_of_a_range_that_is_none_is_refused():
    nonces = Nonces(bytes(64))
    parts = ranges.take_apart(6, 99, nonces)
    # 6 = 2 * 3: the second bit takes the place of two.
    bad = (commit(3, parts.witnesses[1].blinding), commit(0, parts.witnesses[2].blinding), *parts.upper[2:])
    assert ranges.claims(commit(6, 99), bad)[0].element == ranges.claims(commit(6, 99), parts.upper)[0].element
    claims = ranges.claims(commit(6, 99), bad)
    forged = [w._replace(value=w.value if w.value in (0, 1) else 1) for w in parts.witnesses]
    forged[1], forged[2] = Witness(1, parts.witnesses[1].blinding), Witness(0, parts.witnesses[2].blinding)
    assert not orproof.verify(Transcript(), claims, orproof.prove(Transcript(), claims, forged, nonces))
    good = ranges.claims(commit(6, 99), parts.upper)
    assert orproof.verify(Transcript(), good, orproof.prove(Transcript(), good, parts.witnesses, nonces))


def test_a_challenge_of_another_proof_cannot_be_used_again():
    claim = Claim(commit(2, 5), (0, 1))
    honest = Claim(commit(1, 5), (0, 1))
    proof = orproof.prove(Transcript(), [honest], [Witness(1, 5)], Nonces(bytes(64)))
    assert orproof.verify(Transcript(), [honest], proof)
    assert not orproof.verify(Transcript(), [claim], proof)
    # With the challenge known beforehand both branches could be made up; it is not, since it follows from the claim.
    challenge, chosen, responses = int.from_bytes(proof[:32], "little"), 1234, (5678, 9012)
    made_up = b"".join(map(group.write_scalar, (challenge, chosen, *responses)))
    assert not orproof.verify(Transcript(), [claim], made_up)


def test_scalars_have_one_encoding():
    wide, narrow, proof = proved()
    for at in (2 * 992, len(proof) - 32):
        scalar = int.from_bytes(proof[at : at + 32], "little") + group.ORDER
        assert not holds(wide, narrow, proof[:at] + scalar.to_bytes(32, "little") + proof[at + 32 :])


def test_commitments_are_canonical_elements_and_not_the_identity():
    assert narrowing.well_formed(WIDE_TERMS)
    for bad in (group.IDENTITY, b"\xff" * 32, b"\x01" + bytes(31), group.VALUE[:31], group.VALUE + b"\0"):
        assert not narrowing.well_formed(WIDE_TERMS._replace(limits={"eur": bad}))
        assert not narrowing.well_formed(WIDE_TERMS._replace(capabilities=(bad, *WIDE_TERMS.capabilities[1:])))
    assert not narrowing.well_formed(WIDE_TERMS._replace(vocabulary=("pay", "scan")))


def test_what_a_record_claims_is_proved_without_telling_more():
    claims = Open(frozenset({"scan"}), {"eur": 500})
    proof = narrowing.prove(WIDE_TERMS, claims, WIDE, None, binding=b"edge", entropy=bytes(32))
    assert holds(WIDE_TERMS, claims, proof)
    assert not holds(WIDE_TERMS, Open(frozenset({"sign"}), {"eur": 500}), proof)
    assert not holds(WIDE_TERMS, Open(frozenset({"scan"}), {"eur": 501}), proof)
    for wider in (Open(frozenset({"sign"}), {}), Open(frozenset(), {"eur": 501}), Open(frozenset(), {"usd": 1})):
        with pytest.raises(ValueError):
            narrowing.prove(WIDE_TERMS, wider, WIDE, None, binding=b"edge", entropy=bytes(32))
    assert not narrowing.needed(WIDE_TERMS, Open(frozenset(), {}))


def test_a_confidential_policy_can_narrow_an_open_one():
    wide = Open(WIDE.capabilities, {"eur": 2**40})
    proof = narrowing.prove(wide, NARROW_TERMS, None, NARROW, binding=b"edge", entropy=bytes(32))
    assert holds(wide, NARROW_TERMS, proof)
    assert not holds(Open(frozenset(), {"eur": 2**40}), NARROW_TERMS, proof)
    assert not holds(Open(WIDE.capabilities, {"eur": 19}), NARROW_TERMS, proof)
    for narrower in (Open(frozenset(), {"eur": 500}), Open(WIDE.capabilities, {"eur": 19})):
        with pytest.raises(ValueError):
            narrowing.prove(narrower, NARROW_TERMS, None, NARROW, binding=b"edge", entropy=bytes(32))


def test_an_opening_opens_what_it_was_made_for():
    for opening in (NARROW, Opening(WIDE.capabilities, {"eur": 499}, WIDE.secret), None):
        with pytest.raises(ValueError):
            narrowing.prove(WIDE_TERMS, NARROW_TERMS, opening, NARROW, binding=b"edge", entropy=bytes(32))
    with pytest.raises(ValueError):
        narrowing.hide(("pay",), WIDE)
    with pytest.raises(ValueError):
        narrowing.hide(VOCABULARY, Opening(frozenset(), {"eur": MOST + 1}, bytes(32)))
    with pytest.raises(ValueError):
        narrowing.hide(VOCABULARY, Opening(frozenset({"pay"}), {}, b"short"))


def test_proofs_and_openings_tell_nothing_of_their_secrets():
    assert repr(WIDE.secret) not in repr(WIDE) and "secret" not in repr(WIDE)
    # The same statement under other entropy shares no scalar: no nonce is ever used twice.
    one = proved()[2]
    wide, narrow = WIDE_TERMS, NARROW_TERMS
    other = narrowing.prove(wide, narrow, WIDE, NARROW, binding=b"edge", entropy=b"\x01" * 32)
    moved = narrowing.prove(wide, narrow, WIDE, NARROW, binding=b"EDGE", entropy=bytes(32))
    scalars = [{proof[at : at + 32] for at in range(0, len(proof), 32)} for proof in (one, other, moved)]
    assert scalars[0].isdisjoint(scalars[1]) and scalars[0].isdisjoint(scalars[2])
    with pytest.raises(ValueError):
        narrowing.prove(wide, narrow, WIDE, NARROW, binding=b"edge", entropy=b"")


def test_each_policy_is_given_the_proof_about_it():
    proofs = {compute(bytes([number])): bytes([number]) * 9 for number in range(4)}
    record = SimpleNamespace(body={"narrowing": narrowings.named(proofs)})
    for policy, proof in proofs.items():
        assert narrowings.proof_about(record, policy, narrowings.encode(proofs)) == proof
    assert narrowings.proof_about(record, compute(b"another"), narrowings.encode(proofs)) is None
