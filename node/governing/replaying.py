"""Replaying a step: its plaintexts against its digests, its policy once more, and, if one can, the step itself.

    found = gate.replay(outcome.record, run=lambda inputs: model(inputs["prompt"]))
    found.verdict                                # same, other or undetermined

Nothing is recorded but readings, where the manifest asks for that. Normative text: docs/spec/recording.md.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NamedTuple

from tslg.node.context import StoreContext
from tslg.node.governing import policy_file, predicates
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.cedar import Cedar
from tslg.node.governing.content import Content, digest
from tslg.node.store.interface import Store
from tslg.node.vault.keeping import Plaintexts
from tslg.node.vault.parts import INPUT, RESULT, parts
from tslg.protocol.cid import to_text
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError, UsageError, VaultError
from tslg.protocol.governing.policy import POLICY, Finding, Step, judge
from tslg.protocol.record import Record
from tslg.protocol.recording import STEPS

SAME: Final = "same"
OTHER: Final = "other"
UNDETERMINED: Final = "undetermined"
_NOTHING: Final = sha256(b"").digest()
_DECIDED: Final = (POLICY, "rule:", "cedar", "predicate:")
"""How stages begin at which a policy decides; at the others a step fails for reasons of its own time."""

Run = Callable[[Mapping[str, bytes]], Content]
"""Does a step again: takes its inputs by name, returns its output."""


class Part(NamedTuple):
    """A part of a step: what the record has the digest of, and what the vault had of it.

    Attributes:
        name: of the part.
        digest: as the record has it.
        content: the plaintext, which has this digest; None where it was not to be had.
        why: why not: the code of the vault's error.
    """

    name: str
    digest: bytes
    content: bytes | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the policy that was in force says of the step now.

    Attributes:
        recorded: `admitted`, `decomposed`, or stage and rule of the rejection.
        now: the same for this evaluation; None where it could not be done.
        same: whether they agree; None where nobody can say.
        why: why not, one line.
    """

    recorded: str
    now: str | None
    same: bool | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Replay:
    """What replaying a step showed.

    Attributes:
        record: the step.
        parts: its parts with their plaintexts.
        recorded: the digest of its output or, where that came later, of its result; None where there is none.
        output: what it returned now; None where it was not done again.
        ran: whether it was done again.
        judgement: of its policy.
    """

    record: Record
    parts: tuple[Part, ...]
    recorded: bytes | None
    output: Content
    ran: bool
    judgement: Judgement

    @property
    def same_output(self) -> bool | None:
        """Whether the output is the same; None where it was not done again, or has nothing to be held against."""
        return digest(self.output) == self.recorded if self.ran and self.recorded is not None else None

    @property
    def verdict(self) -> str:
        """`other` if anything differs, `undetermined` if anything cannot be told any more, else `same`.

        What was never kept is not missed, as long as anything was.
        """
        why = {part.why for part in self.parts}
        answers = (self.judgement.same, *((self.same_output,) if self.ran else ()))
        if "TSLG-P-BROKEN" in why or False in answers:
            return OTHER
        nothing = all(part.content is None for part in self.parts)
        return UNDETERMINED if None in answers or nothing or not why <= {"", "TSLG-P-NONE"} else SAME


def replay(
    context: StoreContext,
    store: Store,
    plaintexts: Plaintexts | None,
    own: Container[Link],
    id: Link,
    run: Run | None = None,
) -> Replay:
    """Replay a step that is held here.

    Args:
        context, store: where it is held.
        plaintexts: its vault; None where there is none.
        own: the agents whose policies may name functions that are called here.
        id: the step.
        run: does it again; None to leave that out.

    Raises:
        UsageError: it is no step that is held, or it cannot be done again since an input is missing.
    """
    record = context.record(id)
    if record is None or record.kind not in STEPS:
        raise UsageError("that is no step that is held here", code="TSLG-U-UNKNOWN", record=id)
    found = tuple(_part(record, name, wanted, plaintexts) for name, wanted in parts(record).items())
    recorded = record.body.get("output")
    if recorded is None:
        recorded = _result(record, context, store)
    output: Content = None
    if run is not None:
        output = run(_inputs(found))
    judgement = _judgement(record, found, context, store, trusted=record.owner in own)
    return Replay(record, found, recorded, output, run is not None, judgement)


def _part(record: Record, name: str, wanted: bytes, plaintexts: Plaintexts | None) -> Part:
    if wanted == _NOTHING:
        return Part(name, wanted, b"")
    if plaintexts is None:
        return Part(name, wanted, None, "TSLG-P-NONE")
    try:
        return Part(name, wanted, plaintexts.read(record.id, name))
    except VaultError as error:
        return Part(name, wanted, None, error.code)


def _inputs(found: tuple[Part, ...]) -> dict[str, bytes]:
    inputs = {part.name.removeprefix(INPUT): part.content for part in found if part.name.startswith(INPUT)}
    held = {name: content for name, content in inputs.items() if content is not None}
    missing = sorted(inputs.keys() - held.keys())
    if missing:
        what = f"its input {missing[0]!r} is not to be had, so it cannot be done again"
        raise UsageError(what, mend="replay it without running it")
    return held


def _result(record: Record, context: StoreContext, store: Store) -> bytes | None:
    """Return the digest of a step's result that came after it was admitted."""
    for id in store.children(record.id, ("evidence", FLAT)):
        child = context.record(id)
        if child is not None and child.kind == RESULT and child.owner == record.owner and "output" in parts(child):
            return parts(child)["output"]
    return None


