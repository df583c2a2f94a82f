"""Replicating a lineage over libp2p on loopback, from two vendors' nodes, against verifying and storing it locally."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from tslg.node.bench.audits import serving
from tslg.node.bench.figures import MICRO, WALL, MeasurementError, Row, Side, Target, interleave
from tslg.node.bench.lineage import Lineage
from tslg.node.bench.setting import Setting
from tslg.node.bench.walks import PER_RECORD, storing, workload
from tslg.node.home import Home
from tslg.protocol.codec import Link


def replicate(setting: Setting) -> list[Row]:
    """Hold both vendors' logs whole in a new directory, each time over new connections."""
    with ExitStack() as stack:
        load = stack.enter_context(workload(setting))
        lineage = load.lineage
        owners = [log.owner for log in load.store.logs() if log.complete and log.owner != lineage.federation]
        addresses = [stack.enter_context(serving(path)) for path in lineage.vendors]

        def over_network() -> float:
            return sync_once(setting, lineage, owners, addresses)

        sides = interleave(setting.repeat, over_network, storing(load, setting))
    ours, reference = (series.times(MICRO / lineage.records) for series in sides)
    return [
        Row(
            "replicate",
            f"replication of {setting.records:,} records over libp2p, 2 nodes",
            reference.over(ours),
            "×",
            Side("tslg", ours, PER_RECORD),
            Side("verified and stored locally, 2 workers", reference, PER_RECORD),
            Target(0.5, True, gates=False),
        )
    ]


def sync_once(setting: Setting, lineage: Lineage, owners: Sequence[Link], addresses: Sequence[str]) -> float:
    """Replicate into a new directory as somebody who holds the root manifest alone; return the seconds it took."""
    import trio

    from tslg.node.net.libp2p.config import Libp2pConfig
    from tslg.node.net.libp2p.network import Libp2pNetwork
    from tslg.node.net.seam import running
    from tslg.node.replication.catching import replicate as sync

    async def work() -> float:
        with Home.open(setting.scratch(), federation=lineage.manifest, clock=lambda: lineage.now_ms) as home:
            async with running(Libp2pNetwork(Libp2pConfig(seed=home.peer_seed()))) as network:
                started = WALL()
                report = await sync(network, home.ledger, owners, addresses)
                seconds = WALL() - started
        if report.exit_code or sum(log.size for log in report.logs if log.agent in owners) < lineage.records:
            raise MeasurementError(f"the lineage was not replicated whole: {report.to_text()}"[:500])
        return seconds

    return trio.run(work)
