"""What a store is: the interface that every storage engine implements, and the values that go in and out.

A store holds records by id with their seals, the typed edges between them, the state of the logs it holds completely,
heads of logs seen elsewhere, what this node verified itself, blobs and a few values under names. It trusts its caller:
what is appended has passed admission. All methods may be called from any thread; they block, and raise `StoreError`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final, NamedTuple, Protocol, Self

from tslg.protocol.cid import Link, to_text
from tslg.protocol.errors import StoreError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Peaks
from tslg.protocol.record import Record

_BASE32: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
"""The alphabet of RFC 4648, as in the text of ids."""


NOTHING_ATTACHED: Final[Mapping[Link, bytes]] = {}
"""What nearly every append attaches."""
NO_VALUES: Final[Mapping[str, bytes]] = {}
"""What nearly every append keeps by name."""


class Entry(NamedTuple):
    """A stored record: its canonical bytes and its seal's bytes, and what is attached to them, if anything."""

    data: bytes
    seal: bytes
    attachment: bytes | None = None


class LogState(NamedTuple):
    """The state after the newest record of a log that is held completely from seq 0.

    Attributes:
        owner: the agent or federation.
        size: number of records; the next one has this seq.
        last: the record at `size - 1`.
        last_time: its claimed time, ms.
        peaks: the log's tree over `size` leaves.
    """

    owner: Link
    size: int
    last: Link
    last_time: int
    peaks: Peaks


class LogSummary(NamedTuple):
    """What is held of one log: how many records, the newest seq among them, and whether its state is kept."""

    owner: Link
    held: int
    newest: int
    complete: bool


class EdgeRow(NamedTuple):
    """One typed edge: the record `child` cites `parent` under `name`."""

    child: Link
    name: str
    parent: Link


class SeenHead(NamedTuple):
    """A head of a log as somebody else gave it.

    Attributes:
        owner: whose log.
        size: leaves of the tree.
        root: its 32-byte root.
        record: the record at `size - 1`, if the source named it.
        source: who gave it, in the caller's own words (a witness, a peer).
        seen_ms: when, ms since 1970 UTC by this node's clock.
    """

    owner: Link
    size: int
    root: bytes
    record: Link | None
    source: str
    seen_ms: int


class LogRow(NamedTuple):
    """One place of a log as the index has it: which record, its kind and claimed time (ms), None where pruned."""

    cid: Link
    seq: int
    kind: str | None
    time: int | None


class Fork(NamedTuple):
    """One place of a log for which its author sealed several records, all of them kept.

    Attributes:
        owner: whose log.
        seq: the place.
        records: the records, at least two, by id.
    """

    owner: Link
    seq: int
    records: tuple[Link, ...]


class Verified(NamedTuple):
    """What this node verified behind a record itself: how many edges; None for all of them."""

    edges: int | None


class Problem(NamedTuple):
    """One finding of `Store.check`: a stable code, what is wrong, and the record that it is about, if any."""

    code: str
    detail: str
    record: Link | None = None


class ForkError(StoreError):
    """Two different records for one place in one log: `record` was refused, `held` is the one already there."""

    code = "TSLG-D-FORK"

    def __init__(self, record: Record, held: Link) -> None:
        super().__init__(
            f"seq {record.seq} of log {to_text(record.owner)} holds {to_text(held)}, refused {to_text(record.id)}",
            mend="keep both as proof of equivocation; if this is your own log, two processes wrote it",
            record=record.id,
        )
        self.held = held


