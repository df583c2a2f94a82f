"""Challenges: what was in a log is proved, what never was is disproved, and no false answer is believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pruning_scene import Clock, Setting, let_go, live

from tslg.node import challenging
from tslg.protocol import challenge, codec
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.record import build, parse_as


@pytest.fixture
def scene(tmp_path):
    clock = Clock()
    setting = Setting(tmp_path / "home", clock)
    with setting.open() as home:
        agent, seen, decided = live(home)
        clock.now += 5_000
        agent.observe("sensor")
        let_go(home, agent)
        agent.observe("and on")
        yield home, agent, seen, decided


def forged(home, record):
    """A record that its author might have made at that place, and did not."""
    value = {name: getattr(record, name) for name in ("kind", "agent", "seq", "prev", "time", "manifest", "key", "log")}
    return build(**value, preds=record.preds, body=record.body | {"source": "forged"}, hash_name="sha2-256")


def asked(home, id, claimed=None):
    return challenging.answer(home.store, home.federation, id, claimed, now_ms=home.clock())


def holds(home, given):
    """Check an answer as a stranger does: from its bytes, with the federation's id and a clock."""
    return challenging.check(challenge.read(given.to_bytes()), home.federation, home.clock()) is None


@pytest.mark.spec("PRN-12", "PRN-13", "PRN-14", "PRN-15")
def test_each_verdict_is_proved_to_a_stranger(scene):
    home, agent, seen, decided = scene
    last = home.store.log_state(agent.id).last
    for id, claimed, verdict in (
        (decided.id, None, "here"),
        (last, None, "here"),
        (agent.id, None, "here"),
        (seen[0].id, None, "pruned"),
        (seen[3].id, seen[3], "pruned"),
        (forged(home, seen[2]).id, forged(home, seen[2]), "never"),
    ):
        given = asked(home, id, claimed)
        assert given.verdict == verdict and holds(home, given)
        assert challenge.read(given.to_bytes()) == given
    assert asked(home, forged(home, seen[2]).id, forged(home, seen[2])).denied


def test_what_cannot_be_told_is_not_told(scene):
    home, agent, seen, _ = scene
    unknown = Link(seen[0].id[:4] + bytes(32))
    late = parse_as(seen[0].id, seen[0].data)
    late = build(
        kind="observation",
        agent=agent.id,
        seq=99,
        prev=seen[0].id,
        time=late.time,
        manifest=late.manifest,
        key=late.key,
        log=late.log._replace(size=99),
        preds=late.preds,
        body=late.body,
        hash_name="sha2-256",
    )
    for id, claimed in ((unknown, None), (late.id, late)):
        with pytest.raises(UsageError) as caught:
            asked(home, id, claimed)
        assert caught.value.code == "TSLG-U-CHALLENGE"


def lies(home, seen, decided):
    pruned = asked(home, seen[0].id)
    never = asked(home, forged(home, seen[2]).id, forged(home, seen[2]))
    here = asked(home, decided.id)
    other = asked(home, seen[1].id)
    yield "denies what was", replace(pruned, verdict="never")
    yield (
        "denies it by another position",
        replace(pruned, verdict="never", found=other.found, inclusion=other.inclusion),
    )
    yield "claims what never was", replace(never, verdict="pruned", prune=pruned.prune, member=pruned.member)
    yield "claims it at its place", replace(never, verdict="here", found=never.record)
    yield "says it is here without it", replace(pruned, verdict="here")
    yield "another record's membership", replace(pruned, member=other.member)
    yield "no membership", replace(pruned, member=None)
    yield "no inclusion", replace(pruned, inclusion=())
    yield "another position", replace(pruned, seq=pruned.seq + 1)
    yield "another agent", replace(pruned, agent=home.federation)
    yield "a redaction that is none", replace(pruned, verdict="redacted", redaction=pruned.prune)
    yield "neighbours of another", replace(never, denied={id: replace_after(a) for id, a in never.denied.items()})
    yield "nothing to check", replace(here, records={})
    name = here.head
    data, seal = here.records[name]
    yield "a seal that does not hold", replace(here, records=dict(here.records) | {name: (data, seal[:-1] + b"\x00")})
    yield "altered bytes", replace(here, records=dict(here.records) | {here.record: (data, seal)})


def replace_after(absence):
    return absence._replace(after=absence.before)


@pytest.mark.spec("PRN-12", "PRN-13", "PRN-14", "PRN-15")
def test_no_lie_is_believed(scene):
    home, _, seen, decided = scene
    for name, given in lies(home, seen, decided):
        assert not holds(home, given), name
    assert challenging.check(asked(home, decided.id), seen[0].id, home.clock()) == "it is about another federation"


@pytest.mark.spec("PRN-16")
def test_a_file_that_is_no_answer_is_refused(scene):
    home, _, seen, _ = scene
    data = asked(home, seen[0].id).to_bytes()
    value = codec.decode(data)
    changed = [
        {"more": 1},
        {"verdict": "perhaps"},
        {"seq": -1},
        {"head": None},
        {"prune": 0},
        {"member": value["member"][:2]},
        {"inclusion": None},
        {"records": [*value["records"], value["records"][0]]},
    ]
    twisted = [codec.encode(value | change) for change in changed]
    for broken in (b"", data[:-1], data + b"\x00", b"\xa0", data.replace(b"challenge.v1", b"challenge.v2"), *twisted):
        with pytest.raises(UsageError):
            challenge.read(broken)


def test_only_what_never_was_there_fails_the_command():
    here = (challenge.HERE, challenge.PRUNED, challenge.REDACTED)
    assert dict.fromkeys(here, 0) | {challenge.NEVER: 1} == challenge.EXIT_CODES
