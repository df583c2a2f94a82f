"""A genesis that two federations attest: sealed by the anchors of both, accepted by auditors of either."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from world import NOW, ONE, THREE, founded

from tslg.manifests import genesis as geneses
from tslg.manifests import signing
from tslg.manifests.keys import write_key
from tslg.node.cli.agent import agent as agent_commands
from tslg.node.cli.federation import federation as federation_commands
from tslg.node.cli.root import tslg
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol import seal as seals
from tslg.protocol.cid import to_text
from tslg.protocol.errors import ManifestError
from tslg.protocol.jointly import attestations, attesting
from tslg.protocol.rules.seals import rule_seal

pytestmark = pytest.mark.spec("FED-12", "FED-13", "FED-14")
SEED = bytes(range(32))


class Two:
    """Two federations, and a genesis under the first that both shall attest."""

    def __init__(self, attested: int) -> None:
        self.a = founded(ONE.format(attested=attested), "joint a")
        self.b = founded(THREE.format(scheme="threshold"), "joint b")
        self.genesis = geneses.build_genesis(
            self.a.manifest,
            name="both",
            public_key=geneses.public_key(SEED),
            nonce=bytes(16),
            time_ms=NOW,
            federations=[self.b.manifest.id],
        )
        self.request = geneses.propose_genesis(self.genesis, SEED, self.a.manifest_record, [self.b.manifest_record])
        self.seal = geneses.sign_and_combine(self.request, [*self.a.anchor_keys, *self.b.anchor_keys[1:]])

    @property
    def versions(self):
        return {one.manifest.id: one.manifest for one in (self.a, self.b)}

    def refused(self, seal: bytes, *, with_b: bool = True) -> bool:
        support = (self.a.manifest_record, *((self.b.manifest_record,) if with_b else ()))
        context = signing.Context(signing.Request(self.genesis, support, None))
        return rule_seal(self.genesis, seal, context) is not None


@pytest.fixture(params=[0, 1], ids=["alone otherwise", "attested otherwise"])
def two(request) -> Two:
    return Two(request.param)


def test_it_is_sealed_by_the_agent_and_by_each_federation_in_order(two):
    entries = seals.parse(two.seal).signatures
    assert attesting(two.genesis) == sorted([two.a.manifest.id, two.b.manifest.id])
    assert [entry.kid for entry in entries] == [two.genesis.id, *attesting(two.genesis)]
    assert not two.refused(two.seal) and not two.refused(two.seal, with_b=False)
    both = attestations(two.genesis, two.seal, two.versions)
    assert [(one.federation, one.holds) for one in both] == [(one, True) for one in attesting(two.genesis)]
    alone = attestations(two.genesis, two.seal, {two.b.manifest.id: two.b.manifest})
    assert {one.federation: one.holds for one in alone} == {two.a.manifest.id: None, two.b.manifest.id: True}


def test_no_signature_may_be_missing_moved_or_of_somebody_else(two):
    agent, *others = seals.parse(two.seal).signatures
    mine = next(entry for entry in others if entry.kid == two.a.manifest.id)
    theirs = next(entry for entry in others if entry.kid == two.b.manifest.id)
    stranger = founded(THREE.format(scheme="threshold"), "joint stranger")
    partials = geneses.build_genesis(
        two.a.manifest,
        name="x",
        public_key=geneses.public_key(SEED),
        nonce=bytes(16),
        time_ms=NOW,
        federations=[two.b.manifest.id],
    )
    other = geneses.sign_and_combine(
        geneses.propose_genesis(partials, SEED, two.a.manifest_record, [two.b.manifest_record]),
        [*two.a.anchor_keys, *two.b.anchor_keys[1:]],
    )
    wrong = next(entry for entry in seals.parse(other).signatures if entry.kid == two.b.manifest.id)
    first = others[0] is mine
    for entries, seen_without in [
        ([agent, mine], True),
        ([agent, theirs], True),
        ([agent, *others[::-1]], True),
        ([agent, mine, mine], True),
        ([agent, *([mine, wrong] if first else [wrong, mine])], False),
        ([agent, *([mine, theirs._replace(alg=-19)] if first else [theirs._replace(alg=-19), mine])], True),
        ([agent, *others, theirs], True),
        ([mine, theirs], True),
    ]:
        sealed = seals.encode(entries, many=True)
        assert two.refused(sealed)
        assert two.refused(sealed, with_b=False) == seen_without
        held = attestations(two.genesis, sealed, {two.b.manifest.id: two.b.manifest})
        if not seen_without:
            assert {one.federation: one.holds for one in held}[two.b.manifest.id] is False
    # Who forges another's manifest does not pass for it with a reader who has the real one.
    forged = theirs._replace(kid=stranger.manifest.id)
    sealed = seals.encode([agent, *([mine, forged] if first else [forged, mine])], many=True)
    held = attestations(two.genesis, sealed, {**two.versions, stranger.manifest.id: stranger.manifest})
    assert {one.federation: one.holds for one in held}[two.b.manifest.id] is False


def test_anchors_of_one_federation_do_not_do_for_both(two):
    with pytest.raises(ManifestError, match="TSLG-M-QUORUM"):
        geneses.sign_and_combine(two.request, two.a.anchor_keys)
    with pytest.raises(ManifestError, match="no manifest version with it"):
        geneses.propose_genesis(two.genesis, SEED, two.a.manifest_record)


def test_an_agent_of_two_federations_from_request_to_audit(tmp_path):
    two = Two(1)
    files = {}
    for name, one in (("a", two.a), ("b", two.b)):
        files[name] = tmp_path / f"{name}.sealed"
        files[name].write_bytes(signing.encode_sealed(one.manifest_record.data, one.seal))
        for index, key in enumerate(one.anchor_keys):
            write_key(tmp_path / f"{name}{index}.key.json", key)

    def run(group, *arguments, code: int = 0):
        result = CliRunner().invoke(group, [*map(str, arguments), "--json"], catch_exceptions=False)
        assert result.exit_code == code, (result.output, result.stderr)
        return json.loads(result.stdout) if code == 0 else result.stderr

    data, asked, born = tmp_path / "data", tmp_path / "agent.request", tmp_path / "agent.sealed"
    run(
        agent_commands,
        "request",
        "both",
        "--data",
        data,
        "--federation",
        files["a"],
        "--also",
        files["b"],
        "--out",
        asked,
    )
    keys = [tmp_path / name for name in ("a0.key.json", "b0.key.json", "b2.key.json")]
    partials = [run(federation_commands, "sign", asked, "--key", key)["partial"] for key in keys]
    run(federation_commands, "combine", asked, *partials, "--out", born)
    run(agent_commands, "join", born, "--data", data)
    for name in ("a", "b"):
        said = run(federation_commands, "attested", born, "--log", files[name])
        held = {item["federation"]: item["holds"] for item in said["attested"]}
        assert held[to_text(getattr(two, name).manifest.id)] is True and len(held) == 2
    stranger = founded(ONE.format(attested=1), "joint nobody")
    other = tmp_path / "other.sealed"
    other.write_bytes(signing.encode_sealed(stranger.manifest_record.data, stranger.seal))
    run(tslg, "federation", "attested", born, "--log", other, code=1)
    with Home.open(data) as home:
        target = home.agent("both").observe("sensor", {"n": 1})
        now = home.clock()
        assert verify(StoreSource(home.store), target.id, two.a.manifest.id, now_ms=now).verdict == "valid"
        assert verify(StoreSource(home.store), target.id, two.b.manifest.id, now_ms=now).verdict != "valid"
