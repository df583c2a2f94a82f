"""Digests are of bytes, of text in UTF-8, and of JSON in the one form that RFC 8785 gives it."""

from __future__ import annotations

import hashlib
import json
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tslg.node.governing.content import canonical, digest
from tslg.protocol.errors import UsageError


@pytest.mark.parametrize(
    ("bits", "text"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("44b52d02c7e14af6", "1e+23"),
        ("3ff8000000000000", "1.5"),
    ],
)
@pytest.mark.spec("INF-2")
def test_numbers_are_written_as_in_the_samples_of_the_rfc(bits, text):
    assert canonical(struct.unpack(">d", bytes.fromhex(bits))[0]) == text


@pytest.mark.spec("INF-2")
def test_the_sample_of_the_rfc():
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical(value) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_are_in_the_order_of_utf_16():
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert [*json.loads(canonical(dict.fromkeys(keys, 1)))] == ["\r", "1", "\u0080", "ö", "€", "😀", "\ufb33"]


@pytest.mark.spec("INF-2")
@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), 2**53, {1: 2}, {"a": {1, 2}}, "\ud800", ["\ud800"], object(), {"a": b"b"}]
)
def test_what_has_no_canonical_form_has_no_digest(value):
    with pytest.raises(UsageError, match="TSLG-G-CONTENT"):
        digest(value)


def test_nesting_has_an_end_and_a_loop_none():
    loop: list = []
    loop.append(loop)
    with pytest.raises(UsageError, match="levels"):
        digest(loop)


texts = st.text(st.characters(exclude_categories=["Cs"]))
numbers = st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner),
    max_leaves=12,
)


def number(text: str) -> int | float:
    return int(text) if abs(int(text)) < 2**53 else float(text)


@settings(max_examples=100, deadline=None)
@given(values)
def test_the_canonical_form_says_the_same_and_is_a_fixed_point(value):
    text = canonical(value)
    assert json.loads(text) == value
    assert canonical(json.loads(text, parse_int=number)) == text
    assert digest(value) == hashlib.sha256(text.encode() if not isinstance(value, str) else value.encode()).digest()
