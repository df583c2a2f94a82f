"""The codec takes canonical DAG-CBOR as the spec narrows it, and not one byte more."""

from __future__ import annotations

import enum
import pickle
import tracemalloc

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.protocol import cid, codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError

LINK = cid.compute(b"x")
WIDEST = 2**53 - 1

links = st.sampled_from(
    [cid.compute(b"a"), cid.compute_raw(b"b"), cid.compute(b"c", "sha2-512"), Link(b"\x01\x71\x00\x00")]
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-WIDEST, WIDEST), st.text(max_size=30), st.binary(max_size=40), links
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner, max_size=6)
)


def nested(levels: int, leaf: object = 0) -> object:
    """Wrap `leaf` in `levels` containers, lists and maps by turns."""
    for level in range(levels):
        leaf = [leaf] if level % 2 else {"k": leaf}
    return leaf


def same(left: object, right: object) -> bool:
    """Equality that tells bool from int and Link from bytes."""
    if type(left) is not type(right):
        return False
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


@given(values)
@settings(max_examples=200, deadline=None)
def test_what_is_encoded_decodes_to_the_same_value_and_bytes(value: object) -> None:
    data = codec.encode(value)
    back = codec.decode(data)
    assert same(back, value)
    assert codec.encode(back) == data


@given(values, st.data())
@settings(max_examples=200, deadline=None)
def test_altered_bytes_are_refused_or_canonical(value: object, draw: st.DataObject) -> None:
    data = bytearray(codec.encode(value))
    position = draw.draw(st.integers(0, len(data) - 1))
    data[position] ^= draw.draw(st.integers(1, 255))
    try:
        back = codec.decode(bytes(data))
    except CodecError:
        return
    assert codec.encode(back) == bytes(data)


@given(st.binary(max_size=64))
@settings(max_examples=200, deadline=None)
def test_any_bytes_raise_nothing_but_codec_errors(data: bytes) -> None:
    try:
        back = codec.decode(data)
    except CodecError as error:
        assert error.code.startswith("TSLG-C-")
    else:
        assert codec.encode(back) == data


@pytest.mark.spec("COD-3", "COD-4")
@given(values)
@settings(max_examples=50, deadline=None)
def test_another_library_reads_the_same_value(value: object) -> None:
    def plain(item: object) -> object:
        if isinstance(item, Link):
            return cbor2.CBORTag(42, b"\0" + bytes(item))
        if isinstance(item, dict):
            return {key: plain(inner) for key, inner in item.items()}
        return [plain(inner) for inner in item] if isinstance(item, list) else item

    assert cbor2.loads(codec.encode(value)) == plain(value)


REFUSED_BYTES = [
    ("", "TRUNCATED"),
    ("6161ff", "TRAILING"),
    ("0000", "TRAILING"),
    ("fb3ff0000000000000", "FLOAT"),
    ("fb7ff8000000000000", "FLOAT"),
    ("fb7ff0000000000000", "FLOAT"),
    ("fa3f800000", "FLOAT"),
    ("f93c00", "FLOAT"),
    ("81fb3ff0000000000000", "FLOAT"),
    ("1b0020000000000000", "INTEGER"),
    ("3b001fffffffffffff", "INTEGER"),
    ("1bffffffffffffffff", "INTEGER"),
    ("3bffffffffffffffff", "INTEGER"),
    ("1801", "CANONICAL"),
    ("190001", "CANONICAL"),
    ("1a00000001", "CANONICAL"),
    ("1b0000000000000001", "CANONICAL"),
    ("780161", "CANONICAL"),
    ("5f4100ff", "CANONICAL"),
    ("9f00ff", "CANONICAL"),
    ("bf616100ff", "CANONICAL"),
    ("1c", "CANONICAL"),
    ("f7", "TYPE"),
    ("e0", "TYPE"),
    ("f8ff", "TYPE"),
    ("ff", "TYPE"),
    ("c101", "TYPE"),
    ("c2420100", "TYPE"),
    ("d9d9f700", "TYPE"),
    ("a10102", "TYPE"),
    ("a1416102", "TYPE"),
    ("a2616200616100", "KEY"),
    ("a2616100616100", "KEY"),
    ("a262616100616200", "KEY"),
    ("62c328", "TEXT"),
    ("63eda080", "TEXT"),
    ("a161ff00", "TEXT"),
    ("81" * 17 + "00", "NESTING"),
    ("81" * 16 + "80", "NESTING"),
    ("81" * 60_000 + "00", "NESTING"),
    ("9a00010000", "TRUNCATED"),
    ("9bffffffffffffffff", "TRUNCATED"),
    ("bb7fffffffffffffff", "TRUNCATED"),
    ("5bffffffffffffffff", "TRUNCATED"),
    ("d82a", "TRUNCATED"),
]


