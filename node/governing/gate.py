"""The gate: what stands between a model and the world.

Each step that a model is about to take is handed over as a candidate. It is judged by a policy, what was decided
becomes a durable record, and only then does the caller learn of it and the agent's semantic state advance.
Normative text: docs/spec/inference.md.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from tslg.node.agent import BlockingAgent
from tslg.node.authoring import References, listed, reference_id
from tslg.node.governing import policy_file
from tslg.node.governing.authority import Authorities, Authority
from tslg.node.governing.candidate import Candidate, check
from tslg.node.governing.cedar import STAGE as CEDAR
from tslg.node.governing.cedar import Cedar
from tslg.node.governing.constituents import Constituents, not_admitted
from tslg.node.governing.content import Content, digest
from tslg.node.governing.entries import Entry
from tslg.node.governing.errors import GatePolicyError
from tslg.node.governing.functions import Functions
from tslg.node.governing.judging import Room, ask, broken_down, step_of
from tslg.node.governing.keeping import StepKeeper, contents_of
from tslg.node.governing.outcome import Outcome
from tslg.node.governing.replaying import Replay, Run, replay
from tslg.node.governing.writing import Append, Writer
from tslg.node.semantic import Move, StaleError
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import CodecError, Refusal, TslgError, UsageError
from tslg.protocol.governing.policy import Finding, Step
from tslg.protocol.record import Record

RECORDING = "recording"
"""The stage of a step of which the manifest has something kept that could not be."""
_CEDARS = 256
"""Cedar texts kept compiled; all but the gate's own come with grants of others."""
PolicySource = str | os.PathLike[str] | bytes | None
"""The path of a policy file, the text of one as bytes, or None for a policy that admits whatever claims nothing."""


class State(NamedTuple):
    """A semantic state.

    Attributes:
        digest: SHA-256 of its DAG-CBOR (32 bytes).
        data: the state itself; None where it is not held here any more.
    """

    digest: bytes
    data: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Judged:
    """A candidate, what it is to be recorded as, and why it is not admitted, if so."""

    candidate: Candidate
    authority: Authority
    body: dict[str, Any]
    class_: str | None
    finding: Finding | None
    parts: tuple[_Judged, ...] = ()
    why: str = ""
    state: bytes | None = None
    """The DAG-CBOR of the semantic state that it moves the agent to."""


