"""A consumer's word on what it follows: observations of other agents' logs, as far as it holds and verified them.

Whoever audits such an observation holds the log against it, so its author cannot write the history anew that the
consumer saw, even if nobody has the consumer's copy any more.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from tslg.node import kept_checkpoints
from tslg.node.agent import BlockingAgent
from tslg.node.heads import kept
from tslg.node.home import Home
from tslg.node.store.interface import Store
from tslg.protocol.checkpoint import Signed
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.record import Record

_META: Final = "observed/"


def observe_logs(home: Home, agent: BlockingAgent, owners: Iterable[Link]) -> list[Record]:
    """Record how far other agents' logs are held, for those that grew since the last time; return the records.

    A checkpoint that the log's agent signed is observed as such, where one is known that covers more than was observed;
    otherwise the newest record is cited, which commits to all before it.

    Raises:
        Refusal: the manifest does not let this agent cite that log.
    """
    made = []
    for owner in owners:
        state = home.store.log_state(owner)
        if state is None or home.ledger.writes(owner) or owner == home.federation:
            continue
        name = f"{_META}{to_text(agent.id)}/{to_text(owner)}"
        before = int.from_bytes(home.store.get_meta(name) or b"", "big")
        if state.size <= before:
            continue
        signed = _signed(home.store, owner, before, state.size)
        if signed is not None:
            size = signed.checkpoint.size
            made.append(agent.observe_checkpoint(signed.to_bytes()))
        else:
            size = state.size
            data = {"size": size, "root": state.peaks.root()}
            made.append(agent.observe(f"tslg/{to_text(owner)}", data, evidence=state.last))
        home.store.set_meta(name, size.to_bytes(8, "big"))
    return made


def _signed(store: Store, owner: Link, above: int, size: int) -> Signed | None:
    """Return the largest checkpoint known of a log of those that cover more than `above`, and no more than `size`."""
    entry = kept.of(store, owner)
    known = [] if entry is None else [signed for signed, _ in kept.in_force(store, entry)]
    cosigned = kept_checkpoints.kept(store, owner)
    fitting = [one for one in [*known, *filter(None, [cosigned])] if above < one.checkpoint.size <= size]
    return max(fitting, key=lambda one: one.checkpoint.size, default=None)
