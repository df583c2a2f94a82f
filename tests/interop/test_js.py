"""Other implementations against a real node: js-libp2p by docs/spec alone, and Helia, an IPFS client.

Needs Node 20 or later and npm, which brings the packages once into a folder below the user's cache.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tslg.node.background import BackgroundNode
from tslg.node.config import NodeConfig
from tslg.protocol.cid import to_text
from tslg.protocol.log import root

pytestmark = pytest.mark.slow
SOURCES = Path(__file__).parent / "js"


@pytest.fixture(scope="session")
def scripts() -> Path:
    """Install what package.json names, once for each content of it, and return the folder with the scripts."""
    for tool in ("node", "npm"):
        assert shutil.which(tool), f"this test needs {tool}: apt-get install nodejs npm"
    digest = hashlib.sha256((SOURCES / "package.json").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tslg-interop" / digest
    cache.mkdir(parents=True, exist_ok=True)
    for path in [*SOURCES.glob("*.mjs"), SOURCES / "package.json"]:
        shutil.copy(path, cache)
    done = cache / "installed"
    if not done.exists():
        options = ["--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
        subprocess.run(["npm", "install", *options], cwd=cache, check=True, capture_output=True, timeout=900)
        done.touch()
    return cache


def run(scripts: Path, script: str, *arguments: str) -> dict[str, Any]:
    command = ["node", "--import", "./polyfill.mjs", script, *arguments]
    done = subprocess.run(command, cwd=scripts, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def two_agents(path: Path, **settings: Any) -> Iterator[tuple[BackgroundNode, list[Any]]]:
    """A node with two agents who cite each other's records in turn."""
    config = NodeConfig(listen=("/ip4/127.0.0.1/tcp/0",), **settings)
    with BackgroundNode(path, config=config) as node:
        agents = [node.agent("one"), node.agent("two")]
        made: list[Any] = []
        for number in range(40):
            made.append(agents[number % 2].state({"number": number}, evidence=made[-1:]))
        yield node, made


def test_js_walks_an_ancestry_by_the_specification(scripts: Path, tmp_path: Path) -> None:
    with two_agents(tmp_path / "node") as (node, made):
        seen = run(scripts, "walk.mjs", node.addresses[0], to_text(made[-1].id))
    assert seen["pinged"] and seen["missing"] == seen["told"] == []
    assert {to_text(record.id) for record in made} <= set(seen["reached"])
    assert len(seen["owners"]) == 2
    assert {to_text(record.owner): record.seq + 1 for record in made}.items() <= seen["heads"].items()


def test_js_follows_heads_by_the_specification(scripts: Path, tmp_path: Path) -> None:
    with two_agents(tmp_path / "node", gossip=True) as (node, made):
        federation = to_text(node.federation)
        process = subprocess.Popen(
            ["node", "--import", "./polyfill.mjs", "heads.mjs", node.addresses[0], federation, str(made[-1].seq + 4)],
            cwd=scripts,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        agent = node.agent("two")
        while process.poll() is None:
            last = agent.state({"more": True})
            time.sleep(0.5)
        out, errors = process.communicate()
        assert process.returncode == 0, errors[-3000:]
        head = json.loads(out)
        leaves = node.node.home.store.leaves(agent.id, head["size"])
        peer_id = node.node.network.peer_id
    assert head["agent"] == to_text(agent.id) and head["from"] == peer_id
    assert made[-1].seq + 4 <= head["size"] <= last.seq + 1
    assert head["root"] == root(leaves).hex()


def test_an_ipfs_client_fetches_a_record_by_its_cid(scripts: Path, tmp_path: Path) -> None:
    with two_agents(tmp_path / "node", bitswap=True) as (node, made):
        found = run(scripts, "block.mjs", node.addresses[0], to_text(made[7].id))
    assert bytes.fromhex(found["block"]) == made[7].data
