"""Proves for an agent that what it records stays within confidential policies, by the openings that its node holds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tslg.node.openings import Openings, commit
from tslg.protocol import cid, narrowings
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal, UsageError
from tslg.protocol.record import Record
from tslg.protocol.rules import confidential

if TYPE_CHECKING:
    from tslg.protocol.zk.commitments import Opening
    from tslg.protocol.zk.narrowing import Terms

Proved = tuple[list[dict[str, Any]], bytes]
"""The body field `narrowing`, and the attachment with the proofs that it names."""
Prove = Callable[[Link, int, Link], Proved]
"""Makes the proofs of a record at its place: the agent, `seq`, `prev`."""


@dataclass(frozen=True, slots=True)
class Prover:
    """Makes proofs of narrowing.

    Args:
        openings: what the node can open.
        random_bytes: a source of secret random bytes.
    """

    openings: Openings
    random_bytes: Callable[[int], bytes]

    def hide(self, vocabulary: Iterable[str], capabilities: Iterable[str], limits: Mapping[str, int]) -> dict[str, Any]:
        """Commit to what a policy allows, and keep what opens it.

        Raises:
            UsageError: a capability is not in the vocabulary, or a limit cannot be committed to.
        """
        from tslg.protocol.zk.commitments import Opening

        opening = Opening(frozenset(capabilities), dict(limits), self.random_bytes(32))
        try:
            commitments = commit(sorted(set(vocabulary)), opening)
        except ValueError as error:
            raise UsageError(
                str(error), code="TSLG-U-OPENING", mend="choose capabilities from the vocabulary, and limits of 32 bits"
            ) from error
        self.openings.keep(commitments, opening)
        return commitments

    def proofs(self, kind: str, body: Mapping[str, Any], policies: Iterable[Record]) -> Prove | None:
        """Return what makes the proofs that a record needs once its place is known; None if it needs none.

        Raises:
            UsageError: an opening is not held. Refusal: it goes beyond a policy, so that nothing could prove otherwise.
        """
        concerned = [policy for policy in policies if "commitments" in policy.body or "commitments" in body]
        if not concerned:
            return None
        from tslg.protocol.zk import narrowing

        narrow = confidential.terms_of(kind, body)
        needed = [policy for policy in concerned if narrowing.needed(confidential.terms(policy), narrow)]
        if not needed:
            return None
        own = self.opening(body) if "commitments" in body else None
        wide = {policy: self.opening(policy.body) if "commitments" in policy.body else None for policy in needed}
        for policy, opening in wide.items():
            _refuse_beyond(kind, narrow, own, policy, opening)

        def prove(agent: Link, seq: int, prev: Link) -> Proved:
            proofs = {}
            for policy, opening in wide.items():
                binding = narrowings.binding(agent, seq, prev, kind, body, policy.id)
                entropy = self.random_bytes(32)
                sides = confidential.terms(policy), narrow
                proofs[policy.id] = narrowing.prove(*sides, opening, own, binding=binding, entropy=entropy)
            return narrowings.named(proofs), narrowings.encode(proofs)

        return prove

    def opening(self, body: Mapping[str, Any]) -> Opening:
        """Return what opens the policy with this body. Raises UsageError if it is not held."""
        opening = self.openings.find(body["commitments"])
        if opening is None:
            raise UsageError(
                f"policy {body['name']!r} is confidential, and its opening is not held here",
                code="TSLG-U-OPENING",
                mend="take it with `tslg opening take`",
            )
        return opening


def with_proofs(body: Mapping[str, Any], attachment: bytes | None, proved: Proved) -> tuple[dict[str, Any], bytes]:
    """Return a body that names its proofs, and the attachment that holds them.

    Raises:
        UsageError: something else is attached already.
    """
    if attachment is not None:
        raise UsageError(
            "a record that withholds fields has no room for proofs that it stays within a confidential policy",
            mend="claim nothing of that policy, or act under an open one",
        )
    return {**body, "narrowing": proved[0]}, proved[1]


def _refuse_beyond(kind: str, narrow: Terms, own: Opening | None, policy: Record, opening: Opening | None) -> None:
    """Refuse by a plain look at both sides what no proof can show."""
    from tslg.protocol.zk import narrowing

    wide = confidential.terms(policy)
    beyond = narrowing.impossible(wide, narrow)
    if beyond is None:
        (granted, limits), (taken, amounts) = _plain(wide, opening), _plain(narrow, own)
        extra = sorted(taken - granted)
        more = sorted(name for name, amount in amounts.items() if amount > limits.get(name, -1))
        beyond = f"capabilities {extra}" if extra else f"limits {more}" if more else None
    if beyond is not None:
        raise Refusal(
            f"beyond policy {cid.short(policy.id)}: {beyond}",
            code="TSLG-A-WIDENED" if kind == "policy" else "TSLG-A-SCOPE",
            mend="grant and claim no more than you hold",
        )


def _plain(terms: Terms, opening: Opening | None) -> tuple[frozenset[str], Mapping[str, int]]:
    if opening is not None:
        return opening.capabilities, opening.limits
    from tslg.protocol.zk.narrowing import Open

    assert isinstance(terms, Open)
    return terms.capabilities, terms.limits
