"""`tslg gate check|submit|show`: try a policy, put a step before the gate, and show where the agent stands."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, data_dir, data_option, read_home, write_home
from tslg.node.cli.output import emit, fail, json_option, printable
from tslg.node.cli.recording import chosen_agent

if TYPE_CHECKING:
    from tslg.node.governing.outcome import Outcome
    from tslg.node.governing.policy_file import Compiled
    from tslg.node.home import Home
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record

_REJECTED: Final = 1
"""Exit code of a step that is not admitted, and of a policy that does not hold."""
_NEWEST: Final = 10
_MARKS: Final = {"inference": "admitted", "rejection": "rejected", "decomposition": "decomposed"}


@click.command()
@click.argument("policy", type=FILE)
@click.option("--candidate", type=FILE, help="A step to judge, as JSON; - for stdin. Nothing is recorded.")
@data_option
@json_option
def check(policy: Path, candidate: Path | None, data: Path | None, as_json: bool) -> int:
    """Say whether the policy file POLICY holds, and what it would say of a step.

    Classes and tiers are those of the federation of the data directory, if there is one, or else those that a
    federation gets which is founded on the way.
    """
    from tslg.node.governing import candidate_file
    from tslg.node.governing.errors import GatePolicyError
    from tslg.node.governing.policy_file import compile_policy, read

    classes, tiers, whose = _vocabulary(data)
    try:
        compiled = compile_policy(read(policy), classes, tiers, name=policy.stem)
        finding = None if candidate is None else _asked(compiled, candidate_file.read(candidate))
        _cedar(compiled)
    except GatePolicyError as error:
        if as_json:
            emit({"holds": False, "code": error.code, "detail": error.detail, "mend": error.mend}, True, "")
        else:
            fail(error)
        return _REJECTED
    said = compiled.policy
    told: dict[str, Any] = {
        "holds": True,
        "name": said.name,
        "vocabulary": whose,
        "intents": {name: {"class": one.class_, "tier": one.tier} for name, one in said.intents.items()},
        "rules": [rule.name for rule in said.rules],
    }
    lines = [f"{said.name}: {len(said.intents)} intents, {len(said.rules)} rules; classes and tiers of {whose}"]
    if candidate is not None:
        told |= {"admitted": finding is None}
        told |= {} if finding is None else finding._asdict()
        lines.append("admitted" if finding is None else f"rejected  {finding.stage}  {printable(finding.reason)}")
    emit(told, as_json, "\n".join(lines))
    return 0 if finding is None else _REJECTED


def _vocabulary(data: Path | None) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    """Return classes and tiers by which a policy is checked, and whose they are."""
    path = data_dir(data)
    if data is not None or path.exists():
        with read_home(data) as home:
            envelope = home.manifest.envelope
            return envelope.classes, envelope.tiers, str(path)
    from tslg.manifests import examples, text

    plain = text.parse(examples.read("single-organisation")).envelope
    return tuple(plain["classes"]), tuple(plain["tiers"]), "a federation of one organisation"


def _asked(compiled: Compiled, candidate: Any) -> Any:
    from tslg.node.governing.candidate import check
    from tslg.node.governing.judging import judged

    check(candidate)
    return judged(compiled, candidate)


def _cedar(compiled: Compiled) -> None:
    from tslg.node.governing.cedar import Cedar

    if compiled.cedar is not None:
        Cedar(compiled.cedar, "")


@click.command()
@click.argument("policy", type=FILE)
@click.argument("candidate", type=FILE)
@click.option("--agent", "author", help="The agent whose step it is, by name.  [the only one here]")
@data_option
@json_option
def submit(policy: Path, candidate: Path, author: str | None, data: Path | None, as_json: bool) -> int:
    """Judge the step in the JSON file CANDIDATE (- for stdin) by POLICY, and record what was decided."""
    from tslg.node.governing import candidate_file
    from tslg.node.governing.gate import Gate

    given = candidate_file.read(candidate)
    with write_home(data) as home:
        outcome = Gate(chosen_agent(home, author), policy).submit(given)
    emit(_told(outcome), as_json, lambda: "\n".join(_lines(outcome)))
    return 0 if outcome.admitted else _REJECTED


def _told(outcome: Outcome) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    return {
        "verdict": outcome.verdict,
        "admitted": outcome.admitted,
        "record": to_text(outcome.record.id),
        "class": outcome.class_,
        "stage": outcome.stage,
        "rule": outcome.rule,
        "reason": outcome.reason,
        "parts": [_told(part) for part in outcome.parts],
    }


def _lines(outcome: Outcome, depth: int = 0) -> list[str]:
    from tslg.protocol.cid import to_text

    more = f"  {outcome.stage}  {printable(outcome.reason or '')}" if outcome.stage else ""
    line = f"{'  ' * depth}{outcome.verdict}{f'  {outcome.class_}' if outcome.class_ else ''}{more}"
    return [f"{line}  {to_text(outcome.record.id)}"] + [
        inner for part in outcome.parts for inner in _lines(part, depth + 1)
    ]


@click.command()
@click.option("--agent", "name", help="The agent, by name.  [the only one here]")
@data_option
@json_option
def show(name: str | None, data: Path | None, as_json: bool) -> None:
    """Show an agent's semantic state, the record that led to it, and its newest governed steps."""
    from tslg.node import semantic
    from tslg.node.governing.writing import kept_state
    from tslg.protocol.cid import to_text

    with read_home(data) as home:
        owner = _own_log(home, name)
        find = home.ledger.context.record
        at = semantic.read(home.store, owner, find)
        state = kept_state(home.store, owner, at.digest)
        ids = [id for kind in _MARKS for id in home.store.by_kind(kind, owner, limit=_NEWEST)]
        steps = sorted((one for one in map(find, ids) if one is not None), key=lambda one: -one.seq)[:_NEWEST]
    told = {
        "agent": to_text(owner),
        "state": {"digest": at.digest.hex(), "data": None if state is None else _shown(state)},
        "since": None if at.mover is None else to_text(at.mover),
        "steps": [_step(one) for one in steps],
    }
    emit(told, as_json, lambda: _show_text(told))


