"""Puts a gate into a graph before it is compiled: around its nodes, their models, their tools and their updates."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from langchain_core.runnables import Runnable, RunnableConfig, RunnableLambda
from langchain_core.runnables.config import merge_configs, set_config_context
from langgraph.channels import LastValue
from langgraph.graph import StateGraph
from langgraph.prebuilt import ToolNode

from tslg.node.adapters.langgraph.calls import GovernedCalls
from tslg.node.adapters.langgraph.messages import messages_of
from tslg.node.adapters.langgraph.moves import Moves
from tslg.node.adapters.langgraph.tools import governed
from tslg.node.agent import in_thread
from tslg.protocol.errors import UsageError

if TYPE_CHECKING:
    from tslg.node.governing.gate import Gate

G = TypeVar("G", bound=StateGraph[Any, Any, Any, Any])


def govern(builder: G, gate: Gate, moves: Iterable[str] = ()) -> G:
    """Put a gate into a graph; return the builder, to be compiled.

    Requests to models have the intent `chat`, calls of tools the tools' names. Call this after the last `add_node`.

    Args:
        builder: the graph before it is compiled; of one that was, its `builder`.
        gate: what judges and records.
        moves: keys of the graph's state that make up the agent's semantic state. A node that updates one of them
            takes a step whose intent is the node's name, before the update is applied. They have no reducers.

    Raises:
        UsageError: it is no builder, or has no such key.
    """
    if not isinstance(builder, StateGraph):
        raise UsageError(
            f"{type(builder).__name__} is no StateGraph",
            mend="govern the builder, then compile: govern(graph.builder, …)",
        )
    keys = frozenset((moves,) if isinstance(moves, str) else moves)
    for key in sorted(keys):
        if not isinstance(builder.channels.get(key), LastValue):
            raise UsageError(f"{key!r} is no key of the graph's state, or has a reducer", mend="name keys without one")
    calls = GovernedCalls(gate)
    mover = Moves(gate, keys)
    for name, node in builder.nodes.items():
        runnable: Any = governed(node.runnable, gate) if isinstance(node.runnable, ToolNode) else node.runnable
        node.runnable = _around(name, runnable, calls, mover if keys else None)
    return builder


def _around(name: str, runnable: Runnable[Any, Any], calls: GovernedCalls, moves: Moves | None) -> Runnable[Any, Any]:
    """Return a node that runs another with its calls watched, and hands on its update once that was judged."""
    watched: RunnableConfig = {"callbacks": [calls]}

    def run(given: Any, config: RunnableConfig) -> Any:
        own = merge_configs(config, watched)
        with calls.watching(), set_config_context(own) as context:
            update = context.run(runnable.invoke, given, own)
        calls.note_on(messages_of(update))
        if moves is not None:
            moves.move(name, update)
        return update

    async def run_awaited(given: Any, config: RunnableConfig) -> Any:
        own = merge_configs(config, watched)
        with calls.watching(), set_config_context(own) as context:
            update = await asyncio.create_task(_invoked(runnable, given, own), context=context)
        calls.note_on(messages_of(update))
        if moves is not None:
            await in_thread(lambda: moves.move(name, update))
        return update

    return RunnableLambda(run, run_awaited, name=name)


async def _invoked(runnable: Runnable[Any, Any], given: Any, config: RunnableConfig) -> Any:
    return await runnable.ainvoke(given, config)
