"""A second program, written from docs/spec/narrowing.md with plain integers, judges proofs as this one does."""

from __future__ import annotations

import io

import independent_narrowing as second
import independent_reader
import pytest

from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle
from tslg.protocol.zk import group, narrowing
from tslg.protocol.zk.commitments import Opening
from tslg.protocol.zk.narrowing import Hidden, Open

pytestmark = pytest.mark.thorough

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


# --- records ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def chain(tmp_path_factory):
    """A bundle about an action under a policy that narrows a grant, both confidential; and the ids by what they are."""
    with Home.open(tmp_path_factory.mktemp("node") / "n", name="vendor") as home:
        principal, delegate = home.agent("principal"), home.agent("delegate")
        terms = {"capabilities": ["scan"], "confidential": True}
        wide = principal.policy("grant", **terms, limits={"eur": 9}, vocabulary=["scan"])
        given = principal.delegate(delegate.id, {}, wide, expires=2**52)
        mine = delegate.policy("mine", under=wide, delegation=given, **terms, not_after=2**52)
        done = delegate.act("scan", policy=mine, delegation=given, uses=["scan"])
        stream = io.BytesIO()
        write_walked(stream, walk(StoreSource(home.store), done.id, home.federation, now_ms=home.clock()))
        return (
            bundle.read(io.BytesIO(stream.getvalue())),
            {"wide": wide.id, "mine": mine.id, "done": done.id},
            home.clock(),
        )


def agreed(read, attachments, now: int) -> str:
    """The verdict of both programs on the bundle with these attachments."""
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=read.federation,
        manifest=read.manifest,
        targets=read.targets,
        heads=read.heads,
        inclusion=read.inclusion,
        consistency=read.consistency,
        records=[(id, *pair) for id, pair in read.records.items()],
        attachments=attachments,
    )
    held = bundle.read(io.BytesIO(stream.getvalue()))
    report = verify(BundleSource(held), held.targets[0], held.federation, now_ms=now)
    document = independent_reader.read_file(stream.getvalue(), held.federation, now)
    assert document["verdict"] == report.verdict
    assert len(document["undetermined"]) == len(report.undetermined)
    return report.verdict


@pytest.mark.spec("ZKN-16", "ZKN-17", "ZKN-18", "ZKN-19", "ZKN-20", "ZKN-21", "ZKN-22")
def test_both_programs_agree_on_records_under_confidential_policies(chain):
    read, ids, now = chain
    proofs = read.attachments
    assert proofs.keys() == {ids["mine"], ids["done"]}
    assert agreed(read, proofs, now) == "valid"
    assert agreed(read, {ids["mine"]: proofs[ids["mine"]]}, now) == "undetermined"
    assert agreed(read, {ids["mine"]: proofs[ids["done"]], ids["done"]: proofs[ids["mine"]]}, now) == "undetermined"
    assert agreed(read, {**proofs, ids["wide"]: b"\x80"}, now) == "valid"
