"""Bundles: what is written is read, and every kind of damage is named."""

from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import bundle, cid, codec
from tslg.protocol.errors import BundleError
from tslg.protocol.limits import Limits
from tslg.protocol.proofs import ConsistencyProof, HeadClaim, InclusionProof

HASH_NAMES = st.sampled_from(sorted(cid.HASHES))
UINTS = st.integers(0, 2**53 - 1)
HASHES = st.binary(min_size=32, max_size=32)
PROOFS = st.lists(HASHES, max_size=5).map(tuple)
LINKS = st.builds(cid.compute, st.binary(max_size=4), HASH_NAMES)
BLOCKS = st.builds(
    lambda data, seal, name: (cid.compute(data, name), data, seal),
    st.binary(max_size=200),
    st.binary(max_size=200),
    HASH_NAMES,
)
BUNDLES = st.fixed_dictionaries(
    {
        "federation": LINKS,
        "manifest": LINKS,
        "targets": st.lists(LINKS, min_size=1, max_size=4, unique=True),
        "heads": st.lists(st.builds(HeadClaim, LINKS, LINKS, UINTS, HASHES), max_size=3),
        "inclusion": st.lists(st.builds(InclusionProof, LINKS, UINTS, PROOFS), max_size=3),
        "consistency": st.lists(st.builds(ConsistencyProof, LINKS, UINTS, UINTS, PROOFS), max_size=3),
        "records": st.lists(BLOCKS, max_size=5, unique_by=lambda block: block[0]),
    }
)


def example(**changes):
    """Arguments of a small bundle: two records, one head, one proof of each sort."""
    blocks = [(cid.compute(data), data, seal) for data, seal in ((b"first", b"seal one"), (b"second", b"seal two"))]
    first, second = blocks[0][0], blocks[1][0]
    arguments = {
        "federation": first,
        "manifest": first,
        "targets": [second],
        "heads": [HeadClaim(first, second, 2, bytes(32))],
        "inclusion": [InclusionProof(second, 2, (bytes(32),))],
        "consistency": [ConsistencyProof(first, 1, 2, (bytes(32),))],
        "records": blocks,
    }
    return arguments | changes


def written(**arguments) -> bytes:
    stream = io.BytesIO()
    bundle.write(stream, **arguments)
    return stream.getvalue()


def read(data: bytes, **limits) -> bundle.Bundle:
    return bundle.read(io.BytesIO(data), Limits(**limits))


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes((number & 127 | 128,)), number >> 7
    return out + bytes((number,))


def section(data: bytes) -> bytes:
    return varint(len(data)) + data


def block(link: bytes, data: bytes) -> bytes:
    return section(link + data)


def car(root_value, *blocks: bytes, roots=None, version=1) -> bytes:
    """A CAR made by hand, so that it can be wrong in one way at a time."""
    data = codec.encode(root_value)
    link = cid.compute(data)
    header = codec.encode({"roots": [link] if roots is None else roots, "version": version})
    return section(header) + block(link, data) + b"".join(blocks)


def root_value(**changes):
    arguments = example()
    value = {
        "tslg": 1,
        "federation": arguments["federation"],
        "manifest": arguments["manifest"],
        "targets": arguments["targets"],
        "heads": [claim.to_map() for claim in arguments["heads"]],
        "inclusion": [proof.to_map() for proof in arguments["inclusion"]],
        "consistency": [proof.to_map() for proof in arguments["consistency"]],
        "records": [[link, cid.compute_raw(seal)] for link, _, seal in arguments["records"]],
    }
    return value | changes


def record_blocks() -> list[bytes]:
    """The four blocks behind the root block of the small bundle."""
    return [
        block(link, data)
        for record, data_, seal in example()["records"]
        for link, data in ((record, data_), (cid.compute_raw(seal), seal))
    ]


def refused(data: bytes, **limits) -> BundleError:
    with pytest.raises(BundleError) as caught:
        read(data, **limits)
    assert str(caught.value).startswith(f"{caught.value.code}: at byte ")
    return caught.value


@settings(max_examples=60, deadline=None)
@given(BUNDLES)
def test_what_is_written_is_read(arguments):
    data = written(**arguments)
    got = read(data)
    assert got.federation == arguments["federation"] and got.manifest == arguments["manifest"]
    assert got.targets == tuple(arguments["targets"])
    assert got.heads == tuple(arguments["heads"])
    assert got.inclusion == tuple(arguments["inclusion"])
    assert got.consistency == tuple(arguments["consistency"])
    assert list(got.records.items()) == [(link, (record, seal)) for link, record, seal in arguments["records"]]
    assert got.absent == [] and got.broken == []
    assert written(**arguments) == data


