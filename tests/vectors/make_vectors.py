"""Write the project's own test vectors, which README.md describes: `python tests/vectors/make_vectors.py`.

Everything follows from fixed seeds and clocks, so that the files are the same whoever makes them; a test compares.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

TESTS = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path[:0] = [str(TESTS / "support"), str(TESTS / "e2e"), str(TESTS.parent / "src")]

from breach import CASES as BREACHES  # noqa: E402
from breach import Scene  # noqa: E402
from federations import DAY, START, Federation, without  # noqa: E402
from world import Author, World  # noqa: E402

from tslg.protocol import cid, codec, frames, log, record, seal  # noqa: E402
from tslg.protocol.admission import admit  # noqa: E402
from tslg.protocol.cid import Link  # noqa: E402
from tslg.protocol.errors import Refusal, TslgError  # noqa: E402
from tslg.protocol.record import Record, parse  # noqa: E402
from tslg.protocol.signatures import Alg  # noqa: E402

NOW = START + DAY


def files() -> dict[str, Any]:
    """Return the content of every file of vectors by its name."""
    return {
        "codec.json": codec_vectors(),
        "ids.json": id_vectors(),
        "records.json": record_vectors(),
        "seals.json": seal_vectors(),
        "log.json": log_vectors(),
        "admission.json": admission_vectors(),
        "bundles.json": bundle_vectors(),
    }


def written(content: Any) -> str:
    """Return a file's text."""
    return json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def codec_vectors() -> list[dict[str, Any]]:
    """Canonical bytes with the value that they are, and bytes that are refused."""
    link = cid.compute(b"x")
    values = [None, True, False, 0, 23, 24, -1, 2**53 - 1, 1 - 2**53, "", "aé🜂", b"", b"\x00\xff", [], {}, link]
    values += [[1, [2, [3]]], {"b": 1, "aa": 2, "a": [None]}, {"link": link, "": b"x"}]
    good = [{"bytes": codec.encode(value).hex(), "value": tagged(value)} for value in values]
    refused = load("protocol/test_codec.py").REFUSED_BYTES
    return good + [{"bytes": data, "refused": f"TSLG-C-{rule}"} for data, rule in refused if len(data) < 10_000]


def tagged(value: Any) -> Any:
    """Return a value as JSON can hold it: bytes as {"bytes": hex}, links as {"link": text}, maps as {"map": …}."""
    match value:
        case codec.Link():
            return {"link": cid.to_text(value)}
        case bytes():
            return {"bytes": value.hex()}
        case dict():
            return {"map": {name: tagged(item) for name, item in value.items()}}
        case list():
            return [tagged(item) for item in value]
        case _:
            return value


def id_vectors() -> list[dict[str, Any]]:
    """Ids of the same bytes under every hash, in binary and as text; and texts that are no ids."""
    data = codec.encode({"a": 1})
    good = []
    for name in cid.HASHES:
        link = cid.compute(data, name)
        good.append({"bytes": data.hex(), "hash": name, "id": link.hex(), "text": cid.to_text(link)})
    text = cid.to_text(cid.compute(data))
    bad = ["", "b", text.upper(), "f" + cid.compute(data).hex(), text[:-1], text + "a", text[:-1] + "b", "z" + text[1:]]
    return good + [{"text": one, "refused": "TSLG-C-CID"} for one in bad]


def record_vectors() -> list[dict[str, Any]]:
    """Records of every kind that a federation of two vendors makes, and maps that are no records."""
    federation = Federation()
    good = []
    for one in federation.logs():
        for item in one.records:
            fields = {"id": cid.to_text(item.id), "kind": item.kind, "seq": item.seq, "owner": cid.to_text(item.owner)}
            good.append({"bytes": item.data.hex(), "hash": cid.hash_name(item.id), **fields})
    cases = load("protocol/test_record.py").CASES
    refused = [(rule, bytes_of(value)) for rule, value in cases]
    return good + [
        {"bytes": data.hex(), "hash": "sha2-256", "refused": f"TSLG-R-{rule}"}
        for rule, data in refused
        if data is not None and len(data) < 10_000 and _refused(record.parse, data) == f"TSLG-R-{rule}"
    ]


def bytes_of(value: Any) -> bytes | None:
    """Return the canonical bytes of a value, None if it has none: then the codec refuses it before the record does."""
    try:
        return codec.encode(value)
    except TslgError:
        return None


