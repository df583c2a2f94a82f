"""Values of records in JSON: what goes out comes back, and what is neither is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tslg.node.api import values
from tslg.protocol.cid import compute
from tslg.protocol.errors import UsageError

LEAVES = st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text() | st.binary()
KEYS = st.text().filter(lambda key: key != "/")
VALUES = st.recursive(
    LEAVES | st.binary().map(compute), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20
)


@given(VALUES)
def test_what_goes_out_comes_back(value):
    back = values.loads(values.dumps(value))
    assert back == value


@pytest.mark.parametrize("text", ['{"/": 1}', '{"/": {"bytes": 1}}', '{"/": {"bytes": "*"}}', '{"/": "x"}', "\xff"])
def test_what_is_no_value_is_refused(text):
    with pytest.raises(UsageError):
        values.loads(text.encode("latin-1"))
