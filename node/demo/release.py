"""Vendor A: the release agent, which grants, delegates, checks what comes back, and decides: ship or hold."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import trio

from tslg.node.agent import BlockingAgent
from tslg.node.demo.errors import DemoError
from tslg.node.demo.inspection import Environment
from tslg.node.demo.judging import GRANTED, INSPECT, LIMITS, OK, OUTCOMES, RELEASE
from tslg.node.node import Node
from tslg.node.verifying import Tick
from tslg.protocol.codec import Link
from tslg.protocol.record import Record
from tslg.protocol.report import VALID, Report

NAME: Final = "vendor-a-release"
VALID_MS: Final = 10 * 60 * 1000
"""How long the delegation holds."""
SHIP: Final = "ship"
HOLD: Final = "hold"
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class Charge:
    """What vendor A recorded before it asked: what it saw of its environment itself, and what it grants."""

    observed: Record
    grant: Record
    fingerprint: str
    distributions: int
    expires: int


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: to what charge, the summary, the report of its verification, and the decisions it rests on."""

    given: Charge
    delegation: Record
    summary: Record
    report: Report
    decisions: tuple[Record, ...]

    @property
    def not_ok(self) -> tuple[Record, ...]:
        """The decisions that are not `ok`, worst first."""
        odd = [record for record in self.decisions if record.body["outcome"] != OK]
        return tuple(sorted(odd, key=lambda record: (-OUTCOMES.index(record.body["outcome"]), record.body["name"])))


def charge(agent: BlockingAgent, found: Environment, now_ms: int) -> Charge:
    """Record the agent's own policy, what it sees of its environment, and the policy that it will grant."""
    expires = now_ms + VALID_MS
    with agent.batch():
        own = agent.policy("release", capabilities=[*GRANTED, RELEASE], limits=LIMITS)
        observed = agent.observe(
            "environment",
            {
                "python": platform.python_version(),
                "implementation": platform.python_implementation(),
                "distributions": len(found.distributions),
                "fingerprint": found.fingerprint(),
            },
        )
        grant = agent.policy("inspection", capabilities=GRANTED, limits=LIMITS, not_after=expires, under=own)
    agent.adopt(own)
    return Charge(observed, grant, found.fingerprint(), len(found.distributions), expires)


async def ask(
    node: Node,
    agent: BlockingAgent,
    given: Charge,
    scanner: Link,
    address: str,
    tell: Callable[[int, int | None], None],
) -> tuple[Record, Link]:
    """Delegate the inspection to the scanner and wait for the id of its answer.

    Raises:
        PeerError: it cannot be reached, refuses, or breaks off.
    """
    task = {"inspect": "python environment", "fingerprint": given.fingerprint, "distributions": given.distributions}
    return await node.delegate(agent, scanner, task, given.grant, peer=address, expires=given.expires, tick=tell)


async def check(
    node: Node, given: Charge, delegation: Record, result: Link, address: str, tick: Tick | None = None
) -> Answer:
    """Fetch the answer with all that it rests on, verify it, and hold the summary against the single decisions.

    Raises:
        DemoError: it is not valid, not an answer to this delegation, or does not add up.
    """
    report = await node.fetch(result, [address], tick=tick)
    if report.verdict != VALID:
        codes = sorted({finding.code for finding in report.findings} | {item.reason for item in report.undetermined})
        raise DemoError(f"vendor B's answer is {report.verdict}: {', '.join(codes)}", record=result)
    summary = report.records[result]
    decisions = _decisions(report.records, summary)
    wrong = _wrong(summary, decisions, delegation, given)
    if wrong:
        raise DemoError(f"vendor B's answer {wrong}", record=result)
    return Answer(given, delegation, summary, report, decisions)


def _decisions(held: Mapping[Link, Record], summary: Record) -> tuple[Record, ...]:
    """Return the decisions on single distributions: what the groups behind the summary rest on."""
    groups = [held[edge.cid] for edge in summary.edges("evidence") if held[edge.cid].kind == "decision"]
    return tuple(held[edge.cid] for group in groups for edge in group.edges("evidence"))


def _wrong(summary: Record, decisions: Sequence[Record], delegation: Record, given: Charge) -> str | None:
    """Tell what is wrong with an answer whose records are valid one by one."""
    for record in (summary, *decisions):
        if record.kind != "decision" or all(edge.cid != delegation.id for edge in record.edges("delegation")):
            return "rests on something else than decisions under this delegation"
    data = summary.body.get("data", {})
    if data.get("fingerprint") != given.fingerprint:
        return "is about another environment"
    if len(decisions) != given.distributions or any(INSPECT not in record.body.get("uses", ()) for record in decisions):
        return f"rests on {len(decisions)} decisions for {given.distributions} distributions"
    for outcome in OUTCOMES:
        if data.get(outcome) != sum(record.body["outcome"] == outcome for record in decisions):
            return f"counts {data.get(outcome)} as {outcome}, its own decisions do not"
    return None


async def decide(agent: BlockingAgent, answer: Answer) -> Record:
    """Decide on the evidence: ship if every distribution is ok, else hold, naming the reasons."""
    odd = answer.not_ok
    reasons = [f"{record.body['name']}: {record.body['reason']}" for record in odd[:_NAMED]]
    if len(odd) > _NAMED:
        reasons.append(f"and {len(odd) - _NAMED} more")
    counts = {outcome: answer.summary.body["data"][outcome] for outcome in OUTCOMES}
    return await trio.to_thread.run_sync(
        lambda: agent.decide(
            "release",
            HOLD if odd else SHIP,
            evidence=[answer.summary, answer.given.observed],
            reason="; ".join(reasons) or f"all {answer.given.distributions} distributions are ok",
            data=counts,
            uses=[RELEASE],
        )
    )