@pytest.mark.spec("BUN-1", "BUN-2", "BUN-3", "BUN-4")
def test_the_bytes_are_the_carv1_of_the_spec():
    value = root_value()
    assert written(**example()) == car(value, *record_blocks())
    data = written(**example())
    assert data[:1] == varint(58) and len(data[1:59]) == 58
    assert data[1:18].hex() == "a265726f6f747381d82a58250001711220"
    assert data[18:50] == hashlib.sha256(codec.encode(value)).digest()
    assert data[50:59].hex() == "6776657273696f6e01"


def test_write_returns_the_root():
    stream = io.BytesIO()
    root = bundle.write(stream, **example())
    assert root == read(stream.getvalue()).root == cid.compute(codec.encode(root_value()))


@pytest.mark.spec("BUN-6")
def test_two_records_may_share_a_seal_block():
    shared = [(cid.compute(data), data, b"same seal") for data in (b"one", b"two")]
    got = read(written(**example(records=shared)))
    assert [seal for _, seal in got.records.values()] == [b"same seal", b"same seal"]


def test_truncation_anywhere_is_named():
    data = written(**example())
    ends = {len(data)}
    for piece in reversed(record_blocks()):
        ends.add(min(ends) - len(piece))
    for length in range(len(data)):
        if length in ends:
            # Cut between blocks, a bundle is whole but leaves records out.
            assert read(data[:length]).absent
        else:
            assert refused(data[:length]).code in ("TSLG-B-TRUNCATED", "TSLG-B-ROOT")
    assert read(data).absent == []


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_one_altered_byte_is_never_overlooked(data):
    whole = written(**example())
    at = data.draw(st.integers(0, len(whole) - 1))
    altered = bytearray(whole)
    altered[at] ^= data.draw(st.integers(1, 255))
    try:
        got = read(bytes(altered))
    except BundleError:
        return
    assert got.broken or got.absent


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_noise_is_refused(data):
    refused(data)
    refused(written(**example())[:59] + data)


@pytest.mark.spec("BUN-9")
def test_an_altered_record_is_broken_and_named():
    link = cid.compute(b"second")
    data = written(**example()).replace(b"second", b"sEcond")
    got = read(data)
    assert [entry[0] for entry in got.broken] == [link] and "record" in got.broken[0][1]
    assert list(got.records) == [cid.compute(b"first")] and got.absent == []


def test_an_altered_seal_is_broken_and_names_its_record():
    got = read(written(**example()).replace(b"seal one", b"seal 1ne"))
    assert [entry[0] for entry in got.broken] == [cid.compute(b"first")] and "seal" in got.broken[0][1]
    assert list(got.records) == [cid.compute(b"second")]


