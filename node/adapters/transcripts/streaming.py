"""Transcripts as they are written: lines of JSON from a growing file, or from another program, recorded as they come.

A line is a whole conversation, or one message of one: with `role`, and with `conversation_id`, `session_id`,
`thread_id` or `conversation` where there are several. What was read is noted from time to time; after a restart,
reading goes on there, and conversations that had not ended are gone over from their first line, which records nothing
twice.
"""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Any, Final, NamedTuple

from tslg.node.adapters.seen.notes import Notes
from tslg.node.adapters.seen.sinks import Made, sink_for
from tslg.node.adapters.seen.steps import UNSTATED
from tslg.node.adapters.seen.traces import Traces
from tslg.node.adapters.transcripts.lines import is_message, read_message
from tslg.node.adapters.transcripts.model import Transcript
from tslg.node.adapters.transcripts.parse import parse
from tslg.node.adapters.transcripts.talks import Said, Talk
from tslg.node.store.interface import Store
from tslg.protocol import codec
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.errors import AdapterError, CodecError
from tslg.protocol.limits import DEFAULT, Limits

Wait = Callable[[], bool]
"""Waits a moment for more lines; returns whether to go on waiting."""


class Line(NamedTuple):
    """One line of a stream: its number from 1, the offset of its first byte, and its bytes."""

    number: int
    at: int
    data: bytes


@dataclass(slots=True)
class Streamed:
    """What came of a stream so far.

    Attributes:
        lines: lines that were read.
        conversations: conversations that were begun.
        verdicts: steps that were recorded, by what became of them.
        already: messages that were recorded before.
        left_out: lines that cannot be read, and results without a call.
        last: of the newest conversations that ended, their names and what they are composed of.
    """

    lines: int = 0
    conversations: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    already: int = 0
    left_out: int = 0
    last: OrderedDict[str, Made] = field(default_factory=OrderedDict)


class _UnderWay(NamedTuple):
    talk: Talk
    at: int