# --- the policy ------------------------------------------------------------------------------------------------------


def _judgement(
    record: Record, found: tuple[Part, ...], context: StoreContext, store: Store, *, trusted: bool
) -> Judgement:
    """Evaluate the policy that the step was taken under, in the words of the manifest that it names."""
    said = {"inference": "admitted", "decomposition": "decomposed", "composite": "composed"}
    recorded = said.get(record.kind) or f"{record.body['stage']} {record.body.get('rule', '')}".strip()
    try:
        now = _evaluated(record, found, context, store, trusted=trusted)
    except TslgError as error:
        return Judgement(recorded, None, None, error.detail)
    if isinstance(now, str):
        return Judgement(recorded, None, None, now)
    if record.kind == "rejection":
        if not record.body["stage"].startswith(_DECIDED):
            why = "it was not the policy that rejected it"
            return Judgement(recorded, "admitted" if now is None else _text(now), True if now is None else None, why)
        wanted = (record.body["stage"], record.body.get("rule"))
        return Judgement(recorded, _text(now), now is not None and (now.stage, now.rule) == wanted)
    return Judgement(recorded, _text(now), now is None)


def _text(finding: Finding | None) -> str:
    return "admitted" if finding is None else f"{finding.stage} {finding.rule}"


def _evaluated(
    record: Record, found: tuple[Part, ...], context: StoreContext, store: Store, *, trusted: bool
) -> Finding | str | None:
    """Return the policy's finding now, None if it admits; or a text that says why nobody can tell."""
    if record.kind not in ("inference", "rejection"):
        return "the policy judges its parts, not the whole"
    lacking = sorted({"model", "model_version", "intent"} - record.body.keys())
    if lacking:
        return f"its {lacking[0]} is withheld"
    manifest = None if record.manifest is None else context.manifest(record.manifest)
    policy = next((one for e in record.edges("policy") if (one := context.record(e.cid)) is not None), None)
    if manifest is None or policy is None or policy.kind != "policy":
        return "its policy or manifest is not held here"
    document = policy.body.get("document")
    text = None if document is None else store.get_blob(document["digest"])
    if text is None:
        return "the text of its policy is not held here"
    if not trusted and _names_functions(text):
        return "its policy is another agent's and names functions, which are not called here"
    envelope = manifest.envelope
    compiled = policy_file.compile_policy(text, envelope.classes, envelope.tiers, name=policy.body["name"])
    narrowed = compiled.policy.within(policy.body)
    cedar = _cedar(record, compiled.cedar, context)
    facts = _facts(record, found)
    step = _step(record, facts or {})
    finding = judge(narrowed, step)
    if finding is not None and finding.stage == POLICY:
        # The terms come first, and look at no facts.
        return finding
    if facts is None and (narrowed.rules or cedar or compiled.predicates):
        return "its facts were not kept, and the policy looks at them"
    for words in cedar:
        finding = finding or Cedar(words, to_text(record.owner)).judge(step)
    for predicate in compiled.predicates:
        finding = finding or predicates.ask(predicate, _candidate(record, step, found))
    return finding


def _names_functions(text: bytes) -> bool:
    """Tell whether a policy file names functions of Python; importing one is running it."""
    given = policy_file.table(text)
    intents = given.get("intents")
    broken_down = intents.values() if isinstance(intents, dict) else ()
    return "predicate" in given or any(isinstance(one, dict) and "decompose" in one for one in broken_down)


def _cedar(record: Record, own: str | None, context: StoreContext) -> list[str]:
    """Return the Cedar texts that all had to permit it: the policy's, and those of what was granted."""
    texts = [] if own is None else [own]
    for edge in record.edges("delegation"):
        delegation = context.record(edge.cid)
        if delegation is None or delegation.kind != "delegation":
            continue
        grant = context.record(delegation.body["grant"])
        if grant is not None and "cedar" in grant.body and grant.body["cedar"] not in texts:
            texts.append(grant.body["cedar"])
    return texts


def _facts(record: Record, found: tuple[Part, ...]) -> dict[str, Any] | None:
    """Return what rules could look at, None where nobody can tell any more."""
    if "facts" not in record.body:
        return None
    held = next((part.content for part in found if part.name == "facts"), None)
    if held == b"":
        return {}
    value = None if held is None else json.loads(held)
    return value if isinstance(value, dict) else None


def _step(record: Record, facts: Mapping[str, Any]) -> Step:
    body = record.body
    return Step(
        body["intent"],
        body["model"],
        body["model_version"],
        body.get("tier"),
        body.get("grain", "call"),
        frozenset(body.get("uses", ())),
        body.get("spends", {}),
        facts,
    )


def _candidate(record: Record, step: Step, found: tuple[Part, ...]) -> Candidate:
    """Return the candidate as far as it is known; what is text is taken for text, since nothing says what it was."""
    held = {part.name: _as_text(part.content) for part in found if part.content is not None}
    return Candidate(
        intent=step.intent,
        model=step.model,
        version=step.version,
        inputs={name.removeprefix(INPUT): content for name, content in held.items() if name.startswith(INPUT)},
        output=held.get("output"),
        tier=step.tier,
        uses=step.uses,
        spends=step.spends,
        token=record.body.get("token"),
        grain=step.grain,
        facts=step.facts,
        scratch=held.get("scratch"),
        activations=held.get("activations"),
        tools=held.get("tools"),
    )


def _as_text(content: bytes) -> Content:
    try:
        return content.decode()
    except UnicodeDecodeError:
        return content