@pytest.mark.spec("BUN-10")
@pytest.mark.parametrize("dropped", range(4))
def test_a_dropped_block_is_absent(dropped):
    blocks = record_blocks()
    del blocks[dropped]
    got = read(car(root_value(), *blocks))
    link = example()["records"][dropped // 2][0]
    assert got.absent == [link] and link not in got.records and len(got.records) == 1 and got.broken == []


def test_the_order_of_blocks_behind_the_root_is_free():
    got = read(car(root_value(), *reversed(record_blocks())))
    assert list(got.records) == [link for link, _, _ in example()["records"]]


@pytest.mark.spec("BUN-1", "BUN-2", "BUN-6", "BUN-8")
@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "TRUNCATED"),
        (b"\x80\x00", "VARINT"),
        (b"\xba\x00" + written(**example())[1:], "VARINT"),
        (b"\xff" * 10, "VARINT"),
        (b"\xff" * 8 + b"\x7f", "SIZE"),
        (section(bytes(2000)), "SIZE"),
        (section(b""), "HEADER"),
        (section(b"\xa2"), "HEADER"),
        (section(codec.encode([1])), "HEADER"),
        (section(codec.encode({"roots": []})), "HEADER"),
        (section(codec.encode({"roots": [cid.compute(b"")], "version": True})), "HEADER"),
        (section(codec.encode({"roots": [cid.compute(b"")], "version": 1, "more": 1})), "HEADER"),
        (car(root_value(), version=2), "HEADER"),
        (car(root_value(), roots=[]), "ROOTS"),
        (car(root_value(), roots=[cid.compute(b"a"), cid.compute(b"b")]), "ROOTS"),
        (car(root_value(), roots=[b"bytes"]), "ROOTS"),
        (car(root_value(), roots={}), "ROOTS"),
        (car(root_value(), roots=[cid.compute(b"another")]), "ROOT"),
        (written(**example())[:59], "ROOT"),
        (written(**example())[:59] + record_blocks()[0], "ROOT"),
        (written(**example()).replace(b"consistency", b"consistencY"), "ROOT"),
        (section(codec.encode({"roots": [cid.compute(b"\xff")], "version": 1})) + block(cid.compute(b"\xff"), b"\xff"),
         "ROOT"),
        (car(root_value(), *record_blocks(), block(cid.compute(b"x"), b"x")), "EXTRA"),
        (car(root_value(), *record_blocks(), record_blocks()[0]), "DUPLICATE"),
        (car(root_value(), *record_blocks(), b"\x00"), "CID"),
        (car(root_value(), *record_blocks(), section(b"\x12\x20" + bytes(32))), "CID"),
        (car(root_value(), *record_blocks(), section(b"\x01\x71\x12\x7f" + bytes(127))), "CID"),
        (car(root_value(), *record_blocks(), section(b"\x01\x71\x12\x20" + bytes(31))), "CID"),
        (car(root_value(), *record_blocks(), section(b"\x01\xf1\x00\x12\x20" + bytes(32))), "VARINT"),
        (car(root_value(), *record_blocks(), b"\x80"), "TRUNCATED"),
    ],
)  # fmt: skip
def test_structural_damage_has_its_code(data, code):
    assert refused(data).code == f"TSLG-B-{code}"


LINK = cid.compute(b"any")


@pytest.mark.spec("BUN-4", "BUN-5")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"tslg": 2}, "VERSION"),
        ({"tslg": True}, "VERSION"),
        ({"more": 1}, "ROOT"),
        ({"federation": None}, "ROOT"),
        ({"federation": bytes(LINK)}, "ROOT"),
        ({"manifest": cid.compute_raw(b"any")}, "ROOT"),
        ({"targets": []}, "ROOT"),
        ({"targets": LINK}, "ROOT"),
        ({"targets": [LINK, LINK]}, "ROOT"),
        ({"targets": [cid.compute_raw(b"any")]}, "ROOT"),
        ({"records": {}}, "ROOT"),
        ({"records": [[LINK]]}, "ROOT"),
        ({"records": [[LINK, LINK]]}, "ROOT"),
        ({"records": [[cid.compute_raw(b""), cid.compute_raw(b"")]]}, "ROOT"),
        ({"records": [[LINK, cid.compute_raw(b"")], [LINK, cid.compute_raw(b"2")]]}, "ROOT"),
        ({"beside": []}, "ROOT"),
        ({"blocks": []}, "ROOT"),
        ({"pruned": []}, "ROOT"),
        ({"withheld": []}, "ROOT"),
        ({"withheld": "text"}, "ROOT"),
        ({"withheld": [b"bytes"]}, "ROOT"),
        ({"withheld": [LINK, LINK]}, "ROOT"),
        ({"withheld": sorted([LINK, cid.compute(b"other")], reverse=True)}, "ROOT"),
        ({"withheld": [example()["records"][0][0]]}, "ROOT"),
        ({"checkpoints": []}, "PROOF"),
        ({"heads": {}}, "PROOF"),
        ({"heads": [{"agent": LINK, "record": LINK, "size": 1}]}, "PROOF"),
        ({"heads": [{"agent": LINK, "record": LINK, "size": 1, "root": bytes(31)}]}, "PROOF"),
        ({"heads": [{"agent": LINK, "record": None, "size": 1, "root": bytes(32)}]}, "PROOF"),
        ({"heads": [{"agent": LINK, "record": LINK, "size": -1, "root": bytes(32)}]}, "PROOF"),
        ({"heads": [{"agent": LINK, "record": LINK, "size": False, "root": bytes(32)}]}, "PROOF"),
        ({"inclusion": [{"record": LINK, "size": 1, "proof": [bytes(33)]}]}, "PROOF"),
        ({"inclusion": [{"record": LINK, "size": 1, "proof": [bytes(32)] * 65}]}, "PROOF"),
        ({"inclusion": [[]]}, "PROOF"),
        ({"consistency": [{"agent": LINK, "old_size": 1, "size": 2, "proof": b""}]}, "PROOF"),
        ({"consistency": [{"agent": LINK, "old_size": None, "size": 2, "proof": []}]}, "PROOF"),
    ],
)
def test_a_wrong_root_block_has_its_code(change, code):
    assert refused(car(root_value(**change), *record_blocks())).code == f"TSLG-B-{code}"


