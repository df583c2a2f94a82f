"""The hand of a hostile member: writes and seals any record, whatever the rules say, and puts it into its own store."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tslg.manifests.agent_keys import SigningKey
from tslg.node.net.errors import NotAvailable
from tslg.node.store.interface import LogState
from tslg.protocol import record as records
from tslg.protocol import seal as seals
from tslg.protocol.codec import Link
from tslg.protocol.errors import TslgError
from tslg.protocol.heard import Heard
from tslg.protocol.log import Peaks
from tslg.protocol.record import Edge, Head, Record
from tslg.protocol.seal import Signature, to_be_signed
from tslg.simulations.engine import SECOND
from tslg.simulations.member import Member
from tslg.simulations.reading import Asking
from tslg.simulations.scenario import Group


class Hostile:
    """A hostile behaviour: does its deed every so often. What it does not do, it does as a node would.

    Args:
        group: how often.
    """

    def __init__(self, group: Group) -> None:
        self.every_s = group.every_s

    def begin(self, member: Member) -> None:
        """Begin, with a policy and a few records like everybody's."""
        if not member.disk.by_kind("policy", member.id, limit=1):
            policy = member.agent.policy("work", capabilities=["buy", "read", "scan"], limits={"spend": 100})
            member.agent.adopt(policy)
            for number in range(3):
                member.agent.observe("sensor", {"n": number})
            for record in own_records(member):
                member.world.oracle.true(*record)
        member.after(int(member.chance.random() * self.every_s * SECOND), _tick)

    @abstractmethod
    def act(self, member: Member) -> None:
        """Do the deed."""

    def instead(self, member: Member, source: int, protocol: str, payload: bytes) -> list[bytes] | None:
        """Return what it says in place of what a node would answer, None to answer like one. Raises NetworkError."""
        return None

    def heard(self, member: Member, agent: Link, head: Heard, source: int) -> None:
        """Heads of others are nothing to it."""

    def asks(self, member: Member, agent: Link) -> None:
        """Nor are questions about them."""

    def lacks_manifest(self, member: Member, source: int) -> None:
        """Nor are manifests."""

    def answer(self, member: Member, source: int, protocol: str, payload: bytes) -> Iterator[bytes] | Asking:
        """Answer nothing else. Raises NotAvailable."""
        raise NotAvailable("nobody here speaks that")

    # --- tools -------------------------------------------------------------------------------------------------------

    def lawful(self, member: Member, **data: Any) -> Record:
        """Append a record as it may."""
        made = member.agent.observe("sensor", data)
        entry = member.disk.get(made.id)
        assert entry is not None
        member.world.oracle.true(made, entry.seal)
        return made

    def victim(self, member: Member) -> Member:
        """Choose an honest member."""
        honest = [one for one in member.world.members if one.honest]
        return honest[member.chance.randrange(len(honest))]


def _tick(member: Member) -> None:
    try:
        member.behaviour.act(member)
    except TslgError as error:
        member.world.oracle.gave_up(member, error)
    wait = member.behaviour.every_s * (0.75 + member.chance.random() / 2)
    member.after(int(wait * SECOND), _tick)


def own_records(member: Member) -> list[tuple[Record, bytes]]:
    """Return a member's own log, with its seals."""
    state = member.disk.log_state(member.id)
    size = 0 if state is None else state.size
    return [(records.parse(entry.data), entry.seal) for _, entry in member.disk.log_range(member.id, 0, size)]


def write(
    member: Member,
    kind: str,
    body: Mapping[str, Any],
    preds: Mapping[str, Sequence[Edge]] | None = None,
    *,
    owner: Member | None = None,
    size: int | None = None,
    **fields: Any,
) -> Record:
    """Return the record that would come next in a log, its own or another's, cut to a size first; `fields` replace any.

    The log is as this member, or its owner, has it.
    """
    author = member if owner is None else owner
    state = author.disk.log_state(author.id)
    assert state is not None
    length = state.size if size is None else size
    leaves = author.disk.leaves(author.id, length)
    peaks = Peaks()
    for leaf in leaves:
        peaks.append(leaf)
    last = Link(leaves[-1])
    value: dict[str, Any] = {
        "kind": kind,
        "agent": author.id,
        "seq": length,
        "prev": last,
        "time": max(member.clock(), state.last_time),
        "manifest": member.world.federation if member.ledger.manifest is None else member.ledger.manifest,
        "key": author.id,
        "log": Head(length, peaks.root()),
        "preds": {"prior": [Edge(last)]} if preds is None else preds,
        "body": dict(body),
        "hash_name": "sha2-256",
    }
    return records.build(**(value | fields))


def seal(record: Record, key: SigningKey, kid: Link | None = None) -> bytes:
    """Seal a record with any key, in any key's name."""
    name = record.key if kid is None else kid
    assert name is not None
    return seals.encode([Signature(key.alg, name, key.sign(key.alg, to_be_signed(record.data, key.alg)))])


def put(member: Member, record: Record, sealed: bytes) -> None:
    """Append a record to its own log, whatever the rules say."""
    state = member.disk.log_state(member.id)
    assert state is not None and record.owner == member.id and record.seq == state.size
    peaks = state.peaks.copy()
    peaks.append(record.id)
    member.disk.append([(record, sealed)], [LogState(member.id, state.size + 1, record.id, record.time, peaks)])
    member.write_on()


def hold(member: Member, record: Record, sealed: bytes) -> None:
    """Keep a record, so that it can be served, beside all logs."""
    if member.disk.at(record.owner, record.seq) in (None, record.id):
        member.disk.append([(record, sealed)])
    else:
        member.disk.keep_rivals([(record, sealed)])
