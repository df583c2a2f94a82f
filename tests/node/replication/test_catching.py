"""Replicating logs once, over a network in memory, from peers that lie, stall, vanish and tell other histories."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
import trio
from replicas import Scene, address, ranges, rewriting, size, wrap

from tslg.manifests.agent_keys import sign_seats
from tslg.node.home import Home
from tslg.node.net.errors import NotAvailable
from tslg.node.replication.followed import evidence, keep_evidence
from tslg.node.store.interface import LogState
from tslg.protocol import record as records
from tslg.protocol import seal as seals
from tslg.protocol.cid import compute
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.exchange import LOG, WalkEnd, read_log_request, records_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.pushing import PUSH, CloseRequest, read_push_request
from tslg.protocol.record import Edge, Head
from tslg.protocol.rules.seals import seats

SMALL = replace(DEFAULT, replica_window=50)


@pytest.fixture
def scene(tmp_path) -> Scene:
    return Scene(tmp_path)


def of(report, agent):
    return next(log for log in report.logs if log.agent == agent.id)


def spoiled(pairs):
    return [(data, seal[:-1] + bytes([seal[-1] ^ 1])) for data, seal, *_ in pairs]


@pytest.mark.spec("RPL-1", "RPL-21")
async def test_a_log_is_held_whole_and_served_as_its_author_serves_it(scene):
    async with scene.node("leader") as leader, scene.node("replica") as replica:
        agent = scene.agent(leader, "a")
        last = scene.grow(agent, 1500)
        report = await replica.replicate([agent.id], [address("leader")])
        assert report.exit_code == 0 and report.missing == () and report.blamed == ()
        held, log = size(replica, agent.id), of(report, agent)
        assert held == size(leader, agent.id) == log.size == log.claimed
        assert (log.before, log.state, dict(log.served)) == (0, "complete", {address("leader"): held})
        async with scene.node("auditor") as auditor:
            audit = await auditor.auditor().audit(last.id, [address("replica")], log="full")
            whole = await auditor.auditor().audit(last.id, [address("leader")], log="full")
        assert audit.verdict == "valid" and audit.digest == whole.digest
        assert replica.home.store.check() == []


@pytest.mark.spec("RPL-17")
async def test_after_days_offline_only_what_is_new_is_asked_for(scene):
    async with scene.node("leader") as leader, scene.node("replica") as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 300)
        await replica.replicate([agent.id], [address("leader")])
        held = size(replica, agent.id)
        scene.grow(agent, 700)
        seen = ranges(leader)
        report = await replica.replicate([agent.id], [address("leader")])
        assert report.exit_code == 0 and of(report, agent).size == held + 700
        assert min(start for _, start, _ in seen) == held
        assert sum(stop - start for _, start, stop in seen) == 700, "nothing is asked for twice"
        del seen[:]
        report = await replica.replicate([agent.id], [address("leader")])
        assert report.exit_code == 0 and seen == [], "nothing to do, nothing asked"


@pytest.mark.spec("RPL-18")
async def test_two_providers_share_the_work(scene):
    async with scene.node("leader") as leader, scene.node("other") as other, scene.node("replica", SMALL) as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 1000)
        assert (await other.replicate([agent.id], [address("leader")])).exit_code == 0
        first, second = ranges(leader), ranges(other)
        report = await replica.replicate([agent.id], [address("leader"), address("other")])
        assert report.exit_code == 0 and len(first) >= 5 and len(second) >= 5
        assert sum(of(report, agent).served.values()) == size(leader, agent.id)
        covered = sorted((start, stop) for _, start, stop in first + second)
        assert all(one[1] == next[0] for one, next in pairwise(covered)), "each position once"


@pytest.mark.spec("RPL-17")
async def test_what_a_leader_that_goes_away_left_undone_is_taken_up_again(scene):
    async with scene.node("leader") as leader:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 600)
        whole = size(leader, agent.id)
        seen = ranges(leader)

        def ending(handler):
            def answer(request, peer):
                if len(seen) >= 9:
                    scene.hub.faults("leader").down = True
                return handler(request, peer)

            return answer

        wrap(leader, LOG, ending)
        async with scene.node("replica", SMALL) as replica:
            report = await replica.replicate([agent.id], [address("leader")])
            log, held = of(report, agent), size(replica, agent.id)
            assert report.exit_code == 2 and log.state == "behind" and held == log.size < whole == log.claimed
            assert any("could not be had" in reason for reason in log.reasons)
            assert any("TSLG-N-UNREACHABLE" in reason for reason in log.reasons), log.reasons
        scene.hub.faults("leader").down = False
        del seen[:]
    async with scene.node("leader") as leader, scene.node("replica", SMALL) as replica:
        seen = ranges(leader)
        report = await replica.replicate([agent.id], [address("leader")])
        assert report.exit_code == 0 and min(start for _, start, _ in seen) == held


async def test_nobody_to_ask_is_said_so(scene):
    async with scene.node("leader") as leader, scene.node("replica") as replica:
        agent = scene.agent(leader, "a")
        report = await replica.replicate([agent.id], [address("nobody")])
        assert report.exit_code == 2 and list(report.unreachable) == [address("nobody")]
        assert {log.state for log in report.logs} == {"behind"}
        assert "nobody could be asked" in of(report, agent).reasons[0]
        report = await replica.replicate([agent.id], [address("leader"), address("nobody")])
        assert report.exit_code == 0 and list(report.unreachable) == [address("nobody")]
        stranger = compute(b"nobody's")
        report = await replica.replicate([stranger], [address("leader")])
        assert report.exit_code == 2 and "nobody has it whole" in report.logs[-1].reasons[0]


@pytest.mark.spec("RPL-20")
async def test_who_spoils_seals_is_cut_off_and_the_rest_comes_from_elsewhere(scene):
    async with scene.node("leader") as leader, scene.node("liar") as liar, scene.node("replica", SMALL) as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 400)
        await liar.replicate([agent.id], [address("leader")])
        wrap(liar, LOG, rewriting(spoiled))
        report = await replica.replicate([agent.id], [address("liar"), address("leader")])
        assert report.exit_code == 0 and of(report, agent).size == size(leader, agent.id)
        assert {(one.peer, one.cut_off) for one in report.blamed} == {("liar", True)}
        assert "TSLG-A-SEAL" in report.blamed[0].rule and address("liar") not in of(report, agent).served


@pytest.mark.spec("RPL-20")
@pytest.mark.parametrize(
    "change",
    [
        lambda pairs: [(b"garbage", seal) for _, seal, *_ in pairs],
        lambda pairs: [pairs[0]] * len(pairs),
        lambda pairs: [*pairs, *pairs],
        lambda pairs: list(reversed(pairs)),
        lambda pairs: pairs[1:],
        lambda pairs: [],
    ],
    ids=["garbage", "repeated", "too many", "backwards", "gap", "nothing"],
)
async def test_answers_of_any_shape_end_with_the_log_or_a_reason(scene, change):
    async with scene.node("leader") as leader, scene.node("liar") as liar, scene.node("replica", SMALL) as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 120)
        await liar.replicate([agent.id], [address("leader")])
        wrap(liar, LOG, rewriting(change))
        alone = await replica.replicate([agent.id], [address("liar")])
        log = of(alone, agent)
        assert log.state in ("behind", "complete") and (log.state == "complete" or log.reasons)
        report = await replica.replicate([agent.id], [address("liar"), address("leader")])
        assert of(report, agent).state == "complete", of(report, agent).reasons


@pytest.mark.spec("RPL-19")
async def test_a_slow_drip_is_passed_over_and_named(scene, autojump_clock):
    autojump_clock.autojump_threshold = 0.1
    async with scene.node("leader") as leader, scene.node("drip") as drip, scene.node("replica", SMALL) as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 300)
        await drip.replicate([agent.id], [address("leader")])

        def dripping(handler):
            async def answer(request, peer):
                async for chunk in handler(request, peer):
                    yield chunk[:0] + b"\xa1grecords\x80"
                    for _ in range(50):
                        await trio.sleep(5)
                        yield b"\xa1grecords\x80"
                    yield chunk

            return answer

        wrap(drip, LOG, dripping)
        scene.hub.faults("leader").delay_ms = 500
        report = await replica.replicate([agent.id], [address("drip"), address("leader")])
        assert report.exit_code == 0 and of(report, agent).size == size(leader, agent.id)
        assert (report.blamed[0].peer, report.blamed[0].cut_off) == ("drip", False)
        assert "slow" in report.blamed[0].rule and address("drip") not in of(report, agent).served


async def test_an_endless_stall_ends_with_a_reason(scene, autojump_clock):
    autojump_clock.autojump_threshold = 0.1
    async with scene.node("leader") as leader, scene.node("replica", SMALL) as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 60)

        def stalling(handler):
            async def answer(request, peer):
                await trio.sleep_forever()
                yield b""

            return answer

        wrap(leader, LOG, stalling)
        report = await replica.replicate([agent.id], [address("leader")])
        assert report.exit_code == 2 and any("TSLG-N-STALLED" in one for one in of(report, agent).reasons)


@pytest.mark.spec("RPL-15")
async def test_what_a_peer_keeps_to_itself_is_named_and_nobody_is_blamed(scene):
    async with scene.node("leader") as leader, scene.node("other") as other, scene.node("replica", SMALL) as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 60)
        await other.replicate([agent.id], [address("leader")])

        def keeping(handler):
            async def answer(request, peer):
                asked = read_log_request(request)
                rows = leader.home.store.log_range(agent.id, asked.start, asked.stop)
                pairs = [(entry.data, entry.seal) for id, entry in rows if records.parse_as(id, entry.data).seq != 30]
                yield records_chunk(pairs)
                if asked.start <= 30 < asked.stop:
                    yield WalkEnd(withheld=((30, 31),)).to_bytes()

            return answer

        wrap(leader, LOG, keeping)
        report = await replica.replicate([agent.id], [address("leader")])
        log = of(report, agent)
        assert report.exit_code == 2 and log.size == 30 and report.blamed == ()
        assert any("withholds position 30" in reason for reason in log.reasons), log.reasons
        report = await replica.replicate([agent.id], [address("leader"), address("other")])
        assert of(report, agent).state == "complete"


# --- other histories -----------------------------------------------------------------------------------------------


async def forked(scene, common: int, honest: int, other: int):
    """Let an agent write a log, and somebody with an old copy of its directory another one from a place on."""
    async with scene.node("leader") as leader:
        agent = scene.agent(leader, "a")
        scene.grow(agent, common)
    shutil.copytree(scene.path / "leader", scene.path / "evil")
    async with scene.node("leader") as leader:
        scene.grow(scene.agent(leader, "a"), honest)
    async with scene.node("evil") as evil:
        scene.grow(scene.agent(evil, "a"), other)
    return agent


@pytest.mark.spec("RPL-6", "RPL-16")
@pytest.mark.parametrize("other", [5, 40])
async def test_a_head_of_another_history_is_found_out_before_anything_is_fetched(scene, other):
    agent = await forked(scene, 100, 20, other)
    async with scene.node("leader") as leader, scene.node("evil") as evil, scene.node("replica") as replica:
        assert (await replica.replicate([agent.id], [address("leader")])).exit_code == 0
        held = size(replica, agent.id)
        seen = ranges(evil)
        report = await replica.replicate([agent.id], [address("evil")])
        assert report.exit_code == 1 and of(report, agent).state == "forked"
        assert all(stop - start == 1 for _, start, stop in seen), "one record shows it"
        (fork,) = replica.home.store.forks(agent.id)
        assert len(fork.records) == 2 and size(replica, agent.id) == held
        scene.grow(scene.agent(leader, "a"), 10)
        both = await replica.replicate([agent.id], [address("evil"), address("leader")])
        assert of(both, agent).size == held + 10, "the history that is held goes on"


@pytest.mark.spec("RPL-16")
async def test_a_forked_suffix_beside_the_honest_one_is_found_out(scene):
    agent = await forked(scene, 100, 300, 300)
    async with scene.node("leader"), scene.node("evil"), scene.node("replica", SMALL) as replica:
        report = await replica.replicate([agent.id], [address("leader"), address("evil")])
        log = of(report, agent)
        assert report.exit_code == 1 and log.state == "forked"
        assert replica.home.store.forks(agent.id) != []
        assert log.size == log.claimed, "one of the two histories is held whole"
        assert replica.home.store.check() == []


# --- what authors do -----------------------------------------------------------------------------------------------


def broken(leader, agent, **fields):
    """Put into a log's own store a record that its author sealed and no admission would let in."""
    ledger = leader.home.ledger
    log = ledger._logs[agent.id]
    record = records.build(
        **{
            "kind": "observation",
            "agent": agent.id,
            "seq": log.size,
            "prev": log.last,
            "time": log.last_time,
            "manifest": ledger.manifest,
            "key": log.key.record,
            "log": Head(log.size, log.peaks.root()),
            "preds": {"prior": [Edge(log.prior)]},
            "body": {"source": "sensor", "data": {"n": 1}},
            "hash_name": "sha2-256",
        }
        | fields
    )
    seal = seals.encode(sign_seats(record, seats(record, log.key, leader.home.manifest), {log.key.record: log.signer}))
    peaks = log.peaks.copy()
    peaks.append(record.id)
    leader.home.store.append([(record, seal)], [LogState(agent.id, log.size + 1, record.id, record.time, peaks)])
    ledger._follow(leader.home.store.log_state(agent.id))
    return record


