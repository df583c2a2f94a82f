"""An audit over libp2p on loopback, of two vendors' nodes in processes of their own, against verifying locally."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from tslg.node.bench.figures import MILLI, WALL, MeasurementError, Row, Series, Side, Target, interleave, timed
from tslg.node.bench.lineage import SEED, Lineage
from tslg.node.bench.processes import environment
from tslg.node.bench.setting import Setting
from tslg.node.bench.walks import check
from tslg.node.sources import StoreSource
from tslg.node.store.sqlite import SqliteStore
from tslg.node.verifying import verify
from tslg.protocol.report import Report

STOP_SECONDS: Final = 20
"""How long a node may take to stop."""


def audit(setting: Setting) -> list[Row]:
    """Walk a lineage that lies with two nodes, neither of which holds it all, each time over new connections."""
    # Imported here because it costs half a second, which measurements without a network need not wait for.
    from tslg.node.auditor import WORKERS

    lineage = setting.lineage()
    trips: list[float] = []
    with ExitStack() as stack:
        store = stack.enter_context(SqliteStore.open(lineage.whole, readonly=True))
        addresses = [stack.enter_context(serving(path)) for path in lineage.vendors]

        def over_network() -> float:
            seconds, report = audit_once(lineage, addresses)
            trips.append(float(report.round_trips or 0))
            return seconds

        def locally() -> None:
            source = StoreSource(store)
            check(verify(source, lineage.target, lineage.federation, now_ms=lineage.now_ms, workers=WORKERS), lineage)

        sides = interleave(setting.repeat, over_network, timed(locally, WALL))
    ours, reference = (series.times(MILLI) for series in sides)
    title = f"audit of {setting.records:,} records over libp2p, 2 nodes"
    base = Side(f"verified from a local store, {WORKERS} workers", reference, "ms")
    return [
        Row("audit", title, ours.over(reference), "×", Side("tslg", ours, "ms"), base, Target(2.0, False)),
        Row("audit-round-trips", "round trips of that audit", Series.of(trips), "", target=Target(10, False)),
    ]


def audit_once(lineage: Lineage, addresses: Sequence[str]) -> tuple[float, Report]:
    """Audit as somebody who holds nothing and has no connection yet; return the seconds it took and the report."""
    import trio

    from tslg.node.auditor import Auditor
    from tslg.node.net.libp2p.config import Libp2pConfig
    from tslg.node.net.libp2p.network import Libp2pNetwork
    from tslg.node.net.seam import running

    async def work() -> tuple[float, Report]:
        seed = random.Random(SEED).randbytes(32)
        async with running(Libp2pNetwork(Libp2pConfig(seed=seed))) as network:
            auditor = Auditor(network, lineage.federation, clock=lambda: lineage.now_ms)
            started = WALL()
            report = await auditor.audit(lineage.target, addresses)
            return WALL() - started, report

    seconds, report = trio.run(work)
    check(report, lineage)
    return seconds, report


@contextmanager
def serving(path: Path) -> Iterator[str]:
    """Serve a data directory from a process of its own; yield its address. Raises MeasurementError if it does not."""
    command = [sys.executable, "-m", "tslg.node.cli", "node", "run", "--data", str(path), "--api", "off", "--json"]
    with (path / "stderr").open("w+", encoding="utf-8") as errors:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment())
        try:
            assert process.stdout is not None
            said = process.stdout.readline()
            if not said:
                errors.seek(0)
                raise MeasurementError(f"a node did not start: {' '.join(errors.read(1_000).split())}")
            yield json.loads(said)["addresses"][0]
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.communicate(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
