"""What peers have handed over during an audit, opened; none of it is believed until the walker wants and judges it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tslg.node.schemes import Schemes
from tslg.node.sealing import Checks
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.exchange import Pair, WalkEnd
from tslg.protocol.keys import KEY_EVENTS, Key, key_of
from tslg.protocol.limits import DEFAULT
from tslg.protocol.opening import Opened, attach
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.record import parse_as
from tslg.protocol.walker import Walker

OWN: Final = ""
"""The source of what was here already, in place of a peer's address."""


class Pool:
    """Opens what arrives, and has the signatures checked beside it.

    Args:
        walker: the walk that the records are for.
        keys: learns the keys that the records register.
        checks: where signatures are verified under `keys` while more arrives; None to leave them to the walker.
        better: seals to take in the place of those that come, which are known not to hold.

    Attributes:
        opened: the records by id. The first seal that came with a record stays, since checks go by the record's id.
        sources: who handed over that seal.
        seconds: another seal that came with a record later, at most one each.
        revocations: by agent, the revocations that claim to lie in its log.
        reasons: why peers did not hand over a record.
    """

    def __init__(
        self, walker: Walker, keys: dict[Link, Key], checks: Checks | None, better: Mapping[Link, bytes] | None = None
    ) -> None:
        self._schemes = Schemes(cid.hash_name(walker.target))
        self._known = walker.known
        self._keys = keys
        self._checks = checks
        self._better = better or {}
        self.opened: dict[Link, Opened] = {}
        self.sources: dict[Link, str] = {}
        self.seconds: dict[Link, bytes] = {}
        self._claims: dict[Link, set[HeadClaim]] = {}
        self.revocations: dict[Link, list[Opened]] = {}
        self.reasons: dict[Link, str] = {}

    def take(self, pairs: Iterable[Pair], source: str = OWN) -> list[Opened]:
        """Open records and return them as they are in the pool; all or, if one is no record, none of them.

        Keys are learnt as they come, so that what follows can hold records that need them.

        Raises:
            RecordError, CodecError: one of them is not a record of this federation.
        """
        known, pairs = self._known, list(pairs)
        came = []
        for record, pair in zip(self._schemes.read(pair[0] for pair in pairs), pairs, strict=True):
            one = Opened(record, self._better.get(record[0], pair[1]))
            came.append(one if len(pair) == 2 or pair[2] is None else attach(one, pair[2]))
        fresh = []
        for one in came:
            record = one[0]
            id = record[0]
            if id in self.opened:
                self.compare([(id, one[1])])
                continue
            self.sources[id] = source
            if id in known:
                self.opened[id] = one._replace(sealed=True)
            else:
                self.opened[id] = one
                fresh.append(one)
            if record[2] in KEY_EVENTS:
                self._note_key_event(self.opened[id])
        if self._checks is not None:
            self._checks.add([one for one in fresh if one[0].key in self._keys])
        return [self.opened[one[0].id] for one in came]

    def prefer(self, held: Iterable[tuple[Link, Pair]]) -> list[Opened]:
        """Open records of the own store, which take the place of what peers sent under their ids, seals included."""
        preferred = []
        for id, pair in held:
            one = Opened(parse_as(id, pair[0]), pair[1])
            one = one if len(pair) == 2 or pair[2] is None else attach(one, pair[2])
            self.opened[id] = one
            self.sources[id] = OWN
            key = key_of(one.record)
            if key is not None:
                self._keys[id] = key
            preferred.append(one)
        return preferred

    def compare(self, seals: Iterable[tuple[Link, bytes]]) -> None:
        """Keep seals that differ from those in the pool, should these turn out not to hold."""
        for id, seal in seals:
            if seal != self.opened[id][1]:
                self.seconds.setdefault(id, seal)

    def _note_key_event(self, opened: Opened) -> None:
        record = opened.record
        key = key_of(record)
        if key is not None:
            self._keys[record.id] = key
        if record.kind == "revocation":
            self.revocations.setdefault(record.owner, []).append(opened)

    def note_end(self, end: WalkEnd) -> None:
        """Keep what a peer says at the end of its reply: why records are missing, and how long logs are."""
        for id, reason in end.missing:
            # Another peer may not have what this one keeps back.
            if self.reasons.get(id, "absent") == "absent":
                self.reasons[id] = reason
        # One for each log: whoever claims many heads of one crowds out nobody's.
        for claim in {claim.agent: claim for claim in end.heads}.values():
            self.note_head(claim)

    def note_head(self, claim: HeadClaim) -> None:
        """Keep what somebody claims to be the newest record of a log that it holds whole."""
        claims = self._claims.setdefault(claim.agent, set())
        if len(claims) < DEFAULT.heads_per_log:
            claims.add(claim)

    def newest(self, agent: Link) -> tuple[HeadClaim, Opened] | None:
        """Return the longest log of an agent that is claimed by a record that came, and so may be what is said of it.

        Anybody can claim a longer one: that hides none that is shown.
        """
        backed = [(claim, one) for claim in self._claims.get(agent, ()) if (one := self.opened.get(claim.record))]
        shown = [(claim, one) for claim, one in backed if one[0].owner == agent and one[0].seq + 1 == claim.size]
        return max(shown, key=lambda item: (item[0].size, item[0].record, item[0].root), default=None)
