"""A federation whose nodes know nothing of each other but what a test says."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from strangers import manifest
from world import founded

from tslg.manifests.signing import encode_sealed
from tslg.node.config import NodeConfig
from tslg.node.node import Node


class Federation:
    """Opens nodes of one federation, each with a data directory of its own that outlives it."""

    def __init__(self, folder: Path) -> None:
        made = founded(manifest(), "finding")
        self.id = made.manifest_record.id
        self.folder = folder
        self.file = folder / "root.sealed"
        self.file.write_bytes(encode_sealed(made.manifest_record.data, made.seal))

    @asynccontextmanager
    async def node(self, name: str, *bootstrap: str, network=None, **settings):
        """Run a node; over libp2p on loopback where no network is given."""
        config = NodeConfig(
            listen=() if network is not None else settings.pop("listen", ("/ip4/127.0.0.1/tcp/0",)),
            bootstrap=bootstrap,
            discovery=settings.pop("discovery", True),
        ).with_values(settings)
        async with Node.open(self.folder / name, federation=self.file, network=network, config=config) as opened:
            yield opened


@pytest.fixture
def federation(tmp_path) -> Federation:
    return Federation(tmp_path)
