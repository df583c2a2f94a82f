"""What a node can be measured by, in the text form of Prometheus.

Numbers are read off the node when they are asked for; nothing is counted twice. Names start with `tslg_`. The form:
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tslg.node.status import installed_version
from tslg.protocol.cid import to_text
from tslg.protocol.frames import BUSY, INVALID_REQUEST, NOT_AVAILABLE, OK, REFUSED, SERVER_ERROR

if TYPE_CHECKING:
    from tslg.node.node import Node

_ANSWERS: Final = {
    OK: "ok",
    INVALID_REQUEST: "invalid",
    SERVER_ERROR: "error",
    NOT_AVAILABLE: "not_available",
    REFUSED: "refused",
    BUSY: "busy",
    None: "given_up",
}


class Metrics:
    """The numbers of one node."""

    def __init__(self, node: Node) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_NodeCollector(node))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return all numbers as they are now."""
        return generate_latest(self._registry)


class _NodeCollector(Collector):
    def __init__(self, node: Node) -> None:
        self._node = node

    def describe(self) -> Iterator[Metric]:
        """Name nothing beforehand: the node need not be read when this is registered."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Read the node."""
        yield from self._process()
        yield from self._logs()
        if self._node.network is not None:
            yield _gauge("tslg_peers_connected", "Peers connected.", len(self._node.network.peers()))
            yield self._requests()

    def _process(self) -> Iterator[Metric]:
        about = GaugeMetricFamily("tslg_info", "Version and federation.", labels=["version", "federation"])
        about.add_metric([installed_version(), to_text(self._node.federation)], 1)
        yield about
        yield _gauge("tslg_uptime_seconds", "Seconds since the node was opened.", time.monotonic() - self._node.opened)

    def _logs(self) -> Iterator[Metric]:
        home = self._node.home
        logs = home.store.logs()
        held = {log.owner: log for log in logs}
        own = GaugeMetricFamily("tslg_log_records", "Records in an agent's own log.", labels=["agent", "name"])
        for agent in home.agents:
            if agent.id in held:
                own.add_metric([to_text(agent.id), agent.name], held[agent.id].newest + 1)
        yield own
        yield _gauge("tslg_records_held", "Records held, of all logs.", sum(log.held for log in logs))
        yield _gauge("tslg_logs_held", "Logs of which something is held.", len(logs))
        yield _gauge("tslg_logs_whole", "Logs that are held whole.", sum(log.complete for log in logs))
        yield _gauge("tslg_forks", "Places at which a log is known to be forked.", len(home.store.forks()))

    def _requests(self) -> Metric:
        assert self._node.network is not None
        family = CounterMetricFamily("tslg_requests", "Requests of peers, by their end.", labels=["protocol", "answer"])
        for (protocol, code), count in sorted(self._node.network.answered().items(), key=str):
            family.add_metric([protocol, _ANSWERS[code]], count)
        return family


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=value)
