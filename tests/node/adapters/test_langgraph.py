"""LangGraph itself, with langchain-core's fake chat models, under a gate."""

from __future__ import annotations

import asyncio
import builtins
import operator
from typing import Annotated, Any, TypedDict

import pytest
from desk import Desk, cites, told
from homes import opened
from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.language_models.llms import LLM
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

import tslg.node.adapters.langgraph as adapter
from tslg.node.adapters.langgraph import govern
from tslg.node.governing.content import digest
from tslg.node.governing.errors import Rejected
from tslg.protocol.cid import to_text
from tslg.protocol.errors import StoreError, UsageError

CHAT = ("inference chat", "observation")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("langgraph") / "node") as home:
        yield home


@pytest.fixture
def desk(home, request):
    return Desk(home, request.node.name[:200])


@pytest.fixture
def ran():
    return []


@pytest.fixture
def tools(ran):
    @tool
    def refund(order: int, cents: int) -> str:
        """Pay back."""
        ran.append(("refund", order, cents))
        return f"{cents} on their way"

    @tool
    def look(order: int) -> str:
        """Look it up."""
        ran.append(("look", order))
        return "it left"

    @tool
    def fail() -> str:
        """Fail."""
        ran.append(("fail",))
        raise RuntimeError("broken")

    @tool
    def ask(question: str) -> str:
        """Ask a person."""
        ran.append(("ask", question))
        return interrupt(question)

    return [refund, look, fail, ask]


def call(name, id=None, **args):
    return {"name": name, "args": args, "id": id or f"{name}-0", "type": "tool_call"}


def says(*answers):
    """Return a model that asks for calls, a list of them an answer, or says something."""
    made = (
        AIMessage(content="", tool_calls=one) if isinstance(one, list) else AIMessage(content=one) for one in answers
    )
    return GenericFakeChatModel(messages=made)


def chat(model, tools, state=MessagesState, **how):
    """Return the builder of an agent: a model, its tools, and the way round."""

    def respond(state):
        return {"messages": [model.invoke(state["messages"])]}

    builder = StateGraph(state)
    builder.add_node("model", respond)
    builder.add_node("tools", ToolNode(tools, **how))
    builder.add_edge(START, "model")
    builder.add_conditional_edges("model", tools_condition)
    builder.add_edge("tools", "model")
    return builder


def ask_for(text="go"):
    return {"messages": [HumanMessage(text)]}


def tool_messages(result):
    return [one for one in result["messages"] if isinstance(one, ToolMessage)]


def invoke(graph, value, how, config=None):
    return graph.invoke(value, config) if how == "sync" else asyncio.run(graph.ainvoke(value, config))


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_run_is_judged_and_recorded_step_by_step(desk, tools, ran, how):
    model = says([call("refund", order=7, cents=900)], "done")
    result = invoke(govern(chat(model, tools), desk.gate).compile(), ask_for(), how)
    assert ran == [("refund", 7, 900)] and result["messages"][-1].content == "done"
    asked, answered, called, came, again, said = made = desk.new()
    assert told(made) == [*CHAT, "inference refund", "observation", *CHAT]
    assert set(asked.body["inputs"]) == {"messages", "settings"} and asked.body["model"] == "GenericFakeChatModel"
    assert called.body["inputs"]["arguments"] == digest({"order": 7, "cents": 900}) and "pay" in called.body["uses"]
    assert came.body["data"]["output"] == digest({"content": "900 on their way", "status": "success"})
    assert cites(answered) == {asked.id} and cites(called) == {answered.id} and cites(came) == {called.id}
    assert cites(again) == {answered.id, came.id} and cites(said) == {again.id}
    (message,) = tool_messages(result)
    assert message.response_metadata == {"tslg/record": to_text(called.id), "tslg/result": to_text(came.id)}


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_refused_call_never_runs_and_comes_back_as_an_error(desk, tools, ran, how):
    model = says([call("refund", order=7, cents=90_000)], "sorry")
    result = invoke(govern(chat(model, tools), desk.gate).compile(), ask_for(), how)
    (message,) = tool_messages(result)
    assert ran == [] and message.status == "error" and message.tool_call_id == "refund-0"
    assert message.content == "Not called, rejected at rule:large-refunds: refunds above 100.00 need a person"
    made = desk.new()
    assert told(made)[2:4] == ["rejection refund", "inference chat"] and made[2].id in cites(made[3])


