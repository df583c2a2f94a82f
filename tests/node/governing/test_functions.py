"""Plain functions under a gate: judged before they run, recorded when they return, resting on the call around them."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import threading
import uuid

import pytest
import trio

from tslg.node.governing.async_gate import AsyncGate
from tslg.node.governing.content import Digest, digest
from tslg.node.governing.errors import Rejected
from tslg.node.governing.gate import Gate
from tslg.node.governing.values import Gathering, as_content, described
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.errors import StoreError, UsageError
from tslg.protocol.opening import disclosed

POLICY = b"""
class = "internal"
capabilities = ["refund"]
limits = { cents = 10_000 }

[intents.refund]
uses = ["refund"]
limits = { cents = 10_000 }

[intents."*"]

[[rules]]
name = "no strangers"
intents = ["greet"]
when.whom = "stranger"
reason = "strangers are not greeted"
"""
SECRET = "4711 0815"


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Home.open(tmp_path_factory.mktemp("functions") / "node") as opened:
        yield opened


@pytest.fixture
def gate(home, request):
    return Gate(home.agent(request.node.name[:200]), POLICY)


@pytest.fixture
def seen(home, gate):
    """Return the records that the gate's agent made beside its genesis and policies."""

    def listed():
        found = [disclosed(id, home.store.get(id)) for id, _ in home.store.log_range(gate.agent.id, 0, 10_000)]
        return [one for one in found if one.kind not in ("genesis", "policy")]

    return listed


def cited(record, cls):
    return {edge.cid for edge in record.preds.get(cls, ())}


# --- one call --------------------------------------------------------------------------------------------------------


@pytest.mark.spec("SEE-9")
def test_a_call_is_an_inference_and_its_result_an_observation(gate, seen):
    @gate.governed
    def add(a, b=2):
        return a + b

    assert add(1) == 3
    step, result = seen()
    assert (step.kind, result.kind) == ("inference", "observation")
    assert step.body["intent"] == "add" and step.body["model"].endswith("<locals>.add")
    assert step.body["model_version"].startswith("sha256:") and "output" not in step.body
    assert step.body["inputs"] == {"a": digest(1), "b": digest(2)}
    assert cited(result, "evidence") == {step.id} and result.body["data"]["output"] == digest(3)


@pytest.mark.spec("SEE-9")
def test_what_is_refused_does_not_run(gate, seen):
    ran = []

    @gate.governed
    def greet(whom):
        ran.append(whom)

    greet("friend")
    with pytest.raises(Rejected, match="strangers are not greeted") as refused:
        greet("stranger")
    assert ran == ["friend"]
    assert seen()[-1].id == refused.value.record and seen()[-1].kind == "rejection"


def test_what_a_call_spends_is_worked_out_of_its_arguments(gate, seen):
    @gate.governed(spends=lambda given: {"cents": given["cents"]})
    def refund(order, cents):
        return order

    refund(17, cents=500)
    with pytest.raises(Rejected, match="limit"):
        refund(18, cents=50_000)
    assert [one.body.get("spends") for one in seen()] == [{"cents": 500}, None, {"cents": 50_000}]


def test_wrong_arguments_are_no_step(gate, seen):
    @gate.governed
    def add(a):
        return a

    with pytest.raises(TypeError):
        add()
    with pytest.raises(UsageError, match="no canonical form"):
        add(object())
    assert seen() == []


def test_what_is_no_input_is_left_out(gate, seen):
    class Desk:
        @gate.governed(leave_out=["connection"], intent="serve")
        def serve(self, connection, order):
            return order

        @staticmethod
        @gate.governed
        def close(day):
            return day

    assert Desk().serve(object(), 17) == 17 and Desk.close("Friday") == "Friday"
    first, second = (one for one in seen() if one.kind == "inference")
    assert list(first.body["inputs"]) == ["order"] and first.body["intent"] == "serve"
    assert list(second.body["inputs"]) == ["day"]


def test_only_functions_are_governed(gate):
    with pytest.raises(UsageError, match="staticmethod"):
        gate.governed(type)
    with pytest.raises(UsageError, match="no parameter 'missing'"):
        gate.governed(leave_out=["missing"])(lambda given: given)


@pytest.mark.spec("SEE-11")
def test_an_exception_is_recorded_by_its_class_and_goes_on(gate, seen):
    @gate.governed
    def fail():
        raise ValueError(SECRET)

    with pytest.raises(ValueError, match=SECRET):
        fail()
    assert seen()[-1].body["data"] == {"output": digest({"raised": "ValueError"}), "raised": "ValueError"}
    assert not any(SECRET.encode() in one.data for one in seen())


def test_an_exception_goes_on_even_where_it_cannot_be_recorded(gate, monkeypatch):
    @gate.governed
    def fail():
        monkeypatch.setattr(gate.agent, "observe", full)
        raise ValueError("first")

    def full(*_, **__):
        raise StoreError("no space left", code="TSLG-D-FULL")

    with pytest.raises(ValueError, match="first") as raised:
        fail()
    assert "TSLG-D-FULL" in raised.value.__notes__[0]


