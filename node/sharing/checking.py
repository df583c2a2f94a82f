"""Holding a shared log to all that is known of it: one's own entries, and checkpoints that its operator signed.

Each of them is a state that the operator sealed or signed: so many records, this root. The states must be of one log
that only ever grew, which proofs of consistency show whoever may read nothing of it. Two that cannot both be are proof.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from tslg.node.context import StoreContext
from tslg.node.net.seam import Network
from tslg.node.sharing.entries import Entry
from tslg.node.store.interface import Store
from tslg.protocol.checkpoint import Signed, verify
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, UsageError
from tslg.protocol.exchange import LOG, ProofsReply, ProofsRequest
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.log import leaf_hash, node_hash, verify_consistency, verify_inclusion
from tslg.protocol.logproof import Needs
from tslg.protocol.proofs import InclusionProof
from tslg.protocol.signatures import Alg

ONE_LOG: Final = "one log"
FORKED: Final = "forked"
UNDETERMINED: Final = "undetermined"
EXIT_CODES: Final = {ONE_LOG: 0, FORKED: 1, UNDETERMINED: 2}


class State(NamedTuple):
    """A state of a log as its operator sealed or signed it, and by what that is known."""

    size: int
    root: bytes
    known_by: str


class Checked(NamedTuple):
    """What came of it.

    Attributes:
        verdict: `one log`, `forked`, or `undetermined` where a proof was not had.
        states: what was compared, by size.
        broken: what no proof ties to the rest, and why.
    """

    verdict: str
    states: tuple[State, ...]
    broken: tuple[tuple[str, str], ...]


def read_checkpoint(store: Store, context: StoreContext, operator: Link, signed: Signed, name: str) -> State:
    """Return the state that a checkpoint of an operator's log vouches for.

    Raises:
        UsageError: it is of another log. CheckpointError: `TSLG-K-SIGNATURE`: no key of the operator that is held
            here, and was in force at that size by what is held, signed it.
    """
    stated = signed.checkpoint
    if stated.agent != operator:
        raise UsageError(f"{name} is a checkpoint of another log", mend="give one of the operator's", record=operator)
    ids = [operator, *store.by_kind("registration", operator, limit=DEFAULT.walk_edges)]
    ends = context.revocations(operator).ends
    # A key that was not there yet, or was dead by then, is in whoever's hands.
    held = [record for id in ids if (record := context.record(id)) is not None and record.seq < stated.size]
    live = [context.key(one.id) for one in held if stated.size <= ends.get(one.id, stated.size)]
    keys = [key for key in live if key is not None and key.alg == Alg.ED25519]
    if not any(verify(signed, key.public) for key in keys):
        raise CheckpointError(
            f"{name}: no key of the operator that is held here, and in force then, signed it",
            code="TSLG-K-SIGNATURE",
            mend="get it from the operator again",
            record=operator,
        )
    return State(stated.size, stated.root, name)


async def check(
    network: Network,
    peer: str,
    operator: Link,
    entries: Iterable[Entry],
    checkpoints: Iterable[State] = (),
    limits: Limits = DEFAULT,
) -> Checked:
    """Ask the operator's node, or whoever holds its log, for proofs, and judge whether all is of one log.

    Args:
        network: how the peer is reached.
        peer: its address.
        operator: whose log it is.
        entries: verified entries of that log: each stands in it where it says, behind the root that it names.
        checkpoints: further states that the operator signed.
        limits: how many states are compared.

    Raises:
        NetworkError: the peer cannot be reached, or answers with what is no answer. UsageError: too many states.
    """
    known = {entry.record.id: entry for entry in entries}
    if len(known) > limits.walk_roots:
        raise UsageError(f"{len(known)} entries", mend=f"check at most {limits.walk_roots} at a time")
    inclusion = await _ask(network, peer, operator, Needs(tuple(known), ()), limits) if known else None
    proved = {} if inclusion is None else {one.record: one for one in inclusion.inclusion}
    broken: list[tuple[str, str]] = []
    states = list(checkpoints)
    for id, entry in known.items():
        state, wrong = _behind(entry, proved.get(id))
        if state is None:
            broken.append((f"entry at position {entry.position}", wrong))
        else:
            states.append(state)
    distinct = {(one.size, one.root): one for one in states}
    ordered = [distinct[key] for key in sorted(distinct)]
    forked, loose = await _tie(network, peer, operator, ordered, limits)
    broken += loose
    return Checked(FORKED if forked else UNDETERMINED if broken else ONE_LOG, tuple(ordered), tuple(broken))


def _behind(entry: Entry, proof: InclusionProof | None) -> tuple[State | None, str]:
    """Return the state of the log just behind an entry, as the entry's seal and the way up from it settle it.

    The last leaf of a tree is the right child all the way up, so its way holds the peaks of the tree before it: these
    must lead to the root that the entry names.
    """
    head = entry.record.log
    if proof is None or proof.size != entry.position + 1 or head is None:
        return None, "no proof was given that it stands there"
    way = list(proof.proof)
    before = way[0] if way else b""
    for peak in way[1:]:
        before = node_hash(peak, before)
    root = leaf_hash(entry.record.id)
    for peak in way:
        root = node_hash(peak, root)
    if before != head.root or not verify_inclusion(entry.record.id, entry.position, proof.size, way, root):
        return None, "the proof that it stands there does not hold"
    return State(proof.size, root, f"entry at position {entry.position}"), ""


async def _tie(
    network: Network, peer: str, operator: Link, states: Sequence[State], limits: Limits
) -> tuple[bool, list[tuple[str, str]]]:
    """Tie states, by size, together; return whether two of them cannot both be, and which no proof ties together."""
    spans = [(old, new) for old, new in pairwise(states) if old.size > 0]
    needed = tuple(dict.fromkeys((old.size, new.size) for old, new in spans if old.size < new.size))
    reply = await _ask(network, peer, operator, Needs((), needed), limits) if needed else None
    ways = {} if reply is None else {(one.old_size, one.size): one.proof for one in reply.consistency}
    forked, broken = False, []
    for old, new in spans:
        both = f"{old.known_by} and {new.known_by}"
        if old.size == new.size:
            forked = True
            broken.append((both, f"two roots for {old.size} records, and the operator vouched for both"))
        elif (old.size, new.size) not in ways:
            broken.append((both, "no proof was given that the one continues the other"))
        elif not verify_consistency(old.size, new.size, old.root, new.root, ways[old.size, new.size]):
            broken.append((both, "the proof that the one continues the other does not hold"))
    return forked, broken


async def _ask(network: Network, peer: str, operator: Link, needs: Needs, limits: Limits) -> ProofsReply:
    request = ProofsRequest(operator, needs).to_bytes()
    async with network.request(peer, LOG, request, limits=limits) as chunks:
        return ProofsReply.from_bytes(b"".join([chunk async for chunk in chunks]), limits)
