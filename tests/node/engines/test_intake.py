"""Submissions of engines: each step is taken up once, and nothing that is not its author's, admitted and in bounds."""

from __future__ import annotations

import io
import shutil

import pytest
from enclave import document, fields
from enclave import toml as enclaves
from engines import Works, bring
from homes import verdict
from reading import home, member
from steps import digest, step

from tslg.node.engines import intake as intakes
from tslg.node.engines import taking
from tslg.node.engines.admission import Terms, origin
from tslg.node.engines.intake import Intake
from tslg.node.engines.metering import Meter
from tslg.node.engines.submission import hand_in, write
from tslg.node.governing.candidate import Candidate
from tslg.node.governing.gate import Gate
from tslg.node.home import Home
from tslg.protocol import bundle
from tslg.protocol.cid import compute
from tslg.protocol.errors import StoreError, SubmissionError, UsageError
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.pushing import Submitted


@pytest.fixture
def works(tmp_path):
    opened = []

    def build(*args, **how):
        opened.append(Works(tmp_path, *args, **how))
        return opened[-1]

    yield build
    for one in opened:
        one.close()


def minute_passes(w):
    """Set the tenant's clock a minute ahead."""
    for _ in range(60_000):
        w.tenant.clock()


def refused(code, submit, *args):
    with pytest.raises(SubmissionError) as raised:
        submit(*args)
    assert raised.value.code == f"TSLG-E-{code}", raised.value
    assert raised.value.mend
    return raised.value


@pytest.mark.spec("ENG-1", "ENG-3", "ENG-6", "ENG-7", "ENG-8", "ENG-9")
def test_steps_are_taken_up_once_and_say_by_whose_word_they_are_the_engine_s(works):
    w = works()
    first = w.steps(2)
    answer = w.hand_in()
    assert answer.engine == w.engine.id and answer.size == answer.new == first[-1].seq + 1
    assert set(answer.steps) == {one.id for one in first} and len(answer.taken) == 1
    again = w.hand_in()
    assert again == answer._replace(new=0)
    more = w.steps(1, kind="rejection")
    assert w.hand_in().steps == tuple(one.id for one in [*first, *more])
    assert len(w.taken()) == 2
    record = w.taken()[0]
    assert {edge.cid for edge in record.edges("evidence")} == {one.id for one in first}
    assert all(edge.verified is None for edge in record.edges("evidence"))
    assert record.body["data"] == {
        "engine": w.engine.id,
        "delegation": w.delegation.id,
        "keys": [w.engine.id],
        "binding": "tenant",
        "standing": "vouched",
    }
    assert verdict(w.tenant, record) == "valid"
    assert w.tenant.store.get(first[0].id).seal == w.maker.store.get(first[0].id).seal
    (found,) = w.intake.admitted()
    assert found[1] == "" and found[0].terms == Terms()


@pytest.mark.spec("ENG-6", "ENG-8")
def test_a_submission_behind_the_end_says_where_to_go_on_and_one_that_overlaps_adds_what_is_new(works):
    w = works()
    w.steps(3)
    assert w.hand_in(3) == (w.engine.id, 0, 0, (), ())
    w.hand_in()
    size = w.tenant.store.log_state(w.engine.id).size
    w.steps(2)
    assert w.hand_in(size - 1).new == 2
    assert hand_in(w.maker, w.engine.id, lambda data: w.intake.submit(data, "x"))[-1].new == 0
    states = [at.store.log_state(w.engine.id) for at in (w.tenant, w.maker)]
    assert states[0].size == states[1].size and states[0].peaks.root() == states[1].peaks.root()


def test_a_log_is_handed_in_piece_by_piece(works):
    w = works()
    w.steps(7)
    limits = Limits(walk_roots=3)
    answers = hand_in(w.maker, w.engine.id, lambda data: w.intake.submit(data, "x"), limits=limits)
    assert [one.new for one in answers] == [3] * (len(answers) - 1) + [answers[-1].new] and len(answers) > 2
    steps = [edge.cid for one in w.taken() for edge in one.edges("evidence")]
    assert len(steps) == len(set(steps)) == 7


def test_a_tenant_that_sends_an_engine_round_in_circles_is_left(works):
    w = works()
    w.steps(3)
    sizes = iter([2, 1] * 10)
    refused("SUBMISSION", hand_in, w.maker, w.engine.id, lambda data: Submitted(w.engine.id, next(sizes), 0))
    assert next(sizes) == 2


