"""pydantic-ai itself, with its own test models, under a gate."""

from __future__ import annotations

import asyncio
import builtins
import hashlib
import json

import pytest
from desk import Desk, cites, told
from homes import opened
from pydantic import BaseModel
from pydantic_ai import Agent, ModelRetry, RunContext, ToolOutput
from pydantic_ai.exceptions import ApprovalRequired, UnexpectedModelBehavior
from pydantic_ai.messages import ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.models.test import TestModel
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults
from pydantic_ai.toolsets import FunctionToolset

import tslg.node.adapters.pydantic_ai as adapter
from tslg.node.adapters.calling import content_of
from tslg.node.adapters.pydantic_ai import Governed, govern
from tslg.node.governing.content import digest
from tslg.node.governing.errors import Rejected
from tslg.protocol.cid import to_text
from tslg.protocol.errors import StoreError, UsageError


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("pydantic-ai") / "node") as home:
        yield home


@pytest.fixture
def desk(home, request):
    return Desk(home, request.node.name[:200])


class Answer(BaseModel):
    mood: str


class Ran(list):
    """What ran: a toolset that notes it."""

    def toolset(self):
        tools = FunctionToolset()

        @tools.tool_plain
        def refund(order: int, cents: int) -> str:
            """Pay back."""
            self.append(("refund", order, cents))
            return f"{cents} on their way"

        @tools.tool_plain
        async def look(order: int) -> dict[str, int]:
            """Look it up."""
            self.append(("look", order))
            return {"order": order, "cents": 1500}

        @tools.tool_plain(retries=2)
        def fail(how: str) -> str:
            """Fail."""
            self.append(("fail", how))
            if how == "approve":
                raise ApprovalRequired
            if how == "retry":
                raise ModelRetry("once more")
            raise ValueError("broken")

        return tools


def calls(*asked):
    """Return a model that calls tools, a list of them a turn, and then says what it was told."""
    turns = iter(asked)

    def answer(messages, info: AgentInfo):
        turn = next(turns, None)
        if turn is None:
            parts = [one for message in messages for one in message.parts if isinstance(one, ToolReturnPart)]
            return ModelResponse(parts=[TextPart("; ".join(str(one.content) for one in parts) or "done")])
        return ModelResponse(parts=[ToolCallPart(name, args, f"{name}-{at}") for at, (name, args) in enumerate(turn)])

    return FunctionModel(answer, model_name="model-x")


def returns(result):
    return [one for message in result.all_messages() for one in message.parts if isinstance(one, ToolReturnPart)]


def test_a_run_is_judged_and_recorded_step_by_step(desk):
    ran = Ran()
    model = calls([("refund", {"order": 7, "cents": 900})])
    result = Agent(model, toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)]).run_sync("money back")
    assert ran == [("refund", 7, 900)]
    asked, answered, called, came, again, said = made = desk.new()
    assert told(made) == [
        "inference chat",
        "observation",
        "inference refund",
        "observation",
        "inference chat",
        "observation",
    ]
    assert set(asked.body["inputs"]) == {"messages", "tools", "settings"} and asked.body["model"] == "model-x"
    assert called.body["inputs"]["arguments"] == digest({"order": 7, "cents": 900}) and "pay" in called.body["uses"]
    assert called.body["model_version"] == "model-x"
    assert came.body["data"]["output"] == digest("900 on their way")
    assert cites(answered) == {asked.id} and cites(called) == {answered.id} and cites(came) == {called.id}
    assert cites(again) == {asked.id, came.id} and cites(said) == {again.id}
    messages = result.all_messages()
    assert messages[1].metadata == {"tslg/record": to_text(asked.id)}
    assert messages[2].metadata == {
        "tslg/calls": {"refund-0": {"tslg/record": to_text(called.id), "tslg/result": to_text(came.id)}}
    }


def test_a_refused_call_never_runs_and_the_model_reads_why(desk):
    ran = Ran()
    model = calls([("refund", {"order": 7, "cents": 90_000})])
    result = Agent(model, toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)]).run_sync("money back")
    assert ran == []
    (refused,) = returns(result)
    assert refused.outcome == "failed"
    assert refused.content == "Not called, rejected at rule:large-refunds: refunds above 100.00 need a person"
    made = desk.new()
    assert told(made)[2:4] == ["rejection refund", "inference chat"]
    assert made[2].id in cites(made[3])


