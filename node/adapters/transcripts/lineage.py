"""Turns trajectories into records of two agents. Nothing here is durable: the caller holds the transaction.

system prompt   a `policy` of the assistant, its text a blob; one for each distinct prompt of the file
user message    an `observation` of the assistant
assistant turn  a `decision` of the assistant under every system prompt so far, on all that came since its last turn
tool call       a `delegation` by the assistant, and under it an `action` of the tools
tool result     an `observation` of the tools on that action: its outcome
the end         an `observation` of the assistant on everything that nothing cited yet: what to verify

Texts go into blobs; records hold digests, names, places and small numbers.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from tslg.node.adapters.transcripts.model import TEXT, Content, Message, ToolCall, Trajectory, Transcript
from tslg.node.agent import BlockingAgent
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record

FILE_SOURCE: Final = "transcript"
"""`source` of the observation that stands for a whole file."""

END_SOURCE: Final = "trajectory"
"""`source` of the observation that ends a trajectory."""

EXPIRY_MS: Final = 3_600_000
"""How long a tool call's delegation is good: its action follows at once, an hour leaves room for a slow disk."""


class Lineage:
    """Records the trajectories of one file.

    Args:
        assistant: the agent that decides.
        tools: the agent that acts for it.
        fan_in: most edges of one record, by the manifest.
        now_ms: the time, ms since 1970 UTC.

    Attributes:
        contents: what belongs into blobs, by digest.
        kinds: how many records of each kind were made.
    """

    def __init__(self, assistant: BlockingAgent, tools: BlockingAgent, fan_in: int, now_ms: int) -> None:
        self.contents: dict[bytes, bytes] = {}
        self.kinds: Counter[str] = Counter()
        self._assistant = assistant
        self._tools = tools
        self._fan_in = fan_in
        self._expires = now_ms + EXPIRY_MS
        self._capabilities: dict[bytes | None, set[str]] = {}
        self._policies: dict[bytes | None, Record] = {}
        self._grants: dict[tuple[str, tuple[Link, ...]], Record] = {}
        self._file: Record | None = None

    def begin(self, transcript: Transcript) -> Record:
        """Record the file that everything else comes from, and find out which tools occur under which prompt."""
        for trajectory in transcript.trajectories:
            for prompt in _prompts(trajectory):
                self._capabilities.setdefault(prompt, set()).update(map(capability, trajectory.tools))
        data = {
            "digest": transcript.digest,
            "size": transcript.size,
            "trajectories": len(transcript.trajectories),
            "messages": transcript.messages,
            "tools": self._tools.id,
        }
        self._file = self._made(self._assistant.observe(FILE_SOURCE, data))
        return self._file

    def trajectory(self, index: int, trajectory: Trajectory) -> Record:
        """Record one trajectory; return the record that ends it, from which all of it can be reached."""
        if self._file is None:
            raise UsageError("the file is not recorded yet", mend="call `begin` first")
        policies: list[Record] = []
        pending = [self._file]
        actions: dict[tuple[int, int], Record] = {}
        for number, message in enumerate(trajectory.messages):
            if message.role == "system":
                policy = self._policy(message)
                if policy not in policies:
                    policies.append(policy)
                if message.extra is not None:
                    pending.append(self._observe(self._assistant, number, Message("system", extra=message.extra)))
            elif message.role == "assistant":
                in_force = policies or [self._policy(None)]
                decision = self._turn(number, message, in_force, pending)
                pending = [decision]
                for place, call in enumerate(message.calls):
                    actions[number, place] = self._call(number, place, call, decision, in_force)
            elif message.answers is not None:
                pending.append(self._observe(self._tools, number, message, actions.pop(message.answers)))
            else:
                pending.append(self._observe(self._assistant, number, message))
        data = {
            "index": index,
            "messages": len(trajectory.messages),
            **trajectory.about,
            **self._extra(trajectory.extra),
        }
        return self._made(
            self._assistant.observe(
                END_SOURCE,
                data,
                evidence=self._gathered([self._file, *pending, *actions.values()], 1),
            )
        )

    # --- single messages ---------------------------------------------------------------------------------------------

    def _policy(self, message: Message | None) -> Record:
        """Return the policy for a system prompt; for None, that of turns before or without one."""
        content = None if message is None else _prompt(message)
        prompt = None if content is None else content.digest
        found = self._policies.get(prompt)
        if found is None:
            name = "no system prompt" if prompt is None else f"system prompt {prompt.hex()[:16]}"
            found = self._policies[prompt] = self._made(
                self._assistant.policy(
                    name, capabilities=self._capabilities.get(prompt, ()), document=self._blob(content)
                )
            )
        return found

    def _turn(self, number: int, message: Message, policies: Sequence[Record], pending: list[Record]) -> Record:
        outcome = "call tools" if message.calls else "answer" if message.content is not None else "nothing"
        data: dict[str, Any] = {"index": number, "role": message.role, **self._extra(message.extra)}
        if message.calls:
            data["tools"] = sorted({call.name for call in message.calls})
        return self._made(
            self._assistant.decide(
                "turn",
                outcome,
                policy=policies,
                evidence=self._gathered(pending, 1 + len(policies)),
                data=data,
                blob=self._blob(message.content),
            )
        )

    def _call(self, number: int, place: int, call: ToolCall, decision: Record, policies: Sequence[Record]) -> Record:
        about: dict[str, Any] = {"index": number, "call": place}
        if call.id is not None:
            about["id"] = call.id if len(call.id) <= DEFAULT.transcript_name else _digest_name(call.id)
        task = {"tool": call.name, "arguments": call.arguments.digest, **about}
        delegation = self._made(
            self._assistant.delegate(
                self._tools.id,
                task,
                self._grant(policies, call.name),
                expires=self._expires,
                evidence=decision,
            )
        )
        return self._made(
            self._tools.act(
                call.name,
                about,
                delegation=delegation,
                principal=self._assistant.id,
                blob=self._blob(call.arguments),
                uses=[capability(call.name)],
            )
        )

    def _grant(self, policies: Sequence[Record], tool: str) -> Record:
        """Return the policy that allows one tool and nothing else, no wider than the system prompts' policies."""
        under = tuple(policy.id for policy in policies)
        found = self._grants.get((tool, under))
        if found is None:
            made = self._assistant.policy(f"tool {tool}", capabilities=[capability(tool)], under=under)
            found = self._grants[tool, under] = self._made(made)
        return found

    def _observe(self, agent: BlockingAgent, number: int, message: Message, evidence: Record | None = None) -> Record:
        data = {"index": number, "role": message.role, **self._extra(message.extra)}
        return self._made(agent.observe(message.role, data, evidence=evidence, blob=self._blob(message.content)))

    # --- parts of records --------------------------------------------------------------------------------------------

    def _gathered(self, records: Sequence[Record], others: int) -> Sequence[Record]:
        """Return evidence that fits one record beside `others` edges, gathering it in between where it is too much."""
        most = self._fan_in - others
        if len(records) > most and most < 2:
            raise UsageError(
                f"the manifest's fan-in of {self._fan_in} leaves no room for evidence", mend="raise `fan_in.max` in it"
            )
        while len(records) > most:
            groups = [records[start : start + most] for start in range(0, len(records), most)]
            records = [self._made(self._assistant.observe("gathered", evidence=group)) for group in groups]
        return records

    def _extra(self, content: Content | None) -> dict[str, Any]:
        return {} if content is None else {"extra": self._blob(content)}

    def _blob(self, content: Content | None) -> dict[str, Any] | None:
        if content is None:
            return None
        named = content.named()
        self.contents[named["digest"]] = content.data
        return named

    def _made(self, record: Record) -> Record:
        self.kinds[record.kind] += 1
        return record


def capability(tool: str) -> str:
    """Return the capability to call a tool."""
    return f"tool:{tool}"


def _digest_name(id: str) -> str:
    return f"sha256:{hashlib.sha256(id.encode()).hexdigest()}"


def _prompt(message: Message) -> Content:
    return message.content if message.content is not None else Content(b"", TEXT)


def _prompts(trajectory: Trajectory) -> set[bytes | None]:
    """Return the digests of the prompts under which a trajectory's turns are taken; None for turns before the first."""
    found: set[bytes | None] = set()
    for message in trajectory.messages:
        if message.role == "system":
            found.add(_prompt(message).digest)
        elif message.role == "assistant" and not found:
            found.add(None)
    return found