class Gate(Functions):
    """Judges and records the steps of one agent. Safe to use from several threads.

    Args:
        agent: whose steps.
        policy: the policy, as `PolicySource` says.
        tier: the capability tier of steps that claim none; None for the policy's.
        delegation: delegations under which all steps are taken that name none.

    Raises:
        GatePolicyError: the policy cannot be run. Refusal: its record is refused.
    """

    def __init__(
        self,
        agent: BlockingAgent,
        policy: PolicySource = None,
        *,
        tier: str | None = None,
        delegation: References = None,
    ) -> None:
        self.agent = agent
        self._keeper = StepKeeper(agent)
        self._text = policy if isinstance(policy, bytes) else None if policy is None else policy_file.read(Path(policy))
        self._name = Path(policy).stem if isinstance(policy, str | os.PathLike) else "gate"
        self._tier = tier
        self._delegation = delegation
        self._writer = agent._step_writer(Writer)
        self._constituents = Constituents(agent, self._writer)
        self._cedar: dict[str, Cedar] = {}
        self._loading = threading.Lock()
        self._load()

    def __repr__(self) -> str:
        return f"<Gate {self.policy.policy.name!r} of {self.agent!r}>"

    def _load(self) -> None:
        """Compile the policy in the words of the manifest in force, and see that it is on record."""
        manifest = self.agent._manifest()
        envelope = manifest.envelope
        self.policy = policy_file.compile_policy(self._text, envelope.classes, envelope.tiers, name=self._name)
        if self.policy.cedar is not None:
            self._cedar_of(self.policy.cedar)
        self._authorities = Authorities(self.agent, self.policy, self._writer.policies)
        self._writer.policy = self._authorities.own.record
        self._manifest = manifest.id

    # --- steps -------------------------------------------------------------------------------------------------------

    def submit(self, candidate: Candidate) -> Outcome:
        """Judge a candidate and record what was decided; the record is durable when this returns.

        Raises:
            Unrecorded: it could not be recorded or anchored, and did not take effect.
            UsageError: it is no candidate, or cites what is not held here. Nothing was recorded.
        """
        check(candidate)
        self._ready()
        judged = self._kept(self._judge(candidate))
        if not judged.parts:
            outcome = self._record(judged, self._writer.write)
        else:
            first = self._parent(judged, None)
            outcome = self._writer.write_together(first, lambda append: self._decomposed(judged, first, append))
        self._keeper.bind(outcome.records())
        return outcome

    def _ready(self) -> None:
        """Go by the manifest in force. Raises UsageError in a batch, where nothing is durable when it is told."""
        if self.agent._ledger.batching:
            raise UsageError("a step is durable before it takes effect", mend="submit it outside the batch")
        if self.agent._ledger.manifest != self._manifest:
            with self._loading:
                if self.agent._ledger.manifest != self._manifest:
                    self._load()

    def stands(self, outcome: Outcome) -> bool:
        """Tell whether what was decided is on record with all of its parts, and none of it is taken back.

        Raises:
            StoreError: that cannot be seen.
        """
        todo = [outcome]
        while todo:
            one = todo.pop()
            parts = one.record.body.get("parts") if one.verdict == "decomposed" else 0
            if len(one.parts) != parts or not self._writer.stands(one.record):
                return False
            todo += one.parts
        return True

    def check(self, candidate: Candidate) -> Finding | None:
        """Return why a candidate would be rejected, None if it would be admitted or decomposed; it is not recorded."""
        check(candidate)
        return self._judge(candidate).finding

    @property
    def keeps_outputs(self) -> bool:
        """Whether the manifest has outputs themselves kept, so that their digests do not do."""
        return "output" in self._keeper.recording.plaintexts

    def finish(self, outcome: Outcome, output: Content, **data: Any) -> Record:
        """Record the result of an admitted step that came after it was admitted; return the observation.

        Args:
            outcome: the step's.
            output: the result; its digest is recorded, and it is kept if the manifest wants outputs kept.
            data: what else to record, as a record can hold it.

        Raises:
            UsageError: the step was not admitted. VaultError, StoreError: it cannot be kept; nothing was recorded.
        """
        if outcome.verdict != "admitted":
            raise UsageError("a step that was not admitted has no result", record=outcome.record.id)
        body = outcome.record.body
        said = {"output": digest(output), **data}
        self._keeper.keep({"output": output})
        made = self.agent.observe(body["intent"], said, evidence=outcome.record)
        self._keeper.bind([made])
        return made

    def compose(
        self,
        outcomes: Iterable[Outcome | Record | Link],
        *,
        rule: str,
        output: Content,
        intent: str = "compose",
        model: str = "composite",
        version: str = "1",
        grain: str = "plan",
        class_: str | None = None,
        tier: str | None = None,
    ) -> Record:
        """Record a result that was put together from admitted steps; return the `composite`.

        Args:
            outcomes: its constituents, this agent's or others'.
            rule: the rule of composition.
            output: the result; only its digest is recorded.
            intent, model, version, grain: as a candidate's; the model is what composed.
            class_: its governance class; by default that of its intent, that of all its parts, or the policy's.
            tier: the capability tier claimed; the gate's by default.

        Raises:
            UsageError: a constituent is no step that is held here, was not admitted or did not take effect. Refusal:
                the policy does not cover it. VaultError, StoreError: the output cannot be kept, or a constituent not
                be looked at.
        """
        self._ready()
        records = [self._constituent(one) for one in outcomes]
        if not records:
            raise UsageError("a composite has parts", mend="name what it was put together from")
        authority = self._authority(None)
        found = authority.policy.intent(intent)
        inputs = {f"{at}": one.body["output"] for at, one in enumerate(records) if "output" in one.body}
        body: dict[str, Any] = {
            "model": model,
            "model_version": version,
            "inputs": inputs,
            "intent": intent,
            "grain": grain,
        }
        body |= {"rule": rule, "output": digest(output)} | self._keeper.digests({})
        scope = {
            "class": class_ or (found.class_ if found else None) or self._class_of(records),
            "tier": tier or self._default_tier,
        }
        body |= {name: value for name, value in scope.items() if value is not None}
        cites = {"part": records, "delegation": authority.delegations or None}
        # Its inputs are the outputs of its constituents, which are kept where these are.
        self._keeper.keep({"output": output})
        made = self._writer.write(Entry("composite", body, authority.record, cites))
        self._keeper.bind([made])
        return made

    def _class_of(self, records: Iterable[Record]) -> str | None:
        classes = {one.body.get("class") for one in records}
        return classes.pop() if len(classes) == 1 else self.policy.class_

    def _constituent(self, one: Outcome | Record | Link) -> Record:
        if isinstance(one, Outcome):
            if not one.admitted:
                raise not_admitted(one.record)
            return one.record
        return self._constituents.held(reference_id(one))

    def replay(self, step: Record | Link, run: Run | None = None) -> Replay:
        """Hold a step against what was kept of it, ask its policy once more and, with `run`, do it again.

        Raises:
            UsageError: it is no step that is held here, or an input that `run` needs is not to be had.
        """
        ledger, id = self.agent._ledger, step.id if isinstance(step, Record) else step
        return replay(ledger.context, ledger.store, ledger.plaintexts, (self.agent.id,), id, run)

    # --- state -------------------------------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """The agent's semantic state, as its durable records have it."""
        found = self._writer.state
        return State(found, self._writer.content(found))

    # --- judging -----------------------------------------------------------------------------------------------------

    @property
    def _default_tier(self) -> str | None:
        return self._tier or self.policy.tier

    def _authority(self, delegation: References) -> Authority:
        return self._authorities.of(self._delegation if delegation is None else delegation)

    def _judge(self, candidate: Candidate, room: Room | None = None) -> _Judged:
        """Judge a candidate, and its parts where it has some; `room` is what is left for these."""
        room = room or Room()
        finding: Finding | None = None
        try:
            authority = self._authority(candidate.delegation)
        except Refusal as error:
            authority, finding = self._authorities.own, Finding("admission", error.code, error.detail)
        step = step_of(candidate, self._default_tier)
        state = None if candidate.state is None else _encoded(candidate.state)
        body = _body(candidate, step) | self._keeper.digests(contents_of(candidate))
        intent = authority.policy.intent(step.intent)
        parts, why = candidate.parts, "it came in parts"
        if finding is None and intent is not None and intent.decompose:
            if not parts:
                parts, why, finding = broken_down(self.policy.decomposers.get(intent.name), candidate, intent.name)
        else:
            # What could be taken whole must be admitted as a whole too: whoever sees all parts admitted may take it so.
            finding = finding or self._asked(candidate, step, authority)
        finding = finding or room.take(parts)
        if parts and finding is None:
            inner = room.inside()
            return _Judged(candidate, authority, body, None, None, tuple(self._judge(one, inner) for one in parts), why)
        class_ = None if intent is None else intent.class_
        if finding is None and intent is not None:
            if intent.uses:
                body["uses"] = sorted(step.uses | intent.uses)
            if class_ is not None:
                body["class"] = class_
        return _Judged(candidate, authority, body, class_, finding, state=state)

    def _asked(self, candidate: Candidate, step: Step, authority: Authority) -> Finding | None:
        try:
            cedars = tuple(map(self._cedar_of, authority.cedar))
        except GatePolicyError as error:
            # The gate's own text was compiled when it was made: this one came with a grant.
            return Finding(CEDAR, "policy", error.detail)
        return ask(authority.policy, cedars, self.policy.predicates, candidate, step)

    def _kept(self, judged: _Judged) -> _Judged:
        """Have kept what the manifest wants of a step and of its parts; what cannot be kept is not admitted."""
        try:
            self._keeper.keep(contents_of(judged.candidate))
        except TslgError as error:
            return replace(judged, finding=judged.finding or Finding(RECORDING, error.code, error.detail), parts=())
        return replace(judged, parts=tuple(map(self._kept, judged.parts))) if judged.parts else judged

    def _cedar_of(self, text: str) -> Cedar:
        found = self._cedar.get(text)
        if found is None:
            if len(self._cedar) >= _CEDARS:
                self._cedar.clear()
            found = self._cedar[text] = Cedar(text, to_text(self.agent.id))
        return found

    # --- recording ---------------------------------------------------------------------------------------------------

    def _record(self, judged: _Judged, append: Append, parent: Link | None = None) -> Outcome:
        """Record what was decided of one candidate."""
        if judged.parts:
            return self._decomposed(judged, self._parent(judged, parent), append)
        entry = self._entry(judged, parent)
        finding = judged.finding
        if finding is None:
            try:
                return Outcome("admitted", append(entry), judged.class_)
            except StaleError as error:
                finding = Finding("state", "upon", error.detail)
            except (Refusal, UsageError) as error:
                if not isinstance(error, Refusal) and error.code != "TSLG-U-WITHDRAWN":
                    raise
                finding = Finding("admission", error.code, error.detail)
            record = append(entry.rejected(finding))
        else:
            try:
                record = append(entry.rejected(finding, resting=True))
            except Refusal:
                record = append(entry.rejected(finding))
        said = record.body
        return Outcome("rejected", record, None, said["stage"], said["rule"], said["reason"])

    def _decomposed(self, judged: _Judged, first: Entry, append: Append) -> Outcome:
        record = append(first)
        parts = tuple(self._record(part, append, record.id) for part in judged.parts)
        return Outcome("decomposed", record, parts=parts)

    def _parent(self, judged: _Judged, parent: Link | None) -> Entry:
        body = {name: value for name, value in judged.body.items() if name not in ("uses", "spends", "tier")}
        body |= {"parts": len(judged.parts), "reason": judged.why}
        return Entry("decomposition", body, judged.authority.record, self._cites(judged, parent))

    def _entry(self, judged: _Judged, parent: Link | None) -> Entry:
        candidate = judged.candidate
        move = Move(upon=candidate.upon)
        if judged.state is not None and judged.finding is None:
            content = judged.state
            move = Move(hashlib.sha256(content).digest(), candidate.upon, content=content)
            self._writer.remember(content)
        return Entry("inference", judged.body, judged.authority.record, self._cites(judged, parent), move)

    def _cites(self, judged: _Judged, parent: Link | None) -> dict[str, References]:
        candidate = judged.candidate
        return {
            "evidence": listed(candidate.evidence) or None,
            "delegation": judged.authority.delegations or None,
            "observes": listed(candidate.observes) or None,
            "part": parent,
        }


def _encoded(state: Mapping[str, Any]) -> bytes:
    """Return a semantic state's DAG-CBOR. Raises UsageError."""
    try:
        return codec.encode(dict(state))
    except CodecError as error:
        raise UsageError(
            f"the semantic state cannot be recorded: {error.detail}",
            code="TSLG-G-CANDIDATE",
            mend="keep it to text, integers, true, false, null, bytes, lists and maps",
        ) from error


def _body(candidate: Candidate, step: Step) -> dict[str, Any]:
    """Return what every outcome of a candidate states."""
    body: dict[str, Any] = {
        "model": candidate.model,
        "model_version": candidate.version,
        "inputs": candidate.digests(),
        "intent": candidate.intent,
        "grain": candidate.grain,
    }
    if candidate.output is not None:
        body["output"] = digest(candidate.output)
    if candidate.token is not None:
        body["token"] = candidate.token
    if step.tier is not None:
        body["tier"] = step.tier
    if step.uses:
        body["uses"] = sorted(step.uses)
    if step.spends:
        body["spends"] = dict(step.spends)
    return body
