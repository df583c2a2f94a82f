"""What a tenant says of an engine: a delegation in the tenant's log, and by whose word the engine's key is known.

Normative text: docs/spec/engines.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from tslg.node.context import StoreContext
from tslg.node.store.interface import Store
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.recording import BINDINGS, STEPS

TASK: Final = "engine"
"""The one field of the task of a delegation that admits an engine."""
MOST_PER_MINUTE: Final = 600
MOST_RECORDS: Final = 100_000
_COUNT: Final = 2**40

ATTESTED: Final = "attested"
VOUCHED: Final = "vouched"
CLAIMED: Final = "claimed"
STANDINGS: Final = (CLAIMED, VOUCHED, ATTESTED)
"""By whose word a key's binding is known, the weakest first."""


class Terms(NamedTuple):
    """On which terms an engine is admitted.

    Attributes:
        kinds: which kinds of steps are taken.
        binding: what must hold the engine's keys, at least: `tenant`, `platform` or `hardware`.
        per_minute: how many records of its log are taken in a minute.
        records: how many in all.
    """

    kinds: tuple[str, ...] = STEPS
    binding: str = BINDINGS[0]
    per_minute: int = MOST_PER_MINUTE
    records: int = MOST_RECORDS

    def task(self) -> dict[str, Any]:
        """Return the task of the delegation that says so. Raises UsageError for terms that are none."""
        value = {**self._asdict(), "kinds": sorted(set(self.kinds))}
        if _terms(value) is None:
            raise UsageError(
                "those are no terms for an engine",
                mend=f"kinds among {', '.join(STEPS)}, a binding among {', '.join(BINDINGS)}, and counts from 1",
            )
        return {TASK: value}


class Admission(NamedTuple):
    """An engine that an agent of this node admits: the delegation that says so, and its terms."""

    delegation: Record
    terms: Terms

    @property
    def engine(self) -> Link:
        """The engine: the delegate."""
        engine: Link = self.delegation.body["delegate"]
        return engine

    @property
    def tenant(self) -> Link:
        """The agent that admits it."""
        return self.delegation.owner

    def ended(self, context: StoreContext, now_ms: int) -> str:
        """Return why the engine is not admitted any more; empty if it still is."""
        if now_ms > self.delegation.body["expires"]:
            return "its delegation has expired"
        for record in context.superseding(self.delegation.id):
            return f"its delegation was ended by a record of the kind {record.kind}"
        return ""


def read_admission(record: Record) -> Admission | None:
    """Return the admission that a record is, None for any other."""
    if record.kind != "delegation" or record.body["task"].keys() != {TASK}:
        return None
    terms = _terms(record.body["task"][TASK])
    return None if terms is None else Admission(record, terms)


def admissions(store: Store, context: StoreContext, tenants: Iterable[Link]) -> Iterator[Admission]:
    """Yield the engines that these agents admit or admitted, the newest delegation of each agent first."""
    for tenant in tenants:
        newest = store.newest_seq(tenant)
        for id in store.by_kind("delegation", tenant, limit=1 if newest is None else newest + 1):
            record = context.record(id)
            found = None if record is None else read_admission(record)
            if found is not None:
                yield found


class Origin(NamedTuple):
    """Who produced a step, and by whose word that is known.

    Attributes:
        engine: the agent in whose log it lies.
        key: the record that registers the key that sealed it.
        binding: what holds the key, as that record says.
        standing: `attested`, where evidence of the hardware is in that record; `vouched`, where the federation's
            anchors sealed it; `claimed`, where the engine says so alone.
    """

    engine: Link
    key: Link
    binding: str
    standing: str


def origin(record: Record, context: StoreContext) -> Origin | None:
    """Return who produced a record, as far as the record of its key is held; None if that is not.

    What is held was admitted: evidence of hardware was verified then, against the roots and registers of the manifest.
    """
    key = record.id if record.key is None else record.key
    held = context.record(key)
    if held is None or held.kind not in ("genesis", "registration"):
        return None
    binding = held.body.get("binding", BINDINGS[0])
    return Origin(record.owner, key, binding, _standing(held, binding, context))


def _standing(held: Record, binding: str, context: StoreContext) -> str:
    if binding == "hardware":
        return ATTESTED
    manifest: Manifest | None = None if held.manifest is None else context.manifest(held.manifest)
    if manifest is None:
        return CLAIMED
    envelope = manifest.envelope
    sealed = envelope.genesis_anchors > 0 if held.kind == "genesis" else envelope.rotation.anchors
    return VOUCHED if sealed else CLAIMED


def _terms(value: Any) -> Terms | None:
    if not isinstance(value, dict) or value.keys() != set(Terms._fields):
        return None
    kinds, counts = value["kinds"], (value["per_minute"], value["records"])
    if not isinstance(kinds, list) or not kinds or kinds != sorted(set(STEPS) & set(map(str, kinds))):
        return None
    if value["binding"] not in BINDINGS or not all(type(one) is int and 0 < one <= _COUNT for one in counts):
        return None
    return Terms(tuple(kinds), value["binding"], *counts)