@pytest.mark.spec("BUN-1", "BUN-3", "BUN-5", "BUN-7")
def test_the_limits_are_kept_before_memory_is_taken():
    data = written(**example())
    assert refused(data, bundle_bytes=len(data) - 1).code == "TSLG-B-SIZE"
    assert refused(data, bundle_header_bytes=57).code == "TSLG-B-SIZE"
    assert refused(data, bundle_root_bytes=100).code == "TSLG-B-SIZE"
    assert refused(data, record_bytes=5).code == "TSLG-B-SIZE"
    assert refused(data, seal_bytes=7).code == "TSLG-B-SIZE"
    assert refused(data, walk_edges=1).code == "TSLG-B-ROOT"
    assert refused(data, walk_roots=0).code == "TSLG-B-ROOT"
    assert refused(data, proof_hashes=0).code == "TSLG-B-PROOF"
    assert read(data, bundle_bytes=len(data), record_bytes=6, seal_bytes=8).absent == []


class Counting(io.BytesIO):
    """A stream that remembers the most it was asked for, and gives at most seven bytes at a time."""

    most = 0

    def read(self, size=-1):
        assert size > 0
        self.most = max(self.most, size)
        return super().read(min(size, 7))


def test_a_length_that_lies_costs_no_memory_and_short_reads_are_joined():
    data = written(**example())
    assert bundle.read(Counting(data)).records == read(data).records
    lying = Counting(data[:59] + varint(100 * 1024 * 1024) + read(data).root + b"abc")
    with pytest.raises(BundleError) as caught:
        bundle.read(lying)
    assert caught.value.code == "TSLG-B-TRUNCATED" and lying.most <= 1024 * 1024


def test_the_detail_names_the_offset():
    data = car(root_value(), *record_blocks())
    error = refused(data + block(cid.compute(b"x"), b"x"))
    assert error.detail.startswith(f"at byte {len(data)}: ") and cid.to_text(cid.compute(b"x")) in error.detail


@pytest.mark.parametrize(
    "change",
    [
        {"targets": []},
        {"records": [(cid.compute(b"a"), b"a", b"s"), (cid.compute(b"a"), b"a", b"t")]},
        {"records": [(cid.compute(b"a"), b"b", b"s")]},
        {"heads": [HeadClaim(LINK, LINK, -1, bytes(32))]},
        {"inclusion": [InclusionProof(LINK, 1, (bytes(31),))]},
    ],
)
def test_write_refuses_what_read_would_refuse(change):
    stream = io.BytesIO()
    with pytest.raises(BundleError):
        bundle.write(stream, **example(**change))
    assert stream.getvalue() == b"" or "records" in change


def test_attachments_come_back_beside_their_records():
    blocks = example()["records"]
    got = read(written(**example(attachments={blocks[1][0]: b"beside"})))
    assert got.attachments == {blocks[1][0]: b"beside"}
    assert got.records == {link: (data, seal) for link, data, seal in blocks}
    assert read(written(**example())).attachments == {}


def test_an_attachment_may_be_left_out_of_the_file_and_not_altered():
    data = written(**example(attachments={example()["records"][1][0]: b"beside"}))
    at = data.index(b"beside")
    left_out = read(data[: at - 37] + data[at + 6 :])
    assert left_out.attachments == {} and left_out.absent == left_out.broken == [] and len(left_out.records) == 2
    altered = read(data[:at] + b"B" + data[at + 1 :])
    assert altered.attachments == {}
    assert [(link, "attachment" in detail) for link, detail in altered.broken] == [(example()["records"][1][0], True)]


def test_an_attachment_may_be_larger_than_a_record_and_not_larger_than_its_limit():
    link = example()["records"][0][0]
    large = bytes(Limits().attachment_bytes)
    assert read(written(**example(attachments={link: large}))).attachments == {link: large}
    assert refused(written(**example(attachments={link: large + b"x"}))).code == "TSLG-B-SIZE"
