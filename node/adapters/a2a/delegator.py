"""The caller's side of A2A: a delegation goes out with a message, and what comes back is verified before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from a2a.client import ClientCallContext
from a2a.client.service_parameters import ServiceParametersFactory, with_a2a_extensions
from a2a.types.a2a_pb2 import GetTaskRequest, Message, SendMessageRequest, Task

from tslg.node.adapters.a2a.extension import (
    URI,
    Attached,
    answer_digest,
    attach,
    party_of,
    read,
    refused,
    request_digest,
)
from tslg.node.adapters.a2a.fetching import fetched
from tslg.node.agent import BlockingAgent, in_thread
from tslg.node.authoring import Reference, References
from tslg.node.background import BackgroundNode
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record
from tslg.protocol.report import Report

if TYPE_CHECKING:
    from a2a.client import Client
    from a2a.types.a2a_pb2 import AgentCard


class Answer(NamedTuple):
    """What an agent answered, verified.

    Attributes:
        reply: the task or the message.
        delegation: under which it was asked for.
        result: the delegate's record of it, kept here: cite it as evidence of what is built on it.
        report: of the result's ancestry.
    """

    reply: Task | Message
    delegation: Record
    result: Record
    report: Report


class Delegator:
    """Sends messages under delegations of an agent of this node.

    Args:
        node: a running node, on a network.
        agent: who delegates.
        limits: for how long what comes back is fetched and verified.
    """

    def __init__(self, node: BackgroundNode, agent: BlockingAgent, *, limits: Limits = DEFAULT) -> None:
        self._node = node
        self._agent = agent
        self._limits = limits

    async def send(
        self,
        client: Client,
        card: AgentCard,
        message: Message,
        grant: Reference,
        *,
        expires: int,
        evidence: References = None,
    ) -> Answer:
        """Delegate what a message asks for, send it, and verify what comes back.

        Args:
            client: speaks to the agent of the card.
            card: the agent's card, which names its id and node.
            message: what is asked for; its `message_id` must be new.
            grant: the policy under which it may be done.
            expires: ms since 1970 UTC.
            evidence: records that the delegation rests on.

        Raises:
            UsageError: `TSLG-U-DELEGATION`: it was refused, or what came back is not what the delegate recorded.
        """
        delegation = await self.attach(message, card, grant, expires=expires, evidence=evidence)
        context = ClientCallContext(service_parameters=ServiceParametersFactory.create([with_a2a_extensions([URI])]))
        reply: Task | Message | None = None
        task_id = ""
        async for event in client.send_message(SendMessageRequest(message=message), context=context):
            kind = event.WhichOneof("payload")
            if kind == "message":
                reply = event.message
            elif kind == "task":
                reply, task_id = event.task, event.task.id
            else:
                reply, task_id = None, getattr(event, kind).task_id
        if reply is None:
            # A stream tells of changes only.
            reply = await client.get_task(GetTaskRequest(id=task_id))
        result, report = await self.check(reply, delegation)
        return Answer(reply, delegation, result, report)

    async def attach(
        self, message: Message, card: AgentCard, grant: Reference, *, expires: int, evidence: References = None
    ) -> Record:
        """Record a delegation of what a message asks for, and name it in the message. Arguments as for `send`."""
        party = party_of(card)
        if party.federation != self._node.federation:
            raise refused("the agent belongs to another federation", "ask one of this federation")
        task = {"a2a": request_digest(message)}
        made = await in_thread(
            lambda: self._agent.delegate(party.agent, task, grant, expires=expires, evidence=evidence)
        )
        attach(message, Attached(party.federation, made.id, self._node.addresses))
        return made

    async def check(self, reply: Task | Message, delegation: Record) -> tuple[Record, Report]:
        """Verify that what came back is what the delegate recorded as the result, and keep that.

        Raises:
            UsageError: `TSLG-U-DELEGATION`.
        """
        said = read(reply.metadata)
        if said is None or said.result is None:
            raise refused(f"no result came back{_reason(reply)}")
        if said.delegation != delegation.id:
            raise refused("the result is said to be that of another delegation")
        record, report = await fetched(self._node, "the result", said.result, said.addresses, self._limits)
        if record.owner != delegation.body["delegate"] or delegation.id not in {
            edge.cid for edge in record.edges("delegation")
        }:
            raise refused("the result was not made by the delegate, under this delegation")
        message = reply.status.message if isinstance(reply, Task) and reply.status.HasField("message") else None
        artifacts = reply.artifacts if isinstance(reply, Task) else ()
        told = answer_digest(artifacts, reply if isinstance(reply, Message) else message)
        output = record.body.get("output")
        if not isinstance(output, dict) or output.get("answer") != told:
            raise refused("what came back is not what the delegate recorded")
        return record, report


def _reason(reply: Task | Message) -> str:
    """Return what a task that was refused says."""
    if isinstance(reply, Message) or not reply.status.HasField("message"):
        return ""
    text = " ".join(part.text for part in reply.status.message.parts)
    return ": " + "".join(char if char.isprintable() else " " for char in text[:300])
