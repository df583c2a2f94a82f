"""An honest witness in a run: the one that `tslg witness` runs, asked over the run's network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tslg.node.witness.state import WitnessState
from tslg.node.witness.witness import Witness
from tslg.protocol import note, witnessing
from tslg.simulations.anchoring import WITNESS
from tslg.simulations.member import Member
from tslg.simulations.reading import Asking
from tslg.simulations.work import Worker

_IN_MEMORY: Final = Path(":memory:")
_A_MINUTE: Final = 100_000


class Witnessing(Worker):
    """An honest member that also cosigns what others ask it to. Arguments as for `Worker`.

    What it cosigned survives whatever happens to its machine: a witness answers once that is on its disk.
    """

    _witness: Witness | None = None

    def answer(self, member: Member, source: int, protocol: str, payload: bytes) -> Iterator[bytes] | Asking:
        """Answer as a witness, or as everybody does. Raises NetworkError."""
        if protocol != WITNESS:
            return super().answer(member, source, protocol, payload)
        path, _, body = payload.partition(b"\n")
        response = self._of(member).answer("POST", path.decode("ascii", "replace"), body)
        if response.status == witnessing.COSIGN and path == witnessing.ADD_CHECKPOINT.encode():
            head = witnessing.parse(body).signed.checkpoint
            for line in note.parse_signatures(response.body.decode()):
                member.world.testimony.swore(member, head, int.from_bytes(line.value[:8], "big"))
        return iter((response.status.to_bytes(2, "big"), response.body))

    def _of(self, member: Member) -> Witness:
        if self._witness is None:
            keys = [seat.key for seat in member.world.seats.values() if seat.member == member.index]
            state = WitnessState(_IN_MEMORY)
            clock = lambda: member.clock() / 1_000  # noqa: E731
            self._witness = Witness(keys, state, clock=clock, a_minute=_A_MINUTE, open_to_all=True)
        return self._witness
