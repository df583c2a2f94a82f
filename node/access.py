"""The one gate through which records leave a node: what a reader gets, by the manifest in force and agents' own rules.

    gate = keeper.gate(peer)                    # once for each request
    pair = gate.cut(id, pair)                   # for each record, or WITHHELD

Whatever serves records asks here. Normative text: docs/spec/access.md.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, Protocol, TypeVar

from tslg.node.binding import Bindings
from tslg.node.context import StoreContext
from tslg.node.home import Home
from tslg.node.store.interface import Store
from tslg.node.withholding import Shown, cut_pair
from tslg.protocol.access import EVERYTHING, STRANGER, Decision, Reader, decide, unrestricted
from tslg.protocol.access_rules import Access, Grant, Readers, Subject, grant_of, subject_of
from tslg.protocol.cid import compute
from tslg.protocol.classes import FLAT
from tslg.protocol.codec import Link
from tslg.protocol.exchange import Pair
from tslg.protocol.kinds import KINDS
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.record import Record, parse_as
from tslg.protocol.rules.context import superseded_by
from tslg.protocol.rules.standing import entitled

K = TypeVar("K")
V = TypeVar("V")


class Refused(Enum):
    """In place of a record that its reader does not get."""

    WITHHELD = "withheld"


WITHHELD: Final = Refused.WITHHELD
REFUSAL: Final = "withheld: the rules of its federation or its author keep that record from this peer"
"""What a refused reader is told, the same whatever was refused and by which rule."""
_CLOSING: Final = Grant(compute(b"too many access rules"), False, Readers(), None, None, None, None, None, None)
"""Stands for the rules of a log that has more than are looked at: as if one that is left out kept everything back."""


class Gatekeeper:
    """Decides for a whole node.

    Args:
        context: the node's graph, and its clock.
        store: its store.
        manifest: the id of the manifest version in force.
        bindings: to which agents peers are bound.
        shown: which committed fields the operator lets anybody see; None for all that are held.
        limits: bounds on what is remembered.
    """

    def __init__(
        self,
        context: StoreContext,
        store: Store,
        manifest: Callable[[], Link],
        bindings: Bindings,
        shown: Shown | None = None,
        limits: Limits = DEFAULT,
    ) -> None:
        self.bindings = bindings
        self.federation = context.federation
        self.shown = shown
        self._context = context
        self._store = store
        self._manifest = manifest
        self._limits = limits
        self._lock = threading.Lock()
        self._subjects: OrderedDict[Link, Subject] = OrderedDict()
        self._said: OrderedDict[Link, tuple[int, int, tuple[Grant, ...] | None]] = OrderedDict()
        self._any_said: tuple[int, int, bool] | None = None
        self._members: OrderedDict[Link, frozenset[Link]] = OrderedDict()

    def rules(self, owner: Link) -> list[tuple[Grant, bool]]:
        """Return all access rules in a log, oldest first, each with whether it was retracted, for people to see."""
        ids = self._store.by_kind("access-rule", owner, limit=self._limits.access_rules)
        held = sorted(
            (parse_as(id, entry.data) for id, entry in self._store.get_many(ids).items()), key=lambda one: one.seq
        )
        return [(grant_of(one), self._retracted(one.id)) for one in held]

    def gate(self, peer: str) -> Gate:
        """Return what the peer at the other end of a connection gets, as of now."""
        reads_all = self.access() is None
        return self.gate_of(STRANGER if reads_all else Reader(self.bindings.agents(peer)))

    def gate_of(self, reader: Reader) -> Gate:
        """Return what a reader gets, as of now."""
        access = self.access()
        if access is None:
            return OpenGate(self.shown)
        return RuledGate(self, reader, access, self._context.now_ms, self.shown)

    def explain(self, reader: Reader, record: Record) -> Decision:
        """Decide what a reader would get of a record now, and by which rule."""
        access = self.access()
        if access is None:
            return Decision(True, frozenset(), EVERYTHING)
        return RuledGate(self, reader, access, self._context.now_ms, self.shown).decide(self.subject(record))

    def cut(self, id: Link, pair: Pair, peer: str) -> Pair | Refused:
        """Return a record as a peer gets it, cut down to the fields that it may read, or WITHHELD."""
        return self.gate(peer).cut(id, pair)

    # --- what gates ask --------------------------------------------------------------------------------------------

    def access(self) -> Access | None:
        """Return what the manifest in force says of reading; None where anybody reads everything."""
        manifest = self._context.manifest(self._manifest())
        return None if manifest is None else manifest.envelope.access

    def says_anything(self) -> bool:
        """Tell whether any agent whose records are held here has recorded an access rule."""
        now, changes = self._context.now_ms, self._context.changes
        known = self._any_said
        if known is None or not self._fresh(known[0], known[1], now):
            known = self._any_said = changes, now, bool(self._store.by_kind("access-rule", limit=1))
        return known[2]

    def said(self, owner: Link) -> tuple[Grant, ...] | None:
        """Return the access rules in a log that were not retracted; None if there are more than are looked at."""
        now, changes = self._context.now_ms, self._context.changes
        with self._lock:
            known = self._said.get(owner)
        if known is None or not self._fresh(known[0], known[1], now):
            known = changes, now, self._read_said(owner)
            self._remember(self._said, owner, known)
        return known[2]

    def _fresh(self, changes: int, read_ms: int, now: int) -> bool:
        return changes == self._context.changes and 0 <= now - read_ms < self._limits.access_stale_ms

    def _read_said(self, owner: Link) -> tuple[Grant, ...] | None:
        most = self._limits.access_rules
        ids = self._store.by_kind("access-rule", owner, limit=most + 1)
        if len(ids) > most:
            return None
        held = self._store.get_many(ids)
        return tuple(grant_of(parse_as(id, held[id].data)) for id in sorted(held) if not self._retracted(id))

    def _retracted(self, id: Link) -> bool:
        children = map(self._context.record, self._store.children(id, ("retracts", FLAT)))
        return any(
            child is not None and id in superseded_by(child) and entitled(child, id, self._context)
            for child in children
        )

    def members(self, peers: Link) -> frozenset[Link]:
        """Return the members of a peer set of the federation; none of one that is not held."""
        with self._lock:
            found = self._members.get(peers)
        if found is None:
            held = self._context.record(peers)
            if held is None or held.kind != "peer-set" or held.owner != self.federation:
                return frozenset()
            found = frozenset(held.body["members"])
            self._remember(self._members, peers, found)
        return found

    def known(self, id: Link) -> Subject | None:
        """Return what decides on the reading of a record that was decided on before."""
        with self._lock:
            return self._subjects.get(id)

    def subject(self, record: Record) -> Subject:
        """Return what decides on the reading of a record, and remember it."""
        found = self.known(record.id)
        if found is None:
            whole = self._context.record(record.id) if FLAT in record.preds else record
            found = subject_of(record if whole is None else whole)
            self._remember(self._subjects, record.id, found)
        return found

    def _remember(self, kept: OrderedDict[K, V], key: K, value: V) -> None:
        with self._lock:
            kept[key] = value
            while len(kept) > self._limits.access_subjects:
                kept.popitem(last=False)


class Gate(Protocol):
    """What one reader gets, for the length of one request."""

    everything: bool
    """Whether no record is kept from this reader, so that nothing needs to be decided one by one."""

    def cut(self, id: Link, pair: Pair, record: Record | None = None) -> Pair | Refused:
        """Return a record as this reader gets it, cut down to the fields that it may read, or WITHHELD.

        Args:
            id: the record's id.
            pair: its bytes, its seal's and what is attached.
            record: the same record, where it was parsed already.
        """

    def reads(self, record: Record) -> bool:
        """Tell whether this reader gets a record, with whichever fields."""

    def refused(self, ids: Iterable[Link]) -> set[Link]:
        """Return those of these records that are known to be kept from this reader, without reading them again."""


class OpenGate:
    """A gate that lets anybody read everything, but for the fields that the operator shows nobody."""

    everything = True

    def __init__(self, shown: Shown | None = None) -> None:
        self._shown = shown

    def cut(self, id: Link, pair: Pair, record: Record | None = None) -> Pair | Refused:
        """See `Gate`."""
        return cut_pair(id, pair, self._shown)

    def reads(self, record: Record) -> bool:
        """See `Gate`."""
        return True

    def refused(self, ids: Iterable[Link]) -> set[Link]:
        """See `Gate`."""
        return set()


class RuledGate:
    """A gate that goes by rules. Arguments as `Gatekeeper.gate_of` finds them."""

    def __init__(self, keeper: Gatekeeper, reader: Reader, access: Access, now_ms: int, shown: Shown | None) -> None:
        self._keeper = keeper
        self._reader = reader
        self._access = access
        self._now_ms = now_ms
        self._shown = shown
        self.everything = unrestricted(reader, access) and not keeper.says_anything()

    def cut(self, id: Link, pair: Pair, record: Record | None = None) -> Pair | Refused:
        """See `Gate`."""
        if self.everything:
            return cut_pair(id, pair, self._shown)
        found = self.decide(self._keeper.subject(parse_as(id, pair[0]) if record is None else record))
        if not found.readable:
            return WITHHELD
        return cut_pair(id, pair, self._fields(found))

    def reads(self, record: Record) -> bool:
        """See `Gate`."""
        return self.everything or self.decide(self._keeper.subject(record)).readable

    def refused(self, ids: Iterable[Link]) -> set[Link]:
        """See `Gate`."""
        if self.everything:
            return set()
        known = ((id, self._keeper.known(id)) for id in ids)
        return {id for id, subject in known if subject is not None and not self.decide(subject).readable}

    def decide(self, subject: Subject) -> Decision:
        """Decide what this reader gets of a record, and by which rule."""
        said = self._keeper.said(subject.owner)
        return decide(
            self._reader,
            subject,
            self._access,
            (_CLOSING,) if said is None else said,
            federation=self._keeper.federation,
            members=self._keeper.members,
            now_ms=self._now_ms,
        )

    def _fields(self, found: Decision) -> Shown | None:
        """Return which fields both the operator and the rules let this reader see; None for all."""
        if not found.hidden:
            return self._shown

        def both(id: Link, kind: str) -> frozenset[str]:
            let = frozenset(KINDS[kind].committed) if self._shown is None else self._shown(id, kind)
            return let - found.hidden

        return both


def gatekeeper(home: Home, shown: Shown | None = None, limits: Limits = DEFAULT) -> Gatekeeper:
    """Return the gatekeeper of a data directory."""
    ledger = home.ledger
    bindings = Bindings(ledger.context, home.store, limits)
    return Gatekeeper(ledger.context, home.store, lambda: ledger.manifest, bindings, shown, limits)


def bare(gate: Gate, id: Link, pair: Pair) -> Pair:
    """Return a record that is handed over as proof of equivocation: as its reader gets it, or without attachment."""
    cut = gate.cut(id, pair)
    return (pair[0], pair[1]) if cut is WITHHELD else cut