@pytest.mark.spec("RPL-15")
@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"log": Head(51, bytes(32))}, "TSLG-A-HEAD"),
        ({"time": 1}, "TSLG-A-TIME"),
        ({"preds": {}}, "TSLG-A-CLASSES"),
    ],
    ids=["root", "time", "classes"],
)
async def test_a_log_stops_at_what_its_author_broke_and_keeps_the_evidence(scene, fields, code):
    async with scene.node("leader") as leader, scene.node("replica") as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 51 - size(leader, agent.id))
        bad = broken(leader, agent, **fields)
        scene.grow(agent, 10)
        report = await replica.replicate([agent.id], [address("leader")])
        log = of(report, agent)
        assert report.exit_code == 1 and log.state == "invalid" and log.size == bad.seq
        assert code in log.reasons[0] and report.blamed == (), "the peer is not to blame"
        kept = evidence(replica.home.store, agent.id)
        assert kept is not None and kept[0].id == bad.id and kept[2] == code
        again = await replica.replicate([agent.id], [address("leader")])
        assert of(again, agent).state == "invalid" and of(again, agent).size == bad.seq


@pytest.mark.spec("RPL-15")
async def test_nobody_can_frame_an_author_by_a_broken_record_that_it_did_not_seal(scene):
    async with scene.node("leader") as leader, scene.node("liar") as liar, scene.node("replica") as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 80)
        await liar.replicate([agent.id], [address("leader")])

        def forged(pairs):
            out = []
            for data, seal, *_ in pairs:
                record = records.parse(data)
                if record.seq == 60:
                    fields = record._asdict()
                    for name in ("id", "data", "owner", "commitment"):
                        fields.pop(name)
                    data = records.build(**fields | {"time": 1, "hash_name": "sha2-256"}).data
                out.append((data, seal))
            return out

        wrap(liar, LOG, rewriting(forged))
        report = await replica.replicate([agent.id], [address("liar")])
        assert [one.peer for one in report.blamed] == ["liar"] and of(report, agent).state == "behind"
        assert evidence(replica.home.store, agent.id) is None
        assert (await replica.replicate([agent.id], [address("leader")])).exit_code == 0


