"""The tenant's side: having records sequenced in a shared log, and holding that log to what it said.

What a tenant hands over are ids. What it gets is a record of the operator's own log, sealed, which says at which
position they stand and what the log was before; it verifies that as any stranger would, and takes note of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import trio

from tslg.node.agent import BlockingAgent
from tslg.node.node import Node
from tslg.node.sharing.entries import SOURCE, TASK, Entry, entries_of, read_entry
from tslg.protocol.access import covers
from tslg.protocol.access_rules import Readers
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, UsageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record
from tslg.protocol.report import VALID

POLICY: Final = "shared-log"
"""Name of the policy that a tenant grants to the operator: it allows to sequence, and nothing else."""
DAY_MS: Final = 86_400_000


def granted(agent: BlockingAgent, node: Node, operator: Link) -> Link:
    """Return the policy under which an operator sequences for an agent; recorded, and opened to it, at the first time.

    Raises:
        UsageError: the agent has recorded a state, which would lie behind every delegation, for the operator to read.
    """
    home = node.home
    if home.ledger.prior(agent.id) != agent.id:
        raise UsageError(
            f"{agent.name} has recorded states, and an operator would read the newest one",
            mend="let an agent of its own anchor for you: tslg agent new NAME",
        )
    for id in home.store.by_kind("policy", agent.id):
        held = home.ledger.context.record(id)
        if held is not None and held.body["name"] == POLICY and not home.ledger.context.superseding(id):
            policy = held
            break
    else:
        policy = agent.policy(POLICY, capabilities=[TASK])
    access = node.gatekeeper.access()
    reader = Readers(agents=frozenset((operator,)))
    if access is not None and covers(access.grantable, reader, node.gatekeeper.members):
        opened = [one for one, ended in node.gatekeeper.rules(agent.id) if one.grants and not ended]
        if not any(operator in one.readers.agents and policy.id in (one.records or ()) for one in opened):
            agent.access_rule("grant", agents=[operator], records=[policy])
    return policy.id


async def submit(
    node: Node,
    agent: BlockingAgent,
    operator: Link,
    ids: Iterable[Link],
    peer: str,
    *,
    limits: Limits = DEFAULT,
) -> Entry:
    """Have ids sequenced in a shared log, verify where they stand, and take note of it in the agent's own log.

    Ids that the agent has a receipt for, all in one entry, are not sequenced again.

    Args:
        node: the tenant's node, on a network.
        agent: who has it done; an agent that records no states.
        operator: the operator's agent.
        ids: what is sequenced: records of the tenant's.
        peer: the address of the operator's node.
        limits: how many ids one entry has.

    Raises:
        UsageError: too many ids, or none. NetworkError: the operator cannot be reached, declines, or answered with what
            is no such entry. Refusal: the federation does not let this agent delegate, or cite the operator.
    """
    wanted = tuple(sorted(set(ids)))
    if not 0 < len(wanted) <= limits.shared_ids:
        raise UsageError(f"{len(wanted)} ids for one entry", mend=f"give 1 to {limits.shared_ids}")
    before = await trio.to_thread.run_sync(receipted, node, agent, operator, wanted)
    if before is not None:
        return before
    policy = await trio.to_thread.run_sync(granted, agent, node, operator)
    expires = node.home.clock() + DAY_MS
    delegation, result = await node.delegate(agent, operator, {TASK: list(wanted)}, policy, peer=peer, expires=expires)
    report = await node.fetch(result, [peer])
    record = report.records.get(result)
    entry = None if record is None or report.verdict != VALID else read_entry(record)
    expected = (operator, agent.id, delegation.id, wanted)
    if entry is None or (entry.record.owner, entry.tenant, entry.delegation, entry.ids) != expected:
        raise NetworkError(
            f"what the operator answered is {report.verdict}, and no entry for these ids",
            code="TSLG-N-SHARED",
            mend="keep the delegation and the answer as proof, and ask the operator",
            record=result,
        )
    await trio.to_thread.run_sync(note, agent, entry)
    return entry


def receipted(node: Node, agent: BlockingAgent, operator: Link, ids: tuple[Link, ...]) -> Entry | None:
    """Return the entry with just these ids for which an agent has a receipt, None if there is none."""
    home = node.home
    found = entries_of(home.store, home.ledger.context, agent.id, operator)
    return next((entry for entry in found if entry.ids == ids), None)


def note(agent: BlockingAgent, entry: Entry) -> Record:
    """Record that an entry stands where it does; whoever audits that holds the shared log against it."""
    said = {"position": entry.position, "entries": list(entry.ids)}
    return agent.observe(SOURCE, said, evidence=entry.record)


def entry_with(node_entries: Iterable[Entry], id: Link) -> Entry:
    """Return the newest of these entries with an id in it. Raises UsageError `TSLG-U-UNKNOWN`."""
    for entry in node_entries:
        if id in entry.ids or id == entry.record.id:
            return entry
    raise UsageError(
        f"there is no receipt for {short(id)} here", code="TSLG-U-UNKNOWN", mend="`tslg shared submit` it", record=id
    )
