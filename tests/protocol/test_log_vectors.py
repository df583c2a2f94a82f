"""Merkle proofs against the vectors that transparency-dev publishes for RFC 6962 and RFC 9162."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tslg.protocol import log

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "rfc9162.json").read_text(encoding="utf-8"))


def hashes(case: dict) -> list[bytes]:
    return [bytes.fromhex(item) for item in case["proof"]]


@pytest.mark.spec("LOG-1")
@pytest.mark.parametrize("case", VECTORS["inclusion"], ids=lambda case: case["name"])
def test_published_inclusion_proofs(case, monkeypatch):
    # The vectors give the leaves' hashes, whatever their data; what is no hash can be none of a leaf.
    monkeypatch.setattr(log, "leaf_hash", lambda leaf: leaf if len(leaf) == 32 else bytes(32))
    leaf, root = bytes.fromhex(case["leaf_hash"]), bytes.fromhex(case["root"])
    assert log.verify_inclusion(leaf, case["index"], case["size"], hashes(case), root) is case["valid"]


@pytest.mark.spec("LOG-1")
@pytest.mark.parametrize("case", VECTORS["consistency"], ids=lambda case: case["name"])
def test_published_consistency_proofs(case):
    roots = bytes.fromhex(case["old_root"]), bytes.fromhex(case["root"])
    expected = case["valid"] and {len(root) for root in roots} == {32}
    assert log.verify_consistency(case["old_size"], case["size"], *roots, hashes(case)) is expected
