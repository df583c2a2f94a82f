"""Erasing from an SQLite file: what was overwritten is gone from its pages and its log, not only out of reach.

SQLite leaves the bytes of deleted and moved cells where they were until a page is used again, and the write-ahead log
keeps old pages. So what is to be gone is overwritten under `secure_delete`, then the whole file is written anew, and
then the log is emptied.
"""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Final

from tslg.protocol.errors import StoreError

_PATIENCE_S: Final = 10.0
"""How long readers of other processes are waited for: the log cannot be emptied while one still reads from it."""


def rewrite(db: sqlite3.Connection, path: Path) -> None:
    """Write the file anew without anything that is not in its tables, and empty its log. Takes time with its size.

    Raises:
        StoreError: `TSLG-D-BUSY` if readers did not let the log go; calling it again finishes the work.
        sqlite3.Error: as the engine raises it.
    """
    db.execute("PRAGMA secure_delete = ON")
    db.execute("PRAGMA temp_store = FILE")
    try:
        db.execute("VACUUM")
        until = time.monotonic() + _PATIENCE_S
        while db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            if time.monotonic() > until:
                raise StoreError(
                    f"{path}: readers keep the log from being emptied",
                    code="TSLG-D-BUSY",
                    mend="end the processes that read it, and repeat",
                )
    finally:
        db.execute("PRAGMA temp_store = MEMORY")
        db.execute("PRAGMA secure_delete = OFF")
