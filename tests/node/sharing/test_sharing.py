"""One log for three tenants: each proves its place, none learns another's content, and no rewriting goes unseen."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from contextlib import suppress

import pytest
import trio
from click.testing import CliRunner
from replicas import address
from shared import TENANTS, Consortium

from tslg.node.blocks import RecordBlocks
from tslg.node.bundling import write_walked
from tslg.node.checkpoints import sign_head
from tslg.node.cli.root import tslg
from tslg.node.delegating.works import Progress
from tslg.node.gated import GatedSource
from tslg.node.home import Home
from tslg.node.sharing import checking
from tslg.node.sharing.checking import FORKED, ONE_LOG, UNDETERMINED
from tslg.node.sharing.entries import entries_of
from tslg.node.sharing.proof import proof_of, read_proof
from tslg.node.sharing.sequencing import sequencer
from tslg.node.sharing.tenant import entry_with, submit
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol import bundle
from tslg.protocol.access import Reader
from tslg.protocol.checkpoint import Checkpoint, encode, parse
from tslg.protocol.cid import compute, to_text
from tslg.protocol.delegating import Proof, Status
from tslg.protocol.errors import CheckpointError, NetworkError, UsageError
from tslg.protocol.exchange import DELEGATE, LOG, WALK, HeadRequest, ProofsRequest, RangeRequest, WalkRequest
from tslg.protocol.limits import DEFAULT
from tslg.protocol.logproof import Needs
from tslg.protocol.pushing import PUSH, CloseRequest, CompareRequest, SubscribeRequest
from tslg.protocol.signatures import ed25519_secret

OPERATOR = address("operator")


def ids(number, of=b"") -> list:
    """Ids of records that only a tenant knows."""
    return [compute(of + bytes([n])) for n in range(number)]


async def sequence(c, nodes, name, wanted):
    return await submit(nodes[name], c.agents[name], c.agents["operator"].id, wanted, OPERATOR)


async def checked(c, nodes, name, checkpoints=()):
    """Let a tenant check the shared log."""
    home, operator = nodes[name].home, c.agents["operator"].id
    entries = list(entries_of(home.store, home.ledger.context, c.agents[name].id, operator))
    context = home.ledger.context
    states = [checking.read_checkpoint(home.store, context, operator, one, "a note") for one in checkpoints]
    return await checking.check(nodes[name].network, OPERATOR, operator, entries, states)


def note(node, agent):
    """A checkpoint that the operator signs."""
    home = node.home
    return sign_head(home.store, agent.id, home.keyring.note_key(agent.id))


async def everything_said(node, requests) -> bytes:
    """Ask the operator in every way there is; return all that is answered."""
    said = b""
    for protocol, request in requests:
        with suppress(NetworkError), trio.move_on_after(5):
            async with node.network.request(OPERATOR, protocol, request) as chunks:
                async for chunk in chunks:
                    said += chunk
    return said


@pytest.mark.spec("SHR-1", "SHR-2", "SHR-3", "SHR-4", "SHR-6", "SHR-7", "SHR-8", "SHR-9")
async def test_three_tenants_share_a_log_and_nothing_else(tmp_path):
    c = Consortium(tmp_path)
    async with c.running(*TENANTS) as nodes:
        operator = c.agents["operator"]
        secrets, made = {}, {}
        for name in ("north", *TENANTS):
            secrets[name] = (await trio.to_thread.run_sync(c.agents[name].observe, "secret", {"of": name})).id
            made[name] = await sequence(c, nodes, name, [secrets[name]])
        log = nodes["operator"].home.store
        for name, entry in made.items():
            assert log.at(operator.id, entry.position) == entry.record.id and entry.ids == (secrets[name],)
            found = await checked(c, nodes, name, [note(nodes["operator"], operator)])
            assert (found.verdict, len(found.states)) == (ONE_LOG, 3 if name == "north" else 2), found
        # The operator holds none of what it sequenced.
        assert set(log.missing(secrets.values())) == set(secrets.values())
        # Whoever asks for another's, in whatever way, gets nothing that names it.
        mine, other = made["north"], made["south"]
        roots = (other.record.id, other.delegation)
        size = log.log_state(operator.id).size
        requests = [
            (WALK, WalkRequest(roots).to_bytes()),
            (WALK, WalkRequest((mine.record.id,), None, None).to_bytes()),
            (WALK, WalkRequest((operator.id,)).to_bytes()),
            (LOG, RangeRequest(operator.id, 0, size).to_bytes()),
            (LOG, RangeRequest(c.agents["south"].id, 0, 99).to_bytes()),
            (LOG, HeadRequest(operator.id).to_bytes()),
            (LOG, ProofsRequest(operator.id, Needs(roots, ((1, size),))).to_bytes()),
            (PUSH, SubscribeRequest(((operator.id, 0), (c.agents["south"].id, 0))).to_bytes()),
            (PUSH, SubscribeRequest((), everything=True).to_bytes()),
            (PUSH, CompareRequest((), (operator.id, c.agents["south"].id), everything=True).to_bytes()),
            (PUSH, CloseRequest(roots).to_bytes()),
            (DELEGATE, Status(other.delegation, Proof(c.agents["north"].id, b"x" * 64)).to_bytes()),
        ]
        said = await everything_said(nodes["north"], requests)
        assert mine.record.data in said and secrets["north"] in said
        theirs = [other.record.data, log.get(other.delegation).data, secrets["south"], secrets["west"]]
        assert not [one for one in theirs if one in said]
        gate = nodes["operator"].gatekeeper.gate_of(Reader(frozenset((c.agents["north"].id,))))
        source = GatedSource(log, gate)
        assert not source.pairs([other.record.id, other.delegation])
        blocks = RecordBlocks(log, nodes["operator"].gatekeeper)
        assert blocks(other.record.id, "north") is None and blocks(mine.record.id, "north") == mine.record.data
        # A stranger is shown one's own place, and no more comes with it.
        home = nodes["north"].home
        file = io.BytesIO()
        walked = proof_of(home, mine)
        write_walked(file, walked)
        assert walked.report.verdict == "valid"
        assert secrets["south"] not in file.getvalue() and other.record.data not in file.getvalue()
        read = bundle.read(io.BytesIO(file.getvalue()))
        shown = read_proof(read, home.federation, secrets["north"], home.clock())
        assert shown.report.verdict == "valid" and shown.entry.position == mine.position
        assert shown.entry.record.owner == operator.id and shown.entry.tenant == c.agents["north"].id
        assert read_proof(read, home.federation, secrets["south"], home.clock()).entry is None
        # What a tenant noted leads an auditor to the entry.
        receipt = next(iter(home.store.children(mine.record.id, ("evidence",))))
        assert verify(StoreSource(home.store), receipt, home.federation, now_ms=home.clock()).verdict == "valid"
        blinds = {entry.record.body["data"]["blind"] for entry in made.values()}
        assert len(blinds) == 3 and {len(blind) for blind in blinds} == {16}


@pytest.mark.spec("SHR-5", "SHR-10")
async def test_an_operator_that_rewrites_drops_or_splits_is_found(tmp_path):
    c = Consortium(tmp_path)
    async with c.running(*TENANTS) as nodes:
        await sequence(c, nodes, "north", ids(2))
        before = note(nodes["operator"], c.agents["operator"])
    shutil.copytree(tmp_path / "operator", tmp_path / "other")
    async with c.running(*TENANTS) as nodes:
        second = await sequence(c, nodes, "north", ids(3, b"more"))
        await sequence(c, nodes, "west", ids(1, b"west"))
        shown_to_north = note(nodes["operator"], c.agents["operator"])
        assert (await checked(c, nodes, "north", [before, shown_to_north])).verdict == ONE_LOG
    # The same operator, on another history: what it sealed for `north` is gone, and `south` is shown that one alone.
    async with c.running(*TENANTS, data="other") as nodes:
        await sequence(c, nodes, "south", ids(1, b"south"))
        await sequence(c, nodes, "south", ids(2, b"south"))
        operator = c.agents["operator"]
        shown_to_south = note(nodes["operator"], operator)
        assert nodes["operator"].home.store.at(operator.id, second.position) != second.record.id
        found = await checked(c, nodes, "north")
        assert found.verdict == UNDETERMINED and f"entry at position {second.position}" in str(found.broken)
        assert (await checked(c, nodes, "south", [shown_to_south, before])).verdict == ONE_LOG
        # The two compare what they were shown, which tells neither what the other has there.
        assert shown_to_north.checkpoint.size == shown_to_south.checkpoint.size
        for name in ("north", "south"):
            assert (await checked(c, nodes, name, [shown_to_north, shown_to_south])).verdict == FORKED
        with pytest.raises(UsageError, match="another log"):
            home = nodes["south"].home
            own = note(nodes["south"], c.agents["south"])
            checking.read_checkpoint(home.store, home.ledger.context, operator.id, own, "x")


@pytest.mark.spec("SHR-1", "SHR-3", "SHR-6")
async def test_what_is_no_tenant_s_or_no_task_is_declined_and_comes_to_nothing(tmp_path):
    c = Consortium(tmp_path)
    async with c.running("north"):
        pass
    async with c.running("north", "south", tenants=("north",)) as nodes:
        first = await sequence(c, nodes, "north", ids(2))
        size = nodes["operator"].home.store.log_state(c.agents["operator"].id).size
        assert (await sequence(c, nodes, "north", ids(2)[::-1])).record.id == first.record.id
        assert nodes["operator"].home.store.log_state(c.agents["operator"].id).size == size
        # Begun again after a crash, the work comes to the same entry.
        work = sequencer(nodes["operator"].gatekeeper)
        delegation = nodes["operator"].home.ledger.context.record(first.delegation)
        again = await trio.to_thread.run_sync(work, c.agents["operator"], delegation, Progress(lambda *_: None))
        assert again.id == first.record.id
        with pytest.raises(NetworkError, match="no tenant"):
            await sequence(c, nodes, "south", ids(1))
        for wrong in ([], ids(DEFAULT.shared_ids + 1)):
            with pytest.raises(UsageError, match="ids for one entry"):
                await sequence(c, nodes, "north", wrong)
        north, operator = c.agents["north"], c.agents["operator"]
        policy = nodes["north"].home.store.by_kind("policy", north.id)[0]
        for task in ({}, {"sequence": []}, {"sequence": [1]}, {"sequence": ids(1), "more": 1}, {"sequence": "x"}):
            with pytest.raises(NetworkError, match="the task is"):
                await nodes["north"].delegate(
                    north, operator.id, task, policy, peer=OPERATOR, expires=nodes["north"].home.clock() + 10**6
                )
        await trio.to_thread.run_sync(north.state, {"n": 1})
        with pytest.raises(UsageError, match="recorded states"):
            await sequence(c, nodes, "north", ids(3))
        home = nodes["north"].home
        entries = list(entries_of(home.store, home.ledger.context, north.id, operator.id))
        assert entry_with(entries, ids(2)[1]).record.id == first.record.id
        with pytest.raises(UsageError, match="no receipt"):
            entry_with(entries, ids(9)[8])


@pytest.mark.spec("SHR-4")
@pytest.mark.parametrize(
    "access",
    ["", '[envelope.access]\ndefault = ["members"]\n'],
    ids=["nothing said", "members"],
)
async def test_an_operator_sequences_nothing_where_others_could_read_it(tmp_path, access):
    c = Consortium(tmp_path, access)
    async with c.running("north") as nodes:
        with pytest.raises(NetworkError, match="the manifest lets"):
            await sequence(c, nodes, "north", ids(1))


@pytest.mark.spec("SHR-9")
async def test_a_proof_that_would_show_nothing_takes_no_files_place(tmp_path):
    c = Consortium(tmp_path)
    async with c.running("north") as nodes:
        (wanted,) = ids(1)
        entry = await sequence(c, nodes, "north", [wanted])
    file = tmp_path / "place.car"
    file.write_bytes(b"old")
    command = ["shared", "prove", to_text(wanted), str(file), "--operator", to_text(c.agents["operator"].id)]
    command += ["--data", str(tmp_path / "north"), "--json"]
    with sqlite3.connect(tmp_path / "north" / "tslg.sqlite") as db:
        db.execute("UPDATE record SET data = NULL, seal = NULL WHERE cid = ?", (entry.delegation,))
    found = CliRunner().invoke(tslg, command)
    told = json.loads(found.stdout)
    assert (found.exit_code, told["verdict"], told["proof"]) == (2, "undetermined", None), found.output
    assert file.read_bytes() == b"old"


@pytest.mark.spec("SHR-8", "CHK-6")
def test_a_thief_with_a_dead_key_convicts_no_operator(tmp_path):
    with Home.open(tmp_path / "d") as home:
        operator = home.agent("operator")
        stolen = home.keyring.note_key(operator.id)
        early = sign_head(home.store, operator.id, stolen)
        second = operator.rotate()
        operator.revoke(operator.id, "stolen")
        size = home.store.log_state(operator.id).size

        def read(key, at):
            lie = Checkpoint.of(operator.id, at, b"r" * 32)
            signed = parse(encode(lie, ed25519_secret(key.seed)))
            return checking.read_checkpoint(home.store, home.ledger.context, operator.id, signed, "x")

        assert checking.read_checkpoint(home.store, home.ledger.context, operator.id, early, "x").size == 2
        assert read(stolen, size).size == size, "up to its end it counts"
        fresh = home.keyring.note_key(operator.id)
        assert read(fresh, size).size == size
        for key, at in ((stolen, size + 1), (fresh, home.ledger.context.record(second.id).seq)):
            with pytest.raises(CheckpointError, match="in force then"):
                read(key, at)
