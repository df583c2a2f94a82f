"""Lying witnesses: they cosign what they never saw extended, two histories of one log, and at times that are not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tslg.node import kept_checkpoints
from tslg.node.checkpoints import introduction_of, sign_head
from tslg.node.net.errors import NotAvailable
from tslg.node.store.interface import Store
from tslg.protocol import cosignature, witnessing
from tslg.protocol.checkpoint import Signed
from tslg.protocol.errors import CheckpointError, NetworkError
from tslg.protocol.log import Tree
from tslg.protocol.witnessing import merge
from tslg.simulations.adversaries.history import Equivocator
from tslg.simulations.anchoring import WITNESS, Seat, inquire
from tslg.simulations.member import Member
from tslg.simulations.reading import Asking
from tslg.simulations.scenario import Group

_LIES_S: Final = (0, 0, -86_400, -30, 250, 4_000)
"""By how much the time of its cosignatures is off."""


class Perjurer(Equivocator):
    """A witness that cosigns whatever it is shown, and an agent with two histories for which such witnesses vouch."""

    def __init__(self, group: Group) -> None:
        super().__init__(group)
        self._vouching = False

    def act(self, member: Member) -> None:
        """Part the histories, or write on in the first; and have both anchored, as far as witnesses let it."""
        super().act(member)
        if not self._vouching:
            member.spawn(self._vouch(member))
        state = member.disk.log_state(member.id)
        assert state is not None and self.other is not None
        for record in (state.last, self.other.made[0][0].id):
            member.world.notice(record, member.id, member)

    def _vouch(self, member: Member) -> Asking:
        """Have each history cosigned by those who lie, and by what honest witnesses can be had for it."""
        self._vouching = True
        try:
            assert self.other is not None
            seats = member.world.seats
            honest = [seat for seat in seats.values() if member.world.members[seat.member].honest]
            halves = member.chance.random() < 0.5
            forges = member.chance.random() < 0.3
            for side, store in ((0, member.disk), (1, self.other.store)):
                asks = honest[side::2] if halves else honest
                signed = sign_head(store, member.id, member.key)
                gathered = yield from self._gather(member, store, signed, asks)
                lacking = [seat for seat in honest if not any(seat.public.made(one) for one in gathered.signatures)]
                forged = [self._line(member, seat, signed, self._other_hand(member)) for seat in lacking if forges]
                own = [self._line(member, seat, signed) for seat in seats.values() if seat not in honest]
                kept_checkpoints.keep(store, merge(gathered, [*own, *forged]))
        finally:
            self._vouching = False

    def _gather(self, member: Member, store: Store, signed: Signed, seats: list[Seat]) -> Asking:
        tree = Tree(store.leaves(member.id, signed.checkpoint.size))
        shown = introduction_of(store, signed)
        gathered = signed
        for seat in seats:
            try:
                said = yield from inquire(member, seat, signed, tree.consistency_proof, shown)
            except NetworkError:
                continue
            gathered = merge(gathered, [said])
        return gathered

    def _line(self, member: Member, seat: Seat, signed: Signed, hand: Seat | None = None) -> Signed:
        """Return a checkpoint with the line of a witness; by another's hand that is none."""
        time = member.clock() // 1_000
        by = seat if hand is None else hand
        line = by.key.cosign(signed.checkpoint, time)
        public = seat.public
        return Signed(signed.checkpoint, (cosignature.entry(public, time, line.value[8:]),))

    def _other_hand(self, member: Member) -> Seat:
        return next(seat for seat in member.world.seats.values() if seat.member == member.index)

    def answer(self, member: Member, source: int, protocol: str, payload: bytes) -> Iterator[bytes] | Asking:
        """Cosign whatever is asked for, as of any time, or answer rubbish. Raises NotAvailable."""
        path, _, body = payload.partition(b"\n")
        if protocol != WITNESS:
            raise NotAvailable("nobody here speaks that")
        if path != witnessing.ADD_CHECKPOINT.encode():
            return iter((witnessing.COSIGN.to_bytes(2, "big"), b""))
        try:
            head = witnessing.parse(body).signed.checkpoint
        except CheckpointError as error:
            raise NotAvailable(error.detail) from error
        if member.chance.random() < 0.1:
            return iter((witnessing.COSIGN.to_bytes(2, "big"), member.chance.randbytes(80)))
        off = _LIES_S[member.chance.randrange(len(_LIES_S))]
        line = self._other_hand(member).key.cosign(head, member.clock() // 1_000 + off)
        return iter((witnessing.COSIGN.to_bytes(2, "big"), line.line.encode()))