@pytest.mark.spec("COD-1", "COD-2", "COD-3", "COD-4", "COD-5", "COD-6", "COD-8", "COD-9", "COD-10")
@pytest.mark.parametrize(("data", "code"), REFUSED_BYTES, ids=[item[0][:24] or "empty" for item in REFUSED_BYTES])
def test_bytes_outside_the_spec_are_refused_by_rule(data: str, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode(bytes.fromhex(data))
    assert caught.value.code == f"TSLG-C-{code}"


DIGEST = b"d" * 32
BAD_LINKS = {
    "empty": b"",
    "version 0": b"\x00\x71\x12\x20" + DIGEST,
    "version 2": b"\x02\x71\x12\x20" + DIGEST,
    "CIDv0": b"\x12\x20" + DIGEST,
    "only a version": b"\x01",
    "only a codec": b"\x01\x71",
    "only a hash": b"\x01\x71\x12",
    "no digest": b"\x01\x71\x12\x20",
    "short digest": b"\x01\x71\x12\x20" + DIGEST[:-1],
    "long digest": b"\x01\x71\x12\x20" + DIGEST + b"d",
    "wrong size": b"\x01\x71\x12\x1f" + DIGEST,
    "codec not minimal": b"\x01\xf1\x00\x12\x20" + DIGEST,
    "version not minimal": b"\x81\x00\x71\x12\x20" + DIGEST,
    "hash not minimal": b"\x01\x71\x92\x00\x20" + DIGEST,
    "size not minimal": b"\x01\x71\x12\xa0\x00" + DIGEST,
    "endless varint": b"\x01" + b"\xff" * 35,
    "ten byte varint": b"\x01" + b"\x80" * 9 + b"\x01\x12\x20" + DIGEST,
}


def tagged(content: bytes) -> bytes:
    return (
        b"\xd8\x2a\x58" + bytes([len(content)]) + content
        if len(content) > 23
        else b"\xd8\x2a" + bytes([0x40 + len(content)]) + content
    )


@pytest.mark.spec("COD-7", "CID-1")
@pytest.mark.parametrize("name", BAD_LINKS)
def test_malformed_links_are_refused_both_ways(name: str) -> None:
    for value in (Link(BAD_LINKS[name]), {"a": [Link(BAD_LINKS[name])]}):
        with pytest.raises(CodecError) as caught:
            codec.encode(value)
        assert caught.value.code == "TSLG-C-LINK"
    for data in (tagged(b"\0" + BAD_LINKS[name]), b"\x81" + tagged(b"\0" + BAD_LINKS[name])):
        with pytest.raises(CodecError) as caught:
            codec.decode(data)
        assert caught.value.code == "TSLG-C-LINK"


@pytest.mark.parametrize("prefix", [b"", b"\x01", b"b", b"\xff"])
def test_a_link_without_the_identity_prefix_is_refused(prefix: bytes) -> None:
    assert codec.decode(tagged(b"\0" + LINK)) == LINK
    with pytest.raises(CodecError) as caught:
        codec.decode(tagged(prefix + LINK))
    assert caught.value.code == "TSLG-C-LINK"


@pytest.mark.spec("COD-6")
@pytest.mark.parametrize("tag", ["d82a40", "d82a4000", "d82a6161", "d82a00", "d82a80", "d82ad82a4100", "d9002a4100"])
def test_a_link_tag_on_anything_but_a_link_is_refused(tag: str) -> None:
    with pytest.raises(CodecError):
        codec.decode(bytes.fromhex(tag))


@pytest.mark.parametrize("data", [None, "a", 5, bytearray(b"\0"), memoryview(b"\0"), [0]])
def test_what_is_not_bytes_is_refused(data: object) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode(data)  # type: ignore[arg-type]
    assert caught.value.code == "TSLG-C-TYPE"


class Number(enum.IntEnum):
    ONE = 1


REFUSED_VALUES = [
    (1.0, "FLOAT"),
    ([float("nan")], "FLOAT"),
    (WIDEST + 1, "INTEGER"),
    ({"a": -WIDEST - 1}, "INTEGER"),
    (2**200, "INTEGER"),
    ((1,), "TYPE"),
    ({1}, "TYPE"),
    (bytearray(b"a"), "TYPE"),
    (memoryview(b"a"), "TYPE"),
    (object(), "TYPE"),
    (Number.ONE, "TYPE"),
    (type("Text", (str,), {})("a"), "TYPE"),
    ({1: 2}, "KEY"),
    ({b"a": 2}, "KEY"),
    ({"a": {None: 2}}, "KEY"),
    ("\ud800", "TEXT"),
    ({"\ud800": 1, "a": 2, "b": 3}, "KEY"),
    ({"\ud800": 1}, "TEXT"),
    ({"a": 1, 2: 2, "c": 3}, "KEY"),
    (nested(17), "NESTING"),
    (nested(16, []), "NESTING"),
]


@pytest.mark.parametrize(("value", "code"), REFUSED_VALUES, ids=range(len(REFUSED_VALUES)))
def test_values_without_canonical_bytes_are_refused_by_rule(value: object, code: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.encode(value)
    assert caught.value.code == f"TSLG-C-{code}"


def test_a_value_that_contains_itself_is_refused() -> None:
    value: list[object] = []
    value.extend([value] * 20)
    with pytest.raises(CodecError) as caught:
        codec.encode(value)
    assert caught.value.code == "TSLG-C-NESTING"


def test_the_bounds_themselves_are_accepted() -> None:
    for value in (WIDEST, -WIDEST, nested(16), [nested(15), nested(15)], "", b"", {}, [], True, None):
        assert same(codec.decode(codec.encode(value)), value)


def test_check_counts_nesting_from_the_given_level() -> None:
    codec.check(nested(13), 4)
    with pytest.raises(CodecError):
        codec.check(nested(14), 4)
    codec.check("scalars have no level", 99)


@pytest.mark.spec("COD-5")
def test_keys_are_sorted_by_length_and_then_bytes() -> None:
    assert codec.encode({"bb": 1, "c": 2, "a": 3, "é": 4}).hex() == "a4616103616302626262" + "01" + "62c3a904"


def bomb(size: int, header: int) -> bytes:
    """Arrays in arrays, each of which claims as many items as bytes are left."""
    out = bytearray()
    while size - len(out) > 300:
        left = size - len(out) - 10
        out += bytes([0x98, 255]) if header == 0x98 else bytes([header]) + left.to_bytes(1 << (header - 0x98), "big")
    return bytes(out) + b"\0" * (size - len(out))


@pytest.mark.parametrize(
    ("size", "header"), [(60_000, 0x98), (4_096, 0x99), (60_000, 0x99), (1_000_000, 0x9A)], ids=str
)
def test_nested_headers_cannot_claim_memory(size: int, header: int) -> None:
    data = bomb(size, header)
    tracemalloc.start()
    try:
        with pytest.raises(CodecError) as caught:
            codec.decode_unchecked(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.code == "TSLG-C-NESTING"
    assert peak < 200_000


def test_headers_hidden_between_other_items_cannot_claim_memory() -> None:
    inner = (
        b"\x99\x40\x00" + b"\x78\x18" + b"t" * 24 + b"\xd8\x2a\x45\0\x01\x71\0\0" + b"\x19\x01\x00" + b"\xa1\x61a\xf6"
    )
    with pytest.raises(CodecError) as caught:
        codec.decode_unchecked(inner * 900)
    assert caught.value.code == "TSLG-C-NESTING"


@pytest.mark.parametrize(
    "before", ["82 00", "a2 6161 00 6162", "82 a2 6161 00 6162 00", "83 80 a0", "82 d82a450001710000", "82 f6"]
)
def test_headers_behind_other_items_cannot_claim_memory(before: str) -> None:
    with pytest.raises(CodecError) as caught:
        codec.decode_unchecked(bytes.fromhex(before) + bomb(40_000, 0x99))
    assert caught.value.code == "TSLG-C-NESTING"


@given(values)
@settings(max_examples=50, deadline=None)
def test_large_input_passes_the_header_scan(value: object) -> None:
    large = [value, b"\x99" * 40_000, {"a": value, "b": [value, []]}, "\x98" * 20_000, list(range(-300, 300)), LINK]
    assert same(codec.decode(codec.encode(large)), large)


@pytest.mark.parametrize("tail", ["", "1c", "99", "99ffff", "5b", "a100", "d82a", "c1", "f8"])
def test_broken_large_input_is_refused(tail: str) -> None:
    data = b"\x99\x01\x00" + (b"\x59\x01\x00" + b"\x99" * 256) * 255 + bytes.fromhex(tail)
    with pytest.raises(CodecError):
        codec.decode(data)


def test_decode_unchecked_leaves_the_rules_of_check_to_the_caller() -> None:
    assert codec.decode_unchecked(bytes.fromhex("fb3ff0000000000000")) == 1.0
    assert codec.decode_unchecked(bytes.fromhex("d82a4100")) == Link(b"")
    with pytest.raises(CodecError):
        codec.decode_unchecked(b"\0\0")


def test_a_link_is_bytes_that_show_as_text() -> None:
    assert repr(LINK) == f"Link({cid.to_text(LINK)})"
    assert bytes(LINK) == LINK
    assert hash(bytes(LINK)) == hash(LINK)
    copy = pickle.loads(pickle.dumps(LINK))
    assert type(copy) is Link
    assert copy == LINK
