"""The master key of a vault: in a file of its own, or derived from a passphrase by Argon2id.

The vault's settings say which, and hold what shows a wrong one; they hold nothing that helps to guess a key in a file.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from nacl.exceptions import CryptoError
from nacl.pwhash import argon2id

from tslg.manifests.files import PRIVATE_MODE, read_bytes, write_once
from tslg.node.vault.sealing import KEY_BYTES, bound_to, fresh_key, unwrap, wrap
from tslg.protocol.errors import ManifestError, VaultError

KEY_ENV: Final = "TSLG_VAULT_KEY"
"""Environment variable that names the master key's file."""
PASSPHRASE_ENV: Final = "TSLG_VAULT_PASSPHRASE"
"""Environment variable that holds the passphrase, where a vault has one."""
_TYPE: Final = "tslg vault key"
_FILE_BYTES: Final = 4_096
_MOST_MEMORY: Final = 1024 * 1024 * 1024
_MOST_PASSES: Final = 16
_SHORTEST: Final = 12


@dataclass(frozen=True, slots=True)
class Work:
    """How hard a passphrase is made to guess: passes over, and bytes of, memory. Both as libsodium calls moderate."""

    passes: int = argon2id.OPSLIMIT_MODERATE
    memory: int = argon2id.MEMLIMIT_MODERATE


MODERATE: Final = Work()


@dataclass(frozen=True, slots=True)
class Master:
    """A master key, and what a vault's settings say of it.

    Attributes:
        key: 32 secret bytes.
        settings: `{"kind": "file"}`, or those of the derivation.
    """

    key: bytes = field(repr=False)
    settings: dict[str, Any]


def from_file(path: Path) -> Master:
    """Read a master key.

    Raises:
        VaultError: `TSLG-P-KEY` if the file is not there or is no such key.
    """
    try:
        value = json.loads(read_bytes(path, _FILE_BYTES))
        key = bytes.fromhex(value["key"])
        if value.keys() != {"type", "key"} or value["type"] != _TYPE or len(key) != KEY_BYTES:
            raise ValueError("other fields")
    except ManifestError as error:
        raise VaultError(error.detail, code="TSLG-P-KEY", mend=f"name the key's file by {KEY_ENV}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        # The cause is left out on purpose: it could quote the file.
        raise VaultError(
            f"{path.name} is not a vault's key file", code="TSLG-P-KEY", mend="restore it from your copy"
        ) from None
    return Master(key, {"kind": "file"})


def write_file(path: Path, key: bytes | None = None) -> Master:
    """Write a fresh master key, or this one, into a file that its owner alone can read. Raises ManifestError."""
    key = key or fresh_key()
    write_once(path, (json.dumps({"type": _TYPE, "key": key.hex()}) + "\n").encode(), PRIVATE_MODE)
    return Master(key, {"kind": "file"})


def from_passphrase(passphrase: str, settings: dict[str, Any] | None = None, work: Work = MODERATE) -> Master:
    """Derive a master key, as settings say or, without any, anew.

    Raises:
        VaultError: `TSLG-P-KEY` if a new passphrase is too short, or the settings ask for more than is done.
    """
    if settings is None:
        if len(passphrase) < _SHORTEST:
            raise VaultError(
                f"a passphrase has at least {_SHORTEST} characters", code="TSLG-P-KEY", mend="take several words"
            )
        salt = os.urandom(argon2id.SALTBYTES)
        settings = {"kind": "passphrase", "salt": salt.hex(), "passes": work.passes, "memory": work.memory}
    try:
        salt, passes, memory = bytes.fromhex(settings["salt"]), settings["passes"], settings["memory"]
        if not (type(passes) is type(memory) is int and 0 < passes <= _MOST_PASSES and 0 < memory <= _MOST_MEMORY):
            raise ValueError("more work than is done")
        key = argon2id.kdf(KEY_BYTES, passphrase.encode("utf-8"), salt, opslimit=passes, memlimit=memory)
    except (ValueError, KeyError, TypeError, CryptoError, MemoryError):
        raise VaultError(
            "the vault's settings of its passphrase cannot be used", code="TSLG-P-KEY", mend="restore the vault"
        ) from None
    return Master(key, settings)


def of_environment(settings: dict[str, Any], file: Path) -> Master | None:
    """Return the master key of the environment, or of the default file; None if neither is there. Raises VaultError."""
    if settings.get("kind") == "passphrase":
        passphrase = os.environ.get(PASSPHRASE_ENV)
        return None if passphrase is None else from_passphrase(passphrase, settings)
    path = key_path(file)
    return from_file(path) if path.exists() else None


def key_path(file: Path) -> Path:
    """Return where the master key's file is: where the environment says, or the default."""
    named = os.environ.get(KEY_ENV)
    return Path(named) if named else file


def check_of(master: Master, vault: bytes) -> bytes:
    """Return what shows later that a master key is this one."""
    return wrap(master.key, b"", bound_to("check", vault))


def fits(master: Master, vault: bytes, check: bytes) -> bool:
    """Tell whether a master key is the one that `check` was made of."""
    return unwrap(master.key, check, bound_to("check", vault)) == b""
