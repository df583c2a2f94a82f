"""What was verified of an export: by a walk, by reading whole logs, or nothing; and what each record may say of that.

A walk judges everything and holds it all in memory. Reading logs judges whose records they are and in which order, in
bounded memory; it does not judge whether their authors were allowed what they did.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from tslg.node.context import StoreContext
from tslg.node.exporting.naming import iso, uri
from tslg.node.store.interface import Entry, Store
from tslg.protocol.admission import judge
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.flat import recover
from tslg.protocol.keys import KEY_KINDS, revocations_in
from tslg.protocol.log import Peaks
from tslg.protocol.logproof import Fault
from tslg.protocol.opening import disclosed
from tslg.protocol.record import Record
from tslg.protocol.report import INVALID, UNDETERMINED, VALID, Report
from tslg.protocol.rules.context import MANIFEST_KINDS, Rule, Tail
from tslg.protocol.rules.log import ended, rule_log
from tslg.protocol.rules.seals import rule_key, rule_seal

WALK: Final = "walk"
LOGS: Final = "logs"
NONE: Final = "none"
UNVERIFIED: Final = "unverified"
"""The verdict on what nobody verified."""
CHUNK: Final = 256
"""Positions of a log read at a time."""
_MOST_FINDINGS: Final = 100
"""Findings kept of one log: one convicts it, and a broken log has one at every place behind the break."""

_RULES: Final[tuple[Rule, ...]] = (rule_key, rule_seal)


@dataclass(slots=True)
class LogCheck:
    """What reading one log found.

    Attributes:
        owner: whose log.
        records: how many records hash to their ids and bear the seals that they need.
        whole: every record from the first on was there, or was pruned, so that order is proved too.
        unjudged: records whose key or manifest is not held, so that nobody could look at their seals.
        faults: what is wrong, at most so many.
    """

    owner: Link
    records: int = 0
    whole: bool = True
    unjudged: set[Link] = field(default_factory=set)
    faults: list[Fault] = field(default_factory=list)

    def find(self, code: str, record: Link, detail: str) -> None:
        """Note a fault."""
        if len(self.faults) < _MOST_FINDINGS:
            self.faults.append(Fault(code, record, detail))


@dataclass(frozen=True)
class Standing:
    """What was verified of the records of one export, and when.

    Attributes:
        method: `walk`, `logs` or `none`.
        at_ms: when, ms since 1970 UTC.
        federation: whose rules were asked.
        report: what the walk found, for that method.
        logs: what reading them found, by owner, for that method.
    """

    method: str
    at_ms: int
    federation: Link
    report: Report | None = None
    logs: Mapping[Link, LogCheck] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """`valid`, `invalid` or `undetermined`; `unverified` where nothing was checked."""
        if self.report is not None:
            return self.report.verdict
        if self.method != LOGS:
            return UNVERIFIED
        if any(log.faults for log in self.logs.values()):
            return INVALID
        return VALID if all(log.whole for log in self.logs.values()) else UNDETERMINED

    def of(self, record: Record) -> str:
        """Return what was verified of one record: `walk`, `log`, `seal` (of a log in pieces) or `none`."""
        if self.report is not None:
            return WALK if record.id in self.report.records else NONE
        log = self.logs.get(record.owner)
        if log is None or log.faults or record.id in log.unjudged:
            return NONE
        return "log" if log.whole else "seal"

    @cached_property
    def told(self) -> Mapping[str, Any]:
        """What every export states of it, as JSON values (docs/spec/exports.md); made once for all records."""
        told: dict[str, Any] = {"method": self.method, "verdict": self.verdict, "time": iso(self.at_ms)}
        if self.method != NONE:
            told["federation"] = uri(self.federation)
        if self.report is not None:
            told |= {
                "target": uri(self.report.target),
                "depth": self.report.depth,
                "records": len(self.report.records),
                "report": self.report.digest.hex(),
            }
        elif self.method == LOGS:
            told |= {
                "logs": len(self.logs),
                "incomplete": sum(not log.whole for log in self.logs.values()),
                "records": sum(log.records for log in self.logs.values()),
            }
        return told


def read_logs(
    store: Store,
    federation: Link,
    owners: Iterable[Link],
    clock: Callable[[], int],
    tick: Callable[[int], None] | None = None,
) -> Standing:
    """Read the logs of these owners, and the federation's, from the first record on; hold no more than a chunk of them.

    Checked are ids, places, the chain, the tree, times, keys, revocations and seals.
    """
    context = StoreContext(store, federation, clock)
    newest = {log.owner: log.newest for log in store.logs()}
    found: dict[Link, LogCheck] = {}
    manifests: set[Link] = set()
    done = 0
    # The federation's own log comes first: whatever names a manifest is held against what was found there.
    for owner in dict.fromkeys((federation, *owners)):
        found[owner] = check = LogCheck(owner, whole=owner in newest)
        reader = _Reader(store, context, check, manifests)
        for start in range(0, newest.get(owner, -1) + 1, CHUNK):
            reader.read(start, min(start + CHUNK, newest[owner] + 1))
            if tick is not None:
                tick(done + check.records)
        done += check.records
    return Standing(LOGS, clock(), federation, logs=found)


class _Reader:
    """Reads one log in order.

    Args:
        store: where it is.
        context: the store, as rules see it.
        check: takes what is found.
        manifests: the manifest versions found good so far; those of this log are put in.
    """

    def __init__(self, store: Store, context: StoreContext, check: LogCheck, manifests: set[Link]) -> None:
        self._store = store
        self._context = context
        self._check = check
        self._manifests = manifests
        self._keys: set[Link] = set()
        self._revoking: list[Record] = []
        self._revocations = revocations_in(())
        self._peaks: Peaks | None = Peaks()
        self._last: Link | None = None
        self._time = 0

    def read(self, start: int, stop: int) -> None:
        """Read the places from `start` to before `stop`."""
        owner = self._check.owner
        held = dict(self._store.log_range(owner, start, stop))
        ids: list[Link | None] = list(held)
        if len(held) < stop - start:
            ids = [self._store.at(owner, seq) for seq in range(start, stop)]
        for seq, id in enumerate(ids, start):
            if id is None:
                self._check.whole, self._peaks, self._last = False, None, None
                continue
            if id not in held and not self._store.pruned_by([id]):
                self._check.whole = False
            self._one(seq, id, held.get(id))

    def _one(self, seq: int, id: Link, entry: Entry | None) -> None:
        """Take one place of the log; of a pruned record there is no entry, and its id goes on in the tree."""
        if entry is not None:
            try:
                record = disclosed(id, entry)
            except TslgError as error:
                self._check.find(error.code, id, error.detail)
            else:
                self._judge(seq, record, entry.seal)
                self._time = record.time
        if self._peaks is not None:
            self._peaks.append(id)
        self._last = id

    def _judge(self, seq: int, record: Record, seal: bytes) -> None:
        check, context = self._check, self._context
        if record.owner != check.owner or record.seq != seq:
            check.find("TSLG-A-SEQ", record.id, f"it is held as position {seq} of a log where it does not belong")
            return
        if not self._rests_on_what_was_read(record):
            return
        if FLAT in record.preds:
            record = recover(record, context.record)
        rules = _RULES
        if seq > 0 and self._peaks is not None and self._last is not None:
            context.tails[check.owner] = Tail(seq, self._last, self._time, self._peaks.root())
            rules = (rule_log, *_RULES)
        refusal = ended(record, self._revocations) or judge(record, seal, context, rules)
        if refusal is not None:
            check.find(refusal.code, record.id, refusal.detail)
            return
        check.records += 1
        if record.kind in KEY_KINDS:
            self._keys.add(record.id)
        if record.kind in MANIFEST_KINDS:
            self._manifests.add(record.id)
        if record.kind == "revocation":
            # What a log's store says of it lies in the future of the records before.
            self._revoking.append(record)
            self._revocations = revocations_in(self._revoking)

    def _rests_on_what_was_read(self, record: Record) -> bool:
        """Whether key and manifest are records of these logs that were found good, and not merely held somewhere."""
        named = (
            ("TSLG-A-KEY", "key", record.key, self._keys),
            ("TSLG-A-MANIFEST", "manifest", record.manifest, self._manifests),
        )
        for code, what, id, good in named:
            if id is None or id in good:
                continue
            if self._store.has(id):
                self._check.find(code, record.id, f"the {what} that it names is held, but is no good record of its log")
            else:
                self._check.whole = False
                self._check.unjudged.add(record.id)
            return False
        return True