@pytest.mark.spec("ENG-8")
def test_a_crash_between_storing_and_taking_up_leaves_nothing_out_and_nothing_twice(works, monkeypatch):
    w = works()
    w.steps(3)
    with monkeypatch.context() as patched:
        patched.setattr(Intake, "_observe", lambda *_: (_ for _ in ()).throw(StoreError("the disk is full")))
        with pytest.raises(StoreError):
            w.hand_in()
    assert w.taken() == [] and w.tenant.store.log_state(w.engine.id).size > 3
    assert len(w.hand_in().steps) == 3 and len(w.hand_in().taken) == 1 and len(w.taken()) == 1


def test_what_a_step_rests_on_comes_with_it(works):
    w = works()
    third = home(w.path, w.text, "third")
    seen = member(third, w.text, "third").observe("sensor", {"n": 1})
    bring(third, w.maker, seen.id)
    third.close()
    body = {"model": "m", "model_version": "1", "inputs": {}, "intent": "x", "output": digest("o")}
    w.engine._append("inference", body, evidence=seen, delegation=w.delegation, authorised=True)
    assert len(w.hand_in().steps) == 1 and w.tenant.store.has(seen.id)
    assert verdict(w.tenant, w.taken()[0]) == "valid"


@pytest.mark.spec("ENG-3", "ENG-6")
def test_each_of_several_steps_rests_on_something_else_of_others(works):
    w = works()
    other = member(w.maker, w.text, "other")
    seen = [other.observe("x", {"n": n}) for n in range(3)]
    made = [w.engine.observe("y", {"n": n}, evidence=one) for n, one in enumerate(seen)]
    answer = w.hand_in()
    assert answer.size == made[-1].seq + 1, "all of it, though the tenant held none of what it cites"
    assert not w.tenant.store.missing(one.id for one in seen)


def test_the_admissions_are_read_again_only_when_one_is_made(works, monkeypatch):
    w = works()
    read = []
    asked = intakes.admissions
    monkeypatch.setattr(intakes, "admissions", lambda *how: read.append(1) or asked(*how))
    for n in range(3):
        w.steps(1)
        assert w.hand_in(n).new > 0
    assert len(read) == 1
    w.admit(w.engine)
    assert len(w.intake.admitted()) == 2


def test_what_a_gate_admits_and_rejects_under_the_delegation_is_handed_in(works):
    w = works()
    gate = Gate(w.engine, delegation=w.delegation)
    admitted = gate.submit(Candidate(intent="answer", model="m", version="1", inputs={"prompt": "?"}, output="!"))
    more = Candidate(intent="answer", model="m", version="1", inputs={"prompt": "?"}, output="!", uses=["refund"])
    rejected = gate.submit(more)
    assert (admitted.verdict, rejected.verdict) == ("admitted", "rejected")
    assert set(w.hand_in().steps) == {admitted.record.id, rejected.record.id}
    assert verdict(w.tenant, w.taken()[0]) == "valid"


# --- who may not ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ENG-2", "ENG-4")
def test_an_engine_that_nobody_admits_or_not_any_more_hands_in_nothing(works):
    w = works(admit=False)
    step(w.engine, 1)
    refused("UNKNOWN", w.hand_in)
    assert w.tenant.store.log_state(w.engine.id) is None
    w.delegation = w.admit(w.engine, expires=w.tenant.clock() + 50)
    w.steps(1)
    w.hand_in()
    for _ in range(60):
        w.tenant.clock()
    refused("ENDED", w.hand_in)
    w.delegation = w.admit(w.engine)
    w.steps(1)
    assert len(w.hand_in().steps) == 1
    w.desk.retract(w.delegation, reason="no longer")
    assert "retraction" in refused("ENDED", w.hand_in).detail


