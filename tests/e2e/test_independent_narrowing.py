"""A second program, written from docs/spec/narrowing.md with plain integers, judges proofs as this one does."""

from __future__ import annotations

import independent_narrowing as second
import pytest

from tslg.protocol.zk import group, narrowing
from tslg.protocol.zk.commitments import Opening
from tslg.protocol.zk.narrowing import Hidden, Open

VOCABULARY = ("pay", "scan", "sign")
WIDE = Opening(frozenset({"pay", "scan"}), {"eur": 500}, b"\x01" * 32)
NARROW = Opening(frozenset({"scan"}), {"eur": 20}, b"\x02" * 32)
HIDDEN_WIDE, HIDDEN_NARROW = narrowing.hide(VOCABULARY, WIDE), narrowing.hide(VOCABULARY, NARROW)
OPEN_WIDE, OPEN_NARROW = Open(WIDE.capabilities, WIDE.limits), Open(NARROW.capabilities, NARROW.limits)
SIDES = {
    "both hidden": (HIDDEN_WIDE, HIDDEN_NARROW, WIDE, NARROW),
    "an open policy narrowed": (OPEN_WIDE, HIDDEN_NARROW, None, NARROW),
    "what a record claims": (HIDDEN_WIDE, OPEN_NARROW, WIDE, None),
}


def plain(terms: Hidden | Open) -> dict:
    """A side as the second program takes it."""
    if isinstance(terms, Hidden):
        whole = b"".join(terms.capabilities)
        return {"vocabulary": list(terms.vocabulary), "capabilities": whole, "limits": dict(terms.limits)}
    return {"capabilities": sorted(terms.capabilities), "limits": dict(terms.limits)}


def both(wide, narrow, proof: bytes, binding: bytes = b"edge") -> bool:
    """What both programs say, which must be the same."""
    ours = narrowing.verify(wide, narrow, binding=binding, proof=proof)
    assert second.proof_holds(plain(wide), plain(narrow), binding, proof) is ours
    return ours


@pytest.mark.spec("ZKN-1", "ZKN-2", "ZKN-3", "ZKN-15")
def test_both_programs_have_the_same_group_and_commitments():
    assert second.encode(second.VALUES) == group.VALUE
    assert second.encode(second.BASE) == group.mul_base(1)
    for name, element in zip(VOCABULARY, HIDDEN_WIDE.capabilities, strict=True):
        assert second.commitment(WIDE.bit(name), second.blinding(WIDE.secret, b"c", name)) == element
    assert second.commitment(500, second.blinding(WIDE.secret, b"l", "eur")) == HIDDEN_WIDE.limits["eur"]
    for element in (HIDDEN_WIDE.capabilities[0], group.IDENTITY, b"\xff" * 32, b"\x01" + bytes(31), group.VALUE[:31]):
        assert (second.decode(element) is not None and element != bytes(32)) == group.is_element(element)


@pytest.mark.spec("ZKN-4", "ZKN-5", "ZKN-6", "ZKN-7", "ZKN-8", "ZKN-10", "ZKN-11", "ZKN-12", "ZKN-13", "ZKN-14")
@pytest.mark.parametrize("sides", SIDES.values(), ids=SIDES)
def test_both_programs_agree_on_proofs(sides):
    wide, narrow, wide_opening, narrow_opening = sides
    proof = narrowing.prove(wide, narrow, wide_opening, narrow_opening, binding=b"edge", entropy=bytes(32))
    assert both(wide, narrow, proof)
    assert not both(wide, narrow, proof, b"another edge")
    assert not both(wide, narrow, proof[:-1] + bytes([proof[-1] ^ 1]))
    assert not both(wide, narrow, proof[:-32])
    scalar = int.from_bytes(proof[-32:], "little")
    assert not both(wide, narrow, proof[:-32] + (scalar + group.ORDER).to_bytes(32, "little"))


@pytest.mark.spec("ZKN-9")
def test_both_programs_agree_on_sides_that_no_proof_can_be_about():
    proof = narrowing.prove(HIDDEN_WIDE, HIDDEN_NARROW, WIDE, NARROW, binding=b"edge", entropy=bytes(32))
    other = HIDDEN_NARROW._replace(vocabulary=("pay", "scan", "sing"))
    assert not both(HIDDEN_WIDE, other, proof)
    for narrow in (Open(frozenset({"fly"}), {}), Open(frozenset(), {"usd": 1}), Open(frozenset(), {"eur": 2**32})):
        assert not both(HIDDEN_WIDE, narrow, bytes(narrowing.proof_size(HIDDEN_WIDE, narrow)))
    assert not both(Open(frozenset(), {"eur": -1}), HIDDEN_NARROW, proof)
