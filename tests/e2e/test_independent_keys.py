"""The reader written from docs/spec alone agrees on the life of keys: whatever is in a bundle, both say the same."""

from __future__ import annotations

import io

import independent_reader
import pytest
from breach import OPEN, Scene
from breaches_keys import BOTH, QUANTUM, RECOVERED, ROTATED
from world import World

from tslg.node.sources import BundleSource
from tslg.node.verifying import verify
from tslg.protocol import bundle, seal
from tslg.protocol.proofs import HeadClaim

pytestmark = [pytest.mark.thorough, pytest.mark.spec("KEY-2", "KEY-3", "KEY-5", "KEY-6", "SEA-9", "SEA-10", "SEA-11")]


def agreed(w: World, target, without=()) -> tuple[str, set[str]]:
    """Bundle all of the graph but some records; return the verdict and codes that both readers reach."""
    stream = io.BytesIO()
    authors = list(w.authors.values())
    bundle.write(
        stream,
        federation=w.federation,
        manifest=target.manifest,
        targets=[target.id],
        heads=[HeadClaim(a.owner, a.last.id, len(a.log), a.tree.root()) for a in authors],
        inclusion=[],
        consistency=[],
        records=[(r.id, r.data, w.seals[r.id]) for a in authors for r in a.log if r not in without],
    )
    report = verify(BundleSource(bundle.read(io.BytesIO(stream.getvalue()))), target.id, w.federation, now_ms=w.now_ms)
    theirs = independent_reader.read_file(stream.getvalue(), w.federation, w.now_ms)
    ours = report.verdict, {finding.code for finding in report.findings}
    assert ours == (theirs["verdict"], set(theirs["findings"].values()))
    return ours


def history(toml: str, alg: int = -19):
    w = World(toml)
    a = w.a = w.agent("a")
    w.first = a.key
    w.before = w.add(a, "policy")
    w.registered = w.rotate(a, alg)
    w.end = w.revoke(a, w.first)
    w.after = w.add(a, "action", None, {"policy": [w.before], "prior": [w.before]})
    return w


@pytest.mark.parametrize(
    ("toml", "alg"),
    [(OPEN, -19), (BOTH, -47), (QUANTUM, -19), (ROTATED, -19)],
    ids=["open", "both", "quantum", "rotated"],
)
def test_keys_come_and_go(toml, alg):
    w = history(toml, alg)
    assert agreed(w, w.after) == ("valid", set())
    assert agreed(w, w.before) == ("valid", set())
    taken = w.slip(w.a, "state", None, {"prior": [w.before]}, key=w.first)
    assert agreed(w, w.after) == ("valid", set()), "the newest record is the thief's and does not count"
    assert agreed(w, taken) == ("invalid", {"TSLG-A-REVOKED"})
    w.add(w.a, "state")
    assert agreed(w, w.a.last) == ("invalid", {"TSLG-A-REVOKED"})


def test_a_recovery():
    w = World(RECOVERED)
    a = w.agent("a")
    record, key = w.registration(a, key=None)
    w.admit(record, w.seal_agent(record, {record.id: key}), a)
    lost, a.key = a.key, record.id
    a.keys[record.id] = key
    w.revoke(a, lost)
    assert agreed(w, w.add(a, "state")) == ("valid", set())
    own, anchors = seal.parse(w.seals[record.id]).signatures
    w.seals[record.id] = seal.encode([own._replace(value=bytes(64)), anchors])
    assert agreed(w, a.last) == ("invalid", {"TSLG-A-SEAL"})


def test_a_recovery_that_no_manifest_allows():
    w = World(ROTATED)
    a = w.agent("a")
    record, key = w.registration(a, key=None)
    w.put(record, w.seal_agent(record, {record.id: key}), a)
    assert agreed(w, record) == ("invalid", {"TSLG-A-KEY"})


def test_another_suite():
    w = World(BOTH)
    a = w.agent("a")
    before = w.add(a, "state")
    w.amend(signatures=[-47], post_quantum=True)
    w.rotate(a, -47)
    assert agreed(w, w.add(a, "state", None, {"prior": [before]})) == ("valid", set())
    old = w.slip(a, "state", None, {"prior": [before]}, key=a.owner)
    assert agreed(w, old) == ("invalid", {"TSLG-A-SUITE"})


def test_forged_and_foreign_revocations_end_nothing():
    w = history(OPEN)
    b = w.agent("b")
    w.slip(b, "revocation", w.ending(b, w.registered, 9))
    w.seals[w.end.id] = w.seals[w.before.id]
    assert agreed(w, w.before) == ("valid", set())


def test_a_revocation_of_another_agents_key():
    w = Scene()
    ending = w.slip(w.b, "revocation", w.ending(w.b, w.a.key))
    assert agreed(w, ending) == ("invalid", {"TSLG-A-REVOCATION"})


def test_a_revocation_that_is_left_out_leaves_a_gap():
    w = history(OPEN)
    taken = w.slip(w.a, "state", None, {"prior": [w.before]}, key=w.first)
    verdict, _ = agreed(w, taken, without=[w.end])
    assert verdict == "undetermined"
