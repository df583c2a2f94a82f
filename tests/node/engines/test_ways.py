"""The ways in: the network, the local interface and the command come to the same, whichever is taken how often."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import repeat

import pytest
import trio
from engines import Works
from replicas import Scene, address, reach
from steps import step

from tslg.node.api.client import LocalNode
from tslg.node.api.place import Place
from tslg.node.api.service import LocalInterface
from tslg.node.engines.admission import Terms
from tslg.node.engines.handing import to_interface, to_peer
from tslg.node.engines.submission import hand_in, write
from tslg.node.home import Home
from tslg.node.net.errors import Busy, InvalidRequest, NotAvailable, RequestRefused
from tslg.node.replication.leader import Leader
from tslg.protocol import codec
from tslg.protocol.cid import compute, to_text
from tslg.protocol.errors import NetworkError, SubmissionError, TslgError, UsageError
from tslg.protocol.exchange import MessageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.pushing import PUSH, SubmitRequest, Submitted, read_push_request


@pytest.mark.spec("ENG-3", "ENG-7", "ENG-11")
async def test_over_the_network(tmp_path):
    scene = Scene(tmp_path)
    async with scene.node("tenant") as tenant, scene.node("maker") as maker:
        desk, engine = scene.agent(tenant, "desk"), scene.agent(maker, "engine")
        envelope = tenant.home.manifest.envelope
        policy = desk.policy("steps", classes=envelope.classes, tiers=envelope.tiers)
        admission = desk.delegate(engine.id, Terms().task(), policy, expires=scene.clock() + 10**9)
        assert (await maker.fetch(admission.id, [address("tenant")])).verdict == "valid"
        made = [step(engine, n, delegation=admission) for n in range(3)]
        place = address("tenant")

        def submit(data):
            return trio.from_thread.run(to_peer, maker.network, place, data)

        for new in (made[-1].seq + 1, 0):
            (answer,) = await trio.to_thread.run_sync(hand_in, maker.home, engine.id, submit)
            assert (answer.size, answer.new) == (made[-1].seq + 1, new)
            assert set(answer.steps) == {one.id for one in made} and len(answer.taken) == 1
        receipt = answer.taken[0]
        assert (await maker.fetch(receipt, [place])).verdict == "valid", "an engine sees that it was taken up"
        other = scene.agent(maker, "other")
        data = write(maker.home, other.id, 0).data
        with pytest.raises(RequestRefused, match="TSLG-E-UNKNOWN"):
            await to_peer(maker.network, place, data)
        for _ in range(DEFAULT.submission_refusals - 1):
            with pytest.raises(RequestRefused):
                await to_peer(maker.network, place, data)
        with pytest.raises(Busy, match="TSLG-E-RATE"):
            await to_peer(maker.network, place, write(maker.home, engine.id, 0).data)
        for request in ({"op": "submit"}, {"op": "submit", "bundle": b""}, {"op": "submit", "bundle": "x"}):
            with pytest.raises(InvalidRequest):
                async with maker.network.request(place, PUSH, codec.encode(request)) as chunks:
                    [chunk async for chunk in chunks]
        leader = Leader(tenant.home.store, None, tenant.federation, cut=None, close=None, hint=None)
        with pytest.raises(NotAvailable):
            [chunk async for chunk in leader.answer(SubmitRequest(b"x").to_bytes(), "maker")]


@pytest.mark.spec("ENG-13")
async def test_an_engine_that_is_followed_need_not_hand_in_anything(tmp_path):
    scene = Scene(tmp_path)
    async with scene.node("maker") as maker:
        engine = scene.agent(maker, "engine")
        settings = {"replicate": [to_text(engine.id)], "replicate_from": [address("maker")]}
        async with scene.node("tenant", **settings) as tenant:
            desk, envelope = scene.agent(tenant, "desk"), tenant.home.manifest.envelope
            policy = desk.policy("steps", classes=envelope.classes, tiers=envelope.tiers)
            task = Terms(kinds=("inference",)).task()
            admission = desk.delegate(engine.id, task, policy, expires=scene.clock() + 10**9)
            assert (await maker.fetch(admission.id, [address("tenant")])).verdict == "valid"

            def taken():
                ids = tenant.home.store.by_kind("observation", desk.id)
                records = [tenant.home.ledger.context.record(id) for id in ids]
                return [edge.cid for one in records for edge in one.edges("evidence")]

            made = [await trio.to_thread.run_sync(lambda: step(engine, 1, delegation=admission)) for _ in range(2)]
            left_out = await trio.to_thread.run_sync(lambda: step(engine, 1, "rejection", delegation=admission))
            await reach(lambda: len(taken()) == 2)
            await reach(lambda: tenant.home.store.has(left_out.id))
            answer = await to_peer(maker.network, address("tenant"), write(maker.home, engine.id, 0).data)
            assert answer.new == 0 and set(answer.steps) == {one.id for one in made} == set(taken())


def test_the_messages_are_read_as_they_were_written_and_nothing_else_is():
    answer = Submitted(compute(b"a"), 3, 1, (compute(b"b"),), (compute(b"c"),))
    assert Submitted.from_bytes(answer.to_bytes()) == answer
    assert read_push_request(SubmitRequest(b"x").to_bytes()) == SubmitRequest(b"x")
    told = codec.decode(answer.to_bytes())
    for wrong in ({"engine": 1}, {"size": -1}, {"steps": [1]}, {"taken": [compute(b"x")] * 2_000}, {"more": 1}):
        with pytest.raises(MessageError):
            Submitted.from_bytes(codec.encode({**told, **wrong}))
    with pytest.raises(MessageError):
        read_push_request(SubmitRequest(b"x" * (DEFAULT.submission_bytes + 1)).to_bytes())


@pytest.mark.spec("ENG-3", "ENG-11", "ENG-12")
async def test_over_the_local_interface(tmp_path):
    w = Works(tmp_path)
    made = w.steps(2)
    place = Place(w.tenant.path)
    async with trio.open_nursery() as nursery:
        await nursery.start(LocalInterface(w.tenant, "unix", dict, DEFAULT).run)
        where, token = f"unix:{place.socket}", (place.folder / "engine").read_text().strip()

        async def submit(data, shown=token):
            return await trio.to_thread.run_sync(to_interface, where, shown, data)

        for new in (made[-1].seq + 1, 0):
            answer = await submit(w.stretch())
            assert answer.new == new and set(answer.steps) == {one.id for one in made}
        with pytest.raises(SubmissionError) as raised:
            await submit(b"rubbish")
        assert raised.value.code == "TSLG-E-SUBMISSION" and raised.value.mend
        for shown in ("x", (place.folder / "reader").read_text().strip()):
            with pytest.raises(Exception, match="token"):
                await submit(w.stretch(), shown)

        def by_hand():
            import httpx

            with httpx.Client(transport=httpx.HTTPTransport(uds=str(place.socket)), base_url="http://x") as http:
                http.headers["authorization"] = f"Bearer {token}"
                posted = http.post("/v1/agents/desk/state", json={"data": {}}).status_code
                read = [http.get(path).status_code for path in ("/v1/stream", "/v1/status", "/v1/agents")]
                return posted, read, http.get("/v1/engines").json()["engines"]

        posted, read, (listed,) = await trio.to_thread.run_sync(by_hand)
        assert (posted, read) == (403, [403] * 3)
        assert listed["engine"] == {"/": to_text(w.engine.id)} and listed["records"] == made[-1].seq + 1

        def through_the_node():
            with LocalNode(w.tenant.path) as node:
                return node.submit(w.stretch())

        assert (await trio.to_thread.run_sync(through_the_node)).new == 0
        nursery.cancel_scope.cancel()
    w.close()
    with pytest.raises(NetworkError) as raised:
        to_interface(where, token, b"x")
    assert raised.value.code == "TSLG-N-NO-NODE"


class Hostile(BaseHTTPRequestHandler):
    """A tenant that answers a submission with whatever it likes."""

    status, parts = 200, ()

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(self.status)
        self.end_headers()
        with suppress(OSError):
            for part in self.parts:
                self.wfile.write(part)

    def log_message(self, *args):
        pass


GOOD = {"engine": {"/": to_text(compute(b"e"))}, "size": 1, "new": 1, "steps": [], "taken": []}


@pytest.mark.parametrize(
    ("status", "parts", "code", "said"),
    [
        (200, repeat(b"x" * 65_536), "TSLG-N-MESSAGE", "more than 1048576 bytes"),
        (500, repeat(b" " * 65_536), "TSLG-N-MESSAGE", "more than 1048576 bytes"),
        (200, [b"<html>"], "TSLG-N-MESSAGE", "no answer to a submission"),
        (200, [b"[" * 100_000], "TSLG-N-MESSAGE", "no answer to a submission"),
        (200, [b"[]"], "TSLG-N-MESSAGE", "no answer to a submission"),
        (200, [json.dumps({**GOOD, "size": 1.5}).encode()], "TSLG-N-MESSAGE", "no answer to a submission"),
        (200, [json.dumps({**GOOD, "engine": "me"}).encode()], "TSLG-N-MESSAGE", "no answer to a submission"),
        (200, [json.dumps({**GOOD, "steps": [GOOD["engine"]] * 1_001}).encode()], "TSLG-N-MESSAGE", "at most 1000"),
        (400, [b"{}"], "TSLG-N-NO-NODE", "none of ours"),
        (400, [b'{"code": "TSLG-E-\\u001b[2J"}'], "TSLG-N-NO-NODE", "none of ours"),
        (400, [b'{"code": "TSLG-E-REFUSED", "detail": "no", "record": 7}'], "TSLG-E-REFUSED", "no"),
    ],
)
def test_a_tenant_answers_an_engine_with_anything(status, parts, code, said):
    handler = type("Tenant", (Hostile,), {"status": status, "parts": parts})
    with HTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.handle_request)
        serving.start()
        try:
            with pytest.raises(TslgError, match=said) as raised:
                to_interface(f"http://127.0.0.1:{server.server_port}", "t", b"x")
        finally:
            serving.join()
    assert raised.value.code == code


@pytest.mark.parametrize("address", ["http://[::", "foo", "http://x:y", "ftp://x"])
def test_what_is_no_address_is_said(address):
    with pytest.raises(UsageError, match="no address"):
        to_interface(address, "t", b"x")


def test_by_command(tmp_path):
    from click.testing import CliRunner

    from tslg.node.cli.root import tslg

    def run(*arguments, code=0):
        result = CliRunner().invoke(tslg, [str(one) for one in arguments], env={"TSLG_DATA": ""})
        assert result.exit_code == code, result.output
        return result.stdout if code == 0 else result.stderr

    w = Works(tmp_path, admit=False)
    grant = w.desk.policy("more", capabilities=["x"])
    w.delegation = w.admit(w.engine, expires=2**50)
    made = w.steps(2)
    size = w.tenant.store.log_state(w.desk.id).size
    w.close()
    admit = ["engine", "admit", to_text(w.engine.id), "--grant", to_text(grant.id), "--data", tmp_path / "tenant"]
    assert "TSLG-U-FILE" in run(*admit, "--out", tmp_path / "none" / "x.car", code=3)
    with Home.read(tmp_path / "tenant") as home:
        assert home.store.log_state(w.desk.id).size == size, "no admission without the file that tells of it"
    maker, tenant, file = tmp_path / "maker", tmp_path / "tenant", tmp_path / "steps.car"
    assert "positions 0 to" in run("engine", "export", file, "--data", maker)
    told = json.loads(run("engine", "submit", file, "--data", tenant, "--json"))
    assert told["new"] == made[-1].seq + 1 and set(told["steps"]) == {to_text(one.id) for one in made}
    assert "0 new records" in run("engine", "submit", file, "--data", tenant)
    shown = json.loads(run("engine", "show", to_text(made[0].id), "--data", tenant, "--json"))
    assert shown["standing"] == "vouched" and shown["taken"] == told["taken"]
    (listed,) = json.loads(run("engine", "list", "--data", tenant, "--json"))["engines"]
    assert listed["records"] == told["size"] and listed["ended"] is None
    assert "TSLG-U-USAGE" in run("engine", "submit", "--data", tenant, code=3)
    assert "TSLG-U-USAGE" in run("engine", "submit", file, "--url", "unix:x", "--data", tenant, code=3)
    assert "TSLG-E-SUBMISSION" in run("engine", "submit", __file__, "--data", tenant, code=3)
    assert "TSLG-E-UNKNOWN" in run("engine", "submit", file, "--data", maker, code=3)
    run(*admit, "--out", tmp_path / "x.car")
    assert (tmp_path / "x.car").stat().st_size > 1000
