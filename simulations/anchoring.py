"""Anchoring in a run: a member that has its log cosigned, and that holds witnesses to what they cosigned."""

from __future__ import annotations

from typing import Final, NamedTuple

from tslg.node import kept_checkpoints, perjuries
from tslg.node.anchoring import Anchorer
from tslg.node.checkpoints import introduction_of, sign_head
from tslg.node.witness.asking import Prove, asked
from tslg.node.witness.key import WitnessKey
from tslg.protocol import anchoring, extending
from tslg.protocol.checkpoint import Signed, parse_log
from tslg.protocol.codec import Link
from tslg.protocol.cosignature import Policy, cosigned
from tslg.protocol.errors import NetworkError, TslgError
from tslg.protocol.exchange import LOG, WALK, ProofsReply, ProofsRequest, WalkEnd, WalkRequest, read_walk_chunk
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Tree
from tslg.protocol.logproof import Needs
from tslg.protocol.note import COSIGNATURE, VerifierKey
from tslg.protocol.proofs import ConsistencyProof
from tslg.protocol.witnessing import merge
from tslg.simulations import chance
from tslg.simulations.member import Ask, Member
from tslg.simulations.reading import Asking

WITNESS: Final = "tlog-witness"
"""What a witness speaks: in the world HTTP, here a path, a newline and a body; the answer is a status and a body."""
_PATIENCE_MS: Final = 4_000
_FEW_EDGES: Final = 8


class Seat(NamedTuple):
    """A witness that the manifest names: its key, and the member whose it is."""

    key: WitnessKey
    public: VerifierKey
    member: int


def witness_key(seed: int, number: int) -> WitnessKey:
    """Return the key of the witness with this number."""
    return WitnessKey(f"witness-{number}.example/w", COSIGNATURE, chance.bytes_of(seed, "witness", str(number))(32))


def asked_of_logs(keys: list[WitnessKey], quorum: int, epoch_s: float) -> str:
    """Return the part of a manifest's text that asks for anchoring by so many of these witnesses."""
    names = ", ".join(f'"{key.public.text}"' for key in keys)
    return (
        f'[envelope.anchoring]\ncadence = "epoch"\nepoch_ms = {int(epoch_s * 1_000)}\n'
        f"witnesses = [{names}]\nquorum = {quorum}\n"
    )


def inquire(member: Member, seat: Seat, signed: Signed, prove: Prove, shown: bytes | None, known: int = 0) -> Asking:
    """Ask one witness over the network, as a node does; return the checkpoint with its line. Raises NetworkError."""
    latest = (member.clock() + DEFAULT.clock_skew_ms) // 1_000
    asking = asked(seat.public, signed, prove, shown, known, latest)
    path, body = next(asking)
    while True:
        status, answer = yield Ask(seat.member, WITNESS, path.encode() + b"\n" + body, _PATIENCE_MS)
        try:
            path, body = asking.send((int.from_bytes(status, "big"), answer))
        except StopIteration as done:
            return done.value


