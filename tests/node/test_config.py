"""Settings of a node: which source stands above which, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from tslg.node.config import NodeConfig
from tslg.protocol.errors import UsageError


def test_flags_stand_above_the_environment_and_that_above_the_file(tmp_path: Path) -> None:
    (tmp_path / "node.toml").write_text(
        'listen = ["/ip4/127.0.0.1/tcp/1"]\nannounce = ["/dns/a/tcp/1"]\nbootstrap = ["/dns/b/tcp/1"]\ngossip = true\n'
    )
    environment = {"TSLG_NODE_BOOTSTRAP": "/dns/c/tcp/1, /dns/d/tcp/1", "TSLG_NODE_GOSSIP": "off", "PATH": "/bin"}
    found = NodeConfig().over(tmp_path, environment).with_values({"listen": ["/ip4/0.0.0.0/tcp/2"], "gossip": None})
    assert found == NodeConfig(
        listen=("/ip4/0.0.0.0/tcp/2",),
        announce=("/dns/a/tcp/1",),
        bootstrap=("/dns/c/tcp/1", "/dns/d/tcp/1"),
        gossip=False,
    )


def test_without_a_file_the_defaults_stay(tmp_path: Path) -> None:
    assert NodeConfig(discovery=True).over(tmp_path, {}) == NodeConfig(discovery=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("lisen = []", "lisen: no such setting"),
        ("listen = 3", "listen: 3 is no list of texts"),
        ('gossip = "yes"', "gossip: 'yes' is no truth value"),
        ("listen = [", "node.toml"),
    ],
)
def test_a_file_that_is_wrong_is_told_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "node.toml").write_text(text)
    with pytest.raises(UsageError, match=said) as caught:
        NodeConfig().over(tmp_path, {})
    assert caught.value.mend and "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "text"), [("TSLG_NODE_NOTHING", "1"), ("TSLG_NODE_GOSSIP", "perhaps")])
def test_a_variable_that_is_wrong_is_refused(tmp_path: Path, name: str, text: str) -> None:
    with pytest.raises(UsageError):
        NodeConfig().over(tmp_path, {name: text})
