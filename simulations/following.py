"""Following others: their logs by ranges, the federation's by its next records, and two heads of one log by a path."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tslg.node.admitting import Lacking
from tslg.node.heads.making import proof_of
from tslg.protocol import extending
from tslg.protocol.codec import Link
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import (
    LOG,
    Pair,
    ProofsReply,
    ProofsRequest,
    RangeRequest,
    WalkEnd,
    read_walk_chunk,
)
from tslg.protocol.heard import Heard, Question
from tslg.protocol.log import root as tree_root
from tslg.protocol.logproof import Needs
from tslg.protocol.opening import Opened
from tslg.protocol.record import parse
from tslg.protocol.replication import Ask as RangeAsk
from tslg.protocol.replication import Follower
from tslg.simulations.member import Ask, Member, peer_name
from tslg.simulations.reading import Asking, audit

_RUN = 256
_RANGE = 1_000


def index_of(name: str) -> int:
    """Return the member that a name on the network stands for."""
    return int(name.removeprefix("member-"))


def read_range(chunks: Sequence[bytes]) -> list[Pair]:
    """Return the records of a range's reply. Raises MessageError."""
    pairs: list[Pair] = []
    for chunk in chunks:
        part = read_walk_chunk(chunk)
        if not isinstance(part, WalkEnd):
            pairs.extend(part)
    return pairs


def catch_up(member: Member, owner: Link, offers: Iterable[tuple[int, int]]) -> Asking:
    """Hold a log whole, as far as those who claim to have so much of it show it."""
    state = member.disk.log_state(owner)
    follower: Follower[Opened] = Follower(0 if state is None else state.size)
    for peer, size in offers:
        follower.offered(peer_name(peer), size)
    spared: set[Link] = set()
    for _ in range(64):
        now = member.clock()
        asks = [one for one in follower.asks(now) if isinstance(one, RangeAsk)]
        if not asks and not follower.ready(1):
            return
        for ask in asks:
            yield from _fetch(member, owner, follower, ask)
        yield from _admit(member, owner, follower, spared)
        if follower.stopped:
            return


def _fetch(member: Member, owner: Link, follower: Follower[Opened], ask: RangeAsk) -> Asking:
    try:
        chunks = yield Ask(index_of(ask.peer), LOG, RangeRequest(owner, ask.start, ask.stop).to_bytes())
        for pair in read_range(chunks):
            record = parse(pair[0])
            if record.owner == owner:
                follower.came(ask, record.seq, Opened(record, pair[1]), len(pair[0]) + len(pair[1]))
        follower.ended(ask, member.clock())
    except (NetworkError, TslgError) as error:
        follower.ended(ask, member.clock(), error.detail)


def _admit(member: Member, owner: Link, follower: Follower[Opened], spared: set[Link]) -> Asking:
    """Admit what is next of a log, and fetch what it cites first."""
    while ready := follower.ready(_RUN):
        (outcome,) = member.ledger.admit_runs([[one for one, _ in ready]], spared)
        follower.stored(follower.held + outcome.admitted)
        if outcome.refusal is not None:
            refused, peer = ready[outcome.admitted]
            if outcome.sealed:
                member.ledger.note_rival(refused.record, refused.seal)
                follower.stop(str(outcome.refusal))
                tell_proof(member, owner)
            else:
                follower.leave(peer, str(outcome.refusal))
            return
        if outcome.lacking:
            yield from _fetch_cited(member, outcome.lacking, spared, index_of(ready[0][1]))
        elif not outcome.admitted:
            follower.stop("nothing of it could be admitted")
            return


def _fetch_cited(member: Member, lacking: Iterable[Lacking], spared: set[Link], peer: int) -> Asking:
    for one in lacking:
        if one.owner == member.world.federation:
            yield from follow_federation(member, peer)
        else:
            yield from audit(member, one.id, one.owner, None, [peer])
        if not member.disk.has(one.id):
            spared.add(one.id)


def follow_federation(member: Member, peer: int) -> Asking:
    """Take what a peer holds of the federation's log beyond what is held here."""
    federation = member.world.federation
    state = member.disk.log_state(federation)
    size = 0 if state is None else state.size
    try:
        chunks = yield Ask(peer, LOG, RangeRequest(federation, size, size + _RANGE).to_bytes())
        for pair in read_range(chunks):
            if parse(pair[0]).owner == federation:
                member.ledger.admit(pair[0], pair[1])
    except (NetworkError, TslgError):
        return


def settle(member: Member, agent: Link) -> Asking:
    """Answer what is open of a log: ask its own node, and who brought its heads, how one leads to the other.

    Returns whether something was answered.
    """
    homes = member.world.directory.find(member, agent)[:2]
    for question in member.heads.questions(agent):
        peers = dict.fromkeys([*homes, index_of(question.new.via), index_of(question.old.via)])
        for peer in [one for one in peers if one != member.index]:
            path = yield from _path(member, peer, question)
            if path is None:
                continue
            answered, fork = member.heads.answer(question, path)
            if fork is not None:
                member.learn_fork(agent, fork, spread=True)
            if answered:
                return True
    return False


def _path(member: Member, peer: int, question: Question) -> Asking:
    old, new = question.old.size, question.new.size
    try:
        needs = Needs((), extending.spans_for(old, new))
        chunks = yield Ask(peer, LOG, ProofsRequest(question.agent, needs).to_bytes())
        found = extending.path_from(question.agent, old, new, ProofsReply.from_bytes(b"".join(chunks)).consistency)
        if found is None and new == old + 1:
            chunks = yield Ask(peer, LOG, RangeRequest(question.agent, old, new).to_bytes())
            for pair in read_range(chunks):
                record = parse(pair[0])
                if record.log is not None and (record.owner, record.seq) == (question.agent, old):
                    return extending.path_by_last(record.log.root, record.id)
    except (NetworkError, TslgError):
        return None
    return found


def compare(member: Member, agent: Link, head: Heard) -> Asking:
    """Hold a head against what is held of its log; where they differ, find the two records that convict its author."""
    state = member.disk.log_state(agent)
    if state is None or head.size > state.size:
        return
    if tree_root(member.disk.leaves(agent, head.size)) == head.root:
        return
    try:
        chunks = yield Ask(index_of(head.via), LOG, RangeRequest(agent, 0, head.size).to_bytes())
        for pair in read_range(chunks):
            record = parse(pair[0])
            if record.owner == agent and member.ledger.note_rival(record, pair[1]):
                tell_proof(member, agent)
                return
    except (NetworkError, TslgError):
        return


def tell_proof(member: Member, agent: Link) -> None:
    """Tell everybody of a fork that is proved by records held here."""
    for fork in member.disk.forks(agent):
        news = proof_of(member.disk, agent, fork.records[0], fork.records[1])
        if news is not None:
            member.heads.convicted(agent, news)
            member.learn_fork(agent, news, spread=True)
            return
