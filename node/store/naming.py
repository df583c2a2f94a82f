"""A store that is not in its directory but in a database: the file `store.toml` that names it, and how it is opened.

[postgresql]
dsn = "postgresql://tslg@db.example.org/lineage"
schema = "tslg"
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from tslg.manifests.files import write_once
from tslg.protocol.errors import StoreError

if TYPE_CHECKING:
    from tslg.node.store.postgres import PostgresStore
    from tslg.node.store.postgres_engine import Place

FILE: Final = "store.toml"
_TABLE: Final = "postgresql"
_SCHEMA: Final = "tslg"


class Named(NamedTuple):
    """A store's database: a connection string of libpq without a password, and a schema."""

    dsn: str
    schema: str = _SCHEMA

    def place(self) -> Place:
        """Return the place that is named, read.

        Raises:
            StoreError: `TSLG-D-EXTRA` if what reaches databases is not installed; `TSLG-D-DSN` if it is no place.
        """
        try:
            from tslg.node.store.postgres_engine import Place
        except ImportError as error:
            raise StoreError(
                "what reaches PostgreSQL is not installed",
                code="TSLG-D-EXTRA",
                mend="install tslg with its extra: pip install 'tslg[postgres]'",
            ) from error
        return Place(self.dsn, self.schema)

    def open(self, *, readonly: bool = False, alone: bool = False) -> PostgresStore:
        """Open the store. Raises StoreError as `place`, and as `PostgresStore.open`."""
        place = self.place()
        from tslg.node.store.postgres import PostgresStore

        return PostgresStore.open(place, readonly=readonly, alone=alone)

    def write(self, directory: Path) -> None:
        """Name this store in a directory that names none yet. Raises StoreError as `place`; ManifestError."""
        self.place()
        text = f"# Where the lineage of this directory is. Passwords belong elsewhere.\n[{_TABLE}]\n"
        text += f"dsn = {_quoted(self.dsn)}\nschema = {_quoted(self.schema)}\n"
        write_once(directory / FILE, text.encode("utf-8"))


def named(directory: Path) -> Named | None:
    """Return the store that a directory names, None if it names none.

    Raises:
        StoreError: `TSLG-D-DSN`: the file is not one that names a store.
    """
    path = directory / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, "cannot be read") from error
    try:
        values: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        # Its message can quote the file, in which there may be a password.
        raise _wrong(path, "is no TOML") from None
    table = values.get(_TABLE)
    if values.keys() != {_TABLE} or not isinstance(table, dict) or not {"dsn"} <= table.keys() <= {"dsn", "schema"}:
        raise _wrong(path, f"has not just one table [{_TABLE}] with dsn and schema")
    if not all(isinstance(value, str) for value in table.values()):
        raise _wrong(path, "has a value that is no text")
    return Named(**table)


def _wrong(path: Path, what: str) -> StoreError:
    return StoreError(f"{path} {what}", code="TSLG-D-DSN", mend='write it as [postgresql] with dsn = "…"')


def _quoted(text: str) -> str:
    import json

    # A JSON string is a TOML basic string, but for what neither a connection string nor a schema holds.
    return json.dumps(text, ensure_ascii=False)
