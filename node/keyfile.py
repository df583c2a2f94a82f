"""Agents' secret keys in files that their owner alone can read, each written before it is used.

`ID.json` holds an agent's first key and its genesis; `ID.DIGEST.key` a further key, named by its public half. Which
record registers a further key is not in its file: the log says so, whatever a crash left undone. `prepared.DIGEST.key`
holds the first key of an agent that has no genesis yet, until hardware has attested it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeVar

from tslg.manifests.agent_keys import SEED, SigningKey
from tslg.manifests.files import PRIVATE_MODE, read_bytes, write_once
from tslg.protocol import record as records
from tslg.protocol.cid import from_text, hash_name, to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import StoreError, TslgError
from tslg.protocol.record import Record

_TYPE: Final = "tslg agent key"
_PREPARED: Final = "tslg prepared agent key"
_FURTHER: Final = "tslg further agent key"
_FIELDS: Final = frozenset(("type", "agent", "name", "seed", "genesis"))
_FURTHER_FIELDS: Final = frozenset(("type", "agent", "alg", "seed"))
_PREPARED_FIELDS: Final = frozenset(("type", "name", "alg", "seed"))
_SECOND: Final = "post_quantum_seed"
_FILE_BYTES: Final = 256 * 1024
_NAME_DIGITS: Final = 16

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class AgentKey:
    """What an agent signs with at first, and the genesis that registers the public half."""

    genesis: Record
    key: SigningKey = field(repr=False)

    @property
    def seed(self) -> bytes:
        """The 32 secret bytes of the classical half."""
        return self.key.seed


def write(folder: Path, key: AgentKey) -> Path:
    """Write the key's file, named by the agent's id. Raises ManifestError if it cannot be written."""
    value = {
        "type": _TYPE,
        "agent": to_text(key.genesis.id),
        "name": key.genesis.body["name"],
        "seed": key.seed.hex(),
        "genesis": key.genesis.data.hex(),
    }
    return _write(folder / f"{to_text(key.genesis.id)}.json", value, key.key)


def write_further(folder: Path, agent: Link, key: SigningKey) -> Path:
    """Write the file of a further key of an agent. Raises ManifestError if it cannot be written."""
    value = {"type": _FURTHER, "agent": to_text(agent), "alg": key.alg, "seed": key.seed.hex()}
    digest = sha256(key.public).hexdigest()[:_NAME_DIGITS]
    return _write(folder / f"{to_text(agent)}.{digest}.key", value, key)


def write_prepared(folder: Path, name: str, key: SigningKey) -> Path:
    """Write the file of the first key of an agent to be. Raises ManifestError if it cannot be written."""
    value = {"type": _PREPARED, "name": name, "alg": key.alg, "seed": key.seed.hex()}
    return _write(folder / f"prepared.{sha256(key.public).hexdigest()[:_NAME_DIGITS]}.key", value, key)


def read_prepared(folder: Path, name: str) -> list[SigningKey]:
    """Return the keys that are prepared for an agent of this name. Raises StoreError as `read`."""

    def parse(value: dict[str, Any]) -> tuple[str, SigningKey]:
        if value.keys() - {_SECOND} != _PREPARED_FIELDS or value["type"] != _PREPARED or type(value["alg"]) is not int:
            raise ValueError("other fields")
        return value["name"], _key(value["alg"], value)

    held = [_read(path, parse) for path in sorted(folder.glob("prepared.*.key"))]
    return [key for named, key in held if named == name]


def _write(path: Path, value: dict[str, Any], key: SigningKey) -> Path:
    if key.post_quantum is not None:
        value[_SECOND] = key.post_quantum.hex()
    write_once(path, (json.dumps(value, indent=2) + "\n").encode(), PRIVATE_MODE)
    return path


def read(path: Path) -> AgentKey:
    """Read an agent's first key.

    Raises:
        StoreError: `TSLG-D-KEY` if the file is no agent key.
    """

    def parse(value: dict[str, Any]) -> AgentKey:
        if value.keys() - {_SECOND} != _FIELDS or value["type"] != _TYPE:
            raise ValueError("other fields")
        id = from_text(value["agent"])
        genesis = records.parse(bytes.fromhex(value["genesis"]), hash_name(id))
        if genesis.id != id or genesis.kind != "genesis":
            raise ValueError("the id is not that of the genesis")
        return AgentKey(genesis, _key(genesis.body["alg"], value))

    return _read(path, parse)


def read_further(folder: Path, agent: Link) -> list[SigningKey]:
    """Return the further keys of an agent, in no order that means anything. Raises StoreError as `read`."""

    def parse(value: dict[str, Any]) -> SigningKey:
        if value.keys() - {_SECOND} != _FURTHER_FIELDS or value["type"] != _FURTHER:
            raise ValueError("other fields")
        if from_text(value["agent"]) != agent or type(value["alg"]) is not int:
            raise ValueError("another agent's")
        return _key(value["alg"], value)

    return [_read(path, parse) for path in sorted(folder.glob(f"{to_text(agent)}.*.key"))]


def _key(alg: int, value: dict[str, Any]) -> SigningKey:
    seed = bytes.fromhex(value["seed"])
    second = bytes.fromhex(value[_SECOND]) if _SECOND in value else None
    if len(seed) != SEED or (second is not None and len(second) != SEED):
        raise ValueError("a seed has another length")
    return SigningKey(alg, seed, second)


def _read(path: Path, parse: Callable[[dict[str, Any]], T]) -> T:
    data = read_bytes(path, _FILE_BYTES)
    try:
        value = json.loads(data)
        if not isinstance(value, dict):
            raise ValueError("no object")
        return parse(value)
    except (ValueError, TypeError, RecursionError, TslgError) as error:
        # The cause is left out on purpose: it could quote the file.
        raise StoreError(
            f"{path.name} is not an agent's key file", code="TSLG-D-KEY", mend="restore it from a backup"
        ) from (error if isinstance(error, TslgError) else None)