@pytest.mark.parametrize("how", ["sync", "async"])
def test_calls_side_by_side_are_judged_one_by_one(desk, tools, ran, how):
    asked = [call("refund", f"r{n}", order=n, cents=100 if n % 2 else 20_000) for n in range(6)]
    result = invoke(govern(chat(says(asked, "done"), tools), desk.gate).compile(), ask_for(), how)
    assert sorted(ran) == [("refund", n, 100) for n in (1, 3, 5)]
    assert [one.status for one in tool_messages(result)] == ["error", "success"] * 3
    made = desk.new()
    assert told(made).count("rejection refund") == told(made).count("inference refund") == 3
    assert len(cites(made[-2])) == 7


def test_streams_are_judged_before_they_start_and_recorded_as_they_end(home, desk, tools):
    def tokens(gate, model, **how):
        graph = govern(chat(model, tools), gate).compile()
        found = [one.content for one, _ in graph.stream(ask_for(), stream_mode="messages")]
        return [one for one in found if one]

    assert tokens(desk.gate, says("it left today")) == ["it", " ", "left", " ", "today"]
    asked, answered = made = desk.new()
    assert told(made) == [*CHAT] and cites(answered) == {asked.id}
    assert answered.body["data"]["output"] == digest([{"content": "it left today", "tool_calls": []}])
    silent = Desk(home, "silent-stream", b'name = "silent"\nclass = "internal"\n[intents.look]\n')
    model = says("it left today")
    with pytest.raises(Rejected):
        tokens(silent.gate, model)
    assert next(model.messages).content == "it left today"


def test_an_answer_that_a_node_puts_together_from_a_stream_is_known_as_what_it_is(desk):
    def respond(state):
        whole = None
        for chunk in says("it left today").stream(state["messages"]):
            whole = chunk if whole is None else whole + chunk
        return {"messages": [whole]}

    builder = StateGraph(MessagesState)
    builder.add_node("model", respond)
    builder.add_edge(START, "model")
    answer = govern(builder, desk.gate).compile().invoke(ask_for())["messages"][-1]
    asked, answered = desk.new()
    assert answer.content == "it left today"
    assert answer.response_metadata == {"tslg/record": to_text(asked.id), "tslg/result": to_text(answered.id)}


def test_a_request_that_is_cancelled_has_its_end_on_record(desk):
    sent = asyncio.Event()

    class Slow(GenericFakeChatModel):
        async def _agenerate(self, *args, **how):
            sent.set()
            await asyncio.sleep(60)

    async def respond(state):
        return {"messages": [await Slow(messages=iter(())).ainvoke(state["messages"])]}

    async def main():
        builder = StateGraph(MessagesState)
        builder.add_node("model", respond)
        builder.add_edge(START, "model")
        task = asyncio.create_task(govern(builder, desk.gate).compile().ainvoke(ask_for()))
        await sent.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    asked, ended = desk.new()
    assert ended.body["data"]["raised"] == "CancelledError" and cites(ended) == {asked.id}


@pytest.mark.parametrize("handled", [True, False])
def test_a_tool_that_raises_has_that_on_record(desk, tools, handled):
    graph = govern(chat(says([call("fail")], "oh"), tools, handle_tool_errors=handled), desk.gate).compile()
    if handled:
        assert tool_messages(graph.invoke(ask_for()))[0].status == "error"
        output = desk.new()[3].body["data"]["output"]
        assert output != digest({"content": "", "status": "success"})
    else:
        with pytest.raises(RuntimeError, match="broken"):
            graph.invoke(ask_for())
        assert desk.new()[-1].body["data"]["raised"] == "RuntimeError"