class Stream:
    """Records one stream of lines, for a gate or an agent alone.

    Args:
        store: that of the agent.
        recorder: a gate; or an agent, which records without verdicts.
        name: what the stream is called: its path, say. Notes of how far it was read are kept under it.
        model: the model that takes the assistant's turns.
        lenient: leave out lines that cannot be read, and results without a call.
        warn: told what is left out.
        limits: what is accepted, and how many conversations are under way at a time.
    """

    def __init__(
        self,
        store: Store,
        recorder: Any,
        name: str,
        *,
        model: str = UNSTATED,
        lenient: bool = False,
        warn: Callable[[str], None] = lambda text: None,
        limits: Limits = DEFAULT,
    ) -> None:
        agent: Link = getattr(recorder, "agent", recorder).id
        self._store = store
        self._notes = Notes(store, agent)
        self._traces = Traces(sink_for(recorder, notes=self._notes), limits)
        self._name = name
        self._model = model
        self._lenient = lenient
        self._warn = warn
        self._limits = limits
        self._key = f"stream/{to_text(agent)}/{hashlib.sha256(name.encode()).hexdigest()}"
        self._talks: OrderedDict[str, _UnderWay] = OrderedDict()
        self._begun: dict[str, int] = {}
        self._read_before = 0
        self._kept = b""
        self._head = b""
        self._at = 0
        self.done = Streamed()

    # --- a file that may grow ----------------------------------------------------------------------------------------

    def read(self, file: IO[bytes], *, wait: Wait | None = None) -> None:
        """Record a file from where it was read to before; with `wait`, go on until that says no.

        Raises:
            AdapterError: a line cannot be read; all before it is recorded. TslgError: it could not be recorded.
        """
        self._head = _head(file, self._limits)
        start = self._resumed(self._head)
        file.seek(start)
        self._at = start
        for line in _lines(file, start, self._limits, self._name, wait, self._keep):
            self.take(line)
            self._at = line.at + len(line.data)
            if self.done.lines % _KEEP_EVERY == 0:
                self._keep()
        if wait is None:
            self.end()
        self._keep()

    def stopped(self) -> None:
        """Note how far a file was read, when reading it is over before it ended."""
        self._keep()

    def feed(self, file: IO[bytes]) -> None:
        """Record what another program writes, until it ends. The same from its beginning is recorded once."""
        for line in _lines(file, 0, self._limits, self._name, None, None):
            self.take(line)
        self.end()

    def _resumed(self, head: bytes) -> int:
        """Return where to go on, having found out which conversations are under way there."""
        kept = self._store.get_meta(self._key)
        try:
            found = {} if kept is None else codec.decode(kept)
        except CodecError:
            found = {}
        if not found or found["head"] != head:
            return 0
        self._read_before = found["at"]
        self._begun = {one["name"]: one["at"] for one in found["open"]}
        return min([self._read_before, *self._begun.values()])

    def _keep(self) -> None:
        under_way = [{"name": name, "at": one.at} for name, one in self._talks.items()]
        note = codec.encode({"head": self._head, "at": self._at, "open": under_way})
        if note != self._kept:
            self._store.set_meta(self._key, note)
            self._kept = note

    # --- lines -------------------------------------------------------------------------------------------------------

    def take(self, line: Line) -> None:
        """Record one line. Raises AdapterError if it cannot be read."""
        if not line.data.strip():
            return
        self.done.lines += 1
        try:
            if is_message(line.data, self._limits):
                self._message(line)
            elif line.at >= self._read_before:
                self._whole(line)
        except AdapterError as error:
            detail = f"{self._name}: line {line.number}: {error.detail}"
            if not self._lenient:
                raise AdapterError(detail, code=error.code, mend=error.mend) from error
            self.done.left_out += 1
            self._warn(detail)

    def end(self) -> None:
        """End all conversations under way."""
        while self._talks:
            self._end_oldest()

    def _whole(self, line: Line) -> None:
        """Record a line that is a whole conversation, or several."""
        self._each(parse(line.data, self._name, lenient=self._lenient, limits=self._limits), line)

    def whole(self, data: bytes) -> None:
        """Record a file that is one JSON text, of one conversation or several. Raises AdapterError."""
        transcript = parse(data, self._name, lenient=self._lenient, limits=self._limits)
        self.done.lines += 1
        self._each(transcript, Line(1, 0, data))

    def _each(self, transcript: Transcript, line: Line) -> None:
        for number, trajectory in enumerate(transcript.trajectories):
            name = b"%s %d" % (transcript.digest.hex().encode(), number)
            talk = Talk(self._traces, name, self._model, trajectory.about, self._limits)
            self.done.conversations += 1
            for message in trajectory.messages:
                self._said(talk, Said(message), line)
            self._end(str(number if len(transcript.trajectories) > 1 else line.number), talk)

    def _message(self, line: Line) -> None:
        name, messages = read_message(line.data, self._name, self._lenient, self._limits)
        if line.at < self._read_before and self._begun.get(name, line.at + 1) > line.at:
            # Its conversation had ended before reading stopped.
            return
        if not messages:
            self.done.left_out += 1
            self._warn(f"{self._name}: line {line.number}: a message of an unknown role")
            return
        one = self._talks.get(name)
        if one is None:
            one = self._begin(name, line)
        self._talks.move_to_end(name)
        for said in messages:
            self._said(one.talk, said, line)

    def _begin(self, name: str, line: Line) -> _UnderWay:
        while len(self._talks) >= self._limits.transcript_talks:
            self._end_oldest()
        # By where it begins, too: a conversation that goes on after it was ended is another one.
        talk = Talk(self._traces, f"{name} {line.at}".encode(), self._model, limits=self._limits)
        self._talks[name] = one = _UnderWay(talk, line.at)
        self.done.conversations += 1
        return one

    def _said(self, talk: Talk, said: Said, line: Line) -> None:
        before = self._notes.made
        made = talk.say(said)
        if made is None:
            self.done.left_out += 1
            self._warn(f"{self._name}: line {line.number}: a tool result without a call")
        else:
            self._count(made, before)

    def _end_oldest(self) -> None:
        name, one = self._talks.popitem(last=False)
        self._end(name, one.talk)

    def _end(self, name: str, talk: Talk) -> None:
        before = self._notes.made
        while (made := talk.unanswered()) is not None:
            self._count(made, before)
            before = self._notes.made
        made = talk.end()
        if made is not None:
            self._count(made, before)
            self.done.last[name] = made
            if len(self.done.last) > _LAST:
                self.done.last.popitem(last=False)

    def _count(self, made: Made, before: int) -> None:
        if self._notes.made > before:
            self.done.verdicts[made.verdict] += 1
        else:
            self.done.already += 1


_KEEP_EVERY: Final = 200
"""Lines after which it is noted how far a file was read: a write to disk for as many."""
_LAST: Final = 1_000
"""Ended conversations that are told of."""


def _head(file: IO[bytes], limits: Limits) -> bytes:
    """Return the digest of a file's first line, by which another file of the same name is told from it."""
    file.seek(0)
    return hashlib.sha256(file.readline(limits.record_bytes)).digest()


def _lines(
    file: IO[bytes], start: int, limits: Limits, name: str, wait: Wait | None, idle: Callable[[], None] | None
) -> Iterator[Line]:
    """Read lines; with `wait`, a line counts once its end was written, and `idle` is called when there is no more."""
    number, at, part = 0, start, b""
    while True:
        data = part + file.readline(limits.transcript_line_bytes + 1 - len(part))
        if len(data) > limits.transcript_line_bytes:
            detail = f"{name}: more than {limits.transcript_line_bytes} bytes in a line"
            raise AdapterError(detail, code="TSLG-I-SIZE", mend="write one message a line")
        if data.endswith(b"\n") or (data and wait is None):
            number, part = number + 1, b""
            yield Line(number, at, data)
            at += len(data)
            continue
        part = data
        if wait is None:
            return
        if idle is not None:
            idle()
        if not wait():
            return
