"""What a node makes of announced heads: which it believes and forwards, what it has to ask, and which logs are forked.

Sans-I/O: announcements and times go in, verdicts come out, with questions whose answers go in again. Everything that a
peer can make grow is bounded. Normative text: docs/spec/announcing.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from tslg.protocol import announcing, extending, telling
from tslg.protocol.announcing import ForkNews, HeadNews, OpenedHead, RecordsNews, StatesNews, speaks
from tslg.protocol.budget import Bucket
from tslg.protocol.chains import JOINT
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal, TslgError
from tslg.protocol.heard import Heard, Held, Log, Outcome, Question
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.telling import Sealed, Speakers
from tslg.protocol.verdict import Verdict

_AT_ONCE: Final = 4
_MINUTE_MS: Final = 60_000

UNKNOWN_MANIFEST: Final = "its manifest version is not known here"
NEW_LOGS: Final = "more new logs than one neighbour may bring"


class Heads:
    """The heads that a node heard of.

    Args:
        federation: the federation's id.
        held: what the node knows beside.
        limits: bounds on what is taken.
    """

    def __init__(self, federation: Link, held: Held, limits: Limits = DEFAULT) -> None:
        self._federation = federation
        self._held = held
        self._limits = limits
        self.logs: dict[Link, Log] = {}
        self._strangers: dict[str, dict[Link, int]] = {}
        self._kept = 0
        self._revision = 0
        self._budgets: dict[str, Bucket] = {}

    # --- announcements -----------------------------------------------------------------------------------------------

    def hear(self, payload: bytes, peer: str, via: str, now_ms: int) -> Outcome:
        """Judge an announcement that `peer` made and `via` handed over; `now_ms` by the node's clock. Never waits."""
        try:
            news = announcing.open_news(payload, self._limits)
            if isinstance(news, OpenedHead):
                return self._head(news, peer, via, now_ms)
            return self._fork(news, via, now_ms)
        except Refusal as refusal:
            if refusal.code == "TSLG-A-MANIFEST":
                return Outcome(Verdict.IGNORE, UNKNOWN_MANIFEST)
            return Outcome(Verdict.REJECT, f"{refusal.code}: {refusal.detail}")
        except (TslgError, ValueError) as error:
            return Outcome(Verdict.REJECT, str(error))

    def _head(self, head: OpenedHead, peer: str, via: str, now_ms: int) -> Outcome:
        agent, signed = head.agent, head.signed
        _, size, root, _ = signed.checkpoint
        if not head.sound:
            return Outcome(Verdict.REJECT, "a head of nothing, or a path that does not lead to it", agent)
        log = self.logs.get(agent)
        newest, repeated, bucket = None, False, None
        if log is not None:
            newest = log.newest
            known = newest is not None and size <= newest.size and log.knows(size, root)
            repeated = known and newest is not None and newest.size == size
            stale = known or (size, root) in log.good
            if stale and not (repeated and now_ms - log.forwarded_ms >= self._limits.head_repeat_ms):
                return Outcome(Verdict.IGNORE, "known", agent)
            # What anybody can replay must not use up what the log itself may say.
            bucket = log.newer if newest is None or size > newest.size else self._older(log, now_ms)
            if not bucket.holds(now_ms):
                return Outcome(Verdict.IGNORE, "too often", agent)
        log, refused = self._log(agent, head.news.told, via, now_ms, lambda own: speaks(signed, own))
        if log is None:
            return refused or Outcome(Verdict.IGNORE, "no room", agent)
        if bucket is not None:
            bucket.took()
        if repeated:
            log.forwarded_ms = now_ms
            return Outcome(Verdict.ACCEPT, "again", agent)
        heard = Heard(signed, head.news.note, peer, via, now_ms)
        before = log.newest
        asks, fork = self._place(log, heard, head)
        self._weigh(agent, log)
        if before is not None and size <= before.size:
            return Outcome(Verdict.IGNORE, "older", agent, asks=asks, fork=fork)
        log.forwarded_ms = now_ms
        self._change(log)
        return Outcome(Verdict.ACCEPT, "newer", agent, heard, asks, fork)

    def _fork(self, news: ForkNews, via: str, now_ms: int) -> Outcome:
        agent = announcing.owner_of(news, self._limits)
        log = self.logs.get(agent)
        known = None if log is None else log.fork
        if known is not None and not (isinstance(known, StatesNews) and isinstance(news, RecordsNews)):
            return Outcome(Verdict.IGNORE, "known", agent)
        log, refused = self._log(agent, news.told, via, now_ms, lambda own: self.proves(news, own, now_ms))
        if log is None or refused is not None:
            return refused or Outcome(Verdict.IGNORE, "no room", agent)
        log.fork = news
        self._change(log)
        self._weigh(agent, log)
        return Outcome(Verdict.ACCEPT, "fork", agent, fork=news)

    def proves(self, news: ForkNews, speakers: Speakers, now_ms: int) -> bool:
        """Tell whether a proof that a log is forked holds under these keys. Raises as `telling.read`."""
        if isinstance(news, StatesNews):
            return announcing.states_of(news, speakers, self._limits) is not None
        agent, manifest = announcing.owner_of(news), self._held.manifest
        records = [telling.parse(data, agent, manifest) for data, _ in news.records]
        if not announcing.one_place(*records) or any(one.owner != agent for one in records):
            return False
        for record, (_, seal) in zip(records, news.records, strict=True):
            refusal = telling.seal_refusal(record, seal, speakers, self._federation, manifest, now_ms)
            # The keys of others that seal a joint authorisation are not told.
            if refusal is not None or record.kind == JOINT:
                return False
        return True

    def since(self, revision: int) -> list[tuple[int, bytes]]:
        """Return announcements of all that changed since, in that order, with the revisions to go on from."""
        changed = sorted((log.revision, agent) for agent, log in self.logs.items() if log.revision > revision)
        found = []
        for number, agent in changed:
            log = self.logs[agent]
            if log.newest is not None:
                # Whoever stops between the two asks for both again.
                before = number - 1 if log.fork is not None else number
                found.append((before, HeadNews(log.newest.note, log.speakers.told).to_bytes()))
            if log.fork is not None:
                found.append((number, log.fork.to_bytes()))
        return found

    # --- questions ---------------------------------------------------------------------------------------------------

    def questions(self, of: Link | None = None) -> list[Question]:
        """Return what is open (of one log): heads of which nothing shows that one extends the other, largest first."""
        found = []
        some = self.logs if of is None else {of: self.logs[of]} if of in self.logs else {}
        for agent, log in some.items():
            if log.fork is None and log.tied is not None:
                for one in sorted(log.loose, key=lambda head: -head.size):
                    found.append(Question(agent, *sorted((log.tied, one), key=lambda head: head.size)))
        return found

    def answer(self, question: Question, path: Iterable[bytes]) -> tuple[bool, ForkNews | None]:
        """Take a path between the two heads of a question, from anybody.

        Returns whether it is an answer, and the proof that the log is forked if that is what it shows.
        """
        agent, old, new = question
        log = self.logs.get(agent)
        hashes = tuple(path)
        led = extending.roots(old.size, new.size, hashes)
        if log is None or led is None or led.new != new.root:
            return False, None
        if led.old != old.root:
            return True, self._convict(log, old, new, hashes)
        self._tie(log, old, new)
        return True, None

    def convicted(self, agent: Link, news: ForkNews) -> None:
        """Take a proof that the node found itself, by records."""
        log = self.logs.get(agent)
        if log is not None and not isinstance(log.fork, RecordsNews):
            log.fork = news
            self._change(log)

    # --- own logs, and what was kept ---------------------------------------------------------------------------------

    def own(self, news: HeadNews, peer: str, now_ms: int) -> Outcome:
        """Take a head of a log of this node's own, which it announces. Raises TslgError."""
        head = announcing.open_head(news, self._limits)
        agent = head.agent
        log = self.logs.get(agent)
        if log is None or log.told[0] != news.told or log.speakers is not log.told[1]:
            speakers = telling.kept(agent, news.told, self._held.manifest)
            if log is None:
                log = self.logs[agent] = self._new((news.told, speakers), speakers, None, now_ms)
            else:
                log.learn((news.told, speakers), speakers)
        log.forwarded_ms = now_ms
        heard = Heard(head.signed, news.note, peer, peer, now_ms)
        if log.knows(heard.size, heard.root):
            return Outcome(Verdict.ACCEPT, "again", agent)
        asks, fork = self._place(log, heard, head)
        self._change(log)
        return Outcome(Verdict.ACCEPT, "own", agent, heard, asks, fork)

    def restore(
        self, agent: Link, via: str, heads: Sequence[Heard], told: tuple[Sealed, ...], fork: ForkNews | None
    ) -> None:
        """Take what was kept of one log over a restart, what others are held against first. Raises TslgError."""
        speakers = telling.kept(agent, told, self._held.manifest)
        log = self._new((speakers.told, speakers), speakers, None if self._held.holds(agent) else via, 0)
        log.tied, log.loose, log.fork = next(iter(heads), None), tuple(heads[1:]), fork
        self.logs[agent] = log
        self._change(log)
        self._weigh(agent, log)

    # --- inside ------------------------------------------------------------------------------------------------------

    def _log(
        self, agent: Link, told: tuple[Sealed, ...], via: str, now_ms: int, holds: Callable[[Speakers], bool]
    ) -> tuple[Log | None, Outcome | None]:
        """Return the log that an announcement is about, made if it is new, once what it says `holds`.

        It must hold by what it tells itself, and also by what is known beside, such as revocations.
        """
        log = self.logs.get(agent)
        stranger = log is None and not self._held.holds(agent)
        if stranger:
            may, over = self._may_bring(via, now_ms)
            if not may:
                return None, Outcome(Verdict.IGNORE, NEW_LOGS, agent, over=over)
        own = log.told[1] if log is not None and log.told[0] == told else None
        if own is None:
            own = telling.read(agent, told, self._federation, self._held.manifest, now_ms)
        if not holds(own):
            return None, Outcome(Verdict.REJECT, "no key that it tells of signed it", agent)
        merged = own if log is None or log.speakers is own else self._merged(log.speakers.events, own)
        speakers = self._with_held(agent, merged)
        if speakers is not own and not holds(speakers):
            return None, Outcome(Verdict.IGNORE, "its key is revoked", agent)
        if log is None:
            log = self.logs[agent] = self._new((told, own), merged, via if stranger else None, now_ms)
        elif log.speakers is not merged or log.told[1] is not own:
            log.learn((told, own), merged)
        if speakers.ends:
            self._drop_dead(log, speakers)
        return log, None

    def _merged(self, known: Iterable[telling.Event], own: Speakers) -> Speakers:
        merged = telling.speaking([*known, *own.events])
        return merged if len(merged.events) <= self._limits.key_events else telling.speaking(known)

    def _with_held(self, agent: Link, speakers: Speakers) -> Speakers:
        """Return speakers under the revocations that are held of their log."""
        held = self._held.ends(agent)
        if not held:
            return speakers
        ends = dict(speakers.ends)
        for key, start in held.items():
            ends[key] = min(start, ends.get(key, start))
        return speakers._replace(ends=ends)

    def _drop_dead(self, log: Log, speakers: Speakers) -> None:
        """Forget heads by keys of which it is now known that they were dead."""
        alive = [one for one in log.heads if speaks(one.signed, speakers)]
        if log.tied not in alive:
            log.tied = alive[0] if alive else None
        log.loose = tuple(one for one in alive if one is not log.tied)

    def _place(self, log: Log, heard: Heard, head: OpenedHead) -> tuple[bool, ForkNews | None]:
        """Put a head where it belongs; return whether that opens a question, and the proof if it shows a fork."""
        led, news, before = head.led, head.news, None
        for one in log.heads:
            if one.size == heard.size and one.root != heard.root:
                fork = self._convict(log, one, heard, ())
                log.loose = (*log.loose, heard)[: self._limits.heads_unchecked]
                return False, fork
            if led is not None and one.size == news.since:
                if one.root != led.old:
                    fork = self._convict(log, one, heard, news.path)
                    log.loose = (*log.loose, heard)[: self._limits.heads_unchecked]
                    return False, fork
                before = one
        if log.tied is None or before is log.tied:
            if log.tied is not None:
                log.replaced(log.tied)
            log.tied = heard
            return False, None
        if before is not None:
            log.forget(before)
        # The first stay as evidence, the last place is for what is new.
        log.loose = (*log.loose[: self._limits.heads_unchecked - 1], heard)
        return log.fork is None, None

    def _tie(self, log: Log, old: Heard, new: Heard) -> None:
        if old in log.loose:
            log.forget(old)
        elif old == log.tied and new in log.loose:
            log.forget(new)
            log.tied = new
        log.replaced(old)

    def _convict(self, log: Log, old: Heard, new: Heard, path: tuple[bytes, ...]) -> ForkNews | None:
        """Note the proof; return it unless the log was known to be forked."""
        if log.fork is not None:
            return None
        log.fork = StatesNews((old.note, new.note), log.speakers.told, path)
        self._change(log)
        return log.fork

    def _change(self, log: Log) -> None:
        self._revision += 1
        log.revision = self._revision

    def _new(self, told: tuple[tuple[Sealed, ...], Speakers], speakers: Speakers, via: str | None, now_ms: int) -> Log:
        return Log(speakers, told, via, Bucket(_AT_ONCE, self._limits.head_every_ms, now_ms))

    def _older(self, log: Log, now_ms: int) -> Bucket:
        if log.older is None:
            log.older = Bucket(_AT_ONCE, self._limits.head_older_ms, now_ms)
        return log.older

    def _may_bring(self, via: str, now_ms: int) -> tuple[bool, bool]:
        """Tell whether a neighbour may bring one more log, and whether it is to be named for bringing too many."""
        rate = self._limits.heads_new_logs_per_minute
        if via not in self._budgets:
            if len(self._budgets) >= 2 * self._limits.connections:
                del self._budgets[min(self._budgets, key=lambda one: self._budgets[one].filled_ms)]
            self._budgets[via] = Bucket(2 * rate, _MINUTE_MS / rate, now_ms)
        bucket = self._budgets[via]
        if bucket.take(now_ms):
            return True, False
        over = bucket.named_ms is None or now_ms - bucket.named_ms >= _MINUTE_MS
        if over:
            bucket.named_ms = now_ms
        return False, over

    def _weigh(self, agent: Link, log: Log) -> None:
        """Make room for what is kept of a log of which nothing is held: whoever brought most gives way."""
        via, weight = log.via, log.weight
        if via is None:
            return
        brought = self._strangers.get(via)
        if brought is None:
            brought = self._strangers[via] = {}
        self._kept += weight - brought.get(agent, 0)
        brought[agent] = weight
        while self._kept > self._limits.heads_bytes:
            most = max(self._strangers, key=lambda one: sum(self._strangers[one].values()))
            oldest = next(iter(self._strangers[most]))
            self._kept -= self._strangers[most].pop(oldest)
            del self.logs[oldest]
            if not self._strangers[most]:
                del self._strangers[most]
