"""A2A between two nodes, with the real client and server: delegation out, result back, and what is refused."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import httpx
import pytest
from a2a.client import ClientConfig, ClientFactory
from a2a.helpers import new_task_from_user_message, new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types.a2a_pb2 import AgentCapabilities, AgentCard, AgentInterface, GetTaskRequest, Role, SendMessageRequest
from google.protobuf.json_format import MessageToDict
from starlette.applications import Starlette
from world import ONE, World

from tslg.manifests.signing import encode_sealed
from tslg.node import BackgroundNode
from tslg.node.adapters.a2a.delegate import Delegate, current
from tslg.node.adapters.a2a.delegator import Delegator
from tslg.node.adapters.a2a.extension import URI, Attached, attach, declare, party_of, read, request_digest
from tslg.protocol.cid import compute, to_text
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT

HOUR = 3_600_000
AT = "http://scanner.example/"


class Scanner(AgentExecutor):
    """Answers with an artifact in two pieces and a last message, or as the message asks."""

    async def execute(self, context, event_queue):
        asked = context.get_user_input()
        if asked == "reply":
            await event_queue.enqueue_event(new_text_message("at once", role=Role.ROLE_AGENT))
            return
        await event_queue.enqueue_event(new_task_from_user_message(context.message))
        updater = TaskUpdater(event_queue, context.task_id, context.context_id)
        await updater.start_work()
        seen = current().agent.observe("registry", {"flaws": 0}, delegation=current().delegation)
        current().cited.append(seen)
        await updater.add_artifact([new_text_part("no ")], artifact_id="report", name="report")
        await updater.add_artifact([new_text_part("flaw")], artifact_id="report", name="report", append=True)
        if asked == "fail":
            raise RuntimeError("a secret")
        if asked == "overdo":
            current().agent.act("shout", delegation=current().delegation, uses=["shout"])
        if asked == "give up":
            await updater.failed(updater.new_agent_message([new_text_part("too many files")]))
            return
        if asked == "silence":
            return
        await updater.complete(updater.new_agent_message([new_text_part("done")]))

    async def cancel(self, context, event_queue):
        await TaskUpdater(event_queue, context.task_id, context.context_id).cancel()


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    """Two companies' nodes, and the scanner's A2A server."""
    path = tmp_path_factory.mktemp("a2a")
    anchors = World(ONE.format(attested=0), "a2a")
    sealed = path / "root.sealed"
    sealed.write_bytes(encode_sealed(anchors.anchors.log[0].data, anchors.seals[anchors.federation]))
    there = {"federation": sealed, "listen": "/ip4/127.0.0.1/tcp/0"}
    with BackgroundNode(path / "scanner", **there) as theirs, BackgroundNode(path / "buyer", **there) as ours:
        buyer, scanner = ours.agent("buyer"), theirs.agent("scanner")
        grant = buyer.policy("scanning", capabilities=["listen"])
        delegate = Delegate(theirs, scanner, Scanner(), uses=["listen"])
        card = AgentCard(
            name="scanner",
            version="1",
            capabilities=AgentCapabilities(streaming=True),
            supported_interfaces=[AgentInterface(url=AT, protocol_binding="JSONRPC", protocol_version="1.0")],
        )
        declare(card, delegate.party)
        yield SimpleNamespace(
            ours=ours,
            theirs=theirs,
            buyer=buyer,
            scanner=scanner,
            grant=grant,
            delegate=delegate,
            card=card,
            delegator=Delegator(ours, buyer),
            other=theirs.agent("other"),
        )


def text(asked="scan"):
    return new_text_message(asked, role=Role.ROLE_USER)


def soon():
    return time.time_ns() // 1_000_000 + HOUR


def conversing(scene, work, *, streaming=False, delegate=None):
    """Run `work(client)` under asyncio against the scanner's server."""

    async def main():
        handler = DefaultRequestHandler(delegate or scene.delegate, InMemoryTaskStore(), scene.card)
        app = Starlette(routes=create_jsonrpc_routes(handler, "/"))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=AT) as http:
            client = ClientFactory(ClientConfig(streaming=streaming, httpx_client=http)).create(scene.card)
            return await asyncio.wait_for(work(client), 20)

    return asyncio.run(main())


def sent(scene, asked="scan", **options):
    message = text(asked)
    return conversing(
        scene, lambda client: scene.delegator.send(client, scene.card, message, scene.grant, expires=soon()), **options
    )


