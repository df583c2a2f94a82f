"""The published CDDL says what real records and seals are: by a validator of others, which finds what is not one."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

import cbor2
import pycddl
import pytest
from breach import ATTESTED, Scene
from breaches_joint import given
from lineage import LogBuilder

from tslg.protocol import cid, codec
from tslg.protocol.kinds import CLASSES, KINDS
from tslg.protocol.record import Edge, build

ROOT = Path(__file__).resolve().parents[2]
LINK = cid.compute(b"linked")
OTHER = cid.compute(b"other")
LOG = LogBuilder("a")


def load(path: Path):
    spec = importlib.util.spec_from_file_location(f"loaded_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BODIES = load(ROOT / "tests" / "protocol" / "test_kinds.py").BODIES_OF
TEXT = (ROOT / "docs" / "spec" / "tslg.cddl").read_text(encoding="utf-8")


@cache
def schema(rule: str) -> pycddl.Schema:
    return pycddl.Schema(f"start = {rule}\n{TEXT}")


def fits(rule: str, data: bytes) -> bool:
    try:
        schema(rule).validate_cbor(data)
    except pycddl.ValidationError:
        return False
    return True


def edge_for(kind: str, name: str) -> Edge:
    where = KINDS[kind].leads[name]
    return Edge(LINK) if where is None or where.log != "other" else Edge(LINK, OTHER, 3)


def real(kind: str, classes) -> bytes:
    """A record of a kind with edges of these classes, as the program builds it."""
    if KINDS[kind].first:
        empty = {"agent": None, "seq": 0, "prev": None, "time": 0, "key": None, "log": None}
        manifest = None if kind == "manifest" else LINK
        return build(kind=kind, manifest=manifest, preds={}, body=BODIES[kind], **empty).data
    made = LOG.make(kind, {name: [edge_for(kind, name)] for name in classes}, BODIES[kind])
    value = codec.decode(made.data)
    value["manifest"] = LINK
    return codec.encode(value)


def changed(data: bytes, change) -> bytes:
    value = codec.decode(data)
    change(value)
    return codec.encode(value)


def test_the_file_is_up_to_date():
    assert load(ROOT / "docs" / "tools" / "cddl.py").document() == TEXT, "run python docs/tools/cddl.py"


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_real_records_of_every_kind_fit(kind):
    assert fits(kind, real(kind, KINDS[kind].mandatory))
    assert fits(kind, real(kind, KINDS[kind].allowed))
    others = [name for name in KINDS if name != kind]
    assert not fits(others[0], real(kind, KINDS[kind].mandatory))


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_records_of_every_kind_that_are_none_do_not_fit(kind):
    table = KINDS[kind]
    data = real(kind, table.mandatory)
    for name, field in table.fields.items():
        if field.required:
            assert not fits(kind, changed(data, lambda value, name=name: value["body"].pop(name))), name
        assert not fits(kind, changed(data, lambda value, name=name: value["body"].update({name: True}))), name
    assert not fits(kind, changed(data, lambda value: value["body"].update(extra=1)))
    for name in table.mandatory:
        assert not fits(kind, changed(data, lambda value, name=name: value["preds"].pop(name))), name
        assert not fits(kind, changed(data, lambda value, name=name: value["preds"].update({name: []}))), name
        assert not fits(kind, changed(data, lambda value, name=name: value["preds"].update({name: [{"x": 1}]}))), name
    # The validator lets an empty map have entries, so what a log's first record may not cite it cannot tell.
    for name in sorted(CLASSES.keys() - table.allowed) if not table.first else ():
        assert not fits(kind, changed(data, lambda value, name=name: value["preds"].update({name: [{"cid": LINK}]})))
    for name, wrong in (("v", 2), ("kind", "thing"), ("seq", -1), ("time", "now"), ("preds", []), ("extra", 1)):
        assert not fits(kind, changed(data, lambda value, name=name, wrong=wrong: value.update({name: wrong}))), name
    for name in ("agent", "prev", "log", "manifest", "key"):
        assert not fits(kind, changed(data, lambda value, name=name: value.update({name: b"bytes"}))), name


def test_what_a_world_of_agents_recorded_fits_with_its_seals():
    for w in (Scene(), Scene(ATTESTED)):
        w.derived()
        w.amend()
        w.rotate(w.a)
        given(w)
        assert {record.kind for record in w.held.values()} >= {"manifest", "genesis", "joint-authorization"}
        for id, record in w.held.items():
            assert fits(record.kind, record.data) and fits("record", record.data), record.kind
            assert fits("seal", w.seals[id]), record.kind
            tagged = cbor2.loads(w.seals[id])
            protected, unprotected, _, rest = tagged.value
            for parts in ([protected, unprotected, b"payload", rest], [9, unprotected, None, rest], [protected]):
                assert not fits("seal", cbor2.dumps(cbor2.CBORTag(tagged.tag, parts)))
            assert not fits("seal", cbor2.dumps(cbor2.CBORTag(17, list(tagged.value))))


def test_what_a_record_commits_to_may_stand_elsewhere():
    kind = KINDS["decision"]
    body = {"merkle": bytes(32), "fields": len(kind.committed)}
    data = changed(real("decision", kind.mandatory), lambda value: value.update(body=body))
    assert fits("decision", data)
    assert not fits("decision", changed(data, lambda value: value["body"].update(fields=1)))
    assert not fits("decision", changed(data, lambda value: value["body"].pop("merkle")))
