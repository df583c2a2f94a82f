"""The group agrees with RFC 9496, and takes nothing from outside but the one encoding of an element or a scalar."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import pytest

from tslg.protocol.zk import group

MULTIPLES = (
    "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
    "6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
    "94741f5d5d52755ece4f23f044ee27d5d1ea1e2bd196b462166b16152a9d0259",
)
"""RFC 9496, appendix A.1: the generator, twice, three times."""

BAD = (
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
)
"""RFC 9496, appendix A.2: not canonical, negative, not square."""


@pytest.mark.spec("ZKN-1")
def test_multiples_of_the_generator():
    for count, expected in enumerate(MULTIPLES, 1):
        element = bytes.fromhex(expected)
        assert group.mul_base(count) == element == group.mul(count, group.mul_base(1))
        assert group.is_element(element)
    assert group.add(group.mul_base(1), group.mul_base(2)) == group.mul_base(3)
    assert group.sub(group.mul_base(3), group.mul_base(2)) == group.mul_base(1)


@pytest.mark.spec("ZKN-1", "ZKN-3")
@pytest.mark.parametrize("encoding", BAD)
def test_bad_encodings_are_no_elements(encoding):
    assert not group.is_element(bytes.fromhex(encoding))


def test_the_identity_is_an_ordinary_value_but_no_element_from_outside():
    assert not group.is_element(group.IDENTITY)
    element = group.mul_base(7)
    assert group.mul(0, element) == group.mul(5, group.IDENTITY) == group.mul_base(group.ORDER) == group.IDENTITY
    assert group.sub(element, element) == group.IDENTITY and group.add(element, group.IDENTITY) == element
    assert group.mul(-1, element) == group.sub(group.IDENTITY, element)


def test_scalars_are_read_in_their_one_encoding():
    assert group.read_scalar(group.write_scalar(group.ORDER - 1)) == group.ORDER - 1
    assert group.read_scalar(group.ORDER.to_bytes(32, "little")) is None
    assert group.read_scalar(bytes(31)) is None
    assert group.wide_scalar(b"\xff" * 64) == (2**512 - 1) % group.ORDER


def test_nobody_chose_the_generator_of_values():
    assert group.is_element(group.VALUE) and group.mul_base(1) != group.VALUE
    # Elements come out of hashes as RFC 9496, appendix A.3, says.
    import rbcl

    digest = hashlib.sha512(b"Ristretto is traditionally a short shot of espresso coffee").digest()
    element = rbcl.crypto_core_ristretto255_from_hash(digest)
    assert element.hex() == "3066f82a1a747d45120d1740f14358531a8f04bbffe6a819f86dfe50f44a0a46"


def test_loading_leaves_nothing_in_the_temporary_directory():
    import rbcl

    path = Path(rbcl._sodium._name)
    assert path.parent == Path(tempfile.gettempdir()) and not path.exists()