def refusal(scene, message):
    """Send a message as it is, and return the task that refuses it, and its text."""

    async def work(client):
        events = [event async for event in client.send_message(SendMessageRequest(message=message))]
        return events[-1].task

    task = conversing(scene, work)
    return task, task.status.message.parts[0].text


def attached(scene, message, **options):
    async def work():
        options.setdefault("expires", soon())
        return await scene.delegator.attach(message, scene.card, scene.grant, **options)

    return asyncio.run(work())


@pytest.mark.parametrize("streaming", [False, True])
def test_a_result_comes_back_verified(scene, streaming):
    answer = sent(scene, streaming=streaming)
    assert answer.report.verdict == "valid"
    assert answer.result.owner == scene.scanner.id
    assert [edge.cid for edge in answer.result.edges("delegation")] == [answer.delegation.id]
    assert answer.result.body["uses"] == ["listen"]
    said = MessageToDict(answer.reply.metadata)[URI]
    assert said["result"] == to_text(answer.result.id)
    assert said["delegation"] == to_text(answer.delegation.id)
    (artifact,) = answer.reply.artifacts
    assert [part.text for part in artifact.parts] == ["no ", "flaw"]
    evidence = scene.ours.node.home.ledger.context.record(next(answer.result.edges("evidence")).cid)
    assert evidence.body["source"] == "registry"
    built_on = scene.buyer.decide("use-package", "yes", evidence=answer.result)
    assert next(built_on.edges("evidence")).cid == answer.result.id


def test_a_message_is_a_result_too(scene):
    answer = sent(scene, "reply")
    assert answer.reply.parts[0].text == "at once" and URI in MessageToDict(answer.reply.metadata)


def test_the_card_says_whose_agent_it_is(scene):
    party = party_of(scene.card)
    assert (party.agent, party.federation) == (scene.scanner.id, scene.ours.federation)
    assert party.addresses == scene.theirs.addresses
    assert scene.card.capabilities.extensions[0].required
    with pytest.raises(UsageError, match="does not have the extension"):
        party_of(AgentCard())


def answers_to(scene, delegation):
    ledger = scene.theirs.node.home.ledger
    return [one.body for one in ledger.context.superseding(delegation.id) if one.kind == "answer"]


@pytest.mark.parametrize(
    ("asked", "reason"),
    [("give up", "too many files"), ("silence", "without a result"), ("overdo", "TSLG-A-SCOPE")],
)
def test_what_came_to_nothing_is_on_record_and_said(scene, asked, reason):
    message = text(asked)
    delegation = attached(scene, message)

    async def work(client):
        async for event in client.send_message(SendMessageRequest(message=message)):
            task = event.task
        return task

    task = conversing(scene, work)
    (body,) = answers_to(scene, delegation)
    assert body["outcome"] == "failed" and reason in body["reason"]
    with pytest.raises(UsageError, match="no result came back"):
        asyncio.run(scene.delegator.check(task, delegation))


def test_an_executor_that_breaks_down_is_on_record_without_its_secrets(scene):
    message = text("fail")
    delegation = attached(scene, message)

    async def work(client):
        return [event async for event in client.send_message(SendMessageRequest(message=message))]

    with pytest.raises(Exception):  # noqa: B017
        conversing(scene, work)
    (body,) = answers_to(scene, delegation)
    assert (body["outcome"], body["reason"]) == ("failed", "RuntimeError")


def test_without_a_delegation_nothing_is_done(scene):
    before = scene.theirs.node.home.store.log_state(scene.scanner.id).size
    task, why = refusal(scene, text())
    assert "carries no delegation" in why and "TSLG-U-DELEGATION" in why
    assert not task.artifacts
    for entry in ("none", {}, {"federation": "b", "delegation": 7}, {"federation": "x" * 9000}):
        message = text()
        message.metadata.update({URI: entry})
        assert "its " in refusal(scene, message)[1]
    assert scene.theirs.node.home.store.log_state(scene.scanner.id).size == before


def test_what_json_cannot_say_is_refused(scene):
    async def work():
        message = text()
        await scene.delegator.attach(message, scene.card, scene.grant, expires=soon())
        message.parts[0].metadata.update({"x": float("inf")})
        context = SimpleNamespace(message=message)
        await scene.delegate._verified(context)

    with pytest.raises(UsageError, match="JSON does not know"):
        asyncio.run(work())