class Anchored:
    """Has one member's log anchored, and closes it while that is impossible, as a node's own anchoring does.

    Args:
        member: whose log.
    """

    def __init__(self, member: Member) -> None:
        self._member = member
        self._gathered: Signed | None = None
        self._busy = False
        self._sizes: dict[str, int] = {}
        disk = member.disk
        self._anchorer = Anchorer(disk, self._policy, self._sign, lambda: self, member.clock)
        member.ledger.gate = self._anchorer

    def _policy(self) -> anchoring.Anchoring | None:
        ledger = self._member.ledger
        manifest = ledger.context.manifest(ledger.manifest)
        return None if manifest is None else manifest.envelope.anchoring

    def _sign(self, agent: Link) -> Signed:
        return self._gathered or sign_head(self._member.disk, agent, self._member.key)

    def gather(self, signed: Signed, policy: Policy, prove: Prove, shown: bytes | None = None) -> Signed:
        """Return what was gathered over the network. Raises NetworkError while nothing was."""
        if self._gathered is None:
            raise NetworkError("witnesses are being asked", code="TSLG-N-QUORUM")
        return self._gathered

    def close(self) -> None:
        """Hold nothing."""

    def anchor(self) -> Asking:
        """Have the log's present head cosigned by a quorum, and keep that. Raises NetworkError if too few do."""
        member, policy = self._member, self._policy()
        if policy is None or self._busy or not self._anchorer.behind(member.id):
            return
        self._busy = True
        try:
            signed = sign_head(member.disk, member.id, member.key)
            tree = Tree(member.disk.leaves(member.id, signed.checkpoint.size))
            shown = introduction_of(member.disk, signed)
            seats = list(member.world.seats.values())
            first = member.chance.randrange(len(seats))
            gathered = signed
            for seat in (*seats[first:], *seats[:first]):
                name = seat.key.name
                try:
                    known = self._sizes.get(name, 0)
                    said = yield from inquire(member, seat, signed, tree.consistency_proof, shown, known)
                except NetworkError as error:
                    member.world.oracle.gave_up(member, error)
                    continue
                self._sizes[name] = signed.checkpoint.size
                gathered = merge(gathered, [said])
                if len(cosigned(gathered, policy.policy)) >= policy.policy.quorum:
                    break
            self._gathered = gathered
            self._anchorer.anchor(member.id)
            member.world.oracle.counts["anchorings"] += 1
        finally:
            self._gathered = None
            self._busy = False


def cross_check(member: Member, agent: Link) -> Asking:
    """Ask neighbours for the cosigned checkpoints that they hold of a log that is forked, and hold them together."""
    ledger = member.ledger
    manifest = ledger.context.manifest(ledger.manifest)
    asks = None if manifest is None else manifest.envelope.anchoring
    if asks is None:
        return
    for peer in member.peers:
        for signed in (yield from _checkpoints(member, peer, agent)):
            proofs = yield from _between(member, peer, signed)
            perjuries.hold(member.disk, signed, asks.policy.witnesses, proofs)
            member.world.testimony.look(member)
            vouched = anchoring.vouched(signed, asks, member.clock()) is not None
            if vouched and kept_checkpoints.read(member.disk, agent) is None:
                kept_checkpoints.keep(member.disk, signed)


def _checkpoints(member: Member, peer: int, agent: Link) -> Asking:
    found = []
    try:
        chunks = yield Ask(peer, WALK, WalkRequest((agent,), None, _FEW_EDGES).to_bytes(), _PATIENCE_MS)
        for chunk in chunks:
            part = read_walk_chunk(chunk)
            if isinstance(part, WalkEnd):
                found += [one for one in map(parse_log, part.checkpoints) if one.checkpoint.agent == agent]
    except (NetworkError, TslgError):
        return []
    return found


def _between(member: Member, peer: int, signed: Signed) -> Asking:
    """Return proofs that lead between a checkpoint and the one that is kept, from whoever has them."""
    stated = signed.checkpoint
    kept = kept_checkpoints.kept(member.disk, stated.agent)
    if kept is None or kept.checkpoint.size == stated.size:
        return ()
    old, new = sorted((kept.checkpoint.size, stated.size))
    larger = stated if stated.size == new else kept.checkpoint
    needs = Needs((), extending.spans_for(old, new))
    homes = member.world.directory.find(member, stated.agent)
    for one in dict.fromkeys([*homes, peer, *member.peers]):
        try:
            chunks = yield Ask(one, LOG, ProofsRequest(stated.agent, needs).to_bytes(), _PATIENCE_MS)
            proofs: tuple[ConsistencyProof, ...] = ProofsReply.from_bytes(b"".join(chunks)).consistency
        except (NetworkError, TslgError):
            continue
        led = extending.path_from(stated.agent, old, new, proofs)
        roots = None if led is None else extending.roots(old, new, led)
        if roots is not None and roots.new == larger.root:
            return proofs
    return ()
