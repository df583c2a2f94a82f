"""This implementation gives the answers of its published vectors, and they are those that it would publish now."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "vectors"))
sys.path.insert(0, str(Path(__file__).parent / "e2e"))

import make_vectors

from tslg.protocol import cid, codec, log, record, seal
from tslg.protocol.errors import TslgError

HERE = Path(__file__).parent


def vectors(name: str) -> Any:
    return json.loads((HERE / "vectors" / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["codec", "ids", "records", "seals", "log", "admission", "bundles"])
def test_the_published_vectors_are_those_that_are_made_now(name):
    content = getattr(make_vectors, f"{name.removesuffix('s') if name != 'log' else name}_vectors")()
    made = make_vectors.written(content)
    published = (HERE / "vectors" / f"{name}.json").read_text(encoding="utf-8")
    assert made == published, (
        "run python tests/vectors/make_vectors.py, and say in CHANGELOG.md what changed for readers"
    )


def refused(read: Any, *given: Any) -> str | None:
    try:
        read(*given)
    except TslgError as error:
        return error.code
    return None


@pytest.mark.parametrize("case", vectors("codec.json"), ids=lambda case: case["bytes"][:20] or "empty")
def test_codec(case):
    data = bytes.fromhex(case["bytes"])
    assert refused(codec.decode, data) == case.get("refused")
    if "value" in case:
        assert make_vectors.tagged(codec.decode(data)) == case["value"]
        assert codec.encode(untagged(case["value"])) == data


def untagged(value: Any) -> Any:
    match value:
        case {"link": text}:
            return cid.from_text(text)
        case {"bytes": data}:
            return bytes.fromhex(data)
        case {"map": items}:
            return {name: untagged(item) for name, item in items.items()}
        case list():
            return [untagged(item) for item in value]
        case _:
            return value


def test_ids():
    for case in vectors("ids.json"):
        assert refused(cid.from_text, case["text"]) == case.get("refused")
        if "id" in case:
            link = cid.compute(bytes.fromhex(case["bytes"]), case["hash"])
            assert link.hex() == case["id"] and cid.to_text(link) == case["text"]
            assert cid.from_text(case["text"]) == link


def test_records():
    for case in vectors("records.json"):
        data = bytes.fromhex(case["bytes"])
        assert refused(record.parse, data, case["hash"]) == case.get("refused")
        if "id" in case:
            read = record.parse(data, case["hash"])
            assert (cid.to_text(read.id), read.kind, read.seq) == (case["id"], case["kind"], case["seq"])
            assert cid.to_text(read.owner) == case["owner"]


def test_seals():
    for case in vectors("seals.json"):
        data = bytes.fromhex(case["bytes"])
        assert refused(seal.parse, data) == case.get("refused")
        if "entries" in case:
            read = seal.parse(data)
            assert read.many == case["many"]
            for entry, expected in zip(read.signatures, case["entries"], strict=True):
                bitmap = None if expected["bitmap"] is None else bytes.fromhex(expected["bitmap"])
                assert entry == (expected["alg"], *map(bytes.fromhex, (expected["kid"], expected["signature"])), bitmap)
                signed = seal.to_be_signed(bytes.fromhex(case["record"]), entry.alg, many=read.many)
                assert signed.hex() == expected["signed"]


def test_log():
    given = vectors("log.json")
    leaves = [bytes.fromhex(leaf) for leaf in given["leaves"]]
    assert [log.root(leaves[:size]).hex() for size in range(len(leaves) + 1)] == given["roots"]
    for case in given["inclusion"]:
        proof = [bytes.fromhex(item) for item in case["proof"]]
        leaf, root = bytes.fromhex(case["leaf"]), bytes.fromhex(case["root"])
        assert log.verify_inclusion(leaf, case["index"], case["size"], proof, root) is case["holds"]
    for case in given["consistency"]:
        proof = [bytes.fromhex(item) for item in case["proof"]]
        roots = bytes.fromhex(case["old_root"]), bytes.fromhex(case["root"])
        assert log.verify_consistency(case["old_size"], case["size"], *roots, proof) is case["holds"]


ADMISSION = vectors("admission.json")


@pytest.mark.parametrize("case", ADMISSION["cases"], ids=lambda case: case["name"])
def test_admission(case):
    def held(name: str) -> make_vectors.Held:
        return make_vectors.Held.from_json(ADMISSION["records"][name])

    node = make_vectors.Node(cid.from_text(case["federation"]), case["now"], [held(name) for name in case["held"]])
    assert node.refusal(held(case["candidate"])) == case["refused"]


BUNDLES = vectors("bundles.json")


@pytest.mark.parametrize("case", BUNDLES["bundles"], ids=lambda case: case["name"])
def test_bundles(case):
    data = b"".join(bytes.fromhex(BUNDLES["pieces"][name]) for name in case["car"])
    reader = make_vectors.load("e2e/test_independent_reader.py")
    asked = (data, cid.from_text(case["federation"]), case["depth"], case["now"])
    verdict, codes = reader.ours(*asked)
    assert (verdict, sorted(codes)) == (case["verdict"], case["findings"])
    verdict, codes = reader.theirs(*asked)
    assert verdict == case["verdict"]
    if not any(code.startswith(("TSLG-B", "TSLG-R-ID", "TSLG-C")) for code in case["findings"]):
        assert sorted(codes) == case["findings"]