def test_a_delegation_that_comes_twice_at_a_time_is_worked_on_once(scene):
    runs = []

    class Slow(AgentExecutor):
        async def execute(self, context, event_queue):
            runs.append(context.task_id)
            await asyncio.sleep(0.5)
            await event_queue.enqueue_event(new_text_message("done", role=Role.ROLE_AGENT))

        async def cancel(self, context, event_queue):
            raise NotImplementedError

    message = text()
    attached(scene, message)

    async def work(client):
        return await asyncio.gather(_all(client, message), _all(client, message))

    first, second = conversing(scene, work, delegate=Delegate(scene.theirs, scene.scanner, Slow()))
    told = [events[-1].WhichOneof("payload") for events in (first, second)]
    assert len(runs) == 1 and sorted(told) == ["message", "task"]


def test_where_none_is_required_a_message_without_one_is_worked_on(scene):
    lenient = Delegate(scene.theirs, scene.scanner, Scanner(), required=False)

    async def work(client):
        return [event async for event in client.send_message(SendMessageRequest(message=text("reply")))]

    (event,) = conversing(scene, work, delegate=lenient)
    assert event.message.parts[0].text == "at once" and URI not in MessageToDict(event.message.metadata)


def test_forged_foreign_expired_withdrawn_and_used_delegations_are_refused(scene, monkeypatch):
    here, federation = scene.ours.addresses, scene.ours.federation

    def say(delegation, message=None, of=federation, addresses=here):
        message = message or text()
        attach(message, Attached(of, delegation, addresses))
        return refusal(scene, message)[1]

    assert "is undetermined" in say(compute(b"forged"))
    assert "another federation" in say(compute(b"x"), of=compute(b"elsewhere"))
    assert "is no delegation" in say(scene.grant.id)
    message = text()
    to_other = scene.buyer.delegate(scene.other.id, {"a2a": request_digest(message)}, scene.grant, expires=soon())
    assert "to somebody else" in say(to_other.id, message)
    stolen = attached(scene, text("scan"))
    assert "for another message" in say(stolen.id, text("scan"))
    expired = text()
    made = attached(scene, expired)
    with monkeypatch.context() as later:
        later.setattr(scene.theirs.node.home, "clock", lambda: soon() + HOUR)
        assert "expired" in say(made.id, expired)
    withdrawn = text()
    made = attached(scene, withdrawn)
    scene.theirs.fetch(scene.buyer.retract(made, reason="changed my mind"), here)
    assert "withdrawn" in say(made.id, withdrawn)
    used = text()
    made = attached(scene, used)
    conversing(scene, lambda client: _all(client, used))
    assert "used already" in say(made.id, used)
    assert "none" in say(compute(b"x"), addresses=("/ip4/127.0.0.1/tcp/1",))


PEER = "12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp"
OTHER_PEER = "12D3KooWCRscMgHgEo3ojm8ovzheydpvTEqsDtq7Vby38cMHrYjt"