def test_a_result_that_cannot_be_recorded_is_told(gate, monkeypatch):
    @gate.governed
    def work():
        monkeypatch.setattr(gate.agent, "observe", full)

    def full(*_, **__):
        raise StoreError("no space left", code="TSLG-D-FULL")

    with pytest.raises(StoreError):
        work()


def test_a_block(gate, seen):
    with gate.step("send", {"to": "friend"}, model="mailer", version="2.1") as step:
        assert step.outcome.admitted
        step.output = {"id": 7}
    first, second = seen()
    assert (first.body["intent"], first.body["model"], first.body["model_version"]) == ("send", "mailer", "2.1")
    assert second.body["data"]["output"] == digest({"id": 7})
    with pytest.raises(UsageError, match="entered once"), step:
        pass
    with pytest.raises(UsageError, match="not entered"):
        _ = gate.step("send").outcome


def test_a_block_that_is_refused_is_not_entered(gate):
    with pytest.raises(Rejected), gate.step("greet", {"whom": "stranger"}):
        raise AssertionError("it ran")


# --- calls in calls --------------------------------------------------------------------------------------------------


@pytest.mark.spec("SEE-9", "SEE-10")
def test_a_call_in_a_call_rests_on_it_and_becomes_part_of_its_result(home, gate, seen):
    @gate.governed
    def inner(n):
        return n

    @gate.governed
    def middle(n):
        return inner(n) + inner(n)

    @gate.governed
    def outer():
        return middle(1)

    assert outer() == 2
    steps = {one.body["intent"]: one for one in seen() if one.kind == "inference"}
    whole = {one.body["intent"]: one for one in seen() if one.kind == "composite"}
    assert cited(steps["middle"], "evidence") == {steps["outer"].id}
    assert cited(steps["inner"], "evidence") == {steps["middle"].id}
    assert cited(whole["outer"], "part") == {steps["outer"].id, whole["middle"].id}
    assert len(cited(whole["middle"], "part")) == 3 and whole["outer"].body["output"] == digest(2)
    report = verify(StoreSource(home.store), whole["outer"].id, home.federation, now_ms=home.clock())
    assert report.verdict == "valid"


def test_calls_one_after_the_other_do_not_rest_on_each_other(gate, seen):
    @gate.governed
    def add(a):
        return a

    add(1)
    add(2)
    assert [cited(one, "evidence") for one in seen() if one.kind == "inference"] == [set(), set()]


def test_calls_under_different_gates_do_not_rest_on_each_other(home, gate, seen):
    other = Gate(home.agent("another"), POLICY)
    with gate.step("one"), other.step("two"), gate.step("three"):
        pass
    first, second = (one for one in seen() if one.kind == "inference")
    assert cited(second, "evidence") == {first.id}


def test_many_calls_in_a_call_are_put_together_in_between(gate, seen, monkeypatch):
    monkeypatch.setattr("tslg.node.governing.functions.GovernedStep._most", 4)
    with gate.step("loop"):
        for number in range(9):
            with gate.step("turn", {"number": number}):
                pass
    whole = [one for one in seen() if one.kind == "composite"]
    assert whole and all(len(cited(one, "part")) <= 5 for one in whole)
    parts = {id for one in whole for id in cited(one, "part")}
    assert {one.id for one in seen() if one.body.get("intent") == "turn" and one.kind == "inference"} <= parts


def test_threads_of_their_own_begin_anew(gate, seen):
    def work():
        with gate.step("apart"):
            pass

    with gate.step("around"):
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    apart = next(one for one in seen() if one.body.get("intent") == "apart")
    assert cited(apart, "evidence") == set()


# --- async -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("run", [asyncio.run, trio.run])
def test_coroutines(gate, seen, run):
    @gate.governed
    async def inner(n):
        return n

    @gate.governed
    async def outer():
        return await inner(1)

    async def main():
        assert await outer() == 1
        async with gate.step("block") as step:
            step.output = 5

    run(main) if run is trio.run else run(main())
    assert [one.kind for one in seen()] == [
        *("inference", "inference", "observation", "composite", "inference", "observation")
    ]
    assert inspect.iscoroutinefunction(inner)


def test_tasks_do_not_mix_up_their_calls(gate, seen):
    @gate.governed
    async def inner(n):
        await asyncio.sleep(0)
        return n

    @gate.governed
    async def outer(n):
        return await inner(n) + await inner(n)

    async def main():
        return await asyncio.gather(*map(outer, range(3)))

    assert asyncio.run(main()) == [0, 2, 4]
    outers = {one.id for one in seen() if one.kind == "inference" and one.body["intent"] == "outer"}
    inners = [cited(one, "evidence") for one in seen() if one.kind == "inference" and one.body["intent"] == "inner"]
    assert sorted(map(sorted, inners)) == sorted([id] for id in outers for _ in range(2))


