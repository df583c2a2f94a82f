"""Services of a node: told of growth from any thread, their errors as they are."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from tslg.node.growth import Growth
from tslg.node.home import Home
from tslg.node.services import at_work, grown


async def test_growth_of_many_appends_is_told_together(tmp_path: Path) -> None:
    with Home.open(tmp_path / "a") as home:
        agent = home.agent("one")
        heard = []
        async with trio.open_nursery() as nursery:

            async def listen(*, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
                async with aclosing(grown(home.ledger.growth)) as changes:
                    task_status.started()
                    async for owners in changes:
                        heard.append(owners)
                        if owners == [agent.id]:
                            break

            await nursery.start(listen)
            await trio.testing.wait_all_tasks_blocked()
            await trio.to_thread.run_sync(lambda: [agent.state({"n": n}) for n in range(3)])
    assert heard[-1] == [agent.id]
    assert len(heard) <= 3


def test_what_nobody_watches_is_told_to_nobody() -> None:
    growth = Growth()
    growth.tell([])
    with growth.watching(lambda: None) as watch:
        pass
    growth.tell([])
    assert watch.take() == []


async def test_an_error_of_a_service_comes_out_as_it_is() -> None:
    class Broken:
        def serve(self, network: object) -> None: ...

        async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            raise KeyError("broken")

    with pytest.raises(KeyError):
        async with at_work([Broken()]):
            await trio.sleep_forever()


async def test_services_end_with_the_block() -> None:
    ended = []

    class Patient:
        def serve(self, network: object) -> None: ...

        async def run(self, *, task_status: Any = trio.TASK_STATUS_IGNORED) -> None:
            task_status.started()
            try:
                await trio.sleep_forever()
            finally:
                ended.append(True)

    async with at_work([Patient(), Patient()]):
        assert not ended
    assert ended == [True, True]
