"""Anchoring in the background of a running node: whatever is due is cosigned without anybody waiting for it."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from tslg.node.anchoring import Anchorer
from tslg.node.home import Home
from tslg.node.tasks import background
from tslg.protocol.cid import short
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError
from tslg.protocol.limits import Limits

_log = logging.getLogger(__name__)


@asynccontextmanager
async def kept_anchored(home: Home, limits: Limits) -> AsyncIterator[None]:
    """Keep the logs of a node's agents anchored while the block runs."""
    async with background() as nursery:
        nursery.start_soon(_keep, home, limits)
        yield


async def _keep(home: Home, limits: Limits) -> None:
    while True:
        if home.manifest.envelope.anchoring is not None:
            for agent in home.agents:
                try:
                    # Cosignatures that a witness gave are kept, whatever happens to the node meanwhile.
                    await trio.to_thread.run_sync(_anchor_if_due, home.anchorer, agent.id)
                except NetworkError as error:
                    _log.warning("the log of %s is not anchored: %s", short(agent.id), error.detail)
        await trio.sleep(limits.anchoring_check_ms / 1000)


def _anchor_if_due(anchorer: Anchorer, agent: Link) -> None:
    if anchorer.due(agent):
        anchorer.anchor(agent)
