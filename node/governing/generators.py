"""Governed generators: judged before their first value, current only while they run, recorded when they end.

Between two values the caller's code runs, which is no part of the step; so the step is made current for each resumption
by itself. A caller that stops early has had what was yielded until then, and that is what is recorded.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from typing import TYPE_CHECKING, Any

from tslg.node.agent import in_thread
from tslg.node.governing.values import Gathering

if TYPE_CHECKING:
    from tslg.node.governing.functions import GovernedStep


Steps = Callable[[tuple[Any, ...], dict[str, Any]], "GovernedStep"]
"""Returns the step that a call with these arguments is."""


def generated(function: Callable[..., Generator[Any, Any, Any]], step: Steps) -> Callable[..., Any]:
    """Return a generator function whose every run is a step."""

    @functools.wraps(function)
    def governed(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        return (yield from _run(step(args, kwargs), function(*args, **kwargs)))

    return governed


def yielded(function: Callable[..., AsyncGenerator[Any, Any]], step: Steps) -> Callable[..., Any]:
    """Return an async generator function whose every run is a step."""

    @functools.wraps(function)
    async def governed(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        one = step(args, kwargs)
        inner = function(*args, **kwargs)
        await one.begin_awaited()
        gathered = Gathering(one.gate.keeps_outputs)
        try:
            with one.current():
                value = await anext(inner)
            while True:
                gathered.add(value)
                try:
                    sent = yield value
                except GeneratorExit:
                    with one.current():
                        await inner.aclose()
                    # Not awaited: a generator that is being closed may wait for nothing but its own end.
                    one.finish(gathered.content())
                    return
                except BaseException as thrown:
                    with one.current():
                        value = await inner.athrow(thrown)
                else:
                    with one.current():
                        value = await inner.asend(sent)
        except StopAsyncIteration:
            await in_thread(lambda: one.finish(gathered.content()))
        except BaseException as error:
            one.failed(error)
            raise

    return governed


def _run(step: GovernedStep, inner: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """Run a generator as a step; what is sent and thrown reaches it, and what it returns comes back."""
    step.begin()
    gathered = Gathering(step.gate.keeps_outputs)
    try:
        with step.current():
            value = next(inner)
        while True:
            gathered.add(value)
            try:
                sent = yield value
            except GeneratorExit:
                with step.current():
                    inner.close()
                break
            except BaseException as thrown:
                with step.current():
                    value = inner.throw(thrown)
            else:
                with step.current():
                    value = inner.send(sent)
        result = None
    except StopIteration as stop:
        result = stop.value
    except BaseException as error:
        step.failed(error)
        raise
    step.finish(gathered.content())
    return result