class Store(Protocol):
    """The storage of one node. Ids that are cited but not held have edges and a place in walks, and no entry."""

    def append(
        self,
        items: Sequence[tuple[Record, bytes]],
        states: Sequence[LogState] = (),
        attachments: Mapping[Link, bytes] = NOTHING_ATTACHED,
        values: Mapping[str, bytes] = NO_VALUES,
    ) -> None:
        """Store records with their seals, and the states of the logs that they complete, in one durable transaction.

        `attachments` holds, by id, what is attached to some of the records, `values` what `set_meta` is to keep.
        Records already held are skipped. A state smaller than the one kept is skipped too, so that two threads may
        finish in either order. Either everything is stored when this returns, or nothing.

        Raises:
            ForkError: another record holds one's place in its log.
            StoreError: `TSLG-D-STATE` if a state's `last` is not a held record of that log at `size - 1`.
        """
        ...

    def claim(self, owner: Link) -> None:
        """Become the only process that writes a log, for as long as this store is open.

        Where the data directory's lock keeps other processes out already, there is nothing to do.

        Raises:
            StoreError: `TSLG-D-LOCKED` if another process writes it; it says which.
        """
        return None

    def changes(self) -> int:
        """Return a number that changes whenever another process stored what bears on keys, authority or contents.

        Whoever remembers such things forgets them then. It stays 0 where no other process can write.
        """
        return 0

    def set_attachment(self, cid: Link, attachment: bytes | None) -> None:
        """Attach something to a held record, durably, in place of what was attached before; None drops that.

        Raises:
            StoreError: `TSLG-D-NOT-HELD`.
        """
        ...

    def erase(self, attachments: Mapping[Link, bytes | None], blobs: Iterable[bytes]) -> None:
        """Put these attachments in place of those that records had, and drop these blobs, leaving no trace.

        When this returns, what was replaced or dropped stands nowhere in the store's files. Doing it again does no
        harm. It may take as long as writing everything anew.

        Raises:
            StoreError: `TSLG-D-NOT-HELD`; `TSLG-D-BUSY` if others read on for long.
        """
        ...

    def get(self, cid: Link) -> Entry | None:
        """Return a record's entry, that of a rival kept as proof included; None if it is not held."""
        ...

    def get_many(self, cids: Iterable[Link]) -> dict[Link, Entry]:
        """Return the entries of those that are held, in no particular order."""
        ...

    def has(self, cid: Link) -> bool:
        """Tell whether a record is held."""
        ...

    def missing(self, cids: Iterable[Link]) -> list[Link]:
        """Return those that are not held, in the order given, without repeats."""
        ...

    def log_state(self, owner: Link) -> LogState | None:
        """Return the state of a log held completely, None for any other."""
        ...

    def logs(self) -> list[LogSummary]:
        """Return what is held of every log, by owner."""
        ...

    def log_range(self, owner: Link, start: int, stop: int) -> list[tuple[Link, Entry]]:
        """Return the held records of a log with start <= seq < stop, by seq."""
        ...

    def at(self, owner: Link, seq: int) -> Link | None:
        """Return the id of the record at one place in a log, also if its bytes were pruned; None if there is none."""
        ...

    def newest_seq(self, owner: Link) -> int | None:
        """Return the highest position in a log at which a record is held, None if none is."""
        ...

    def leaves(self, owner: Link, size: int) -> list[bytes]:
        """Return the ids of the first `size` records of a log held completely: the leaves of its tree.

        Raises:
            StoreError: `TSLG-D-INCOMPLETE` if the log is not held completely to that size.
        """
        ...

    def ancestors(self, cid: Link, classes: Collection[str] | None = None, limit: int | None = None) -> list[Link]:
        """Return all that a record derives from over edges of these classes (None: all), without itself or repeats.

        Ids that are cited but not held are among them. Breadth first; within one level the order is fixed by the
        order in which this store got the records, so it is the same on every call and may differ between stores.
        With `limit`, the first so many.
        """
        ...

    def children(self, cid: Link, classes: Collection[str] | None = None) -> list[Link]:
        """Return the held records that cite this one under these classes (None: any), by id."""
        ...

    def parents(self, cids: Iterable[Link], classes: Collection[str] | None = None) -> list[EdgeRow]:
        """Return the edges of held records under these classes (None: all).

        Children in the order given; within one child by class name, then by parent id.
        """
        ...

    def citing(
        self, cids: Iterable[Link], classes: Collection[str] | None = None, kinds: Collection[str] | None = None
    ) -> list[EdgeRow]:
        """Return the edges of held records (of these kinds) into these ids under these classes (None: any).

        Cited ids in the order given; for one of them by class name, then by the citing record's id.
        """
        ...

    def descendants(self, cid: Link, classes: Collection[str] | None = None, limit: int | None = None) -> list[Link]:
        """Return all held records that derive from a record over edges of these classes (None: all), without it.

        Order and `limit` as for `ancestors`.
        """
        found: dict[Link, None] = {}
        level = [cid]
        while level and (limit is None or len(found) < limit):
            fresh = dict.fromkeys(row.child for row in self.citing(level, classes))
            level = [child for child in fresh if child not in found and child != cid]
            found.update(dict.fromkeys(level))
        return list(found)[:limit]

    def shared_ancestors(self, one: Link, other: Link, classes: Collection[str] | None = None) -> list[Link]:
        """Return what two records both derive from over edges of these classes (None: all), sorted by id."""
        return sorted(set(self.ancestors(one, classes)) & set(self.ancestors(other, classes)))

    def by_prefix(self, prefix: str, limit: int = 16) -> list[Link]:
        """Return at most `limit` held records whose text id starts with `prefix`, by id."""
        ...

    def by_kind(self, kind: str, owner: Link | None = None, limit: int = 1000) -> list[Link]:
        """Return at most `limit` held records of a kind (of one log): newest claimed time first, then seq, then id."""
        ...

    def mentioning(self, content: bytes, kinds: Collection[str], limit: int = 1000) -> list[Link]:
        """Return at most `limit` held records of these kinds in whose bytes, or attachment, `content` stands, by id.

        It looks for the bytes alone: what they mean there is for the caller to see.
        """
        ...

    def get_meta(self, key: str) -> bytes | None:
        """Return the value kept under a name, None if there is none."""
        ...

    def set_meta(self, key: str, value: bytes) -> None:
        """Keep a value under a name, durably."""
        ...

    def keep_meta(self, key: str, value: bytes) -> bytes:
        """Keep a value under a name that has none, durably; return the one that is kept, be it another process's."""
        kept = self.get_meta(key)
        if kept is None:
            self.set_meta(key, value)
        return value if kept is None else kept

    def change_meta(self, key: str, change: Callable[[bytes | None], bytes | None]) -> None:
        """Keep, durably, what `change` makes of the value under a name; None leaves it as it is.

        Of several processes that do so at once, each gets what the one before it kept. `change` may be called twice.
        """
        value = change(self.get_meta(key))
        if value is not None:
            self.set_meta(key, value)

    def record_head(self, owner: Link, size: int, root: bytes, record: Link | None, source: str, seen_ms: int) -> None:
        """Remember a head that somebody else gave for a log.

        Kept are each source's newest head and its largest (the first seen, of two of one size). Of more than
        `Limits.heads_per_log` sources for one log, the one heard longest ago is dropped, but never the largest head.
        """
        ...

    def heads(self, owner: Link) -> list[SeenHead]:
        """Return the heads remembered for a log: largest first, then newest, then by source."""
        ...

    def keep_rivals(self, items: Sequence[tuple[Record, bytes]]) -> None:
        """Keep records that share a place of a log with others, as proof, durably and beside the log.

        They can be read by id like any other record, but are part of no log, index or query. The caller has verified
        their seals, and hands over the record that the log holds too, whose bytes may one day be pruned. Of one log
        at most `Limits.rivals_per_log` are kept, the first.
        """
        ...

    def forks(self, owner: Link | None = None) -> list[Fork]:
        """Return the places (of one log) for which several records are kept, by owner and place."""
        ...

    def log_rows(self, owner: Link, stop: int) -> list[LogRow]:
        """Return the places of a log below `stop`, by position, without reading the records."""
        ...

    def citations(self, owner: Link, stop: int, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """Return the edges into a log's records below `stop`, of these classes or from records of these kinds."""
        ...

    def begin_prune(self, prune: Link, cids: Sequence[Link]) -> None:
        """Note, durably and once, that a held prune record commits to these records; their bytes stay until dropped."""
        ...

    def drop_pruned(self, limit: int) -> int:
        """Drop, durably, the bytes and edges of at most `limit` records noted by `begin_prune`; return how many.

        Their ids, places and prune records are remembered: leaves, trees and `at` answer as before.
        """
        ...

    def pruned_by(self, cids: Iterable[Link]) -> dict[Link, Link]:
        """Return, for those of these records that were pruned and not restored, the newest prune record of each."""
        ...

    def pruned_ids(self, prune: Link) -> list[Link]:
        """Return the ids to which a prune record commits, sorted; empty where that is not known here."""
        ...

    def drop_blobs(self, digests: Iterable[bytes]) -> int:
        """Remove these blobs; return how many were there."""
        ...

    def reclaim(self) -> None:
        """Give the space of what was dropped back to the disk, as far as nobody else is reading."""
        ...

    def set_verified(self, cid: Link, edges: int | None) -> None:
        """Note how many edges behind a foreign record this node verified itself (None: all)."""
        ...

    def set_all_verified(self, cids: Iterable[Link], edges: int | None) -> None:
        """Do as `set_verified` for many, at less cost where the store can."""
        for cid in cids:
            self.set_verified(cid, edges)

    def verified(self, cid: Link) -> Verified | None:
        """Return what `set_verified` noted last, None if nothing was."""
        ...

    def put_blob(self, data: bytes) -> bytes:
        """Keep bytes under their SHA-256 digest, durably, and return the digest (32 bytes)."""
        ...

    def put_blobs(self, contents: Iterable[bytes]) -> list[bytes]:
        """Do as `put_blob` for many at once, at less cost: all are kept, or none that was not held before."""
        ...

    def get_blob(self, digest: bytes) -> bytes | None:
        """Return the bytes with this digest, None if they are not held. StoreError `TSLG-D-BLOB` if they changed."""
        ...

    def check(self) -> list[Problem]:
        """Read everything and return what is wrong: the engine's own check, ids, index columns, edges, trees, blobs."""
        ...

    def close(self) -> None:
        """Give back files. Closing twice is allowed; a store on disk then answers queries with `TSLG-D-CLOSED`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *exc: object) -> None: ...


class Shard(Store, Protocol):
    """A store that can hold segments of logs, beside other such stores."""

    def ids(self, owner: Link, start: int, stop: int) -> list[Link]:
        """Return the ids held of a log with start <= seq < stop, by seq."""
        ...

    def stray_citations(self, classes: Collection[str], kinds: Collection[str]) -> list[EdgeRow]:
        """Return the edges of these classes, or from records of these kinds, to ids whose place is not known here."""
        ...


def check_state(state: LogState, place: tuple[Link, int, int] | None) -> None:
    """Refuse a log state whose `last` is not where it says; `place` is (owner, seq, time) of `last`, None if not held.

    Raises:
        StoreError: `TSLG-D-STATE`.
    """
    if place != (state.owner, state.size - 1, state.last_time):
        raise StoreError(
            f"a state of log {to_text(state.owner)} at size {state.size} does not fit its last record",
            code="TSLG-D-STATE",
            mend="append the record and the state after it in one call",
            record=state.last,
        )


def not_held(cid: Link) -> StoreError:
    """Return the error of attaching something to a record that is not there."""
    return StoreError(
        f"{to_text(cid)} is not held", code="TSLG-D-NOT-HELD", mend="store the record itself first", record=cid
    )


def group_forks(rows: Iterable[tuple[Link, int, Link]]) -> list[Fork]:
    """Group (owner, seq, id), sorted, into forks; a place with one record is none."""
    places: dict[tuple[Link, int], list[Link]] = {}
    for owner, seq, cid in rows:
        places.setdefault((owner, seq), []).append(cid)
    return [Fork(owner, seq, tuple(ids)) for (owner, seq), ids in places.items() if len(ids) > 1]


def incomplete(owner: Link, size: int) -> StoreError:
    """Return the error of asking for the leaves of a log that is not held completely."""
    return StoreError(
        f"log {to_text(owner)} is not held completely to size {size}",
        code="TSLG-D-INCOMPLETE",
        mend="fetch the whole log from its owner's node or a replica",
        record=owner,
    )


def prefix_range(prefix: str) -> tuple[bytes, bytes]:
    """Return (low, high) such that every id whose text starts with `prefix` has low <= id < high.

    The range may hold up to 127 times as many ids, since a character is 5 bits. It is empty for what starts no id.
    """
    body = prefix[1:].upper()
    if not prefix.startswith("b") or prefix.upper().lower() != prefix or len(body) > DEFAULT.cid_bytes * 2:
        return b"", b""
    number = 0
    for character in body:
        digit = _BASE32.find(character)
        if digit < 0:
            return b"", b""
        number = number << 5 | digit
    spare = len(body) * 5 % 8
    low = number >> spare
    size = len(body) * 5 // 8
    if low + 1 >> 8 * size:
        return low.to_bytes(size, "big"), b"\xff" * (size + 1)
    return low.to_bytes(size, "big"), (low + 1).to_bytes(size, "big")
