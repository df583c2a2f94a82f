"""An agent's secret key and its genesis, in one file that its owner alone can read, written before either is used."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tslg.manifests.files import PRIVATE_MODE, read_bytes, write_once
from tslg.protocol import record as records
from tslg.protocol.cid import from_text, hash_name, to_text
from tslg.protocol.errors import StoreError, TslgError
from tslg.protocol.record import Record

_TYPE: Final = "tslg agent key"
_FIELDS: Final = frozenset(("type", "agent", "name", "seed", "genesis"))
_FILE_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class AgentKey:
    """What an agent signs with: a 32-byte Ed25519 seed, and the genesis that registers its public half."""

    genesis: Record
    seed: bytes = field(repr=False)


def write(folder: Path, key: AgentKey) -> Path:
    """Write the key's file, named by the agent's id. Raises ManifestError if it cannot be written."""
    path = folder / f"{to_text(key.genesis.id)}.json"
    value = {
        "type": _TYPE,
        "agent": to_text(key.genesis.id),
        "name": key.genesis.body["name"],
        "seed": key.seed.hex(),
        "genesis": key.genesis.data.hex(),
    }
    write_once(path, (json.dumps(value, indent=2) + "\n").encode(), PRIVATE_MODE)
    return path


def read(path: Path) -> AgentKey:
    """Read a key file.

    Raises:
        StoreError: `TSLG-D-KEY` if the file is no agent key.
    """
    try:
        value = json.loads(read_bytes(path, _FILE_BYTES))
        if not isinstance(value, dict) or value.keys() != _FIELDS or value["type"] != _TYPE:
            raise ValueError("other fields")
        id = from_text(value["agent"])
        genesis = records.parse(bytes.fromhex(value["genesis"]), hash_name(id))
        seed = bytes.fromhex(value["seed"])
        if genesis.id != id or len(seed) != 32:
            raise ValueError("the id is not that of the genesis")
    except (ValueError, TypeError, TslgError) as error:
        # The cause is left out on purpose: it could quote the file.
        raise StoreError(
            f"{path.name} is not an agent's key file", code="TSLG-D-KEY", mend="restore it from a backup"
        ) from (error if isinstance(error, TslgError) else None)
    return AgentKey(genesis, seed)