def seal_vectors() -> list[dict[str, Any]]:
    """Seals of real records with what each signature signs, and the same seals altered."""
    federation = Federation()
    vectors = []
    for one in federation.logs():
        for item in one.records[:3]:
            data = one.seals[item.id]
            read = seal.parse(data)
            entries = [
                {
                    "alg": entry.alg,
                    "kid": entry.kid.hex(),
                    "signature": entry.value.hex(),
                    "bitmap": None if entry.bitmap is None else entry.bitmap.hex(),
                    "signed": seal.to_be_signed(item.data, entry.alg, many=read.many).hex(),
                }
                for entry in read.signatures
            ]
            vectors.append({"bytes": data.hex(), "record": item.data.hex(), "many": read.many, "entries": entries})
    plain = federation.a.seals[federation.a.records[1].id]
    altered = [
        b"",
        plain[:-1],
        plain + b"\x00",
        b"\xd1" + plain[1:],
        plain[1:],
        plain.replace(b"\xf6\x58", b"\x40\x58"),
    ]
    return vectors + [{"bytes": data.hex(), "refused": _refused(seal.parse, data)} for data in altered]


def log_vectors() -> dict[str, Any]:
    """Trees of ids: their roots, every kind of proof, and proofs that do not hold."""
    leaves = [bytes(cid.compute(bytes([number]))) for number in range(9)]
    inclusion, consistency = [], []
    for index, size in [(0, 1), (0, 2), (1, 2), (2, 3), (4, 5), (3, 7), (6, 7), (0, 8), (5, 8), (8, 9), (2, 9)]:
        proof = log.inclusion_proof(leaves[:size], index)
        good = {"index": index, "size": size, "root": log.root(leaves[:size]).hex()}
        inclusion.append({**good, "leaf": leaves[index].hex(), "proof": _hexes(proof), "holds": True})
        inclusion.append({**good, "leaf": leaves[(index + 1) % 9].hex(), "proof": _hexes(proof), "holds": False})
        inclusion.append({**good, "leaf": leaves[index].hex(), "proof": _hexes([*proof, bytes(32)]), "holds": False})
    for old, size in [(1, 1), (1, 2), (1, 8), (2, 3), (3, 7), (4, 8), (6, 8), (7, 9), (8, 9), (9, 9)]:
        roots = {"old_root": log.root(leaves[:old]).hex(), "root": log.root(leaves[:size]).hex()}
        proof = log.consistency_proof(leaves[:size], old)
        good = {"old_size": old, "size": size, **roots}
        consistency.append({**good, "proof": _hexes(proof), "holds": True})
        consistency.append({**good, "proof": _hexes([*proof, bytes(32)]), "holds": False})
        consistency.append({**good, "old_root": bytes(32).hex(), "proof": _hexes(proof), "holds": False})
    consistency.append({**good, "old_size": 0, "proof": [], "holds": False})
    roots = [log.root(leaves[:size]).hex() for size in range(len(leaves) + 1)]
    return {"leaves": _hexes(leaves), "roots": roots, "inclusion": inclusion, "consistency": consistency}


def admission_vectors() -> dict[str, Any]:
    """For every rule of admission a record that breaks it and no other, and the records that it is judged among.

    Left out are cases that records alone do not make: logs of which only loose records are held, a node's own plans,
    and signatures that differ each time they are made.
    """
    for path in sorted((TESTS / "support").glob("breaches_*.py")):
        import_module(path.stem)
    records: dict[str, list[str | None]] = {}
    cases = []
    # Whatever else imported some of them before, in whatever order.
    for case in sorted(BREACHES, key=lambda case: case.breach.__module__):
        world = Scene(case.toml)
        record_, sealed = case.breach(world)
        candidate = Held(record_, sealed, world.attached.get(record_.id))
        held = [
            Held(item, world.seals.get(item.id, b""), world.attached.get(item.id))
            for item in world.held.values()
            if item.id != record_.id
        ]
        if any(_is_random(one.seal) for one in (*held, candidate)):
            continue
        node = Node(world.federation, world.now_ms, held)
        if node.refusal(candidate) != case.code:
            continue
        common = {"federation": cid.to_text(world.federation), "now": world.now_ms, "held": _keep(records, held)}
        refused = {"name": case.name.replace("_", " "), **common, "refused": case.code}
        cases.append(refused | {"candidate": _keep(records, [candidate])[0]})
    return {"records": records, "cases": cases}


class Held(NamedTuple):
    """A record with its seal, and what is attached to it."""

    record: Record
    seal: bytes
    attachment: bytes | None

    def to_json(self) -> list[str | None]:
        """Return how its id is computed, its bytes, its seal and its attachment."""
        scheme = cid.hybrid_scheme(self.record.id) or cid.hash_name(self.record.id)
        attached = None if self.attachment is None else self.attachment.hex()
        return [scheme, self.record.data.hex(), self.seal.hex(), attached]

    @classmethod
    def from_json(cls, value: Sequence[str | None]) -> Held:
        """Read what `to_json` wrote."""
        scheme, data, sealed, attached = value
        attachment = None if attached is None else bytes.fromhex(attached)
        return cls(parse(bytes.fromhex(data or ""), scheme or ""), bytes.fromhex(sealed or ""), attachment)


