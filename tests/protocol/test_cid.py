"""Ids agree with the multiformats package, and have one text form each."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from multiformats import CID, multihash

from tslg.protocol import cid
from tslg.protocol.cid import Link
from tslg.protocol.errors import CidError

NAMES = list(cid.HASHES)
SAMPLE = cid.compute(b"sample")
TEXT = cid.to_text(SAMPLE)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("data", [b"", b"a record", bytes(1000)], ids=["empty", "short", "long"])
def test_ids_agree_with_multiformats(name: str, data: bytes) -> None:
    reference = CID("base32", 1, "dag-cbor", multihash.digest(data, name, size=cid.HASHES[name].size))
    link = cid.compute(data, name)
    assert link == bytes(reference)
    assert cid.to_text(link) == str(reference)
    assert cid.from_text(str(reference)) == link
    assert len(link) == len(cid.HASHES[name].dag_cbor_prefix) + cid.HASHES[name].size
    assert bytes(CID("base32", 1, "raw", reference.digest)).startswith(cid.HASHES[name].raw_prefix)


def test_known_id() -> None:
    """The empty map, an id that many DAG-CBOR tools print."""
    assert cid.to_text(cid.compute(b"\xa0")) == "bafyreigbtj4x7ip5legnfznufuopl4sg4knzc2cof6duas4b3q2fy6swua"


@pytest.mark.spec("CID-3")
def test_raw_ids_agree_with_multiformats() -> None:
    assert cid.compute_raw(b"seal") == bytes(CID("base32", 1, "raw", multihash.digest(b"seal", "sha2-256")))
    assert not cid.is_record_id(cid.compute_raw(b"seal"))


@pytest.mark.parametrize("name", NAMES)
def test_matches_needs_every_bit(name: str) -> None:
    entry = cid.HASHES[name]
    for link in (cid.compute(b"data", name), Link(entry.raw_prefix + entry.digest(b"data"))):
        assert cid.matches(link, b"data")
        assert not cid.matches(link, b"datb")
        assert cid.hash_name(link) == name
        for bit in range(8 * len(link)):
            altered = bytearray(link)
            altered[bit // 8] ^= 1 << bit % 8
            if bytes((altered[1],)) in b"\x71\x55" and altered[1] != link[1]:
                continue
            assert not cid.matches(Link(altered), b"data")
        assert not cid.matches(link + b"\0", b"data")
        assert not cid.matches(link[:-1], b"data")


@pytest.mark.spec("CID-2")
@pytest.mark.parametrize("name", NAMES)
def test_record_ids_have_a_whitelisted_full_digest(name: str) -> None:
    link = cid.compute(b"data", name)
    assert cid.is_record_id(link)
    assert cid.is_record_id(bytes(link))
    for wrong in (link[:-1], link + b"\0", b"\0" + link, link[1:], b"", b"\x01", link[:4]):
        assert not cid.is_record_id(wrong)


@pytest.mark.parametrize("link", [None, "text", 36, [1] * 36, bytearray(SAMPLE)])
def test_what_is_not_bytes_is_no_record_id(link: object) -> None:
    assert not cid.is_record_id(link)


UNLISTED = {
    "sha1": b"\x01\x71\x11\x14" + bytes(20),
    "identity": b"\x01\x71\x00\x04abcd",
    "truncated sha2-256": b"\x01\x71\x12\x10" + bytes(16),
    "blake3 of 64 bytes": b"\x01\x71\x1e\x40" + bytes(64),
    "json": b"\x01\xa9\x02\x12\x20" + bytes(32),
}


@pytest.mark.spec("CID-2")
@pytest.mark.parametrize("name", UNLISTED)
def test_other_hashes_and_codecs_are_no_record_ids(name: str) -> None:
    link = UNLISTED[name]
    assert cid.is_well_formed(link)
    assert not cid.is_record_id(link)
    assert not cid.matches(link, b"abcd")
    with pytest.raises(CidError):
        cid.hash_name(link)


def test_an_unknown_hash_name_says_which_are_known() -> None:
    with pytest.raises(CidError, match="blake3"):
        cid.compute(b"", "md5")


@given(st.binary(max_size=120))
@settings(max_examples=100, deadline=None)
def test_text_reads_back_exactly_for_well_formed_ids(digest: bytes) -> None:
    link = b"\x01\x71\x00" + bytes([len(digest)]) + digest
    assert cid.from_text(cid.to_text(link)) == link
    assert cid.from_text(cid.to_text(SAMPLE)) == SAMPLE


@pytest.mark.spec("CID-4")
@given(st.integers(0, len(TEXT) - 1), st.characters())
@settings(max_examples=200, deadline=None)
def test_no_two_texts_name_one_id(position: int, character: str) -> None:
    text = TEXT[:position] + character + TEXT[position + 1 :]
    try:
        link = cid.from_text(text)
    except CidError:
        return
    assert cid.to_text(link) == text


REFUSED_TEXTS = {
    "upper case": TEXT.upper(),
    "upper case body": "b" + TEXT[1:].upper(),
    "one upper case letter": TEXT[:-1] + TEXT[-1].upper()
    if TEXT[-1].isalpha()
    else TEXT[:5] + TEXT[5].upper() + TEXT[6:],
    "padding": TEXT + "=",
    "all the padding": TEXT + "======",
    "cut": TEXT[:-1],
    "one more": TEXT + "a",
    "space before": " " + TEXT,
    "line break behind": TEXT + "\n",
    "no prefix": TEXT[1:],
    "empty": "",
    "only the prefix": "b",
    "base58": "zdpuAyvkgEDQm9TenwGkd5eNaosSxjgEYd8QatfPetgB1CdEZ",
    "CIDv0": "QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG",
    "digits outside base32": "b0189",
    "not ascii": "bé",
    "grows in upper case": "b" + "ß" * 7,
    "too long": "b" + "a" * 10_000,
    "not a CID": "baaaa",
    "CIDv0 bytes": cid.to_text(b"\x12\x20" + bytes(32)),
}


@pytest.mark.spec("CID-4")
@pytest.mark.parametrize("name", REFUSED_TEXTS)
def test_text_that_is_not_canonical_is_refused(name: str) -> None:
    with pytest.raises(CidError) as caught:
        cid.from_text(REFUSED_TEXTS[name])
    assert caught.value.code == "TSLG-C-CID"


def test_trailing_bits_of_the_text_must_be_zero() -> None:
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    others = [TEXT[:-1] + alphabet[alphabet.index(TEXT[-1]) + step] for step in (1, 2, 3)]
    for text in others:
        with pytest.raises(CidError):
            cid.from_text(text)


@pytest.mark.parametrize("value", [None, b"bafy", 5])
def test_text_must_be_text(value: object) -> None:
    with pytest.raises(CidError):
        cid.from_text(value)  # type: ignore[arg-type]


def test_short_form_for_people() -> None:
    assert cid.short(SAMPLE) == f"{TEXT[:4]}…{TEXT[-6:]}"
    assert cid.short(b"ab") == cid.to_text(b"ab")
