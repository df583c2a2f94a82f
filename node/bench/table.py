"""The benchmarks by name, and one run of some or all of them as one document."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from tslg.node.bench import (
    artifacts,
    audits,
    databases,
    heads,
    logs,
    machine,
    manifests,
    narrowings,
    populations,
    processes,
    prunings,
    replicas,
    steps,
    stores,
    walks,
)
from tslg.node.bench.figures import Row
from tslg.node.bench.lineage import SEED
from tslg.node.bench.setting import Setting

BENCHES: Final[Mapping[str, Callable[[Setting], list[Row]]]] = {
    "verify": walks.verify_one,
    "verify-2-workers": walks.verify_two,
    "verify-heads": walks.verify_heads,
    "verify-stored": walks.verify_stored,
    "verify-and-store": walks.verify_and_store,
    "append": stores.append_one,
    "append-batches": stores.append_batches,
    "governed-step": steps.governed_step,
    "governed-steps-8": steps.governed_steps,
    "postgresql": databases.ingest,
    "audit": audits.audit,
    "replicate": replicas.replicate,
    "heads": heads.heads,
    "ancestors": stores.ancestors,
    "artifacts": artifacts.artifacts,
    "manifest": manifests.threshold_manifest,
    "log-proofs": logs.log_proofs,
    "prune": prunings.prune_log,
    "narrowing": narrowings.narrowing_proofs,
    "simulation": populations.events,
    "help": processes.start_up,
    "linearity": walks.linearity,
}
"""Every benchmark in the table's order; one gives one or more rows."""


def run(setting: Setting, names: Iterable[str] = BENCHES) -> list[Row]:
    """Take the measurements of these names, in the table's order. Raises MeasurementError."""
    wanted = set(names)
    rows: list[Row] = []
    for name, bench in BENCHES.items():
        if name in wanted:
            setting.say(name)
            rows.extend(bench(setting))
    return rows


def document(setting: Setting, rows: Iterable[Row], about: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return machine, settings and every row as one JSON document. `about` is the machine as it was at the start."""
    shown = list(rows)
    return {
        "machine": dict(machine.describe() if about is None else about),
        "settings": {"records": setting.records, "repeat": setting.repeat, "large": setting.large, "seed": SEED},
        "rows": [row.to_json() for row in shown],
        "left_out": dict(setting.left_out),
        "met": not missed(shown),
    }


def missed(rows: Iterable[Row]) -> list[Row]:
    """Return the rows that miss a target that gates."""
    return [row for row in rows if row.target is not None and row.target.gates and not row.met]