def test_what_is_cancelled_is_recorded(gate, seen):
    runs = asyncio.Event()

    @gate.governed
    async def wait():
        runs.set()
        await asyncio.sleep(60)

    async def main():
        task = asyncio.create_task(wait())
        # Not as soon as its record is there: it runs a moment later.
        await runs.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert seen()[-1].body["data"]["raised"] == "CancelledError"


def test_an_async_gate_governs_alike(gate, seen):
    @AsyncGate(gate).governed
    async def work():
        return 1

    assert asyncio.run(work()) == 1 and len(seen()) == 2


# --- generators ------------------------------------------------------------------------------------------------------


def test_a_generator_is_judged_before_its_first_value_and_its_list_is_its_result(gate, seen):
    @gate.governed
    def count(n):
        yield from range(n)
        return "done"

    def caller():
        return (yield from count(3))

    assert inspect.isgeneratorfunction(count)
    values = caller()
    assert seen() == []
    assert next(values) == 0 and [one.kind for one in seen()] == ["inference"]
    with gate.step("between"):
        pass
    assert cited(seen()[1], "evidence") == set()
    assert list(values) == [1, 2]
    assert seen()[-1].body["data"]["output"] == digest([0, 1, 2])


def test_a_generator_is_sent_to_thrown_into_and_closed(gate, seen):
    @gate.governed
    def echo():
        said = yield "ready"
        try:
            yield said
        except KeyError:
            yield "caught"
        yield "never"

    one = echo()
    assert next(one) == "ready" and one.send("hello") == "hello" and one.throw(KeyError()) == "caught"
    one.close()
    assert seen()[-1].body["data"]["output"] == digest(["ready", "hello", "caught"])


def test_a_generator_that_fails(gate, seen):
    @gate.governed
    def fail():
        yield 1
        raise ValueError

    with pytest.raises(ValueError):
        list(fail())
    assert seen()[-1].body["data"]["raised"] == "ValueError"


def test_a_refused_generator_does_not_begin(gate):
    ran = []

    @gate.governed
    def greet(whom):
        ran.append(whom)
        yield whom

    with pytest.raises(Rejected):
        next(greet("stranger"))
    assert ran == []


def test_async_generators(gate, seen):
    @gate.governed
    async def count(n):
        for number in range(n):
            with gate.step("inside"):
                yield number

    async def main():
        assert [value async for value in count(2)] == [0, 1]
        stopped = count(5)
        assert await anext(stopped) == 0
        await stopped.aclose()
        failing = count(1)
        await anext(failing)
        with pytest.raises(KeyError):
            await failing.athrow(KeyError())

    asyncio.run(main())
    assert inspect.isasyncgenfunction(count)
    outputs = [one.body["output"] for one in seen() if one.kind == "composite"]
    assert outputs == [digest([0, 1]), digest([0]), digest({"raised": "KeyError"})]


# --- values ----------------------------------------------------------------------------------------------------------


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Order:
    number: int
    colour: Colour


class Model:
    def model_dump(self, mode):
        return {"mode": mode}


@pytest.mark.parametrize(
    ("value", "same"),
    [
        (Order(1, Colour.RED), {"number": 1, "colour": "red"}),
        (datetime.date(2026, 11, 21), "2026-11-21"),
        (decimal.Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), str(uuid.UUID(int=1))),
        (pathlib.PurePosixPath("a/b"), "a/b"),
        ({"b", "a"}, ["a", "b"]),
        ((1, 2), [1, 2]),
        ({1: b"\xff"}, {"1": "ff"}),
        (Model(), {"mode": "json"}),
        (b"\xff", b"\xff"),
    ],
)
def test_values_by_their_usual_form(value, same):
    assert digest(as_content(value)) == digest(same)


@pytest.mark.parametrize("value", [object(), {1: 1, "1": 2}, {(1, 2): 3}, float("inf"), 2**60, "\ud800", Order])
def test_values_without_a_form(value):
    with pytest.raises(UsageError) as refused:
        as_content(value)
    assert refused.value.code == "TSLG-G-CONTENT"
    assert set(described(value)) == {"undigested"}


def test_values_that_go_down_without_end():
    deep = []
    deep.append(deep)
    with pytest.raises(UsageError, match="levels"):
        as_content(deep)


def test_what_is_gathered_has_the_digest_of_the_list():
    gathered = Gathering()
    for value in (1, "two", {"three": [3.5]}, b"\x04", None):
        gathered.add(value)
    assert gathered.digest().value == digest([1, "two", {"three": [3.5]}, "04", None])
    assert Gathering().digest().value == digest([])
    kept = Gathering(keep=True)
    for value in (1, b"\x04"):
        kept.add(value)
    assert kept.content() == [1, "04"]
    gathered.add(Digest(bytes(32)))
    gathered.add(object())
    assert gathered.digest().value != digest([])
