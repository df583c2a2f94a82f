"""The operator's side: an agent whose work is to give what tenants delegate a place in its own log.

node.on_delegation(operator, sequencer(node.gatekeeper, tenants, limits), again=True)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection

from tslg.node.access import Gatekeeper
from tslg.node.agent import BlockingAgent
from tslg.node.delegating.works import Declined, Progress
from tslg.node.sharing.entries import BLIND_BYTES, SOURCE, TASK, read_entry, read_ids
from tslg.protocol.access import STRANGER, Reader, decide
from tslg.protocol.access_rules import Subject
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record


def sequencer(
    keeper: Gatekeeper,
    tenants: Collection[Link] = (),
    limits: Limits = DEFAULT,
    random_bytes: Callable[[int], bytes] = os.urandom,
) -> Callable[[BlockingAgent, Record, Progress], Record]:
    """Return a work that sequences: see `Node.on_delegation`.

    Args:
        keeper: the node's gatekeeper, who must keep entries from everybody but their tenant.
        tenants: whose records are sequenced; any agent's of the federation if empty.
        limits: how many ids one entry has.
        random_bytes: a source of secret random bytes.
    """

    def sequence(agent: BlockingAgent, delegation: Record, progress: Progress) -> Record:
        tenant = delegation.owner
        if tenants and tenant not in tenants:
            raise Declined("that agent is no tenant of this log", mend="ask its operator to be one")
        ids = read_ids(delegation.body["task"].get(TASK), limits.shared_ids)
        if not ids or delegation.body["task"].keys() != {TASK}:
            raise Declined(
                f"the task is {{{TASK}: a sorted list of up to {limits.shared_ids} ids}}", mend="send such a one"
            )
        open_to = others_who_read(keeper, agent.id, tenant)
        if open_to:
            raise Declined(f"the manifest lets {open_to} read what tenants have here", mend="amend `access` first")
        progress.check()
        # After a crash the work may be begun again: one delegation has one entry.
        context = agent._ledger.context
        for id in agent._ledger.store.children(delegation.id, ("delegation", FLAT)):
            record = context.record(id)
            if record is not None and record.owner == agent.id and read_entry(record) is not None:
                return record
        # Whoever knows all else of an entry cannot confirm by its id, which the tree shows, which records it names.
        data = {"entries": list(ids), "blind": random_bytes(BLIND_BYTES)}
        return agent.observe(SOURCE, data, delegation=delegation)

    return sequence


def others_who_read(keeper: Gatekeeper, operator: Link, tenant: Link) -> str:
    """Return who beside tenant and operator would be let read an entry, its delegation or its answer; empty for nobody.

    What agents say of their own records beside the manifest is not looked at: a tenant may open what is its own.
    """
    access = keeper.access()
    if access is None:
        return "anybody"
    # The federation's own id stands for some member that is none of the two.
    member = Reader(frozenset((keeper.federation,)))
    about = ((operator, tenant, "observation"), (operator, tenant, "answer"), (tenant, operator, "delegation"))
    for reader, name in ((STRANGER, "anybody"), (member, "other members")):
        for owner, party, kind in about:
            subject = Subject(keeper.federation, owner, 0, kind, frozenset((party,)), False)
            if decide(
                reader, subject, access, (), federation=keeper.federation, members=keeper.members, now_ms=0
            ).readable:
                return name
    return ""
