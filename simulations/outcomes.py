"""Outcomes of runs as a Parquet file, written as they come."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow
from pyarrow import parquet as files

from tslg.simulations.run import Outcome

_ROWS: Final = 64
"""Rows of one row group: what is lost at most if a sweep is stopped."""
Take = Callable[[Outcome], None]


@contextmanager
def parquet(path: Path) -> Iterator[Take]:
    """Keep outcomes in a Parquet file as they are handed over."""
    schema = pyarrow.schema(
        [
            ("scenario", pyarrow.string()),
            ("seed", pyarrow.int64()),
            ("agents", pyarrow.int64()),
            ("hours", pyarrow.float64()),
            ("signatures", pyarrow.string()),
            ("digest", pyarrow.string()),
            ("events", pyarrow.int64()),
            ("seconds", pyarrow.float64()),
            ("founding_s", pyarrow.float64()),
            ("processor_s", pyarrow.float64()),
            ("counts", pyarrow.string()),
            ("given_up", pyarrow.string()),
            ("traffic", pyarrow.string()),
            ("detections_s", pyarrow.list_(pyarrow.float64())),
            ("readings", pyarrow.string()),
            ("storage", pyarrow.int64()),
            ("broken", pyarrow.string()),
        ]
    )
    rows: list[dict[str, Any]] = []
    with files.ParquetWriter(path, schema) as writer:

        def flush() -> None:
            if rows:
                writer.write_table(pyarrow.Table.from_pylist(rows, schema))
                rows.clear()

        def take(outcome: Outcome) -> None:
            rows.append(_row(outcome))
            if len(rows) >= _ROWS:
                flush()

        try:
            yield take
        finally:
            flush()


def _row(outcome: Outcome) -> dict[str, Any]:
    """Return an outcome as one row: what has no fixed columns is JSON."""
    row = outcome.to_json()
    for name in ("counts", "given_up", "traffic", "readings", "broken"):
        row[name] = None if row[name] is None else json.dumps(row[name], sort_keys=True)
    return row