class Node(World):
    """A node that holds exactly what it is given."""

    def __init__(self, federation: Link, now_ms: int, held: Sequence[Held]) -> None:
        super().__init__()
        self.federation, self.now_ms = federation, now_ms
        for mine in (self.held, self.seals, self.attached, self.authors, self._manifests):
            mine.clear()
        for one in held:
            self._hold(one)
            self.put(one.record, one.seal, Author(one.record.id, {}, None, []) if one.record.seq == 0 else None)

    def _hold(self, one: Held) -> None:
        if one.attachment is not None:
            self.attached[one.record.id] = one.attachment

    def refusal(self, candidate: Held) -> str | None:
        """Return the code by which a record is refused, None if it is admitted."""
        self._hold(candidate)
        try:
            admit(candidate.record, candidate.seal, self)
        except Refusal as error:
            return error.code
        return None


def _is_random(sealed: bytes) -> bool:
    """Tell whether a seal holds a signature that its maker cannot repeat: ML-DSA as the library signs."""
    try:
        return any(entry.alg == Alg.ML_DSA_65 for entry in seal.parse(sealed).signatures)
    except TslgError:
        return False


def _keep(records: dict[str, list[str | None]], held: Iterable[Held]) -> list[str]:
    """Keep records and return the names they are kept under; one record may have several seals."""
    names = []
    for one in held:
        value = one.to_json()
        name = cid.to_text(one.record.id)[-16:]
        while records.setdefault(name, value) != value:
            name += "'"
        names.append(name)
    return names


def bundle_vectors() -> dict[str, Any]:
    """Bundles with the verdict and the codes of the findings that a verification ends with."""
    reader = load("e2e/test_independent_reader.py")
    federation = Federation()
    whole = federation.bundle(federation.target)
    made = [("all there", federation, whole, None), ("five edges", federation, whole, 5)]
    for name in ("target", "delegation", "policy", "charter", "current"):
        made.append((f"without the {name}", federation, without(whole, getattr(federation, name).id), None))
    made.append(("cut short", federation, whole[:-1], None))
    made.append(("one byte changed", federation, whole[:-200] + bytes((whole[-200] ^ 1,)) + whole[-199:], None))
    for name, (make, _) in reader.CASES.items():
        changed = federation.clone()
        target = make(changed)
        made.append((name, changed, changed.bundle(target, heads=False), None))
    for name, (changes, _) in reader.FEDERATIONS.items():
        broken = Federation(**changes)
        made.append((f"federation: {name}", broken, broken.bundle(broken.target, heads=False), None))
    pieces: dict[str, str] = {}
    return {"bundles": [_bundle(pieces, *one) for one in made], "pieces": pieces}


def _bundle(
    pieces: dict[str, str], name: str, federation: Federation, data: bytes, depth: int | None
) -> dict[str, Any]:
    verdict, codes = load("e2e/test_independent_reader.py").ours(data, federation.root.id, depth, NOW)
    names = []
    for piece in _sections(data):
        names.append(hashlib.sha256(piece).hexdigest()[:16])
        assert pieces.setdefault(names[-1], piece.hex()) == piece.hex()
    asked = {"federation": cid.to_text(federation.root.id), "now": NOW, "depth": depth}
    return {"name": name, "car": names, **asked, "verdict": verdict, "findings": sorted(codes)}


def _sections(data: bytes) -> list[bytes]:
    """Cut a file into its sections, of which many bundles share most; the pieces put together are the file."""
    pieces = []
    while data:
        read = frames.decode_varint(data)
        length = len(data) if read is None else sum(read)
        pieces.append(data[:length])
        data = data[length:]
    return pieces


def _hexes(items: Iterable[bytes]) -> list[str]:
    return [item.hex() for item in items]


def _refused(read: Any, data: bytes) -> str:
    try:
        read(data)
    except TslgError as error:
        return error.code
    raise AssertionError("it was to be refused")


_loaded: dict[str, ModuleType] = {}


def load(path: str) -> ModuleType:
    """Load a module of tests by its path, once."""
    if path not in _loaded:
        spec = spec_from_file_location(Path(path).stem + "_for_vectors", TESTS / path)
        assert spec is not None and spec.loader is not None
        _loaded[path] = module_from_spec(spec)
        spec.loader.exec_module(_loaded[path])
    return _loaded[path]


if __name__ == "__main__":
    for name, content in files().items():
        (Path(__file__).parent / name).write_text(written(content), encoding="utf-8")
