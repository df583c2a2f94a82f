"""Files of ceremonies: written once and whole, read within a limit, and named in every complaint about them.

A file is a DAG-CBOR map with its `type`. Writing what is already there changes nothing, writing anything else over it
is refused, and a crash leaves the old state or the new one: that makes each step of a ceremony safe to repeat.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from tslg.protocol import cid, codec
from tslg.protocol.errors import CodecError, ManifestError
from tslg.protocol.limits import DEFAULT

PUBLIC_MODE = 0o644
PRIVATE_MODE = 0o600

_NO_HARD_LINKS = frozenset((errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK))
"""What file systems without hard links say; memory sticks carry such file systems."""


@dataclass(frozen=True, slots=True)
class Step:
    """What a step left behind.

    Attributes:
        written: the files it stands for, whether written now or found as they must be.
        waiting: members whose message for the next step is not in the shared folder yet.
        transcript: digest of the first round, to be compared by all members; None before it is complete.
    """

    written: tuple[Path, ...]
    waiting: tuple[str, ...] = ()
    transcript: bytes | None = None


def write_once(path: Path, data: bytes, mode: int = PUBLIC_MODE) -> bool:
    """Write a file that does not exist yet; its data is on the disk before it has its name.

    Returns:
        False if the same bytes were already there.

    Raises:
        ManifestError: `TSLG-M-EXISTS` if other bytes are there, `TSLG-M-FILE` if the file cannot be written.
    """
    if path.exists():
        return _same(path, data)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(0o700 if mode == PRIVATE_MODE else 0o777, parents=True, exist_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with open(descriptor, "wb") as file:  # noqa: PTH123 (a descriptor, not a path)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            give_name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
    except FileExistsError:
        return _same(path, data)
    except OSError as error:
        raise _unusable(path, "cannot be written", error) from error
    return True


def _same(path: Path, data: bytes) -> bool:
    if read_bytes(path) == data:
        return False
    raise ManifestError(
        f"{path} exists and holds something else",
        code="TSLG-M-EXISTS",
        mend="nothing was overwritten; move that file away, or use another folder",
    )


def give_name(temporary: Path, path: Path) -> None:
    """Name a file so that two writers cannot both win: a hard link fails where a rename would overwrite."""
    try:
        path.hardlink_to(temporary)
    except OSError as error:
        if error.errno not in _NO_HARD_LINKS:
            raise
        temporary.rename(path)


def sync_folder(folder: Path) -> None:
    """Have the disk keep the names that were given in a folder."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path, limit: int = DEFAULT.anchor_file_bytes) -> bytes:
    """Return a file's bytes.

    Raises:
        ManifestError: `TSLG-M-ABSENT` if there is none, `TSLG-M-FILE` if it cannot be read or exceeds the limit.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError as error:
        raise ManifestError(f"{path} is not there", code="TSLG-M-ABSENT", mend="do the step that makes it") from error
    except OSError as error:
        raise _unusable(path, "cannot be read", error) from error
    if len(data) > limit:
        raise ManifestError(f"{path} is larger than {limit} bytes", code="TSLG-M-FILE", mend="remove that file")
    return data


def encode_message(type_name: str, fields: Mapping[str, Any]) -> bytes:
    """Return the bytes of a ceremony message."""
    return codec.encode({"type": type_name, **fields})


def decode_message(
    data: bytes, type_name: str, checks: Mapping[str, Callable[[Any], bool]], name: str
) -> dict[str, Any]:
    """Read a ceremony message of exactly the fields in `checks`, each of which must hold.

    Args:
        data: the bytes.
        type_name: the `type` it must have.
        checks: for each field, whether a value is of its type.
        name: what messages call the data: a file's path.

    Raises:
        ManifestError: `TSLG-M-FILE`, naming the file and what is wrong.
    """
    mend = "ask its author for that file again"
    try:
        value = codec.decode(data)
    except CodecError as error:
        raise ManifestError(f"{name} is damaged: {error.detail}", code="TSLG-M-FILE", mend=mend) from error
    if type(value) is not dict or value.get("type") != type_name:
        raise ManifestError(f"{name} is not a {type_name} file", code="TSLG-M-FILE", mend="check which file it is")
    fields = {key: item for key, item in value.items() if key != "type"}
    for key in sorted(fields.keys() ^ checks.keys()):
        raise ManifestError(f"{name}: the field {key[:40]!r} is missing or unknown", code="TSLG-M-FILE", mend=mend)
    for key, check in checks.items():
        if not check(fields[key]):
            raise ManifestError(f"{name}: the field {key!r} is not what it must be", code="TSLG-M-FILE", mend=mend)
    return fields


def read_message(path: Path, type_name: str, checks: Mapping[str, Callable[[Any], bool]]) -> dict[str, Any]:
    """Read a ceremony message from a file; see `decode_message`."""
    return decode_message(read_bytes(path), type_name, checks, str(path))


def is_bytes(size: int) -> Callable[[Any], bool]:
    """Return a check for bytes of one size."""
    return lambda value: type(value) is bytes and len(value) == size


def is_text(value: Any) -> bool:
    """Tell whether a value is a text of 1 to 256 characters."""
    return type(value) is str and 0 < len(value) <= 256


def is_count(value: Any) -> bool:
    """Tell whether a value is an integer from 0."""
    return type(value) is int and value >= 0


def to_plain(value: Any) -> Any:
    """Return a decoded value with bytes as hex and links as text; the codec has limited its depth."""
    if isinstance(value, codec.Link):
        return cid.to_text(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, list) else value


def slug(name: str) -> str:
    """Return a name as part of a file's name; whatever had to be changed stays distinct by a digest."""
    plain = re.sub(r"[^a-z0-9-]+", "-", name.lower())[:40].strip("-")
    return plain if plain == name else f"{plain}-{sha256(name.encode()).hexdigest()[:8]}".lstrip("-")


def _unusable(path: Path, what: str, error: OSError) -> ManifestError:
    return ManifestError(f"{path} {what}: {error.strerror}", code="TSLG-M-FILE", mend="check the folder and its rights")
