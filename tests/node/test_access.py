"""What leaves a node: asked in every way there is, by whoever there is, and what a refused reader still learns."""

from __future__ import annotations

import io
import shutil
from dataclasses import replace
from hashlib import sha256

import pytest
import trio
from reading import Desk, amend, bind, home, member, read, toml
from world import NOW

from tslg.node import challenging, serving
from tslg.node.access import REFUSAL
from tslg.node.auditor import Auditor
from tslg.node.binding import Bindings, peer_bytes
from tslg.node.blocks import RecordBlocks
from tslg.node.bundling import write_walked
from tslg.node.gated import GatedSource
from tslg.node.net.errors import InvalidRequest, NotAvailable, RequestRefused
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.node import Node
from tslg.node.presenting import credentials, presenting
from tslg.node.replication.leader import Leader
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.node.withholding import withholding
from tslg.protocol import bundle, codec, log
from tslg.protocol.access import STRANGER, Reader
from tslg.protocol.cid import compute
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.exchange import (
    LOG,
    Have,
    HeadReply,
    HeadRequest,
    MessageError,
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkRequest,
    read_log_request,
)
from tslg.protocol.limits import DEFAULT
from tslg.protocol.logproof import Needs
from tslg.protocol.presenting import PresentReply, PresentRequest
from tslg.protocol.pushing import Compared, CompareRequest, Heads, SubscribeRequest, read_subscription_chunk
from tslg.protocol.record import parse

SECRET = "chest pain since yesterday"
INSIDE = toml('default = ["members"]\ngrantable = ["anyone"]')
OPEN = toml('default = ["anyone"]\ngrantable = ["anyone"]')
CLOSED = toml('default = ["parties"]\ngrantable = ["members"]')


class Scene:
    """A server with an agent that decided on an observation, and another node with an agent that may want to read."""

    def __init__(self, path, text):
        self.server, self.reader = home(path, text, "server"), home(path, text, "reader")
        self.author, self.other = member(self.server, text, "author"), member(self.reader, text, "other")
        self.seen = self.author.observe("interview", {"said": SECRET})
        self.decision = self.author.decide("triage", "urgent", reason=SECRET, evidence=self.seen)
        self.after = self.author.state({"n": 1}, evidence=self.decision)
        self.desk = Desk(self.server)

    async def bound(self, peer="reader"):
        """Bind a peer to the other agent, and let the server know."""
        bind(self.other, peer)
        assert await self.desk.present(self.reader, peer) == (self.other.id,)
        return peer

    async def ids(self, peer, *roots):
        """The ids that a walk of no edges hands over, and why others are missing."""
        records, end = read(await self.desk.walk(WalkRequest(roots or (self.after.id,), None, 0), peer))
        return {record.id for record in records}, dict(end.missing)

    def close(self):
        self.server.close()
        self.reader.close()


@pytest.fixture
def scene(tmp_path):
    opened = []

    def build(text=INSIDE):
        opened.append(Scene(tmp_path, text))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


# --- every way of asking ---------------------------------------------------------------------------------------------


@pytest.mark.spec("ACC-19", "ACC-20")
async def test_a_stranger_gets_no_record_and_is_told_so_and_a_member_gets_all(scene):
    s = scene()
    ids, missing = await s.ids("stranger", s.decision.id, s.seen.id)
    assert not ids and missing == {s.decision.id: "withheld", s.seen.id: "withheld"}
    ids, missing = await s.ids(await s.bound(), s.decision.id, s.seen.id)
    assert {s.decision.id, s.seen.id, s.author.id} <= ids and missing == {}


@pytest.mark.spec("ACC-20")
async def test_what_is_not_held_is_absent_to_everybody(scene):
    s = scene()
    nowhere = compute(b"nobody has this")
    for peer in ("stranger", await s.bound()):
        assert (await s.ids(peer, nowhere))[1] == {nowhere: "absent"}