def _own_log(home: Home, name: str | None) -> Link:
    """Return the log of an agent of this directory, by name or the only one. Raises UsageError."""
    from tslg.node.cli.access import find_log
    from tslg.protocol.errors import UsageError

    if name is not None:
        return find_log(home.store, name)
    own = [key.genesis.id for key in home.agent_keys()]
    if len(own) != 1:
        raise UsageError(f"{len(own)} agents are here", code="TSLG-U-AMBIGUOUS", mend="name one with --agent")
    return own[0]


def _shown(value: Any) -> Any:
    """Return a state as JSON can say it: bytes in hex."""
    import json

    return json.loads(json.dumps(value, default=lambda item: bytes(item).hex()))


def _step(record: Record) -> dict[str, Any]:
    from tslg.protocol.cid import to_text

    body = record.body
    told = {"record": to_text(record.id), "seq": record.seq, "verdict": _MARKS[record.kind], "intent": body["intent"]}
    return told | {name: body.get(name) for name in ("class", "tier", "stage", "rule", "reason")}


def _show_text(told: dict[str, Any]) -> str:
    import json

    state = told["state"]
    data = "not held here" if state["data"] is None else json.dumps(state["data"], ensure_ascii=False)[:500]
    lines = [f"state  {state['digest'][:16]}  {printable(data)}", f"since  {told['since'] or 'the start'}"]
    for step in told["steps"]:
        why = f"  {step['stage']}: {step['reason']}" if step["stage"] else ""
        lines.append(f"{step['seq']:>6}  {step['verdict']:10}  {printable(step['intent'] + why)}  {step['record']}")
    return "\n".join(lines)
