"""Works that are commands: handed the delegation as JSON, heard line by line, held to bounds, ended when cancelled."""

from __future__ import annotations

import sys

import pytest
from companies import DAY, grant

from tslg.node.cli.running import _works
from tslg.node.cli.working import LINE_BYTES, work_by
from tslg.protocol.errors import UsageError


def command(body: str) -> list[str]:
    """A program that has the delegation as `given`, and `say` to answer."""
    start = "import json,sys,time\ngiven=json.load(sys.stdin)\ndef say(x): print(json.dumps(x),flush=True)\n"
    return [sys.executable, "-c", start + body]


async def done(company, body, *, cancel=False):
    async with company.node("b") as b, company.node("a") as a:
        bob, alice = await b.agent("bob"), await a.agent("alice")
        b.on_delegation(bob, work_by(body if isinstance(body, list) else command(body)))
        handle = await a.offer(
            alice,
            bob.id,
            {"do": "listen", "n": 3},
            await grant(alice),
            peer="/memory/b/p2p/b",
            expires=company.now + 300 * DAY,
        )
        if cancel:
            while handle.progress != (1, None):
                await a._delegating.outbox.changes.next(handle.delegation.id).wait()
            await handle.cancel()
        await company.until(lambda: handle.state not in ("offered", "accepted", "working"))
        made = b.home.store.by_kind("action")
        return handle, b.home.ledger.context.record(made[0]) if made else None


async def test_a_command_does_what_is_delegated(company):
    body = "say({'done': 1, 'total': 3}); say({'result': {'seen': given['task']['n']}, 'uses': ['listen']})"
    handle, made = await done(company, body)
    assert handle.state == "answered"
    assert handle._outbox.entry(handle.delegation.id).result == made.id
    assert made.body["name"] == "listen" and made.body["input"] == {"do": "listen", "n": 3}
    assert made.body["output"] == {"seen": 3} and made.body["uses"] == ["listen"]
    assert [edge.cid for edge in made.edges("delegation")] == [handle.delegation.id]


@pytest.mark.parametrize(
    ("body", "state", "reason"),
    [
        ("say({'refused': 'not today'})", "refused", "not today"),
        ("sys.exit('the disk is full')", "failed", "exit code 1: the disk is full"),
        ("sys.exit(3)", "failed", "exit code 3: and said nothing"),
        ("pass", "failed", "without a result"),
        ("print('hello')", "failed", "no JSON"),
        ("say({'result': 1})", "failed", "not understood"),
        ("say({'result': {}}); say({'result': {}})", "failed", "two results"),
        ("say({'done': -1, 'total': None})", "failed", "counted in whole numbers"),
        ("say({'result': {'x': 1.5}})", "failed", "TSLG-"),
        ("say({'result': {}, 'uses': ['shout']})", "failed", "TSLG-A-SCOPE"),
        (f"print('x' * {LINE_BYTES * 20})", "failed", "in one line"),
        (["/nonexistent/program"], "failed", "No such file"),
    ],
)
async def test_a_command_that_does_not_is_told_in_one_line(company, body, state, reason):
    handle, made = await done(company, body)
    assert handle.state == state and reason in handle.reason and "\n" not in handle.reason
    assert made is None


async def test_a_command_is_ended_when_its_delegation_is_cancelled(company):
    handle, made = await done(company, "say({'done': 1, 'total': None}); time.sleep(60)", cancel=True)
    assert handle.state == "cancelled" and made is None


def test_commands_are_given_by_agent():
    assert _works(("a=echo 'x y'", "b=true")) == {"a": ["echo", "x y"], "b": ["true"]}
    for wrong in ("a", "=x", "a=", "a='"):
        with pytest.raises(UsageError):
            _works((wrong,))