def test_calls_side_by_side_are_judged_one_by_one(desk):
    ran = Ran()
    asked = [("refund", {"order": n, "cents": 100 if n % 2 else 20_000}) for n in range(6)] + [("look", {"order": 9})]
    agent = Agent(calls(asked), toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)])
    result = asyncio.run(agent.run("all of it"))
    assert sorted(ran) == [("look", 9), *(("refund", n, 100) for n in (1, 3, 5))]
    assert [one.outcome for one in returns(result)] == ["failed", "success"] * 3 + ["success"]
    made = desk.new()
    assert sorted(told(made)[2:-2]) == sorted(
        ["inference look", *["inference refund"] * 3, *["observation"] * 4, *["rejection refund"] * 3]
    )
    assert len(cites(made[-2])) == 8


def test_streams_are_judged_before_they_start_and_recorded_as_they_end(desk):
    ran = Ran()

    async def stream(messages, info):
        if not returns_of(messages):
            yield {0: DeltaToolCall("look", '{"order"', tool_call_id="look-0")}
            yield {0: DeltaToolCall(json_args=": 3}")}
        else:
            yield "it "
            yield "left"

    def returns_of(messages):
        return [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]

    async def main():
        agent = Agent(
            FunctionModel(stream_function=stream, model_name="model-s"),
            toolsets=[ran.toolset()],
            capabilities=[Governed(desk.gate)],
        )
        async with agent.run_stream("where is it?") as result:
            return [text async for text in result.stream_text(delta=True)]

    assert "".join(asyncio.run(main())) == "it left"
    made = desk.new()
    assert told(made) == [
        "inference chat",
        "observation",
        "inference look",
        "observation",
        "inference chat",
        "observation",
    ]
    assert ran == [("look", 3)] and cites(made[2]) == {made[1].id} and made[3].id in cites(made[4])


def test_a_stream_that_breaks_off_has_its_end_on_record(desk):
    async def stream(messages, info):
        yield "half"
        raise RuntimeError("gone")

    async def main():
        agent = Agent(FunctionModel(stream_function=stream), capabilities=[Governed(desk.gate)])
        async with agent.run_stream("?") as result:
            await result.get_output()

    with pytest.raises(RuntimeError, match="gone"):
        asyncio.run(main())
    assert desk.new()[-1].body["data"]["raised"] == "RuntimeError"


def test_a_tool_that_raises_has_that_on_record_and_raises_all_the_same(desk):
    ran = Ran()
    agent = Agent(calls([("fail", {"how": "hard"})]), toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)])
    with pytest.raises(ValueError, match="broken"):
        agent.run_sync("go")
    assert desk.new()[-1].body["data"]["raised"] == "ValueError"


def test_what_is_tried_again_is_judged_again(desk):
    ran = Ran()
    turns = [[("fail", {"how": "retry"})]] * 2
    agent = Agent(calls(*turns), toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)])
    agent.run_sync("go")
    made = desk.new()
    assert told(made).count("inference fail") == 2 and len(ran) == 2
    assert [one.body["data"].get("raised") for one in made if one.kind == "observation"][1] == "ModelRetry"
    with pytest.raises(UnexpectedModelBehavior, match="max retries"):
        Agent(calls(*turns * 2), toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)]).run_sync("go")


def test_refusals_use_up_no_retries(desk):
    model = calls(*[[("refund", {"order": 1, "cents": 99_999})]] * 5)
    Agent(model, toolsets=[Ran().toolset()], capabilities=[Governed(desk.gate)]).run_sync("insist")
    assert told(desk.new()).count("rejection refund") == 5