@pytest.mark.spec("ENG-4", "ENG-5")
def test_nobody_submits_for_another_agent(works):
    w = works()
    w.steps(1)
    other = member(w.maker, w.text, "other")
    step(other, 1)
    refused("UNKNOWN", w.intake.submit, w.stretch(engine=other), "x")
    # Two logs in one submission, and records out of order.
    mine, theirs = (bundle.read(io.BytesIO(w.stretch(engine=one))) for one in (w.engine, other))
    for targets in ([*mine.targets, *theirs.targets], list(mine.targets)[::-1]):
        assert "no stretch" in refused("SUBMISSION", w.intake.submit, rewritten(mine, theirs, targets), "x").detail
    # Sealed by another key than the engine's: whoever brings it, it is not the engine's word.
    seals = dict.fromkeys(mine.targets, theirs.records[theirs.targets[-1]][1])
    refused("SUBMISSION", w.intake.submit, rewritten(mine, theirs, mine.targets, seals), "x")
    assert w.tenant.store.log_state(w.engine.id) is None and w.taken() == []
    # Whose word it is shows from the seals, so anybody may carry it.
    assert w.intake.submit(w.stretch(), "somebody else").new == len(mine.targets)


def rewritten(mine, theirs, targets, seals=None):
    """Put a bundle together of two."""
    records = {**theirs.records, **mine.records}
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=mine.federation,
        manifest=mine.manifest,
        targets=targets,
        heads=(),
        inclusion=(),
        consistency=(),
        records=[(id, data, (seals or {}).get(id, seal)) for id, (data, seal) in records.items()],
    )
    return stream.getvalue()


@pytest.mark.spec("ENG-10")
def test_an_engine_that_writes_its_history_anew_is_convicted_and_heard_no_more(works):
    w = works()
    w.steps(2)
    shutil.copytree(w.path / "maker", w.path / "copy")
    w.steps(2)
    w.hand_in()
    held = w.tenant.store.log_state(w.engine.id)
    with Home.open(w.path / "copy", clock=w.tenant.clock) as copy:
        engine = copy.agents[0]
        other = [step(engine, n, "rejection", delegation=w.delegation) for n in range(4)]
        refused("FORKED", w.intake.submit, w.stretch(at=copy, engine=engine), "x")
        (fork,) = w.tenant.store.forks(w.engine.id)
        assert other[0].id in fork.records and len(fork.records) == 2
        refused("FORKED", w.intake.submit, w.stretch(), "x")
    assert w.tenant.store.log_state(w.engine.id).last == held.last and len(w.taken()) == 1


@pytest.mark.spec("ENG-10")
def test_whoever_stole_a_key_that_was_revoked_hands_in_nothing_and_frames_nobody(works):
    w = works()
    w.steps(1)
    shutil.copytree(w.path / "maker", w.path / "thief")
    old = w.engine.keys[0].key.record
    w.engine.rotate()
    w.engine.revoke(old, "stolen")
    w.steps(1)
    w.hand_in()
    revoked = w.tenant.ledger.context.revocations(w.engine.id).ends[old]
    with Home.open(w.path / "thief", clock=w.tenant.clock) as thief:
        stolen = thief.agents[0]
        with stolen.batch():
            while thief.store.log_state(stolen.id) is None or thief.ledger._logs[stolen.id].size <= revoked + 1:
                step(stolen, 1, delegation=w.delegation)
        error = refused("REFUSED", w.intake.submit, write(thief, stolen.id, revoked).data, "x")
        assert "go on from" in error.mend and w.tenant.store.forks(w.engine.id) == []
        assert w.hand_in().new == 0 and len(w.taken()) == 1
        # What stands where the key was still in force is the engine's own word, whoever has the key.
        refused("FORKED", w.intake.submit, write(thief, stolen.id, 0).data, "x")


@pytest.mark.spec("ENG-5", "ENG-11")
@pytest.mark.parametrize("data", [b"", b"x" * 100, b"\x00" * (DEFAULT.submission_bytes + 1)], ids=["none", "x", "long"])
def test_what_is_no_submission_is_refused(works, data):
    refused("SUBMISSION", works().intake.submit, data, "x")


def test_a_bundle_that_was_changed_on_its_way_or_is_of_others_is_refused(works, tmp_path):
    w = works()
    w.steps(1)
    data = bytearray(w.stretch())
    data[-1] ^= 1
    refused("SUBMISSION", w.intake.submit, bytes(data), "x")
    (tmp_path / "other").mkdir()
    with Home.open(tmp_path / "other" / "d") as stranger:
        refused("SUBMISSION", w.intake.submit, write(stranger, stranger.agent("engine").id, 0).data, "x")


