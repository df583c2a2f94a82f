"""What a node is started with: defaults, then `node.toml` in its data directory, then the environment, then flags."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self

from tslg.protocol.errors import UsageError

FILE: Final = "node.toml"
"""The name of the file in the data directory."""
PREFIX: Final = "TSLG_NODE_"
"""What the names of the environment variables start with; a list is split at commas."""
_TRUE, _FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """Settings of one node. Every field is a key of `node.toml` and, in capitals after `TSLG_NODE_`, a variable."""

    listen: tuple[str, ...] = ()
    """Multiaddrs to listen on, such as `/ip4/0.0.0.0/tcp/4101`; none for a node without a network."""
    announce: tuple[str, ...] = ()
    """Addresses to give to others in place of those listened on, for a node behind a router or a name."""
    bootstrap: tuple[str, ...] = ()
    """Addresses of peers to connect to at the start."""
    discovery: bool = False
    """Find and be found through the DHT."""
    mdns: bool = False
    """Find and be found on the local network, by multicast DNS."""
    reach: str = ""
    """The narrowest scope that addresses heard from others may have to be dialled: `loopback`, `private` or `global`;
    the scope of this node's own addresses if empty."""
    gossip: bool = False
    """Announce the heads of own logs, and hear those of others."""
    bitswap: bool = False
    """Serve single records to IPFS clients, by CID."""
    api: str = "off"
    """Where processes of this host may write: `unix` for a socket in the data directory, `127.0.0.1:PORT`, or `off`."""
    withhold: tuple[str, ...] = ()
    """Committed fields that peers do not get, each `KIND/FIELD` with `*` for any."""
    replicate: tuple[str, ...] = ()
    """Agents whose logs are held whole here, by id; `federation` for every log that peers hold whole."""
    replicate_from: tuple[str, ...] = ()
    """Addresses of peers to follow those logs at; others are found where that is switched on."""
    offer_to: tuple[str, ...] = ()
    """Addresses of replicas that are told when logs held here grow, for where announcements are off."""

    sequence: str = ""
    """The agent of this node, by name, that sequences what tenants delegate to it into its log; none if empty."""
    tenants: tuple[str, ...] = ()
    """Agents whose delegations it sequences, by id; any of the federation's if there are none."""

    log_format: str = "text"
    """How `tslg node run` logs to stderr: `text`, or `json` for one object a line."""
    log_level: str = "warning"
    """What it logs: `debug`, `info`, `warning` or `error`, and what is graver."""

    def over(self, path: Path, environment: Mapping[str, str] = os.environ) -> Self:
        """Return these defaults under what `node.toml` in a data directory says, and that under the environment.

        Raises:
            UsageError: a key is not known, or a value is not of its type.
        """
        return self.with_values(_of_file(path / FILE)).with_values(_of_environment(environment))

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """Return these settings with others in their place; None leaves one as it is. UsageError as for `over`."""
        given = {key: _checked(key, value) for key, value in values.items() if value is not None}
        return replace(self, **given)


_TYPES: Final = {field.name: type(getattr(NodeConfig(), field.name)) for field in fields(NodeConfig)}


def _of_file(path: Path) -> dict[str, Any]:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}", mend="mend or remove the file") from error
    for key in values:
        _known(key, f"{path}: {key}")
    return values


def _of_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, text in environment.items():
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX).lower()
            _known(key, name)
            found[key] = _from_text(key, text)
    return found


def _known(key: str, where: str) -> None:
    if key not in _TYPES:
        raise UsageError(f"{where}: no such setting", mend=f"there are {', '.join(sorted(_TYPES))}")


def _from_text(key: str, text: str) -> Any:
    wanted = _TYPES[key]
    if wanted is tuple:
        return [part.strip() for part in text.split(",") if part.strip()]
    if wanted is bool and text.lower() in (*_TRUE, *_FALSE):
        return text.lower() in _TRUE
    if wanted is int and text.lstrip("-").isdecimal():
        return int(text)
    return text


def _checked(key: str, value: Any) -> Any:
    _known(key, key)
    wanted = _TYPES[key]
    if wanted is tuple:
        if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
            return tuple(value)
        raise UsageError(f"{key}: {value!r} is no list of texts", mend=f'write {key} = ["…"]')
    if type(value) is not wanted:
        raise UsageError(f"{key}: {value!r} is no {_NAMES[wanted]}", mend=f"give {key} a {_NAMES[wanted]}")
    return value


_NAMES: Final = {bool: "truth value (true or false)", int: "whole number", str: "text", float: "decimal number"}