def test_a_call_that_waits_for_approval_is_judged_again_when_it_is_made(desk):
    ran, approved = Ran(), []
    tools = FunctionToolset()

    @tools.tool
    def refund(ctx: RunContext, order: int, cents: int) -> str:
        """Pay back."""
        if not ctx.tool_call_approved:
            raise ApprovalRequired
        approved.append(cents)
        return "paid"

    agent = Agent(
        calls([("refund", {"order": 7, "cents": 900})]),
        toolsets=[tools],
        output_type=[str, DeferredToolRequests],
        capabilities=[Governed(desk.gate)],
    )
    first = agent.run_sync("money back")
    assert isinstance(first.output, DeferredToolRequests) and approved == [] and not ran
    results = DeferredToolResults(approvals={"refund-0": True})
    second = agent.run_sync(message_history=first.all_messages(), deferred_tool_results=results)
    assert approved == [900] and second.output == "paid"
    made = desk.new()
    assert told(made).count("inference refund") == 2
    # The second run rests on the first: what its messages say of records is still there.
    assert made[0].id in cites(made[-2])


def test_a_request_that_the_policy_refuses_is_never_sent(home):
    desk = Desk(home, "silent", b'name = "silent"\nclass = "internal"\n[intents.look]\n')
    sent = []
    model = FunctionModel(lambda messages, info: sent.append(messages))
    with pytest.raises(Rejected, match="chat"):
        Agent(model, capabilities=[Governed(desk.gate)]).run_sync("hello")
    assert sent == [] and told(desk.new()) == ["rejection chat"]


def failing(gate, monkeypatch, method, intent):
    """Have a gate fail to record one intent."""
    real = getattr(gate, method)

    def fails(subject, *args, **how):
        body = subject.record.body if method == "finish" else {"intent": subject.intent}
        if body["intent"] == intent:
            raise StoreError("the disk is full")
        return real(subject, *args, **how)

    monkeypatch.setattr(gate, method, fails)


@pytest.mark.parametrize(("method", "runs"), [("submit", 0), ("finish", 1)])
def test_what_cannot_be_recorded_ends_the_run(desk, monkeypatch, method, runs):
    ran = Ran()
    failing(desk.gate, monkeypatch, method, "look")
    agent = Agent(calls([("look", {"order": 1})]), toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)])
    with pytest.raises(StoreError, match="disk is full"):
        agent.run_sync("go")
    assert len(ran) == runs and told(desk.new()).count("inference chat") == 1


def test_an_answer_that_cannot_be_recorded_is_not_gone_by(desk, monkeypatch):
    ran = Ran()
    failing(desk.gate, monkeypatch, "finish", "chat")
    agent = Agent(calls([("look", {"order": 1})]), toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)])
    with pytest.raises(StoreError, match="disk is full"):
        agent.run_sync("go")
    assert ran == []


def test_an_agent_that_is_another_s_tool_rests_on_the_call(desk):
    inner = Agent(calls(), name="inner", capabilities=[Governed(desk.gate)])
    outer = Agent(calls([("ask", {"what": "why"})]), name="outer", capabilities=[Governed(desk.gate)])

    @outer.tool_plain
    async def ask(what: str) -> str:
        return (await inner.run(what)).output

    assert outer.run_sync("go").output == "done"
    made = desk.new()
    assert told(made) == [
        *("inference chat", "observation", "inference ask", "inference chat", "observation"),
        *("composite ask", "inference chat", "observation"),
    ]
    assert cites(made[3]) == {made[2].id}
    assert cites(made[5], "part") == {made[2].id, made[3].id} and made[5].id in cites(made[6])


def test_an_agent_under_another_gate_cites_the_call_that_it_works_for(home, desk):
    other = Desk(home, "the-other-desk")
    inner = Agent(calls(), capabilities=[Governed(other.gate)])
    outer = Agent(calls([("ask", {})]), capabilities=[Governed(desk.gate)])

    @outer.tool_plain
    async def ask() -> str:
        return (await inner.run("?")).output

    outer.run_sync("go")
    (call,) = (one for one in desk.new() if one.body.get("intent") == "ask")
    assert cites(other.new()[0]) == {call.id}