@pytest.mark.spec("ENG-4")
def test_steps_that_are_not_on_the_terms_are_refused_before_anything_is_stored(works):
    w = works(terms=Terms(kinds=("rejection",)))
    w.steps(1)
    refused("KIND", w.hand_in)
    assert w.tenant.store.log_state(w.engine.id) is None
    w.delegation = w.admit(w.engine, Terms(binding="platform"))
    w.steps(1)
    refused("KIND", w.hand_in)
    for wrong in ({"kinds": ("state",)}, {"binding": "magic"}, {"per_minute": 0}, {"records": True}, {"kinds": ()}):
        with pytest.raises(UsageError):
            Terms(**wrong).task()


@pytest.mark.spec("ENG-4", "ENG-9")
def test_a_key_is_attested_by_its_hardware_vouched_for_by_anchors_or_merely_claimed(works):
    w = works(enclaves(), Terms(binding="hardware"))
    w.steps(1)
    refused("BINDING", w.hand_in)
    context = w.maker.ledger.context
    assert origin(context.record(w.engine.id), context)[2:] == ("tenant", "claimed")
    _, key = w.engine.prepare_key()
    w.engine.rotate(binding="hardware", attestation=document(fields(key)))
    made = w.steps(1)[0]
    assert origin(made, context)[2:] == ("hardware", "attested")
    refused("BINDING", w.hand_in)


@pytest.mark.spec("ENG-4", "ENG-9")
def test_an_engine_in_hardware_is_taken_up_as_attested(works):
    w = works(enclaves(), Terms(binding="hardware"))
    _, key = w.engine.prepare_key()
    w.engine.rotate(binding="hardware", attestation=document(fields(key)))
    w.steps(2)
    answer = w.hand_in()
    assert len(answer.steps) == 2
    said = w.taken()[0].body["data"]
    assert (said["binding"], said["standing"]) == ("hardware", "attested")
    # Of a step whose key is not known nobody says more than of the weakest.
    context, ((admission, _),) = w.tenant.ledger.context, w.intake.admitted()
    known = context.record(answer.steps[0])
    said = taking.said_of(context, admission, [known, known._replace(key=compute(b"gone"))])
    assert (said["binding"], said["standing"]) == ("tenant", "claimed")


# --- floods -----------------------------------------------------------------------------------------------------------


@pytest.mark.spec("ENG-11")
def test_whoever_hands_in_rubbish_is_not_looked_at_for_a_while_and_others_are(works):
    w = works()
    w.steps(1)
    for _ in range(DEFAULT.submission_refusals):
        refused("SUBMISSION", w.intake.submit, b"rubbish", "flooder")
    refused("RATE", w.intake.submit, w.stretch(), "flooder")
    assert w.hand_in(source="another").new > 0
    minute_passes(w)
    assert w.intake.submit(w.stretch(), "flooder").new == 0


@pytest.mark.spec("ENG-11")
def test_an_engine_gets_in_as_much_as_its_terms_say_and_no_more(works):
    w = works(terms=Terms(per_minute=4, records=7))
    w.steps(8)
    assert w.hand_in().size == 4
    assert "go on from 4" in refused("RATE", w.intake.submit, w.stretch(2), "x").mend
    minute_passes(w)
    assert w.hand_in(4).size == 7
    minute_passes(w)
    assert "as many as" in refused("RATE", w.intake.submit, w.stretch(6), "x").detail
    with pytest.raises(SubmissionError, match="as many as"):
        hand_in(w.maker, w.engine.id, lambda data: w.intake.submit(data, "x"))


@pytest.mark.spec("ENG-11")
def test_no_more_wait_than_there_are_places(works):
    w = works()
    w.steps(1)
    places = [w.intake._places.acquire(blocking=False) for _ in range(DEFAULT.submissions_waiting)]
    assert all(places)
    refused("BUSY", w.hand_in)
    w.intake._places.release()
    assert w.hand_in().new > 0


def test_a_meter_forgets_and_fills_up():
    meter = Meter(2)
    meter.spend("a", 5, 10, 0)
    assert [meter.left("a", 10, at) for at in (0, 6_000, 30_000, 10**9)] == [5, 6, 10, 10]
    meter.spend("b", 10, 10, 0)
    meter.spend("c", 10, 10, 0)
    assert (meter.left("a", 10, 0), meter.left("c", 10, 0)) == (10, 0)
    assert taking.SOURCE == "engine"
