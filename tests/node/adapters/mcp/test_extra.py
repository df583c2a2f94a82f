"""What needs MCP's or A2A's own library says so in one line where it is not installed; the rest works without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tslg.node.cli.root import tslg
from tslg.protocol.errors import UsageError

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def without(monkeypatch):
    """Have a library be missing, and our modules that need it not imported yet."""

    def hide(library, *modules):
        for name in list(sys.modules):
            if name == library or name.startswith(f"{library}."):
                monkeypatch.setitem(sys.modules, name, None)
        monkeypatch.setitem(sys.modules, library, None)
        for module in modules:
            monkeypatch.delitem(sys.modules, f"tslg.node.adapters.{module}", raising=False)

    return hide


@pytest.mark.parametrize(
    "command", [["serve"], ["proxy", "--url", "http://127.0.0.1:9/mcp", "--policy", "POLICY", "--data", "DATA"]]
)
def test_commands_name_the_extra(without, policy, tmp_path, command):
    without("mcp", "mcp.serving", "mcp.http", "mcp.governing")
    places = {"POLICY": str(policy), "DATA": str(tmp_path / "data")}
    result = CliRunner().invoke(tslg, ["mcp", *(places.get(one, one) for one in command)])
    assert result.exit_code == 3
    assert "TSLG-U-EXTRA" in result.stderr and "pip install 'tslg[mcp]'" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_names_that_are_imported_name_the_extra(without):
    from tslg.node.adapters import a2a, mcp

    without("mcp", "mcp.governing")
    without("a2a", "a2a.delegate", "a2a.delegator", "a2a.extension")
    with pytest.raises(UsageError, match=r"tslg\[mcp\]"):
        _ = mcp.govern
    with pytest.raises(UsageError, match=r"tslg\[a2a\]"):
        _ = a2a.Delegator
    for package in (mcp, a2a):
        with pytest.raises(AttributeError):
            _ = package.nothing


def test_a_relay_before_a_command_needs_neither():
    program = """
import sys
sys.modules.update(mcp=None, mcp_types=None, a2a=None, pydantic=None, anyio=None, httpx2=None)
import tslg.node.adapters.mcp.child, tslg.node.adapters.mcp.relay, tslg.node.cli.mcp
"""
    subprocess.run([sys.executable, "-c", program], check=True, env={**os.environ, "PYTHONPATH": str(ROOT / "src")})