@pytest.mark.parametrize("how", ["sync", "async"])
def test_what_was_interrupted_goes_on_and_still_rests_on_what_was_before(desk, tools, ran, how):
    model = says([call("ask", question="may I?")], "you may")
    graph = govern(chat(model, tools), desk.gate).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    first = invoke(graph, ask_for(), how, config)
    assert first["__interrupt__"][0].value == "may I?"
    asked, answered, called, stopped = desk.new()
    assert stopped.body["data"]["raised"] == "GraphInterrupt"
    second = invoke(graph, Command(resume="yes"), how, config)
    assert tool_messages(second)[0].content == "yes" and second["messages"][-1].content == "you may"
    again, came, more, _ = desk.new()
    # What was judged is judged once more, since the tool starts over; both rest on the answer of before.
    assert cites(called) == cites(again) == {answered.id} and cites(more) == {answered.id, came.id}
    assert second["messages"][1].response_metadata["tslg/record"] == to_text(asked.id)


@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_request_that_the_policy_refuses_is_never_sent(home, tools, how):
    desk = Desk(home, f"silent-{how}", b'name = "silent"\nclass = "internal"\n[intents.look]\n')
    model = says("hello")
    with pytest.raises(Rejected, match="chat"):
        invoke(govern(chat(model, tools), desk.gate).compile(), ask_for(), how)
    assert told(desk.new()) == ["rejection chat"] and next(model.messages).content == "hello"


def failing(gate, monkeypatch, method, intent):
    real = getattr(gate, method)

    def fails(subject, *args, **how):
        found = subject.record.body["intent"] if method == "finish" else subject.intent
        if found == intent:
            raise StoreError("the disk is full")
        return real(subject, *args, **how)

    monkeypatch.setattr(gate, method, fails)


@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize(("method", "runs"), [("submit", 0), ("finish", 1)])
def test_what_cannot_be_recorded_ends_the_run(desk, tools, ran, monkeypatch, method, runs, how):
    failing(desk.gate, monkeypatch, method, "look")
    graph = govern(chat(says([call("look", order=1)], "done"), tools), desk.gate).compile()
    with pytest.raises(StoreError, match="disk is full"):
        invoke(graph, ask_for(), how)
    assert len(ran) == runs and told(desk.new()).count("inference chat") == 1


@pytest.mark.parametrize(("method", "sent"), [("submit", False), ("finish", True)])
def test_an_answer_that_cannot_be_recorded_is_not_gone_by(desk, tools, ran, monkeypatch, method, sent):
    failing(desk.gate, monkeypatch, method, "chat")
    model = says([call("look", order=1)], "never")
    with pytest.raises(StoreError, match="disk is full"):
        govern(chat(model, tools), desk.gate).compile().invoke(ask_for())
    assert ran == [] and (next(model.messages).content == "never") is sent


def test_tools_outside_of_tool_nodes_are_judged_too(desk, tools, ran):
    refund, look, *_ = tools

    def work(state):
        look.invoke({"order": 1})
        refund.invoke({"order": 1, "cents": 99_999})
        return {}

    builder = StateGraph(MessagesState)
    builder.add_node("work", work)
    builder.add_edge(START, "work")
    with pytest.raises(Rejected, match="need a person"):
        govern(builder, desk.gate).compile().invoke(ask_for())
    assert ran == [("look", 1)]
    assert told(desk.new()) == ["inference look", "observation", "rejection refund"]


