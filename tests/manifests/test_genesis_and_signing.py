"""Founding, attesting, signing and amending, judged by the reader's own rules of admission."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from tslg.manifests import examples, genesis, signing, text, versions
from tslg.manifests.agent_keys import SigningKey
from tslg.manifests.genesis import FoundedFederation
from tslg.manifests.keys import AnchorKey
from tslg.protocol import admission, codec, log, record, seal
from tslg.protocol.codec import Link
from tslg.protocol.errors import ManifestError, Refusal
from tslg.protocol.keys import Key
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Edge, Head, Record
from tslg.protocol.rules.context import Tail
from tslg.protocol.seal import to_be_signed
from tslg.protocol.signatures import Alg, verify

SEED = b"s" * 32
Random = Callable[[str], Callable[[int], bytes]]


class Graph:
    """A graph of records that all passed admission: a federation's log, and agents' geneses."""

    complete = True

    def __init__(self, federation: Link, now_ms: int) -> None:
        self.federation = federation
        self.now_ms = now_ms
        self.records: dict[Link, Record] = {}
        self.manifests: dict[Link, Manifest] = {}
        self.log: list[Record] = []

    def admit(self, item: Record, sealed: bytes) -> None:
        if item.kind == "manifest":
            self.manifests[item.id] = Manifest.from_record(item)
        admission.admit(item, sealed, self)
        self.records[item.id] = item
        if item.kind == "manifest-amendment":
            self.manifests[item.id] = Manifest.from_record(item)
        if item.owner == self.federation:
            self.log.append(item)

    def record(self, id: Link) -> Record | None:
        return self.records.get(id)

    def manifest(self, id: Link) -> Manifest | None:
        return self.manifests.get(id)

    def key(self, id: Link) -> Key | None:
        return None

    def tail(self, owner: Link) -> Tail | None:
        if owner != self.federation or not self.log:
            return None
        root = log.root([item.id for item in self.log])
        return Tail(len(self.log), self.log[-1].id, self.log[-1].time, root)

    def attachment(self, id: Link) -> bytes | None:
        return None

    def signature_holds(self, alg: int, public: bytes, message: bytes, signature: bytes) -> bool:
        return verify(alg, public, message, signature)


def graph_of(federation: FoundedFederation) -> Graph:
    graph = Graph(federation.manifest_record.id, federation.manifest_record.time + 60_000)
    graph.admit(federation.manifest_record, federation.seal)
    return graph


def agent(federation: FoundedFederation, name: str = "worker") -> Record:
    return genesis.build_genesis(
        federation.manifest,
        name=name,
        public_key=genesis.public_key(SEED),
        nonce=b"n" * 16,
        time_ms=federation.manifest_record.time + 1,
    )


def federation_policy(history: Sequence[Record], manifest: Manifest) -> Record:
    ids = [item.id for item in history]
    return record.build(
        kind="policy",
        agent=ids[0],
        seq=len(ids),
        prev=ids[-1],
        time=history[-1].time + 1,
        manifest=manifest.id,
        key=None,
        log=Head(len(ids), log.root(ids)),
        preds={"prior": [Edge(ids[-1])]},
        body={
            "name": "everybody",
            "capabilities": ["read"],
            "limits": {},
            "classes": [],
            "tiers": [],
            "not_before": None,
            "not_after": None,
        },
    )


def next_version(history: Sequence[Record], keys: text.AnchorKeys, nonce: bytes, name: str = "Test") -> Record:
    current = versions.in_force(history)
    scheme = next(name for name, number in text.SCHEMES.items() if number == current.anchors.scheme)
    members = [member.name for member in keys.members]
    toml = f'[federation]\nname="{name}"\n[anchors]\nscheme="{scheme}"\nthreshold=2\nmembers={members}\n[envelope]\n'
    body = text.parse(toml).body(keys, nonce, current.version + 1)
    return versions.amendment(history, body, time_ms=history[-1].time + 5)


def public(federation: FoundedFederation) -> text.AnchorKeys:
    anchors = federation.manifest.anchors
    return text.AnchorKeys(anchors.members, anchors.group_key)


@pytest.mark.spec("MAN-1")
def test_a_founded_federation_is_admitted(federation: FoundedFederation) -> None:
    graph_of(federation)
    manifest = federation.manifest
    (entry,) = seal.parse(federation.seal).signatures
    assert entry.kid == manifest.id
    message = to_be_signed(federation.manifest_record.data, entry.alg)
    assert manifest.anchors.verify(message, entry.value, entry.bitmap)
    assert not manifest.anchors.verify(message + b"x", entry.value, entry.bitmap)
    assert federation.manifest_record.body["version"] == 1


def test_founding_is_a_function_of_its_randomness(randomness: Random, now: int) -> None:
    first, again, other = (
        genesis.single_organisation("Me", random_bytes=randomness(seed), time_ms=now) for seed in ("x", "x", "y")
    )
    assert first == again
    assert first.manifest_record.id != other.manifest_record.id
    assert first.manifest.anchors.threshold == 1
    assert first.manifest.name == "Me"
    assert first.anchor_secret == first.anchor_keys[0].secret
    assert first.anchor_secret.hex() not in repr(first)
    assert repr(first.anchor_secret) not in repr(first)
    graph_of(first)


def test_a_genesis_is_attested_by_agent_and_anchors(federation: FoundedFederation) -> None:
    born = agent(federation)
    sealed = genesis.attest_genesis(born, SEED, federation.manifest_record, federation.anchor_keys[1:])
    graph_of(federation).admit(born, sealed)
    entries = seal.parse(sealed).signatures
    assert [entry.kid for entry in entries] == [born.id, federation.manifest_record.id]
    assert [entry.alg for entry in entries] == [Alg.ED25519, federation.manifest.anchors.scheme]


def test_any_two_anchors_make_a_seal_and_one_does_not(federation: FoundedFederation) -> None:
    born = agent(federation)
    request = genesis.propose_genesis(born, SEED, federation.manifest_record)
    keys = federation.anchor_keys
    pairs = [(keys[0], keys[1]), (keys[1], keys[2]), (keys[2], keys[0])]
    seals = {genesis.sign_and_combine(request, pair) for pair in pairs}
    assert len(seals) == (1 if federation.manifest.anchors.scheme == Alg.BLS_THRESHOLD else 3)
    with pytest.raises(ManifestError, match=r"TSLG-M-QUORUM: 1 of 2 .*have 1 more of a, c sign"):
        genesis.sign_and_combine(request, keys[1:2])
    with pytest.raises(ManifestError, match="TSLG-M-QUORUM"):
        genesis.sign_and_combine(request, [keys[1], keys[1]])


def test_a_genesis_alone_where_the_manifest_lets_it(randomness: Random, now: int) -> None:
    wanted = text.parse(examples.read("constrained-readers"))
    federation = genesis.found_federation(wanted, random_bytes=randomness("alone"), time_ms=now)
    born = agent(federation)
    sealed = genesis.attest_genesis(born, SEED, federation.manifest_record)
    graph_of(federation).admit(born, sealed)
    assert not seal.parse(sealed).many
    with pytest.raises(ManifestError, match="lets agents start alone"):
        genesis.propose_genesis(born, SEED, federation.manifest_record)


def test_an_unattested_genesis_is_not_admitted(federation: FoundedFederation) -> None:
    born = agent(federation)
    (good,) = genesis.own_entries(born, SEED, federation.manifest)
    alone = SigningKey(-19, SEED).sign(-19, to_be_signed(born.data, -19))
    with pytest.raises(Refusal, match="TSLG-A-SEAL"):
        graph_of(federation).admit(born, seal.encode([good._replace(value=alone)]))


def test_anchors_refuse_a_genesis_that_its_agent_did_not_sign(federation: FoundedFederation) -> None:
    born = agent(federation)
    (good,) = genesis.own_entries(born, SEED, federation.manifest)
    alone = SigningKey(-19, SEED).sign(-19, to_be_signed(born.data, -19))
    wrong = [good._replace(value=b""), good._replace(value=bytes(64)), good._replace(value=alone)]
    wrong += [good._replace(alg=-47), good._replace(kid=federation.manifest.id)]
    for entries in ([], [good, good], *([entry] for entry in wrong)):
        with pytest.raises(ManifestError, match="the agent's own signature"):
            signing.propose(born, [federation.manifest_record], entries)


def test_a_federation_policy_is_signed_under_the_manifest_in_force(federation: FoundedFederation) -> None:
    graph = graph_of(federation)
    item = federation_policy(graph.log, federation.manifest)
    request = signing.propose(item, [federation.manifest_record])
    assert not request.many
    graph.admit(item, genesis.sign_and_combine(request, federation.anchor_keys[:2]))


def test_anchors_do_not_sign_an_agents_records(federation: FoundedFederation) -> None:
    born = agent(federation)
    fields = {
        "agent": born.id,
        "seq": 1,
        "prev": born.id,
        "time": born.time,
        "manifest": federation.manifest_record.id,
        "key": born.id,
        "log": Head(1, log.root([born.id])),
        "preds": {"prior": [Edge(born.id)]},
    }
    state = record.build(kind="state", body={"data": {}}, **fields)  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match="TSLG-M-REQUEST: anchors do not sign a state"):
        signing.propose(state, [federation.manifest_record])
    body = federation_policy([federation.manifest_record], federation.manifest).body
    policy = record.build(kind="policy", body=body, **fields)  # type: ignore[arg-type]
    with pytest.raises(ManifestError, match="TSLG-M-REQUEST: anchors sign a federation's policies, not an agent's"):
        signing.propose(policy, [federation.manifest_record])


def test_a_request_without_its_manifest_is_refused(federation: FoundedFederation) -> None:
    born = agent(federation)
    signature = genesis.own_entries(born, SEED, federation.manifest)
    with pytest.raises(ManifestError, match="the manifest that it is made under is not with it"):
        signing.propose(born, [], signature)


@pytest.mark.spec("SEA-13", "MAN-12")
def test_an_amendment_is_signed_by_old_and_new_anchors(federation: FoundedFederation, randomness: Random) -> None:
    graph = graph_of(federation)
    other = genesis.found_federation(
        replace(
            text.parse(text.to_toml(dict(federation.manifest_record.body))), members=("c", "d", "e"), compiled=None
        ),
        random_bytes=randomness("new"),
        time_ms=federation.manifest_record.time,
    )
    second = next_version(graph.log, public(other), b"2" * 16)
    request = signing.propose(second, [federation.manifest_record])
    assert [seat.kid for seat in request.seats()] == [federation.manifest_record.id, second.id]
    with pytest.raises(ManifestError, match="TSLG-M-QUORUM"):
        genesis.sign_and_combine(request, federation.anchor_keys)
    with pytest.raises(ManifestError, match="TSLG-M-QUORUM"):
        genesis.sign_and_combine(request, other.anchor_keys)
    sealed = genesis.sign_and_combine(request, (*federation.anchor_keys[:2], *other.anchor_keys[:2]))
    graph.admit(second, sealed)
    third = next_version(graph.log, public(other), b"3" * 16, "Renamed")
    assert (third.body["version"], third.log and third.log.size, third.prev) == (3, 2, second.id)
    graph.admit(third, genesis.sign_and_combine(signing.propose(third, [second]), other.anchor_keys[1:]))
    with pytest.raises(ManifestError, match="TSLG-M-SIGNER"):
        signing.sign(signing.propose(third, [second]), federation.anchor_keys[0])


def test_an_amendment_follows_a_federation_policy(federation: FoundedFederation) -> None:
    graph = graph_of(federation)
    item = federation_policy(graph.log, federation.manifest)
    request = signing.propose(item, [federation.manifest_record])
    graph.admit(item, genesis.sign_and_combine(request, federation.anchor_keys))
    second = next_version(graph.log, public(federation), b"2" * 16)
    assert second.prev == item.id
    assert second.preds["amends"] == (Edge(federation.manifest_record.id),)
    request = signing.propose(second, [federation.manifest_record])
    graph.admit(second, genesis.sign_and_combine(request, federation.anchor_keys))


def test_an_amendment_goes_with_the_records_that_its_envelope_names(federation: FoundedFederation) -> None:
    root = federation.manifest_record
    policy = versions.federation_record([root], "correction-policy", {"name": "p", "rules": []}, time_ms=root.time)
    other = versions.federation_record([root, policy], "peer-set", {"name": "s", "members": []}, time_ms=root.time)
    history = [root, policy, other]
    plain = next_version(history, public(federation), b"2" * 16)
    body = {**plain.body, "envelope": {**plain.body["envelope"], "corrections": {"policy": policy.id}}}
    second = versions.amendment(history, body, time_ms=root.time)
    assert versions.support(history, second) == [root, policy]
    assert versions.support(history, plain) == [root]
    request = signing.propose(second, [root, policy])
    keys = federation.anchor_keys
    signed = [genesis.sign_and_combine(signing.propose(item, [root]), keys) for item in (policy, other)]
    signed.append(genesis.sign_and_combine(request, keys))
    made = [(root, federation.seal), *zip((policy, other, second), signed, strict=True)]
    files = [(str(n), signing.encode_sealed(item.data, sealed)) for n, (item, sealed) in enumerate(made)]
    assert versions.read_history(files) == made
    with pytest.raises(ManifestError, match="the correction-policy that its `corrections` names is not with it"):
        signing.propose(second, [root, other])


def test_a_version_may_not_be_skipped_nor_time_go_back(federation: FoundedFederation) -> None:
    root = federation.manifest_record
    body = {**root.body, "version": 3}
    with pytest.raises(ManifestError, match="TSLG-M-VERSION: version 3 after version 1"):
        versions.amendment([root], body, time_ms=root.time)
    with pytest.raises(ManifestError, match="TSLG-M-TIME"):
        versions.amendment([root], {**root.body, "version": 2}, time_ms=root.time - 1)


def test_a_manifest_whose_proofs_do_not_hold_is_not_made(federation: FoundedFederation) -> None:
    body = dict(federation.manifest_record.body)
    members = [dict(member) for member in body["anchors"]["members"]]
    members[0]["possession"] = members[1]["possession"]
    body["anchors"] = {**body["anchors"], "members": members}
    with pytest.raises(ManifestError, match="TSLG-M-BODY: an anchor's proof of possession"):
        versions.root_manifest(body, time_ms=1)


def test_a_request_is_read_back_and_damage_is_named(federation: FoundedFederation) -> None:
    request = genesis.propose_genesis(agent(federation), SEED, federation.manifest_record)
    data = signing.encode_request(request)
    assert signing.decode_request(data) == request
    assert signing.encode_request(signing.decode_request(data)) == data
    for place in range(0, len(data), 97):
        broken = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        with pytest.raises((ManifestError, Refusal)):
            signing.decode_request(broken, "r.request")
    with pytest.raises(ManifestError, match=r"r\.request is damaged"):
        signing.decode_request(data[:-1], "r.request")


def test_a_record_from_the_future_is_not_signed(federation: FoundedFederation) -> None:
    data = signing.encode_request(genesis.propose_genesis(agent(federation), SEED, federation.manifest_record))
    now = federation.manifest_record.time
    signing.decode_request(data, now_ms=now)
    with pytest.raises(Refusal, match="TSLG-A-CLOCK"):
        signing.decode_request(data, now_ms=now - 300_000)


def test_a_bad_partial_is_named(federation: FoundedFederation) -> None:
    request = genesis.propose_genesis(agent(federation), SEED, federation.manifest_record)
    first, second, _ = federation.anchor_keys
    good, other = signing.sign(request, first), signing.sign(request, second)
    assert good == signing.sign(request, first)
    flipped = other[:-1] + bytes([other[-1] ^ 1])
    with pytest.raises(ManifestError, match=r"TSLG-M-PARTIAL: b\.partial, the signature of b, does not verify"):
        signing.combine(request, [("a.partial", good), ("b.partial", flipped)])
    with pytest.raises(ManifestError, match=r"TSLG-M-FILE: b\.partial is damaged"):
        signing.combine(request, [("a.partial", good), ("b.partial", other[:-1])])
    elsewhere = genesis.propose_genesis(agent(federation, "another"), SEED, federation.manifest_record)
    with pytest.raises(ManifestError, match=r"x\.partial signs another record"):
        signing.combine(elsewhere, [("x.partial", good)])


def test_a_stranger_cannot_sign(federation: FoundedFederation) -> None:
    request = genesis.propose_genesis(agent(federation), SEED, federation.manifest_record)
    scheme = federation.manifest.anchors.scheme
    stranger = AnchorKey("x", "a", scheme, (5).to_bytes(32, "big"))
    with pytest.raises(ManifestError, match="TSLG-M-SIGNER"):
        signing.sign(request, stranger)
    wrong = Alg.BLS_MULTISIG if scheme == Alg.BLS_THRESHOLD else Alg.BLS_THRESHOLD
    with pytest.raises(ManifestError, match="TSLG-M-SIGNER"):
        signing.sign(request, replace(federation.anchor_keys[0], scheme=wrong))


def test_sealed_records_and_history_are_read_back(federation: FoundedFederation) -> None:
    root = federation.manifest_record
    second = next_version([root], public(federation), b"2" * 16)
    sealed = genesis.sign_and_combine(signing.propose(second, [root]), federation.anchor_keys)
    files = [
        ("root", signing.encode_sealed(root.data, federation.seal)),
        ("second", signing.encode_sealed(second.data, sealed)),
    ]
    assert versions.read_history(files) == [(root, federation.seal), (second, sealed)]
    for wrong in (b"", federation.seal, sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(ManifestError, match="TSLG-M-HISTORY: second: "):
            versions.read_history([files[0], ("second", signing.encode_sealed(second.data, wrong))])
    with pytest.raises(ManifestError, match="TSLG-M-HISTORY: second is not record 0"):
        versions.read_history(files[::-1])
    with pytest.raises(ManifestError, match="TSLG-M-HISTORY: root is not record 1"):
        versions.read_history([files[0], files[0]])
    with pytest.raises(ManifestError, match="TSLG-M-HISTORY"):
        versions.read_history([])
    with pytest.raises(ManifestError, match="f is not a sealed record"):
        signing.decode_sealed(b"\x80", "f")


@pytest.mark.spec("MAN-13", "REC-2")
def test_another_hash_names_every_id(randomness: Random, now: int) -> None:
    source = examples.read("single-organisation").replace("sha2-256", "blake3")
    federation = genesis.found_federation(text.parse(source), random_bytes=randomness("h"), time_ms=now)
    graph = graph_of(federation)
    born = agent(federation)
    graph.admit(born, genesis.attest_genesis(born, SEED, federation.manifest_record, federation.anchor_keys))
    second = next_version_of_one(federation)
    sealed = genesis.sign_and_combine(signing.propose(second, [federation.manifest_record]), federation.anchor_keys)
    graph.admit(second, sealed)
    files = [("1", signing.encode_sealed(federation.manifest_record.data, federation.seal))]
    files.append(("2", signing.encode_sealed(second.data, sealed)))
    assert [item.id for item, _ in versions.read_history(files)] == [federation.manifest_record.id, second.id]


def next_version_of_one(federation: FoundedFederation) -> Record:
    body = {**federation.manifest_record.body, "version": 2, "nonce": b"2" * 16}
    return versions.amendment([federation.manifest_record], body, time_ms=federation.manifest_record.time)


@pytest.mark.parametrize(
    "change",
    [
        {"id": b"x"},
        {"record": "x"},
        {"support": {}},
        {"support": [1]},
        {"support": [[b"x", b"x"]]},
        {"support": "first without its bytes"},
        {"support": "first with a text"},
        {"support": "nine times the first"},
        {"own": {}},
        {"own": [1]},
        {"own": [[]]},
        {"own": "alg as text"},
        {"own": "kid as bytes"},
        {"own": "value as text"},
        {"own": "three times the first"},
        {"own": "a signature as long as no seal"},
    ],
)
def test_a_request_whose_fields_are_of_other_types_is_damaged(
    federation: FoundedFederation, change: dict[str, object]
) -> None:
    request = genesis.propose_genesis(agent(federation), SEED, federation.manifest_record)
    fields = codec.decode(signing.encode_request(request))
    (first,), ((alg, kid, value),) = fields["support"], fields["own"]
    made: dict[object, object] = {
        "first without its bytes": [first[:1]],
        "first with a text": [[first[0], "x"]],
        "nine times the first": [first] * 9,
        "alg as text": [["x", kid, value]],
        "kid as bytes": [[alg, bytes(kid), value]],
        "value as text": [[alg, kid, "x"]],
        "three times the first": [[alg, kid, value]] * 3,
        "a signature as long as no seal": [[alg, kid, bytes(DEFAULT.seal_bytes + 1)]],
    }
    name, wanted = next(iter(change.items()))
    broken = codec.encode(fields | {name: made[wanted] if isinstance(wanted, str) and wanted != "x" else wanted})
    with pytest.raises(ManifestError, match=rf"TSLG-M-FILE: r: the field '{name}' is not what it must be"):
        signing.decode_request(broken, "r")


def test_a_request_takes_as_many_records_and_as_long_signatures_as_it_may(federation: FoundedFederation) -> None:
    request = genesis.propose_genesis(agent(federation), SEED, federation.manifest_record)
    fields = codec.decode(signing.encode_request(request))
    signing.decode_request(codec.encode(fields | {"support": fields["support"] * 8}))
    alg, kid, _ = fields["own"][0]
    for own in ([[alg, kid, bytes(DEFAULT.seal_bytes)]], [[alg, kid, b""]] * 2):
        with pytest.raises(ManifestError, match="the agent's own signature"):
            signing.decode_request(codec.encode(fields | {"own": own}))


def test_a_federation_record_supersedes_the_newest_of_its_kind_and_name(federation: FoundedFederation) -> None:
    history = [federation.manifest_record]

    def record_of(kind: str, body: dict[str, object]) -> Record:
        made = versions.federation_record(history, kind, body, time_ms=history[-1].time)
        history.append(made)
        return made

    first = record_of("peer-set", {"name": "us", "members": []})
    other = record_of("peer-set", {"name": "them", "members": []})
    record_of("correction-policy", {"name": "us", "rules": []})
    second = record_of("peer-set", {"name": "us", "members": [first.id]})
    third = record_of("peer-set", {"name": "us", "members": []})
    amended = [[edge.cid for edge in item.preds.get("amends", ())] for item in history]
    assert amended == [[], [], [], [], [first.id], [second.id]]
    assert third.seq == 5 and third.prev == second.id and other.preds.keys() == {"prior"}
    with pytest.raises(ManifestError, match="TSLG-M-KIND"):
        record_of("decision", {"name": "us"})
    with pytest.raises(ManifestError, match="TSLG-M-TIME"):
        versions.federation_record(history, "peer-set", {"name": "us", "members": []}, time_ms=third.time - 1)


def test_an_anchor_is_shown_what_an_amendment_changes(federation: FoundedFederation) -> None:
    root = federation.manifest_record
    renamed = next_version([root], public(federation), b"2" * 16, name="Other")
    shown = signing.propose(renamed, [root]).summary()
    assert shown["changes"] == {"name": {"from": "Test", "to": "Other"}}
    assert shown["kind"] == "manifest-amendment" and shown["version"] == 2 and shown["expires"] is None
    assert signing.propose(root).summary()["changes"] == {}
    policy = signing.propose(federation_policy([root], federation.manifest), [root]).summary()
    assert policy["changes"] == {} and policy["says"]["capabilities"] == ["read"] and shown["says"] == {}
