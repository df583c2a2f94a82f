"""Streams over the local interface: framing, going on, what a slow or greedy client gets, and who may read."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from types import SimpleNamespace

import httpx
import pytest
import trio
from steps import step

from tslg.node.api.place import Place
from tslg.node.api.service import LocalInterface
from tslg.node.home import Home
from tslg.protocol.cid import to_text
from tslg.protocol.limits import Limits


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Home.open(tmp_path_factory.mktemp("n") / "d") as opened:
        agent = opened.agent("one")
        for n in range(3):
            step(agent, n)
        opened.agent("two")
        yield opened


@asynccontextmanager
async def served(home, **limits):
    """Serve a directory's interface, and give clients by token."""
    service = LocalInterface(home, "unix", dict, Limits(**limits))
    place = Place(home.path)
    async with trio.open_nursery() as nursery:
        await nursery.start(service.run)

        def client(token="reader"):
            shown = (place.folder / token).read_text().strip()
            transport = httpx.AsyncHTTPTransport(uds=str(place.socket))
            headers = {"authorization": f"Bearer {shown}"}
            return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=headers, timeout=10)

        yield SimpleNamespace(client=client, service=service)
        nursery.cancel_scope.cancel()


async def lines(client, count, path="/v1/stream", **headers):
    """Read so many objects of a stream, then leave."""
    found = []
    async with client.stream("GET", path, headers=headers) as response:
        assert response.status_code == 200
        async for line in response.aiter_lines():
            found.append(json.loads(line))
            if len(found) == count:
                return found
    return found


@pytest.mark.spec("STR-5", "STR-6", "STR-7")
async def test_a_stream_goes_on_with_what_is_recorded_and_later_from_its_cursor(home):
    agent = home.agents[0]
    async with served(home) as at, at.client() as client:
        size = home.store.log_state(agent.id).size
        found = []
        async with client.stream("GET", f"/v1/stream?log={to_text(agent.id)}") as response:
            assert response.headers["content-type"] == "application/x-ndjson"
            async for line in response.aiter_lines():
                found.append(json.loads(line))
                if len(found) == size:
                    await trio.to_thread.run_sync(agent.observe, "later", {"n": 1})
                if len(found) == size + 1:
                    break
        assert [one["seq"] for one in found] == list(range(size + 1))
        assert found[-1]["body"]["source"] == "later" and found[-1]["behind"] == 0
        path = f"/v1/stream?log={to_text(agent.id)}&follow=no&from={found[1]['cursor']}"
        assert [one["seq"] for one in await lines(client, 99, path)] == list(range(2, size + 1))
        *_, only = await lines(client, 99, "/v1/stream?follow=no&kinds=release")
        assert only.keys() == {"cursor"}
        assert await lines(client, 99, "/v1/stream?follow=no&from=end") == []


@pytest.mark.spec("STR-6")
async def test_server_sent_events_carry_their_cursor_as_their_id(home):
    async with served(home) as at, at.client() as client:
        headers = {"accept": "text/event-stream"}
        path = "/v1/stream?kinds=inference,rejection&follow=no"
        response = await client.get(path, headers=headers)
        events = [
            dict(line.split(": ", 1) for line in block.splitlines()) for block in response.text.split("\n\n") if block
        ]
        steps = [one for one in events if one.get("event") == "record"]
        assert [json.loads(one["data"])["kind"] for one in steps] == ["inference"] * 3
        again = await client.get(path, headers={**headers, "last-event-id": steps[0]["id"]})
        assert again.text.count("event: record") == 2
        rest = await client.get(path, headers={**headers, "last-event-id": events[-1]["id"]})
        assert "event: record" not in rest.text


@pytest.mark.spec("STR-4", "STR-5", "STR-9")
@pytest.mark.parametrize(
    ("token", "path", "status", "code"),
    [
        ("reader", "/v1/stream?kinds=thought", 400, "TSLG-U-USAGE"),
        ("reader", "/v1/stream?colour=red", 400, "TSLG-U-USAGE"),
        ("reader", "/v1/stream?" + "log=b&" * 100, 400, "TSLG-U-USAGE"),
        ("reader", "/v1/stream?log=b123", 400, "TSLG-C-CID"),
        ("reader", "/v1/stream?from=gA!", 400, "TSLG-U-CURSOR"),
        ("reader", "/v1/status", 403, "TSLG-U-USAGE"),
        ("engine", "/v1/stream", 403, "TSLG-U-USAGE"),
    ],
)
async def test_what_cannot_be_streamed_is_refused_by_its_code(home, token, path, status, code):
    async with served(home) as at, at.client(token) as client:
        response = await client.get(path)
        assert (response.status_code, response.json()["code"]) == (status, code)


@pytest.mark.spec("STR-9")
async def test_a_reader_s_token_writes_nothing(home):
    size = home.store.log_state(home.agents[0].id).size
    async with served(home) as at, at.client() as client:
        assert (await client.post("/v1/agents/one/state", json={"data": {}})).status_code == 403
        assert (await client.post("/v1/stream")).status_code == 403
        assert (await client.get(f"/v1/records/{to_text(home.agents[0].id)}")).status_code == 200
        assert (await client.get("/v1/stream", headers={"authorization": "Bearer x"})).status_code == 401
    assert home.store.log_state(home.agents[0].id).size == size


async def opened(home, agent):
    """Open a stream, and take no more of it than that it began."""
    place = Place(home.path)
    stream = await trio.open_unix_socket(str(place.socket))
    token = (place.folder / "reader").read_text().strip()
    await stream.send_all(
        f"GET /v1/stream?log={to_text(agent.id)} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\r\n".encode()
    )
    assert (await stream.receive_some(5_000)).startswith(b"HTTP/1.1 200")
    return stream


@pytest.mark.spec("STR-8")
async def test_there_is_a_bound_on_streams_and_one_that_is_left_makes_room(home):
    async with served(home, local_streams=1) as at, at.client() as client:
        stream = await opened(home, home.agents[0])
        refused = await client.get("/v1/stream?follow=no")
        assert (refused.status_code, refused.json()["code"]) == (503, "TSLG-N-BUSY")
        await stream.aclose()
        with trio.fail_after(20):
            while (await client.get("/v1/stream?follow=no")).status_code != 200:
                await trio.sleep(0.01)


@pytest.mark.spec("STR-8")
async def test_a_client_that_takes_nothing_is_cut_off_and_nothing_is_kept_for_it(home):
    agent = home.agents[1]
    with agent.batch():
        for n in range(40):
            agent.observe("camera", {"text": "x" * 60_000, "n": n})
    async with served(home, local_streams=1, local_request_ms=300) as at, at.client() as client:
        stream = await opened(home, agent)
        with trio.fail_after(20):
            while (await client.get("/v1/stream?follow=no&kinds=genesis")).status_code != 200:
                await trio.sleep(0.05)
        taken = 0
        while data := await stream.receive_some(1 << 20):
            taken += len(data)
        assert taken < 40 * 60_000, "the rest was neither read nor kept"
