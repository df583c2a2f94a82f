"""Two programs, one written from docs/spec alone, agree on federations whose ids are hybrid."""

from __future__ import annotations

import federations
import independent_formats
import pytest
from both_readers import agreed
from federations import Federation, Log

from tslg.protocol import cid, record, seal

pytestmark = pytest.mark.thorough

own = Log.own


@pytest.fixture(scope="module")
def hybrid() -> Federation:
    return Federation(amended={"envelope": federations.envelope(address={"hybrid": "blake3"})})


def test_both_read_hybrid_ids(hybrid):
    assert cid.hash_name(hybrid.target.id) == "sha2-256+blake3"
    assert cid.hash_name(hybrid.root.id) == cid.hash_name(hybrid.current.id) == "sha2-256"
    assert agreed(hybrid.bundle(hybrid.target), hybrid.root.id) == ("valid", set())
    assert agreed(hybrid.bundle(hybrid.target, heads=False), hybrid.root.id) == ("valid", set())
    assert agreed(hybrid.bundle(hybrid.target), hybrid.root.id, depth=3) == ("valid", set())


def test_both_find_the_same_hashes_in_an_id(hybrid):
    for made in (hybrid.target, hybrid.root):
        link = independent_formats.Link(made.id)
        assert independent_formats.hash_of(link) == cid.hash_name(made.id)
        assert independent_formats.names(link, made.data)
        for at in range(3, len(link)):
            odd = independent_formats.Link(link[:at] + bytes([link[at] ^ 1]) + link[at + 1 :])
            assert independent_formats.is_record_id(odd) == cid.is_record_id(bytes(odd))
            assert not independent_formats.names(odd, made.data)


def test_both_find_what_was_altered(hybrid):
    data = hybrid.bundle(hybrid.target)
    at = data.index(b"approved")
    assert agreed(data[:at] + b"rejected" + data[at + 8 :], hybrid.root.id)[0] == "invalid"


@pytest.mark.parametrize("ids", ["sha2-256", "blake3+sha2-256", "sha2-256+sha3-256"])
def test_both_refuse_ids_that_the_manifest_does_not_name(hybrid, ids):
    other = hybrid.clone()
    log = other.a
    odd = log.make("state", {"prior": [own(log.last)]}, {"data": {}}, hash_name=ids)
    log.keep(odd, seal.encode([federations.key_sign(log.key, odd.data, log.key_record)]))
    assert agreed(other.bundle(odd), other.root.id) == ("invalid", {"TSLG-A-HASH"})
    assert record.parse_as(odd.id, odd.data) == odd
