"""Vendor B: a scanner agent on a node of its own, in a process of its own. `python -m tslg.node.demo.scanner --help`

It writes `{"attest": HEX}` once, if its genesis needs the anchors, and reads `{"seal": HEX}`; then writes
`{"agent", "name", "peer_id", "addresses", "process"}` and serves until its input ends.
"""

from __future__ import annotations

import argparse
import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import trio

from tslg.node.agent import BlockingAgent
from tslg.node.demo.children import Lines, parent, write_line
from tslg.node.demo.errors import DemoError
from tslg.node.demo.federation import join
from tslg.node.demo.inspection import NAMED, Environment, Inspection, environment, inspect_all
from tslg.node.demo.judging import MISMATCHED, MISSING, OK, OUTCOMES, SUMMARISE, Judgement, judge, worst
from tslg.node.node import Node
from tslg.node.store.interface import Store
from tslg.protocol import cid
from tslg.protocol import record as records
from tslg.protocol.errors import TslgError
from tslg.protocol.record import Record

NAME: Final = "vendor-b-scanner"
SOURCE: Final = "importlib.metadata"
LOOPBACK: Final = "/ip4/127.0.0.1/tcp/0"
GROUP: Final = 64
"""Distributions whose decisions one group decision rests on; leaves room within any manifest's fan-in."""
GROUPS: Final = 64
"""Groups that the summary rests on, which bounds an environment to 4,096 distributions."""
ATTEST_SECONDS: Final = 30.0

Tell = Callable[[int, int | None], None]


class _Decided(NamedTuple):
    """One distribution's decision, with what it rests on."""

    record: Record
    seen: Inspection
    judgement: Judgement


def scan(agent: BlockingAgent, delegation: Record, policy: Mapping[str, Any], found: Environment, tell: Tell) -> Record:
    """Inspect every distribution; record evidence and a decision for each, then groups, then the summary.

    Args:
        agent: vendor B's.
        delegation: under which it works.
        policy: the body of the granted policy.
        found: what is installed.
        tell: is told how many of how many are done.

    Returns the summary decision, which rests on the groups, which rest on the distributions' decisions.

    Raises:
        DemoError: there are too many distributions. Refusal: an admission rule refuses a record.
    """
    total = len(found.distributions)
    if total > GROUP * GROUPS:
        raise DemoError(f"{total} distributions are more than the {GROUP * GROUPS} that this demonstration inspects")
    inspected = inspect_all(found.distributions)
    decided: list[_Decided] = []
    groups: list[Record] = []
    pending: list[Inspection] = []
    for done, seen in enumerate(inspected, start=1):
        pending.append(seen)
        tell(done, total)
        if len(pending) == GROUP or done == total:
            with agent.batch():
                group = [_decide(agent, delegation, policy, item) for item in pending]
                groups.append(_decide_group(agent, delegation, group))
            decided += group
            pending.clear()
    return _summarise(agent, delegation, found, decided, groups)


def _decide(agent: BlockingAgent, delegation: Record, policy: Mapping[str, Any], seen: Inspection) -> _Decided:
    evidence = agent.observe(SOURCE, _evidence(seen), delegation=delegation)
    judgement = judge(seen, policy)
    decision = agent.decide(
        seen.name,
        judgement.outcome,
        evidence=evidence,
        delegation=delegation,
        reason="; ".join(judgement.reasons) or None,
        data={"version": seen.version, MISSING: len(seen.missing), MISMATCHED: len(seen.mismatched)},
        uses=judgement.uses,
        spends=judgement.spends,
    )
    return _Decided(decision, seen, judgement)


def _evidence(seen: Inspection) -> dict[str, Any]:
    return {
        "name": seen.name,
        "version": seen.version,
        "licence": seen.licence.expression,
        "licence_from": seen.licence.source,
        "requires": list(seen.requires),
        "required": seen.required,
        "editable": seen.editable,
        "unreadable": seen.unreadable,
        "files": len(seen.files),
        "bytes": seen.size,
        "listing": hashlib.sha256(seen.listing).hexdigest(),
        "unhashed": seen.unhashed,
        MISSING: len(seen.missing),
        "missing": list(seen.missing[:NAMED]),
        MISMATCHED: len(seen.mismatched),
        "mismatched": list(seen.mismatched[:NAMED]),
    }