# --- what logs cite ------------------------------------------------------------------------------------------------


@pytest.mark.spec("RPL-12")
async def test_logs_that_cite_each_other_over_and_over_come_together(scene):
    async with scene.node("one") as one, scene.node("two") as two, scene.node("replica") as replica:
        a, b = scene.agent(one, "a"), scene.agent(two, "b")
        last = None
        for _ in range(12):
            first = scene.grow(a, 9, last)
            await two.fetch(first, [address("one")])
            last = scene.grow(b, 9, first)
            await one.fetch(last, [address("two")])
        report = await replica.replicate(None, [address("one"), address("two")])
        assert report.exit_code == 0, report.to_text()
        assert {log.agent for log in report.logs} == {scene.federation, a.id, b.id}
        assert size(replica, a.id) == size(one, a.id) and size(replica, b.id) == size(two, b.id)


@pytest.mark.spec("RPL-12")
async def test_what_a_log_cites_in_others_comes_with_it(scene):
    async with scene.node("replica") as replica:
        async with scene.node("one") as one, scene.node("two") as two:
            a, b = scene.agent(one, "a"), scene.agent(two, "b")
            last = None
            for _ in range(4):
                first = scene.grow(a, 40, last)
                await two.fetch(first, [address("one")])
                last = scene.grow(b, 40, first)
                await one.fetch(last, [address("two")])
            before = await replica.auditor().audit(last.id, [address("two"), address("one")])
            report = await replica.replicate([b.id], [address("two")])
            assert report.exit_code == 0 and report.missing == (), report.to_text()
            assert replica.home.store.log_state(a.id) is None, "that log is not followed"
        async with scene.node("auditor") as auditor:
            after = await auditor.auditor().audit(last.id, [address("replica")])
        assert before.verdict == after.verdict == "valid"
        assert after.edges == before.edges and after.records.keys() == before.records.keys()