@pytest.mark.spec("ACC-20")
@pytest.mark.parametrize("classes", [None, ("evidence",), ("prior",)])
async def test_nothing_behind_a_withheld_record_is_walked(scene, classes):
    s = scene(OPEN)
    s.author.access_rule("restrict", groups=["parties"], kinds=["decision"])
    records, end = read(await s.desk.walk(WalkRequest((s.after.id,), classes)))
    reached = classes != ("prior",)
    assert dict(end.missing) == ({s.decision.id: "withheld"} if reached else {})
    assert s.seen.id not in {record.id for record in records} and s.after.id in {record.id for record in records}


@pytest.mark.spec("ACC-20")
async def test_to_say_that_one_has_the_log_gets_nothing_more(scene):
    s = scene()
    for size in (0, 1, s.decision.seq, s.decision.seq + 1, 2**40):
        chunks = await s.desk.walk(WalkRequest((s.decision.id,), have=(Have(s.author.id, size),)))
        records, end = read(chunks)
        assert not records and dict(end.missing) == {s.decision.id: "withheld"}


@pytest.mark.spec("ACC-19", "ACC-22")
async def test_a_range_leaves_out_what_is_withheld_and_says_where(scene):
    s = scene(OPEN)
    s.author.access_rule("restrict", groups=["parties"], kinds=["decision", "observation"])
    size = s.server.store.log_state(s.author.id).size
    records, end = read(await s.desk.log(RangeRequest(s.author.id, 0, size)))
    left = {record.seq for record in records}
    assert left == set(range(size)) - {s.seen.seq, s.decision.seq} and end.withheld == ((s.seen.seq, s.after.seq),)
    assert SECRET.encode() not in b"".join(await s.desk.log(RangeRequest(s.author.id, 0, size)))
    records, end = read(await s.desk.log(RangeRequest(s.author.id, s.after.seq, size)))
    assert end is None and [record.seq for record in records] == list(range(s.after.seq, size))