def test_a_graph_that_is_another_s_tool_rests_on_the_call(desk, ran):
    inner = govern(chat(says("because"), []), desk.gate).compile()

    @tool
    def ask(question: str) -> str:
        """Ask another agent."""
        return inner.invoke(ask_for(question))["messages"][-1].content

    outer = govern(chat(says([call("ask", question="why?")], "so"), [ask]), desk.gate).compile()
    assert outer.invoke(ask_for())["messages"][-1].content == "so"
    made = desk.new()
    assert told(made) == [*CHAT, "inference ask", *CHAT, "composite ask", *CHAT]
    assert cites(made[3]) == {made[2].id} and cites(made[5], "part") == {made[2].id, made[3].id}


def test_a_graph_under_another_gate_is_judged_by_both_and_cites_the_call_that_it_works_for(home, desk):
    other = Desk(home, "the-other-graph")
    inner = govern(chat(says("because"), []), other.gate).compile()

    @tool
    def ask(question: str) -> str:
        """Ask another agent."""
        return inner.invoke(ask_for(question))["messages"][-1].content

    govern(chat(says([call("ask", question="why?")], "so"), [ask]), desk.gate).compile().invoke(ask_for())
    own, made = desk.new(), other.new()
    assert told(own) == [*CHAT, "inference ask", *CHAT, "composite ask", *CHAT]
    assert told(made) == [*CHAT] and cites(made[0]) == {own[2].id}


def test_a_graph_inside_of_another_is_judged_once(desk, tools, ran):
    inner = govern(chat(says([call("look", order=4)], "done"), tools), desk.gate).compile()
    builder = StateGraph(MessagesState)
    builder.add_node("inner", inner)
    builder.add_edge(START, "inner")
    govern(builder, desk.gate).compile().invoke(ask_for())
    assert told(desk.new()) == [*CHAT, "inference look", "observation", *CHAT] and ran == [("look", 4)]


