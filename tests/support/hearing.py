"""Announcements of logs of any history, and a node that hears them, without a network."""

from __future__ import annotations

from collections.abc import Mapping

from world import Author, World

from tslg.protocol import checkpoint, extending
from tslg.protocol.announcing import HeadNews, RecordsNews, StatesNews
from tslg.protocol.checkpoint import Checkpoint
from tslg.protocol.codec import Link
from tslg.protocol.heads import Heads
from tslg.protocol.heard import Outcome, Question
from tslg.protocol.keys import revocations_in
from tslg.protocol.limits import DEFAULT, Limits
from tslg.protocol.signatures import ed25519_secret


def told(world: World, author: Author, size: int | None = None) -> tuple[tuple[bytes, bytes], ...]:
    """Return the key events of a log below `size`."""
    events = [one for one in author.log[:size] if one.kind in ("genesis", "revocation") or "alg" in one.body]
    return tuple((one.data, world.seals[one.id]) for one in events)


def note(author: Author, size: int | None = None, *, key: Link | None = None, root: bytes | None = None) -> bytes:
    """Return a signed checkpoint of a log, by its key in force if no other is named."""
    size = len(author.log) if size is None else size
    seed = author.keys[key or author.key].seed
    return checkpoint.encode(Checkpoint.of(author.owner, size, root or author.tree.root(size)), ed25519_secret(seed))


def head(world: World, author: Author, size: int | None = None, since: int = 0, **signing) -> HeadNews:
    """Return the announcement of a log's state at a size, with the path from an earlier one."""
    size = len(author.log) if size is None else size
    path = extending.path_in_tree(author.tree, since, size) if since else ()
    return HeadNews(note(author, size, **signing), told(world, author), since, path)


def states(world: World, one: Author, old: int, other: Author, new: int) -> StatesNews:
    """Return a proof by two checkpoints of two histories, the second at the larger size."""
    path = extending.path_in_tree(other.tree, old, new) if old < new else ()
    return StatesNews((note(one, old), note(other, new)), told(world, other), path)


def records(world: World, one: Author, other: Author, seq: int) -> RecordsNews:
    """Return a proof by two records for one position."""
    both = [(author.log[seq].data, world.seals[author.log[seq].id]) for author in (one, other)]
    return RecordsNews((both[0], both[1]), told(world, one))


def grow(world: World, author: Author, count: int) -> Author:
    """Append so many states."""
    for number in range(count):
        world.slip(author, "state", {"data": {"n": len(author.log), "of": number}})
    return author


def forked(world, name, common, more):
    """Return two histories of one log that part at position `common`, and grow by `more` each."""
    one = grow(world, world.agent(name), common - 1)
    other = one.fork(common)
    return grow(world, one, more), grow(world, other, more)


class Listener:
    """A node that holds nothing but its federation's manifests, or the logs that it is given."""

    def __init__(self, world: World, limits: Limits = DEFAULT, held: Mapping[Link, Author] | None = None) -> None:
        self.world = world
        self.logs = dict(held or {})
        self.now_ms = 1_000_000_000
        self.heads = Heads(world.federation, self, limits)
        self.forks: list = []

    def manifest(self, id):
        return self.world.manifest(id)

    def holds(self, agent):
        return agent in self.logs

    def ends(self, agent):
        return revocations_in(self.logs[agent].log).ends if agent in self.logs else {}

    def hear(self, news, via: str = "neighbour", later_ms: int = 10_000) -> Outcome:
        """Hear an announcement some time after the one before."""
        self.now_ms += later_ms
        data = news if isinstance(news, bytes) else news.to_bytes()
        outcome = self.heads.hear(data, "author", via, self.now_ms)
        if outcome.fork is not None:
            self.forks.append(outcome.fork)
        return outcome

    def answer_all(self, *histories: Author) -> None:
        """Answer every question from whichever history holds the larger head."""
        while any(self.answer(question, author) for question in self.heads.questions() for author in histories):
            pass

    def answer(self, question: Question, author: Author) -> bool:
        """Answer a question from a history; tell whether that is an answer."""
        _, old, new = question
        if author.tree.size < new.size or author.tree.root(new.size) != new.root:
            return False
        answered, fork = self.heads.answer(question, extending.path_in_tree(author.tree, old.size, new.size))
        if fork is not None:
            self.forks.append(fork)
        return answered

    def size(self, author: Author) -> int:
        """Return how large a log is said to be."""
        log = self.heads.logs.get(author.owner)
        return 0 if log is None or log.newest is None else log.newest.size