async def test_a_long_stretch_that_is_withheld_is_answered_piece_by_piece(scene, monkeypatch):
    monkeypatch.setattr(serving, "CHUNK_RECORDS", 2)
    s = scene()
    size = s.server.store.log_state(s.author.id).size
    chunks = await s.desk.log(RangeRequest(s.author.id, 1, size))
    pieces = -(-(size - 1) // 2)
    assert len(chunks) == pieces + 1 and read(chunks)[1].withheld == ((1, size),)


@pytest.mark.spec("ACC-21")
async def test_the_head_of_a_log_is_told_and_its_newest_record_is_not(scene):
    s = scene()
    state = s.server.store.log_state(s.author.id)
    with pytest.raises(RequestRefused, match=REFUSAL):
        await s.desk.log(HeadRequest(s.author.id))
    with pytest.raises(NotAvailable):
        await s.desk.log(HeadRequest(s.other.id))
    records, end = read(await s.desk.walk(WalkRequest((s.author.id,))))
    (claim,) = [claim for claim in end.heads if claim.agent == s.author.id]
    assert (claim.record, claim.size, claim.root) == (s.after.id, state.size, state.peaks.root())
    assert s.after.id not in {record.id for record in records}
    reply = HeadReply.from_bytes(b"".join(await s.desk.log(HeadRequest(s.author.id), await s.bound())))
    assert reply.head == claim


@pytest.mark.spec("ACC-23")
async def test_no_place_is_proved_of_what_may_not_be_read(scene):
    s = scene()
    nowhere = compute(b"nobody has this")
    request = ProofsRequest(s.author.id, Needs((s.decision.id, nowhere, s.author.id), ((1, 3),)))
    reply = ProofsReply.from_bytes(b"".join(await s.desk.log(request)))
    assert [proof.record for proof in reply.inclusion] == [s.author.id]
    assert [(span.old_size, span.size) for span in reply.consistency] == [(1, 3)]
    reply = ProofsReply.from_bytes(b"".join(await s.desk.log(request, await s.bound())))
    assert {proof.record for proof in reply.inclusion} == {s.decision.id, s.author.id}


@pytest.mark.spec("ACC-24")
async def test_two_records_for_one_position_are_shown_to_anybody_without_what_is_attached(tmp_path):
    text = toml('default = ["parties"]', address="merkle")
    with home(tmp_path, text, "server") as server:
        id = member(server, text, "author").id
    shutil.copytree(tmp_path / "server", tmp_path / "copy")
    with home(tmp_path, text, "server") as server, home(tmp_path, text, "copy") as copy:
        said = [one.agents[0].observe(SECRET, {"n": n}) for n, one in enumerate((server, copy))]
        assert said[0].seq == said[1].seq
        server.store.keep_rivals(
            [(one, at.store.get(one.id).seal) for one, at in zip(said, (server, copy), strict=True)]
        )
        chunks = await Desk(server).walk(WalkRequest((id,)))
        _, end = read(chunks)
        assert {pair[0] for pair in end.beside} == {one.data for one in said}
        assert all(len(pair) == 2 for pair in end.beside) and SECRET.encode() not in b"".join(chunks)


@pytest.mark.spec("ACC-20")
async def test_the_class_of_an_edge_does_not_tell_what_lies_behind_it(tmp_path):
    text = toml('default = ["anyone"]\ngrantable = ["anyone"]').replace("[envelope]", '[envelope]\nedges = "flat"')
    with home(tmp_path, text, "server") as server:
        author = member(server, text, "author")
        policy = author.policy("secret", capabilities=["x"])
        done = author.act("act", policy=policy)
        author.access_rule("restrict", groups=["parties"], kinds=["policy"])
        for classes in (("policy",), ("evidence",)):
            records, end = read(await Desk(server).walk(WalkRequest((done.id,), classes)))
            assert dict(end.missing) == {} and policy.id not in {record.id for record in records}


# --- whose word counts -----------------------------------------------------------------------------------------------


@pytest.mark.spec("ACC-12", "ACC-17")
async def test_an_author_lets_others_read_and_takes_it_back(scene):
    s = scene()
    granted = s.author.access_rule("grant", groups=["anyone"], records=[s.decision])
    assert (await s.ids("stranger", s.decision.id, s.seen.id))[1] == {s.seen.id: "withheld"}
    s.author.retract(granted, reason="no longer")
    assert (await s.ids("stranger", s.decision.id))[1] == {s.decision.id: "withheld"}


@pytest.mark.spec("ACC-12")
async def test_a_grant_that_has_expired_lets_nobody_read(scene):
    s = scene()
    s.author.access_rule("grant", groups=["anyone"], records=[s.decision], expires=s.server.clock() + 200)
    assert (await s.ids("stranger", s.decision.id))[1] == {}
    for _ in range(200):
        s.server.clock()
    assert (await s.ids("stranger", s.decision.id))[1] == {s.decision.id: "withheld"}


@pytest.mark.spec("ACC-12", "ACC-13")
async def test_what_another_agent_says_of_records_counts_for_nothing(scene):
    s = scene()
    third = member(s.server, INSIDE, "third")
    third.access_rule("grant", groups=["anyone"])
    assert (await s.ids("stranger", s.decision.id))[1] == {s.decision.id: "withheld"}
    peer = await s.bound()
    third.access_rule("restrict", agents=[])
    assert (await s.ids(peer, s.decision.id))[1] == {}
    with pytest.raises(Refusal, match="lies in another log"):
        third.access_rule("grant", groups=["anyone"], records=[s.decision])


@pytest.mark.spec("ACC-8", "ACC-12")
async def test_a_delegate_reads_what_it_was_delegated_and_cannot_let_others_read_it(scene):
    s = scene(CLOSED)
    policy = s.author.policy("task", capabilities=["look"])
    made = s.author.delegate(s.other.id, {"look": SECRET}, policy, expires=s.server.clock() + 10**6)
    peer = await s.bound()
    assert (await s.ids(peer, made.id, policy.id))[1] == {policy.id: "withheld"}
    s.author.access_rule("grant", agents=[s.other.id], records=[policy])
    assert (await s.ids(peer, made.id, policy.id))[1] == {}
    assert (await s.ids("stranger", made.id))[1] == {made.id: "withheld"}
    with pytest.raises(Refusal, match="not held here"):
        s.other.access_rule("grant", groups=["members"], records=[made])
    with pytest.raises(Refusal, match="lets nobody grant"):
        s.other.access_rule("grant", groups=["anyone"])


@pytest.mark.spec("ACC-17")
async def test_the_newest_manifest_version_decides_on_older_records_too(scene):
    text = toml()
    s = scene(text)
    assert (await s.ids("stranger"))[1] == {}
    with pytest.raises(Refusal, match="lets anybody read everything"):
        s.author.access_rule("restrict", groups=["parties"])
    nobody = {"agents": [], "groups": [], "peers": []}
    access = {"default": nobody | {"groups": ["members"]}, "grantable": nobody, "guaranteed": nobody, "rules": []}
    amend(s.server, text, access=access)
    assert (await s.ids("stranger"))[1] == {s.after.id: "withheld"}


@pytest.mark.spec("ACC-14")
async def test_fields_are_hidden_where_records_commit_to_them_and_whole_records_where_not(tmp_path):
    rules = 'rules = [{ fields = ["reason"], readers = ["members"] }]'
    for address, gets in (("merkle", True), ("flat", False)):
        text = toml(rules, address)
        with home(tmp_path, text, f"server-{address}") as server:
            author = member(server, text, "author")
            decision = author.decide("triage", "urgent", reason=SECRET, evidence=author.observe("x"))
            chunks = await Desk(server).walk(WalkRequest((decision.id,)))
            assert SECRET.encode() not in b"".join(chunks) and (b"urgent" in b"".join(chunks)) is gets
            assert (read(chunks)[1].missing == ()) is gets


@pytest.mark.spec("ACC-14")
async def test_what_the_operator_shows_nobody_no_rule_shows(tmp_path):
    text = toml('rules = [{ fields = ["reason"], readers = ["members"] }]', "merkle")
    with home(tmp_path, text, "server") as server, home(tmp_path, text, "reader") as reader:
        author, other = member(server, text, "author"), member(reader, text, "other")
        decision = author.decide("triage", "urgent", reason=SECRET, evidence=author.observe("x"))
        desk = Desk(server, shown=withholding(["decision/outcome"]))
        bind(other, "reader")
        assert await desk.present(reader, "reader") == (other.id,)
        got = {peer: b"".join(await desk.walk(WalkRequest((decision.id,)), peer)) for peer in ("stranger", "reader")}
        assert SECRET.encode() in got["reader"] and SECRET.encode() not in got["stranger"]
        assert all(b"urgent" not in reply and b"triage" in reply for reply in got.values())


async def test_an_agent_with_more_rules_than_are_looked_at_is_read_by_itself_alone(scene):
    s = scene()
    s.desk = Desk(s.server, limits=replace(DEFAULT, access_rules=2))
    peer = await s.bound()
    for _ in range(2):
        s.author.access_rule("grant", groups=["anyone"])
    assert (await s.ids("stranger", s.decision.id))[1] == {}
    s.author.access_rule("grant", groups=["anyone"])
    for one in ("stranger", peer):
        assert (await s.ids(one, s.decision.id))[1] == {s.decision.id: "withheld"}
    bind(s.author, "own")
    assert await s.desk.present(s.server, "own") == (s.author.id,)
    assert (await s.ids("own", s.decision.id))[1] == {}


# --- who asks --------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ACC-15", "ACC-16")
async def test_a_registration_binds_the_peer_that_presents_it_and_no_other(scene):
    s = scene()
    peer = await s.bound()
    handed = PresentRequest(tuple(credentials(s.reader, peer)))
    assert handed.pairs
    assert PresentReply.from_bytes(b"".join(await s.desk.log(handed, "thief"))).agents == ()
    assert (await s.ids("thief", s.decision.id))[1] == {s.decision.id: "withheld"}
    assert (await s.ids(peer, s.decision.id))[1] == {}


@pytest.mark.spec("ACC-15")
async def test_nothing_in_a_request_says_who_asks(scene):
    s = scene()
    peer = await s.bound()
    requests = [WalkRequest((s.decision.id,)).to_bytes(), RangeRequest(s.author.id, 0, 9).to_bytes()]
    for request in requests:
        for name in ("peer", "reader", "agent_id", "as"):
            value = codec.decode(request) | {name: peer}
            with pytest.raises(MessageError):
                WalkRequest.from_bytes(codec.encode(value)) if "roots" in value else read_log_request(
                    codec.encode(value)
                )


@pytest.mark.spec("ACC-16")
async def test_a_revocation_ends_a_binding_at_once(scene):
    s = scene()
    peer = await s.bound()
    registered = s.reader.store.by_kind("registration", s.other.id)[0]
    ended = s.other.revoke(registered, "the machine was lost")
    s.server.ledger.adopt(walk(StoreSource(s.reader.store), ended.id, s.reader.federation, now_ms=NOW).walker.opened())
    assert (await s.ids(peer, s.decision.id))[1] == {s.decision.id: "withheld"}
    assert credentials(s.reader, peer) == []
    assert s.other.keys[0].alive


@pytest.mark.spec("ACC-16")
async def test_the_end_of_a_key_ends_what_it_bound(scene):
    s = scene()
    peer = await s.bound()
    first = s.other.keys[0].key.record
    s.other.rotate()
    assert (await s.ids(peer, s.decision.id))[1] == {}
    ended = s.other.revoke(first, "stolen")
    s.server.ledger.adopt(walk(StoreSource(s.reader.store), ended.id, s.reader.federation, now_ms=NOW).walker.opened())
    assert (await s.ids(peer, s.decision.id))[1] == {s.decision.id: "withheld"}
    # Whoever has the stolen key presents the old registration in vain.
    kept = [s.reader.store.get(id)[:2] for id in s.reader.store.by_kind("registration", s.other.id)]
    chain = [*kept, s.reader.store.get(s.other.id)[:2]]
    reply = await s.desk.log(PresentRequest(tuple(chain)), peer)
    assert PresentReply.from_bytes(b"".join(reply)).agents == ()


@pytest.mark.spec("ACC-16")
async def test_a_made_up_agent_is_bound_to_nothing(scene, tmp_path):
    s = scene()
    stranger = toml('default = ["members"]').replace("Guarded", "Another")
    with home(tmp_path, stranger, "stranger") as other:
        bind(member(other, stranger, "made up"), "thief")
        for at in (s.desk, Desk(other)):
            agents = await at.present(other, "thief") if at is not s.desk else ()
        with pytest.raises(InvalidRequest):
            await s.desk.log(PresentRequest(((b"garbage", b""),)), "thief")
        reply = await s.desk.log(PresentRequest(tuple(credentials(other, "thief"))), "thief")
        assert PresentReply.from_bytes(b"".join(reply)).agents == () and agents
    # A registration whose seal does not hold.
    bind(s.other, "forged")
    pairs = [(data, seal[:-1] + bytes([seal[-1] ^ 1])) for data, seal in credentials(s.reader, "forged")]
    reply = await s.desk.log(PresentRequest(tuple(pairs)), "forged")
    assert PresentReply.from_bytes(b"".join(reply)).agents == ()


async def test_peers_are_forgotten_beyond_the_bound(scene):
    s = scene()
    s.desk = Desk(s.server)
    s.desk.keeper.bindings = Bindings(s.server.ledger.context, s.server.store, replace(DEFAULT, bound_peers=2))
    for peer in ("one", "two", "three"):
        await s.bound(peer)
    bound = [peer for peer in ("one", "two", "three") if s.desk.keeper.bindings.agents(peer)]
    assert bound == ["two", "three"]
    # Those who present nothing that holds push nobody out.
    for peer in ("thief", "another", "a third"):
        await s.desk.log(PresentRequest(tuple(credentials(s.reader, "two"))), peer)
    assert [peer for peer in ("two", "three", "thief") if s.desk.keeper.bindings.agents(peer)] == ["two", "three"]


def test_a_peer_id_is_registered_as_its_multihash():
    text = "12D3KooWNVbFo2ZFUYe9T8j47vDns8VorqAw9FCLA2LWWdSgrHbn"
    assert peer_bytes(text).hex().startswith("0024080112") and len(peer_bytes(text)) == 38
    assert peer_bytes("reader") == b"reader" and peer_bytes("a-1") == b"a-1"


# --- what a refused reader still learns ------------------------------------------------------------------------------


@pytest.mark.spec("ACC-25")
async def test_refusals_of_different_records_differ_by_their_ids_alone(scene):
    s = scene()
    small = s.author.state({"n": 1})
    large = s.author.state({"text": "x" * 60_000}, evidence=[s.seen, s.decision])
    asked = []
    for record in (small, large):
        (reply,) = await s.desk.walk(WalkRequest((record.id,)))
        asked.append(reply)
    assert len(asked[0]) == len(asked[1]) < 200
    assert asked[0].replace(small.id, b"id") == asked[1].replace(large.id, b"id")
    heads = []
    for _ in range(2):
        with pytest.raises(RequestRefused) as caught:
            await s.desk.log(HeadRequest(s.author.id))
        heads.append(caught.value.detail)
        s.author.state({"n": 2})
    assert heads == [REFUSAL] * 2


@pytest.mark.spec("ACC-25")
async def test_a_record_that_was_refused_once_is_not_read_again(scene, monkeypatch):
    s = scene()
    first = await s.desk.walk(WalkRequest((s.decision.id,)))
    read_again = []
    get_many = s.server.store.get_many
    monkeypatch.setattr(s.server.store, "get_many", lambda ids: read_again.extend(ids) or get_many(ids))
    monkeypatch.setattr(s.server.store, "ancestors", lambda *_: pytest.fail("read ahead behind a withheld record"))
    assert await s.desk.walk(WalkRequest((s.decision.id,))) == first
    assert s.decision.id not in read_again


@pytest.mark.spec("ACC-29")
async def test_what_lies_beside_a_withheld_record_says_of_it_what_is_listed_and_no_more(scene):
    """What a record that may be read says of one that may not, and what the log's proofs do."""
    s = scene(OPEN)
    s.author.access_rule("restrict", groups=["parties"], kinds=["decision"])
    records, end = read(await s.desk.walk(WalkRequest((s.after.id,))))
    citing = next(record for record in records if record.id == s.after.id)
    # Its id, its place and the class under which it is cited.
    assert citing.prev == s.decision.id and citing.preds["evidence"][0].cid == s.decision.id
    # Its leaf's hash, in the proof of a neighbour.
    leaf = sha256(b"\x00" + s.decision.id).digest()
    request = ProofsRequest(s.author.id, Needs((s.after.id,), ((s.decision.seq, s.decision.seq + 1),)))
    reply = ProofsReply.from_bytes(b"".join(await s.desk.log(request)))
    hashes = {hash for proof in (*reply.inclusion, *reply.consistency) for hash in proof.proof}
    ids = s.server.store.leaves(s.author.id, s.after.seq + 1)
    assert leaf in hashes and not hashes & set(ids)
    tree = log.Tree(ids)
    assert tree.root() == end.heads[0].root or s.server.store.log_state(s.author.id).size > len(ids)


@pytest.mark.spec("ACC-29")
async def test_an_id_confirms_a_guess_of_all_that_it_covers_and_salts_prevent_it(tmp_path):
    for address, guessed in (("flat", True), ("merkle", False)):
        text = toml('default = ["parties"]', address)
        with home(tmp_path, text, f"guessed-{address}") as server:
            author = member(server, text, "author")
            hidden = author.decide("triage", "urgent", evidence=author.observe("x"))
            _, end = read(await Desk(server).walk(WalkRequest((hidden.id,))))
            told = next(id for id, _ in end.missing if id == hidden.id)
            value = codec.decode(hidden.data)
            tries = {
                compute(codec.encode(value | {"body": value["body"] | {"outcome": one}})) for one in ("no", "urgent")
            }
            assert (told in tries) is guessed


@pytest.mark.spec("ACC-30")
async def test_another_node_that_holds_a_record_goes_by_what_it_holds(scene):
    """A replica that does not hold a restriction serves what the author's own node does not."""
    s = scene(OPEN)
    took = walk(StoreSource(s.server.store), s.after.id, s.server.federation, now_ms=NOW).walker.opened()
    s.reader.ledger.adopt(took)
    s.author.access_rule("restrict", groups=["parties"], kinds=["decision"])
    request = WalkRequest((s.decision.id,))
    assert dict(read(await s.desk.walk(request))[1].missing) == {s.decision.id: "withheld"}
    replica = Desk(s.reader)
    assert dict(read(await replica.walk(request))[1].missing) == {}
    rule = s.server.store.by_kind("access-rule", s.author.id)[0]
    s.reader.ledger.adopt(walk(StoreSource(s.server.store), rule, s.server.federation, now_ms=NOW).walker.opened())
    assert dict(read(await replica.walk(request))[1].missing) == {s.decision.id: "withheld"}


# --- beyond requests -------------------------------------------------------------------------------------------------


@pytest.mark.spec("ACC-26")
def test_a_bundle_for_a_reader_holds_what_it_may_read_and_names_the_rest(scene):
    s = scene(OPEN)
    s.author.access_rule("restrict", agents=[s.other.id], kinds=["observation"])
    keeper, found = s.desk.keeper, {}
    for name, reader in (("stranger", STRANGER), ("other", Reader(frozenset((s.other.id,))))):
        source = GatedSource(s.server.store, keeper.gate_of(reader))
        walked = walk(source, s.after.id, s.server.federation, now_ms=s.server.clock())
        stream = io.BytesIO()
        write_walked(stream, walked)
        read_back = bundle.read(io.BytesIO(stream.getvalue()))
        report = verify(BundleSource(read_back), s.after.id, s.server.federation, now_ms=s.server.clock())
        assert (report.records, report.undetermined) == (walked.report.records, walked.report.undetermined)
        found[name] = report.verdict, read_back.withheld, SECRET.encode() in stream.getvalue()
        assert {item.record: item.reason for item in report.undetermined} == dict.fromkeys(
            read_back.withheld, "withheld"
        )
    # The decision's own reason is in plain, and is not what is kept back here.
    assert found == {"stranger": ("undetermined", (s.seen.id,), True), "other": ("valid", (), True)}
    assert s.seen.id not in {
        id for id, _ in GatedSource(s.server.store, keeper.gate_of(STRANGER)).whole_log(s.author.id, 99)
    }


@pytest.mark.spec("ACC-26")
def test_an_answer_to_a_challenge_shows_nothing_that_its_reader_may_not_read(scene):
    s = scene()
    given = challenging.answer(s.server.store, s.server.federation, s.seen.id, None, now_ms=s.server.clock())
    member_ = s.desk.keeper.gate_of(Reader(frozenset((s.other.id,))))
    assert challenging.for_reader(given, member_) is given
    with pytest.raises(UsageError) as caught:
        challenging.for_reader(given, s.desk.keeper.gate_of(STRANGER))
    assert caught.value.code == "TSLG-U-WITHHELD"


@pytest.mark.spec("ACC-27")
async def test_over_bitswap_what_is_withheld_is_not_there(scene):
    s = scene()
    blocks = RecordBlocks(s.server.store, s.desk.keeper)
    peer = await s.bound()
    assert blocks(s.seen.id, "stranger") is None and blocks(s.seen.id, peer) == s.seen.data
    assert blocks(s.author.id, "stranger") is not None


@pytest.mark.spec("ACC-18")
@pytest.mark.parametrize(
    "value",
    [
        {"op": "present"},
        {"op": "present", "records": [], "as": "reader"},
        {"op": "present", "records": {}},
        {"op": "present", "records": [[b"", b""]] * 257},
        {"op": "present", "records": [[b"x"]]},
    ],
)
async def test_a_malformed_presentation_is_refused(scene, value):
    with pytest.raises(InvalidRequest):
        s = scene()
        await s.desk.log(Raw(codec.encode(value)), "thief")
    for reply in ({"agents": [b"x"]}, {"agents": None}, {"agents": [s.author.id] * 17}, {}, {"agents": [], "x": 1}):
        with pytest.raises(MessageError):
            PresentReply.from_bytes(codec.encode(reply))


class Raw(bytes):
    """A request as bytes."""

    def to_bytes(self):
        return bytes(self)


# --- between nodes ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("ACC-16", "ACC-18")
async def test_nodes_say_who_they_are_and_their_audits_read_what_their_agents_may(tmp_path):
    text = toml('default = ["members"]')
    hub = MemoryHub()
    for name in ("server", "reader"):
        with home(tmp_path, text, name) as at:
            made = member(at, text, name)
            if name == "server":
                decision = made.decide("triage", "urgent", evidence=made.observe("interview"))
            else:
                bind(made, "reader")
    ticks = iter(range(NOW + 10**6, NOW + 10**9))
    how = {"clock": lambda: next(ticks)}
    async with (
        Node.open(tmp_path / "server", network=hub.network("server"), **how) as server,
        Node.open(tmp_path / "reader", network=hub.network("reader"), **how) as reader,
    ):
        report = await reader.auditor().audit(decision.id, server.addresses)
        assert report.verdict == "valid"
        stranger = hub.network("stranger")
        async with running(stranger):
            asked = await Auditor(stranger, server.federation, clock=how["clock"]).audit(decision.id, server.addresses)
    assert asked.verdict == "undetermined"
    assert {item.reason for item in asked.undetermined if item.record == decision.id} == {"withheld"}


@pytest.mark.spec("ACC-22")
async def test_an_audit_of_a_whole_log_says_that_some_of_it_was_withheld(scene):
    s = scene(OPEN)
    s.author.access_rule("restrict", agents=[], kinds=["observation"])
    last = s.author.state({"n": 2})
    hub = MemoryHub()
    served, stranger = hub.network("server"), hub.network("stranger")
    s.desk.serve(served)
    async with running(served), running(stranger):
        auditor = Auditor(stranger, s.server.federation, clock=s.server.clock)
        report = await auditor.audit(last.id, served.addresses, log="full")
    said = {item.reason for item in report.undetermined if item.record == s.author.id}
    assert said == {f"withheld: 1 of the {last.seq + 1} records of its log"}


async def test_a_node_presents_itself_once_a_minute_to_each_peer(tmp_path, autojump_clock):
    text = toml('default = ["members"]')
    hub, asked = MemoryHub(), []

    async def answer(request, peer):
        asked.append(request)
        yield PresentReply(()).to_bytes()

    other = hub.network("other")
    other.serve(LOG, answer)
    with home(tmp_path, text, "reader") as at:
        bind(member(at, text, "reader"), "reader")
        network = presenting(hub.network("reader"), at)
        async with running(other), running(network):
            for wait in (0, 1, 60, 1):
                await trio.sleep(wait)
                async with trio.open_nursery() as nursery:
                    for _ in range(3):
                        nursery.start_soon(ask_once, network, other.addresses[0])
    presented = [request for request in asked if b"present" in request]
    assert len(presented) == 2 and len(asked) == 2 + 4 * 3


async def ask_once(network, peer):
    async with network.request(peer, LOG, b"x") as chunks:
        async for _ in chunks:
            pass


@pytest.mark.spec("ACC-28")
async def test_a_replica_gets_a_log_up_to_what_it_may_not_read(scene):
    s = scene(OPEN)
    rule = s.author.access_rule("restrict", groups=["parties"], kinds=["decision"])
    leader = Leader(
        s.server.store,
        s.server.ledger.growth,
        s.server.federation,
        cut=s.desk.keeper.cut,
        close=lambda asked, peer: pytest.fail("nothing was lacking"),
        hint=lambda *_: False,
    )

    async def fed(peer):
        request = SubscribeRequest(((s.author.id, 0),)).to_bytes()
        chunks = [chunk async for chunk in leader.answer(request, peer)]
        parts = [read_subscription_chunk(chunk) for chunk in chunks]
        records = [parse(pair[0], "sha2-256") for part in parts if isinstance(part, list) for pair in part]
        heads = {head.agent for part in parts if isinstance(part, Heads) for head in part.heads}
        return [record.seq for record in records if record.owner == s.author.id], s.author.id in heads

    async def compared(peer):
        request = CompareRequest((), wanted=(s.author.id,)).to_bytes()
        chunks = [chunk async for chunk in leader.answer(request, peer)]
        return [one.pair[0] for chunk in chunks for one in Compared.from_bytes(chunk).logs]

    assert await fed("stranger") == ([*range(s.decision.seq)], False)
    bind(s.author, "own")
    newest = s.author.observe("x")
    assert await s.desk.present(s.server, "own") == (s.author.id,)
    assert await fed("own") == ([*range(newest.seq + 1)], True)
    assert await compared("stranger") == [newest.data]
    last = s.author.decide("triage", "urgent", evidence=newest)
    assert await compared("stranger") == [] and await compared("own") == [last.data]
    assert rule.seq < newest.seq