def test_the_node_s_own_wrapper_stands_outside_and_the_original_stays_as_it_was(desk, tools, ran):
    def halved(request, execute):
        args = request.tool_call["args"]
        return execute(request.override(tool_call={**request.tool_call, "args": args | {"cents": args["cents"] // 10}}))

    node = ToolNode(tools, wrap_tool_call=halved)
    builder = StateGraph(MessagesState)
    builder.add_node("tools", node)
    builder.add_edge(START, "tools")
    asked = {"messages": [AIMessage("", tool_calls=[call("refund", order=7, cents=90_000)])]}
    graph = govern(builder, desk.gate).compile()
    graph.invoke(asked)
    asyncio.run(graph.ainvoke(asked))
    assert ran == [("refund", 7, 9_000)] * 2
    assert desk.new()[0].body["inputs"]["arguments"] == digest({"order": 7, "cents": 9_000})
    assert node._wrap_tool_call is halved and node._awrap_tool_call is None


def test_an_argument_cannot_pass_for_a_path_that_a_rule_reads(home):
    policy = b"""
name = "confirmed"
class = "internal"
[intents.chat]
[intents.pay]
[[rules]]
name = "confirmed"
reason = "not confirmed"
intents = ["pay"]
unless = { "user.confirmed" = { is = true } }
"""
    desk, paid = Desk(home, "confirmed", policy), []

    @tool
    def pay(user: dict[str, bool]) -> str:
        """Pay."""
        paid.append(user)
        return "paid"

    asked = [
        call("pay", "1", user={"confirmed": False}, **{"user.confirmed": True}),
        call("pay", "2", **{"user.confirmed": True}),
        call("pay", "3", user={"confirmed": True}),
    ]
    result = govern(chat(says(asked, "done"), [pay]), desk.gate).compile().invoke(ask_for())
    assert [one.status for one in tool_messages(result)] == ["error", "error", "success"]
    assert paid == [{"confirmed": True}]


def test_models_of_plain_text_are_judged_too(desk):
    class Plain(LLM):
        @property
        def _llm_type(self):
            return "plain"

        def _call(self, prompt, stop=None, run_manager=None, **kwargs):
            if prompt == "break":
                raise RuntimeError("gone")
            return prompt.upper()

    builder = StateGraph(MessagesState)
    builder.add_node("model", lambda state: {"messages": [AIMessage(Plain().invoke(state["messages"][-1].content))]})
    builder.add_edge(START, "model")
    graph = govern(builder, desk.gate).compile()
    assert graph.invoke(ask_for("hello"))["messages"][-1].content == "HELLO"
    assert told(desk.new()) == [*CHAT]
    with pytest.raises(RuntimeError, match="gone"):
        graph.invoke(ask_for("break"))
    assert desk.new()[-1].body["data"]["raised"] == "RuntimeError"


class Ticket(TypedDict, total=False):
    mood: str
    stage: str
    other: str
    trail: Annotated[list[str], operator.add]


def tickets(*nodes):
    builder = StateGraph(Ticket)
    for name, update in nodes:
        builder.add_node(name, lambda state, update=update: update)
    return builder


@pytest.mark.parametrize("how", ["sync", "async"])
def test_updates_move_the_semantic_state_before_they_are_applied(desk, how):
    seen = []

    def after(state):
        seen.append((dict(desk.gate.state.data), state["stage"]))
        return {"other": "x", "trail": ["after"]}

    builder = tickets(("triage", {"mood": "calm", "stage": "open", "trail": ["t"]}))
    builder.add_node("after", after)
    builder.add_node("again", lambda state: Command(update={"stage": "closed"}, goto=END))
    builder.add_edge(START, "triage").add_edge("triage", "after").add_edge("after", "again")
    result = invoke(govern(builder, desk.gate, moves=("mood", "stage")).compile(), {"trail": []}, how)
    assert result == {"mood": "calm", "stage": "closed", "other": "x", "trail": ["t", "after"]}
    assert seen == [({"mood": "calm", "stage": "open"}, "open")]
    assert desk.gate.state.data == {"mood": "calm", "stage": "closed"}
    first, second = desk.new()
    assert told((first, second)) == ["inference triage", "inference again"]
    assert second.body["before"] == first.body["after"]


def test_a_move_that_is_refused_is_not_applied(desk):
    builder = tickets(("triage", {"mood": "loud", "stage": "open"}))
    builder.add_edge(START, "triage")
    graph = govern(builder, desk.gate, moves=("mood", "stage")).compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "1"}}
    with pytest.raises(Rejected, match="shout"):
        graph.invoke({"stage": "new"}, config)
    assert graph.get_state(config).values == {"stage": "new", "trail": []} and desk.gate.state.data in (None, {})
    assert told(desk.new()) == ["rejection triage"]


@pytest.mark.parametrize("how", ["sync", "async"])
def test_branches_at_the_same_time_move_one_state(desk, how):
    builder = tickets(("again", {"stage": "open"}), ("look", {"other": "x"}), ("ask", {"trail": ["?"]}))
    for name in ("again", "look", "ask"):
        builder.add_edge(START, name)
    invoke(govern(builder, desk.gate, moves=["stage", "other"]).compile(), {"trail": []}, how)
    assert desk.gate.state.data == {"stage": "open", "other": "x"}
    made = desk.new()
    assert sorted(told(made)) == ["inference again", "inference look"]
    assert made[1].body["before"] == made[0].body["after"]


def test_what_cannot_be_governed_is_told(desk, tools):
    builder = chat(says("x"), tools)
    with pytest.raises(UsageError, match="no StateGraph"):
        govern(builder.compile(), desk.gate)
    for key in ("messages", "nothing"):
        with pytest.raises(UsageError, match="reducer"):
            govern(builder, desk.gate, moves=key)


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def missing(name: str, *args: Any, **how: Any) -> Any:
        if name.startswith("tslg.node.adapters.langgraph") and args[2]:
            raise ModuleNotFoundError("No module", name="langchain_core")
        return real(name, *args, **how)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(UsageError, match="not installed") as found:
        adapter.__getattr__("govern")
    assert "tslg[langgraph]" in found.value.mend
    with pytest.raises(AttributeError):
        adapter.anything  # noqa: B018