def _decide_group(agent: BlockingAgent, delegation: Record, group: Sequence[_Decided]) -> Record:
    first, last = group[0].seen.name, group[-1].seen.name
    return agent.decide(
        first if first == last else f"{first} to {last}",
        worst([item.judgement.outcome for item in group]),
        evidence=[item.record for item in group],
        delegation=delegation,
        data=_counts(group),
        uses=[SUMMARISE],
    )


def _counts(decided: Sequence[_Decided]) -> dict[str, int]:
    outcomes = [item.judgement.outcome for item in decided]
    return {
        "distributions": len(decided),
        **{outcome: outcomes.count(outcome) for outcome in OUTCOMES},
        "files": sum(len(item.seen.files) for item in decided),
        "bytes": sum(item.seen.size for item in decided),
        MISSING: sum(len(item.seen.missing) for item in decided),
        MISMATCHED: sum(len(item.seen.mismatched) for item in decided),
    }


def _summarise(
    agent: BlockingAgent,
    delegation: Record,
    found: Environment,
    decided: Sequence[_Decided],
    groups: Sequence[Record],
) -> Record:
    """Decide on the whole; the listing of every file goes into a blob, whose digest the decision carries."""
    lines = (f"{item.seen.name}=={item.seen.version}\n".encode() + item.seen.listing for item in decided)
    observed = agent.observe(
        "environment",
        {"fingerprint": found.fingerprint(), "distributions": len(decided), "shadowed": found.shadowed},
        content=b"".join(lines),
        media_type="text/csv",
        delegation=delegation,
    )
    outcome = worst([item.judgement.outcome for item in decided])
    odd = [item.seen.name for item in decided if item.judgement.outcome != OK]
    return agent.decide(
        "environment",
        outcome,
        evidence=[observed, *groups],
        delegation=delegation,
        reason=None if outcome == OK else f"{len(odd)} of {len(decided)} distributions are not ok",
        data={**_counts(decided), "fingerprint": found.fingerprint()},
        uses=[SUMMARISE],
    )


def granted_policy(store: Store, delegation: Record) -> Mapping[str, Any]:
    """Return the body of the policy that a delegation grants, as this node's store holds it.

    Raises:
        DemoError: the store does not hold it.
    """
    entry = store.get(delegation.body["grant"])
    if entry is None:
        raise DemoError("the granted policy did not come with the delegation", record=delegation.id)
    return records.parse_as(delegation.body["grant"], entry.data).body


# --- the process ---------------------------------------------------------------------------------------------------


async def _ask_parent(lines: Lines, request: bytes) -> bytes:
    write_line({"attest": request.hex()})
    with trio.fail_after(ATTEST_SECONDS):
        answer = await lines.receive()
    if not isinstance(answer, dict) or not isinstance(answer.get("seal"), str):
        raise DemoError("no seal for the scanner's genesis")
    return bytes.fromhex(answer["seal"])


async def _serve(data: Path, federation: Path) -> None:
    async with parent() as lines, Node.open(data, federation=federation, listen=LOOPBACK) as node:
        agent = await join(node.home, NAME, lambda request: _ask_parent(lines, request))

        def work(agent: BlockingAgent, delegation: Record, tell: Tell) -> Record:
            return scan(agent, delegation, granted_policy(node.home.store, delegation), environment(), tell)

        node.on_delegation(agent, work)
        assert node.network is not None
        write_line(
            {
                "agent": cid.to_text(agent.id),
                "name": agent.name,
                "peer_id": node.network.peer_id,
                "addresses": list(node.addresses),
                "process": os.getpid(),
            }
        )
        while await lines.receive() is not None:
            pass


def main() -> None:
    """Run vendor B's node until standard input ends."""
    parser = argparse.ArgumentParser(description="Vendor B's scanner agent, on a node of its own.")
    parser.add_argument("--data", type=Path, required=True, help="its data directory, made if it is not there")
    parser.add_argument("--federation", type=Path, required=True, help="file with the sealed root manifest")
    arguments = parser.parse_args()
    try:
        trio.run(_serve, arguments.data, arguments.federation)
    except TslgError as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
