"""What a running node tells those who watch over it: numbers, and lines of its log."""

from __future__ import annotations

import io
import json
import logging
import sys
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tslg.node.logs import JsonFormatter, configure
from tslg.node.metrics import Metrics
from tslg.node.net.memory import MemoryHub
from tslg.node.net.seam import running
from tslg.node.node import Node
from tslg.protocol.cid import compute, to_text
from tslg.protocol.errors import UsageError
from tslg.protocol.exchange import LOG, HeadRequest


async def test_numbers_are_those_of_the_node(tmp_path: Path) -> None:
    hub = MemoryHub()
    async with Node.open(tmp_path / "a", network=hub.network("a")) as node:
        agent = await node.agent("one")
        for number in range(3):
            await agent.state({"number": number})
        other = hub.network("b")
        async with running(other):
            for asked in (HeadRequest(agent.id).to_bytes(), HeadRequest(agent.id).to_bytes(), b"nonsense"):
                try:
                    async with other.request(node.addresses[0], LOG, asked) as chunks:
                        [chunk async for chunk in chunks]
                except Exception as error:
                    assert asked == b"nonsense", error
        text = Metrics(node).text().decode()
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert found["tslg_log_records", ("agent", to_text(agent.id)), ("name", "one")] == 5
    assert found["tslg_requests_total", ("answer", "ok"), ("protocol", LOG)] == 2
    assert found["tslg_requests_total", ("answer", "invalid"), ("protocol", LOG)] == 1
    assert found["tslg_logs_whole",] == 2 and found["tslg_forks",] == 0 and found["tslg_uptime_seconds",] > 0


def test_a_line_of_json_has_what_was_given_beside_the_message() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger = logging.Logger("tslg.test")
    logger.addHandler(handler)
    logger.warning("peer %s broke %s", "x\ny", "a rule", extra={"peer": "x", "record": compute(b"r")})
    try:
        raise ValueError("no")
    except ValueError:
        logger.error("failed", exc_info=True)
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == "peer x\ny broke a rule" and first["level"] == "warning" and first["peer"] == "x"
    assert first["record"] == to_text(compute(b"r")) and first["time"].endswith("+00:00")
    assert "ValueError: no" in second["exception"]


@pytest.mark.parametrize(("form", "level"), [("xml", "info"), ("json", "loud")])
def test_a_form_or_level_that_is_none_is_refused(form: str, level: str) -> None:
    with pytest.raises(UsageError):
        configure(form, level)


def test_what_is_configured_goes_to_stderr(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    before = logging.root.handlers[:], logging.root.level
    try:
        configure("json", "info")
        logging.getLogger("tslg.test").info("seen")
        logging.getLogger("tslg.test").debug("unseen")
        logging.getLogger("libp2p.test").error("unseen")
    finally:
        logging.root.handlers[:], logging.root.level = before[0], before[1]
    assert [json.loads(line)["message"] for line in stream.getvalue().splitlines()] == ["seen"]