@pytest.mark.spec("RPL-12", "RPL-20")
@pytest.mark.parametrize("change", [spoiled, lambda pairs: [(b"garbage", b"")], lambda pairs: []])
async def test_nothing_is_kept_of_what_nobody_sealed_where_others_logs_are_asked_for(scene, change):
    async with scene.node("one") as one, scene.node("two") as two, scene.node("replica") as replica:
        a, b = scene.agent(one, "a"), scene.agent(two, "b")
        first = scene.grow(a, 5)
        await two.fetch(first, [address("one")])
        scene.grow(b, 5, first)
        wrap(two, PUSH, rewriting(change))
        report = await replica.replicate([b.id], [address("two")])
        assert [id for id, _ in report.missing] == [first.id]
        assert all(log.owner != a.id for log in replica.home.store.logs())
        assert of(report, b).state in ("complete", "behind")
        again = await replica.replicate([b.id, a.id], [address("two"), address("one")])
        assert of(again, a).state == "complete"


@pytest.mark.spec("RPL-12")
async def test_what_nobody_has_is_named(scene):
    async with scene.node("one") as one, scene.node("two") as two, scene.node("replica") as replica:
        a, b = scene.agent(one, "a"), scene.agent(two, "b")
        first = scene.grow(a, 5)
        await two.fetch(first, [address("one")])
        scene.grow(b, 5, first)
        scene.hub.faults("one").down = True

        async def refused(request, peer):
            raise NotAvailable("not here")
            yield b""

        def without_closing(handler):
            def answer(request, peer):
                closing = isinstance(read_push_request(request), CloseRequest)
                return refused(request, peer) if closing else handler(request, peer)

            return answer

        wrap(two, PUSH, without_closing)
        report = await replica.replicate([b.id], [address("two")])
        assert [id for id, _ in report.missing] == [first.id] and "absent" in report.missing[0][1]
        assert of(report, b).state in ("complete", "behind")


@pytest.mark.spec("RPL-2")
async def test_an_own_log_is_never_replicated(scene):
    async with scene.node("leader") as leader, scene.node("replica") as replica:
        agent = scene.agent(leader, "a")
        scene.grow(agent, 5)
        await replica.replicate([agent.id], [address("leader")])
        with pytest.raises(UsageError, match="an agent of this node"):
            await leader.replicate([agent.id], [address("replica")])
        report = await leader.replicate(None, [address("replica")])
        assert [log.agent for log in report.logs] == [scene.federation]


def test_the_evidence_is_gone_once_the_log_has_grown_past_it(tmp_path):
    with Home.open(tmp_path / "home") as home:
        agent = home.agent("a")
        record = agent.observe("sensor", {"n": 1})
        assert evidence(home.store, agent.id) is None
        keep_evidence(home.store, record, b"seal", Refusal("no", code="TSLG-A-TIME"))
        assert evidence(home.store, agent.id) is None