@contextmanager
def silence():
    """Where somebody takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"/ip4/127.0.0.1/tcp/{server.getsockname()[1]}/p2p/{PEER}"


def named(scene, addresses):
    """Return a message that names a delegation which is said to be had at these addresses."""
    message = text()
    entry = Attached(scene.ours.federation, compute(b"forged")).to_map()
    message.metadata.update({URI: {**entry, "addresses": addresses}})
    return message


def test_a_message_names_few_places_all_of_one_node(scene, monkeypatch):
    monkeypatch.setattr(BackgroundNode, "call", lambda self, work: pytest.fail("somebody was asked"))
    far = [f"/ip4/198.51.100.{n}/tcp/1/p2p/{PEER}" for n in range(9)]
    for addresses, why in (
        (far, "no list of up to 8"),
        ([far[0], far[1].replace(PEER, OTHER_PEER)], "of several nodes"),
        ([far[0], scene.ours.addresses[0]], "of several nodes"),
        ([f"/dns4/{'x' * 500}/tcp/1/p2p/{PEER}"], "is none"),
        ([{"/": far[0]}], "is none"),
        ("/" * 4, "no list"),
    ):
        assert why in refusal(scene, named(scene, addresses))[1]


def test_what_takes_for_ever_to_be_had_is_given_up(scene):
    limits = replace(DEFAULT, a2a_fetch_ms=200)
    short_of_time = Delegate(scene.theirs, scene.scanner, Scanner(), limits=limits)
    with silence() as address:
        message = named(scene, [address])

        async def work(client):
            return (await _all(client, message))[-1].task

        task = conversing(scene, work, delegate=short_of_time)
        assert "could not be had and verified within 200 ms" in task.status.message.parts[0].text
        answer = sent(scene)
        reply = type(answer.reply)()
        reply.CopyFrom(answer.reply)
        attach(reply, read(reply.metadata)._replace(result=compute(b"forged"), addresses=(address,)))
        with pytest.raises(UsageError, match="within 200 ms"):
            asyncio.run(Delegator(scene.ours, scene.buyer, limits=limits).check(reply, answer.delegation))


def test_of_many_messages_that_take_for_ever_most_are_turned_away_at_once(scene):
    limits = replace(DEFAULT, a2a_fetch_ms=200, a2a_checks=1, a2a_checks_waiting=3)
    besieged = Delegate(scene.theirs, scene.scanner, Scanner(), limits=limits)
    with silence() as address:

        async def work(client):
            return await asyncio.gather(*(_all(client, named(scene, [address])) for _ in range(8)))

        tasks = [events[-1].task for events in conversing(scene, work, delegate=besieged)]
    told = [task.status.message.parts[0].text for task in tasks]
    assert sum("too many delegations" in one for one in told) == 5
    assert sum("within 200 ms" in one for one in told) == 3
    message = text()
    attached(scene, message)
    assert conversing(scene, lambda client: _all(client, message), delegate=besieged)


async def _all(client, message):
    return [event async for event in client.send_message(SendMessageRequest(message=message))]


def test_a_result_that_is_not_what_was_recorded_is_found_out(scene):
    answer = sent(scene)

    def check(reply, delegation=answer.delegation):
        return asyncio.run(scene.delegator.check(reply, delegation))

    assert check(answer.reply)[0].id == answer.result.id
    with pytest.raises(UsageError, match="another delegation"):
        check(answer.reply, attached(scene, text()))

    def altered(change):
        reply = type(answer.reply)()
        reply.CopyFrom(answer.reply)
        change(reply)
        return reply

    for change in (
        lambda reply: reply.artifacts[0].parts.append(new_text_part("!")),
        lambda reply: reply.artifacts.pop(),
        lambda reply: reply.status.message.parts[0].MergeFrom(new_text_part("not done")),
    ):
        with pytest.raises(UsageError, match="not what the delegate recorded"):
            check(altered(change))

    def result(id):
        said = read(answer.reply.metadata)
        return altered(lambda reply: attach(reply, said._replace(result=id)))

    with pytest.raises(UsageError, match="is undetermined"):
        check(result(compute(b"forged")))
    with pytest.raises(UsageError, match="not made by the delegate"):
        check(result(scene.other.act("something else").id))
    with pytest.raises(UsageError, match="no result came back"):
        check(altered(lambda reply: reply.metadata.Clear()))


def test_nothing_is_delegated_outside_an_executor():
    with pytest.raises(UsageError, match="nothing was delegated"):
        current()


def test_a_task_of_several_messages_has_a_delegation_for_each(scene):
    class Asking(AgentExecutor):
        async def execute(self, context, event_queue):
            updater = TaskUpdater(event_queue, context.task_id, context.context_id)
            if context.current_task is None:
                await event_queue.enqueue_event(new_task_from_user_message(context.message))
                await updater.add_artifact([new_text_part("half")], artifact_id="a")
                await updater.requires_input(updater.new_agent_message([new_text_part("which?")]))
            else:
                await updater.add_artifact([new_text_part("whole")], artifact_id="b")
                await updater.complete()

        async def cancel(self, context, event_queue):
            raise NotImplementedError

    async def work(client):
        first = await scene.delegator.send(client, scene.card, text(), scene.grant, expires=soon())
        more = text("that one")
        more.task_id, more.context_id = first.reply.id, first.reply.context_id
        second = await scene.delegator.send(client, scene.card, more, scene.grant, expires=soon())
        task = await client.get_task(GetTaskRequest(id=first.reply.id))
        return first, second, task

    first, second, task = conversing(scene, work, delegate=Delegate(scene.theirs, scene.scanner, Asking()))
    assert first.delegation.id != second.delegation.id and first.result.id != second.result.id
    assert read(task.metadata).result == second.result.id
