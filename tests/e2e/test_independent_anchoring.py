"""Both readers on logs that must be anchored: the same verdict, whatever the bundle's checkpoints are."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from independent_reader import read_file

from tslg.manifests import examples, text
from tslg.manifests import genesis as geneses
from tslg.node.bundling import write_walked
from tslg.node.home import Home
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.node.witness.key import WitnessKey
from tslg.protocol import bundle, witnessing
from tslg.protocol.checkpoint import Signed, parse
from tslg.protocol.cid import to_text

KEYS = [WitnessKey("w.example/a", 4, b"a" * 32), WitnessKey("w.example/b", 6, b"b" * 32)]
NOW = 1_700_000_000_000


class Willing:
    """Witnesses that cosign whatever they are asked to."""

    def gather(self, signed, policy, prove, shown=None):
        lines = tuple(key.cosign(signed.checkpoint, NOW // 1000) for key in KEYS)
        return witnessing.merge(signed, [Signed(signed.checkpoint, lines)])

    def close(self):
        pass


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle of a record in the middle of an anchored log, the record, and the federation."""
    plain = text.parse(examples.read("single-organisation"))
    asks = {"cadence": "batch", "witnesses": sorted(key.public.text for key in KEYS), "quorum": 2}
    founded = geneses.found_federation(
        replace(plain, envelope={**plain.envelope, "anchoring": asks, "genesis": {"anchors": 0}}),
        random_bytes=lambda n: bytes(range(n)),
        time_ms=NOW,
    )
    folder = tmp_path_factory.mktemp("anchored") / "d"
    sealed = (founded.manifest_record, founded.seal)
    patch = pytest.MonkeyPatch()
    patch.setattr(Home, "_ask_witnesses", lambda self: Willing())
    with Home.open(folder, federation=sealed, clock=lambda: NOW) as home:
        agent = home.agent("a")
        target = agent.decide("d", "yes", evidence=[agent.observe("o")])
        for step in range(5):
            agent.state({"step": step})
        # The newest record lies behind the newest cosigned checkpoint, so that a proof leads from that to it.
        home.ledger.gate = None
        agent.state({"last": True})
        stream = io.BytesIO()
        write_walked(stream, walk(StoreSource(home.store), target.id, home.federation, now_ms=NOW))
        federation = home.federation
    patch.undo()
    return bundle.read(io.BytesIO(stream.getvalue())), target, federation


def rewritten(read, notes) -> bytes:
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=read.federation,
        manifest=read.manifest,
        targets=read.targets,
        heads=read.heads,
        inclusion=read.inclusion,
        consistency=read.consistency,
        records=[(id, *pair) for id, pair in read.records.items()],
        checkpoints=notes,
    )
    return stream.getvalue()


def both(made, notes) -> str:
    """The verdict that both readers come to."""
    read, target, federation = made
    data = rewritten(read, notes)
    ours = verify(BundleSource(bundle.read(io.BytesIO(data))), target.id, federation, now_ms=NOW)
    theirs = read_file(data, federation, NOW)
    assert theirs["verdict"] == ours.verdict
    reasons = {to_text(item.record): item.reason.split(":")[0] for item in ours.undetermined}
    assert theirs["undetermined"] == reasons
    return ours.verdict


@pytest.mark.spec("ANC-13", "ANC-14", "ANC-15", "BUN-4")
def test_both_readers_find_it_anchored(made):
    assert len(made[0].checkpoints) == 1 and both(made, made[0].checkpoints) == "valid"


@pytest.mark.spec("ANC-13", "ANC-14")
def test_both_readers_find_the_same_lacking(made):
    good = parse(made[0].checkpoints[0])
    own, first, second = good.signatures
    head = good.checkpoint
    assert both(made, []) == "undetermined"
    assert both(made, [b"nonsense"]) == "undetermined"
    for lines in ((own, first), (own, second), (first, second), (own, first, first)):
        assert both(made, [Signed(head, lines).to_bytes()]) == "undetermined"
    broken = second._replace(value=second.value[:-1] + bytes([second.value[-1] ^ 1]))
    for lines in ((own, first, broken), (own, first, second, broken)):
        assert both(made, [Signed(head, lines).to_bytes()]) == "undetermined"
    future = [key.cosign(head, NOW // 1000 + 301) for key in KEYS]
    assert both(made, [Signed(head, (own, *future)).to_bytes()]) == "undetermined"
    late = [key.cosign(head, NOW // 1000 + 300) for key in KEYS]
    assert both(made, [Signed(head, (own, *late)).to_bytes()]) == "valid"
    assert both(made, [b"nonsense", good.to_bytes()]) == "valid"