def test_functions_that_make_the_output_are_judged_like_tools(desk):
    ran = []

    def send(answer: Answer) -> str:
        ran.append(answer.mood)
        return answer.mood

    def agent(*moods):
        model = calls(*([("final", {"mood": mood})] for mood in moods))
        return Agent(model, output_type=ToolOutput(send, name="final"), capabilities=[Governed(desk.gate)])

    assert agent("calm").run_sync("go").output == "calm" and ran == ["calm"]
    made = desk.new()
    assert told(made)[2:] == ["inference final", "observation"] and cites(made[2]) == {made[1].id}
    assert agent("loud", "calm").run_sync("go").output == "calm" and ran == ["calm", "calm"]
    made = desk.new()
    assert told(made)[2:5] == ["rejection final", "inference chat", "observation"] and made[2].id in cites(made[3])


def test_a_toolset_can_be_governed_alone_and_is_not_judged_twice(desk):
    ran = Ran()
    tools = govern(ran.toolset(), desk.gate)
    Agent(calls([("look", {"order": 1})]), toolsets=[tools]).run_sync("go")
    assert told(desk.new()) == ["inference look", "observation"]
    both = Agent(calls([("look", {"order": 2})]), toolsets=[tools], capabilities=[Governed(desk.gate)])
    both.run_sync("go")
    assert told(desk.new()).count("inference look") == 1 and ran == [("look", 1), ("look", 2)]


def test_tools_and_capabilities_of_one_run_are_governed_too(desk):
    ran = Ran()
    agent = Agent(TestModel(call_tools=["look"]))
    agent.run_sync("go", toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)])
    assert ran == [("look", 0)] and "inference look" in told(desk.new())


def test_runs_at_the_same_time_keep_apart(desk):
    agent = Agent(TestModel(call_tools=["look"]), toolsets=[Ran().toolset()], capabilities=[Governed(desk.gate)])

    async def main():
        await asyncio.gather(*(agent.run(f"run {n}") for n in range(3)))

    asyncio.run(main())
    made = {one.id: one for one in desk.new()}
    looks = [one for one in made.values() if one.body.get("intent") == "look"]
    assert len({next(iter(cites(one))) for one in looks}) == len(looks) == 3


def test_of_models_in_turn_the_one_that_answered_is_named(desk):
    def breaks(messages, info):
        from pydantic_ai.exceptions import ModelHTTPError

        raise ModelHTTPError(503, "first")

    model = FallbackModel(FunctionModel(breaks, model_name="first"), calls())
    Agent(model, capabilities=[Governed(desk.gate)]).run_sync("go")
    asked, answered = desk.new()
    assert answered.body["data"]["answered"] == "model-x" and cites(answered) == {asked.id}


def test_what_messages_say_of_records_is_believed_of_one_s_own_alone(home, desk):
    stranger = Desk(home, "stranger")
    theirs = stranger.gate.agent.act("anything", {})
    notes = [theirs.id, desk.gate.agent.id, b"no id"]
    history = [
        ModelResponse(parts=[TextPart("?")], metadata={"tslg/record": to_text(id) if id[:1] != b"n" else 17})
        for id in notes
    ]
    for forged in history:
        Agent(calls(), capabilities=[Governed(desk.gate)]).run_sync("go", message_history=[forged])
        assert cites(desk.new()[0]) == set()


def test_what_has_no_canonical_form_is_digested_as_it_is_written(desk):
    huge = {"order": 2**60}
    with pytest.raises(UsageError):
        digest(huge)
    assert content_of(huge).value == hashlib.sha256(json.dumps(huge, separators=(",", ":")).encode()).digest()
    ran = Ran()
    agent = Agent(calls([("look", huge)]), toolsets=[ran.toolset()], capabilities=[Governed(desk.gate)])
    agent.run_sync("go")
    assert ran == [("look", 2**60)]


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name, *args, **how):
        if name.startswith("tslg.node.adapters.pydantic_ai") and args[2]:
            raise ModuleNotFoundError("No module", name="pydantic_ai")
        return real(name, *args, **how)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="not installed") as told:
        adapter.__getattr__("Governed")
    assert "tslg[pydantic-ai]" in told.value.mend
    with pytest.raises(AttributeError):
        adapter.anything  # noqa: B018
