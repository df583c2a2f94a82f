"""Feeds and outlets: each record once and in order, over restarts, and never on top of another history."""

from __future__ import annotations

import io
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from steps import step

from tslg.node.home import Home
from tslg.node.streaming import feed as feeds
from tslg.node.streaming.feed import Feed, Mark, decode_cursor, document, encode_cursor
from tslg.node.streaming.outlet import Outlet
from tslg.protocol.cid import compute
from tslg.protocol.errors import UsageError

STEPS = frozenset(("inference", "rejection", "decomposition", "composite"))


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with Home.open(tmp_path_factory.mktemp("feed") / "home") as opened:
        one, two = opened.agent("one"), opened.agent("two")
        for n in range(5):
            step(one, n)
            one.observe("sensor", {"n": n})
            step(two, n, "rejection")
        yield opened


def everything(feed):
    """Read a feed to its end."""
    found = []
    while True:
        batch = feed.read()
        found += batch.items
        if not batch.more:
            return found


@pytest.mark.spec("STR-1", "STR-2")
def test_each_wanted_record_comes_once_and_in_the_order_of_its_log(home):
    feed = Feed(home.store, kinds=STEPS)
    items = everything(feed)
    for agent in home.agents:
        seqs = [item.record.seq for item in items if item.record.owner == agent.id]
        assert seqs == sorted(set(seqs)) and len(seqs) == 5
    assert {item.record.kind for item in items} == {"inference", "rejection"} and feed.behind() == 0
    told = document(items[-1])
    assert told["behind"] == home.store.log_state(items[-1].record.owner).size - items[-1].record.seq - 1
    assert set(told) == {"record", "agent", "seq", "time", "kind", "preds", "body", "behind"}
    assert everything(feed) == []


@pytest.mark.spec("STR-2")
def test_what_an_agent_says_never_ends_a_line(tmp_path):
    text = "a\u2028b\u0085c\r\nd\x0be\x1cf"
    with Home.open(tmp_path / "a") as home:
        home.agent("one").observe("foreign", {"text": text})
        (item,) = everything(Feed(home.store, kinds={"observation"}))
    line = feeds.one_line(document(item))
    assert len(line.decode("ascii").splitlines()) == 1 and json.loads(line)["body"]["data"]["text"] == text


@pytest.mark.spec("STR-3")
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stops=st.lists(st.integers(0, 4), max_size=5), batch=st.integers(1, 4))
def test_who_stops_anywhere_goes_on_there(home, stops, batch):
    whole = [item.record.id for item in everything(Feed(home.store))]
    found, cursor = [], "gA"
    before, feeds.BATCH = feeds.BATCH, batch
    try:
        for reads in [*stops, None]:
            feed = Feed(home.store, cursor=decode_cursor(cursor, 16))
            if reads is None:
                found += everything(feed)
            for _ in range(reads or 0):
                found += feed.read().items
            cursor = encode_cursor(feed.cursor)
    finally:
        feeds.BATCH = before
    ids = [item.record.id for item in found]
    assert len(ids) == len(set(ids)) and set(ids) == set(whole)


@pytest.mark.parametrize("text", ["", "!", "gw", "oA", "gYNYJAE", "A" * 100_000])
def test_what_is_no_cursor_is_none(text):
    with pytest.raises(UsageError) as raised:
        decode_cursor(text, 2)
    assert raised.value.code == "TSLG-U-CURSOR"
    many = {compute(bytes([n])): Mark(1, compute(b"x")) for n in range(3)}
    with pytest.raises(UsageError):
        decode_cursor(encode_cursor(many), 2)


@pytest.mark.spec("STR-4")
def test_a_history_that_was_rewritten_or_cut_between_two_readings_is_found(tmp_path):
    with Home.open(tmp_path / "a") as home:
        agent = home.agent("one")
        step(agent, 1)
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    with Home.open(tmp_path / "a") as home:
        step(home.agent("one"), 2)
        feed = Feed(home.store)
        everything(feed)
        cursor = feed.cursor
    with Home.open(tmp_path / "copy") as home:
        with pytest.raises(UsageError, match="are held") as raised:
            Feed(home.store, cursor=cursor)
        assert raised.value.code == "TSLG-U-CURSOR"
        for n in (3, 4):
            step(home.agent("one"), n)
        with pytest.raises(UsageError, match="is another one now"):
            Feed(home.store, cursor=cursor)


@pytest.mark.spec("STR-10")
@pytest.mark.parametrize("lost", ["nothing", "the cursor", "half of what was written"])
def test_a_file_has_each_record_once_after_a_crash_at_any_instant(home, tmp_path, lost):
    out, kept = tmp_path / "steps.jsonl", tmp_path / "steps.jsonl.cursor"
    before, feeds.BATCH = feeds.BATCH, 3
    try:
        for turn in range(40):
            with Outlet(out, kept, 16) as outlet:
                feed = Feed(home.store, kinds=STEPS, cursor=outlet.cursor)
                if outlet.cursor is None:
                    outlet.write([], feed.cursor)
                noted = kept.read_bytes()
                batch = feed.read()
                outlet.write(
                    [json.dumps(document(item)["record"]).encode() + b"\n" for item in batch.items], batch.cursor
                )
            # As if the process had been killed before the cursor, or all of the lines, were on disk.
            if lost != "nothing" and turn % 2:
                kept.write_bytes(noted)
                if lost == "half of what was written":
                    length = json.loads(noted)["length"]
                    data = out.read_bytes()
                    out.write_bytes(data[: length + (len(data) - length) // 2])
    finally:
        feeds.BATCH = before
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == len(set(lines)) == 10


def test_a_file_that_is_not_its_cursor_s_is_left_alone(home, tmp_path):
    out, kept = tmp_path / "out", tmp_path / "kept"
    out.write_bytes(b"somebody else's\n")
    with pytest.raises(UsageError) as raised:
        Outlet(out, kept, 16)
    assert raised.value.code == "TSLG-U-CURSOR" and out.read_bytes() == b"somebody else's\n"
    kept.write_text("{}")
    with pytest.raises(UsageError, match="no cursor can be read"):
        Outlet(io.BytesIO(), kept, 16)
    with pytest.raises(UsageError) as raised:
        Outlet(tmp_path / "no" / "where", tmp_path / "k", 16)
    assert raised.value.code == "TSLG-U-FILE"
