"""Two programs agree on what a federation's own log says: on peers, on what envelopes name, and on expiry."""

from __future__ import annotations

import pytest
from both_readers import NOW, agreed, everything
from federations import DAY, START, Federation, Log, without
from world import NOW as FOUNDED
from world import THREE, World, founded, sign

from tslg.protocol import seal as seals

pytestmark = pytest.mark.thorough

own, foreign = Log.own, Log.foreign
KINDS = ["action", "decision", "delegation", "policy"]
FIRST = Federation()
LATER = FOUNDED + 400_000


@pytest.fixture
def world() -> Federation:
    return FIRST.clone()


def recorded(world: Federation, kind: str = "peer-set", **body):
    fields = {
        "peer-set": {"name": "peers", "members": []},
        "gc-policy": {"name": "gc", "horizon_ms": DAY, "kinds": ["observation"]},
    }
    return world.log.add(kind, {"prior": [own(world.root)]}, fields[kind] | body)


def with_peers(world: Federation, *members: bytes):
    peers = recorded(world, members=sorted(members))
    world.amend({"cross_agent": {"kinds": KINDS, "peers": peers.id}})
    return peers


def citing(world: Federation):
    return world.a.add("state", {"prior": [own(world.a.last)], "evidence": [foreign(world.action)]}, {"data": {}})


def both(world: Federation, target, **options):
    return agreed(world.bundle(target, **options), world.root.id)


@pytest.mark.parametrize("heads", [True, False])
def test_a_peer_is_cited(world, heads):
    with_peers(world, world.b.owner)
    assert both(world, citing(world), heads=heads) == ("valid", set())


def test_an_agent_that_is_no_peer_is_not_cited(world):
    with_peers(world, world.a.owner)
    assert both(world, citing(world)) == ("invalid", {"TSLG-A-CROSS-AGENT"})


def test_nothing_is_judged_without_the_peer_set(world):
    peers = with_peers(world, world.b.owner)
    data = without(world.bundle(citing(world), heads=False), peers.id)
    assert agreed(data, world.root.id) == ("undetermined", set())


@pytest.mark.parametrize("entry", ["gc", "corrections"])
def test_an_envelope_names_a_record_of_the_right_kind(world, entry):
    policy = recorded(world, "gc-policy")
    world.amend({entry: {"policy": policy.id}})
    expected = ("valid", set()) if entry == "gc" else ("invalid", {"TSLG-A-ENVELOPE"})
    assert both(world, world.a.state(), heads=False) == expected


def test_an_envelope_does_not_name_an_agents_record(world):
    world.amend({"gc": {"policy": world.action.id}})
    assert both(world, world.a.state(), heads=False) == ("invalid", {"TSLG-A-ENVELOPE"})


def test_a_root_manifest_names_no_record():
    from federations import envelope

    broken = Federation(root={"envelope": envelope(gc={"policy": FIRST.root.id})})
    verdict, codes = agreed(broken.bundle(broken.target, heads=False), broken.root.id)
    assert verdict != "valid" and codes <= {"TSLG-A-ENVELOPE"}


@pytest.mark.parametrize(
    ("made", "read", "expected"),
    [
        (DAY // 2, DAY // 2, ("valid", set())),
        (DAY // 2, DAY // 2 + 1, ("undetermined", set())),
        (DAY // 2 + 1, DAY, ("invalid", {"TSLG-A-MANIFEST-EXPIRED"})),
    ],
)
def test_a_version_expires(world, made, read, expected):
    world.amend(expires=START + DAY // 2)
    target = world.a.state(time=START + made)
    assert agreed(world.bundle(target), world.root.id, now=START + read) == expected


def test_an_expired_version_is_amended(world):
    world.amend(expires=START + 10_000)
    target = world.a.add(
        "state", {"prior": [own(world.a.last)]}, {"data": {}}, manifest=world.current.id, time=world.a.last.time
    )
    assert both(world, target, heads=False) == ("valid", set())
    world.amend(expires=START + 2 * DAY)
    assert both(world, world.a.state()) == ("valid", set())


def test_a_version_that_was_born_expired(world):
    world.amend(expires=START)
    assert both(world, world.a.state(), heads=False) == ("invalid", {"TSLG-A-MANIFEST-EXPIRED"})


def test_the_newest_version_comes_with_a_head(world):
    target = world.target
    world.amend(expires=START + 10_000)
    assert both(world, target, heads=False) == ("valid", set())
    assert agreed(world.bundle(target), world.root.id, now=NOW) == ("undetermined", set())


def joint(world: World, name: str, *, order: int = 1, alg: int | None = None):
    """A genesis that another federation attests too, whose anchors the readers do not know."""
    other = founded(THREE.format(scheme="threshold"), "elsewhere").manifest_record
    genesis, seed = world.genesis(name, federations=sorted([world.federation, other.id]))
    theirs = world.by_anchors(genesis, world.federation, True)._replace(kid=other.id)
    entries = {world.federation: world.by_anchors(genesis, world.federation, True), other.id: theirs}
    if alg is not None:
        entries[other.id] = theirs._replace(alg=alg)
    signed = [entries[one] for one in genesis.body["federations"]][::order]
    return world.put(genesis, seals.encode([sign(genesis, seed, genesis.id, True), *signed], many=True))


@pytest.mark.spec("FED-12", "FED-13")
def test_both_read_a_genesis_that_two_federations_attest():
    w = World()
    good = joint(w, "good")
    assert agreed(everything(w, good), w.federation, now=LATER) == ("valid", set())
    for number, change in enumerate([{"order": -1}, {"alg": -19}, {"alg": -70001}]):
        broken = joint(w, f"broken {number}", **change)
        assert agreed(everything(w, broken), w.federation, now=LATER) == ("invalid", {"TSLG-A-SEAL"})
