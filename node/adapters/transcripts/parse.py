"""Reads transcript files: bytes in, trajectories out, or every problem with line and column. Touches nothing else.

A file is one JSON value or JSON Lines. A value is a list of messages, an object with such a list under `messages` or
`traj`, or a list of either; the lines of JSON Lines are taken as the elements of one list.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from tslg.node.adapters.transcripts.contents import Contents
from tslg.node.adapters.transcripts.jsontext import JsonError, JsonReader, Node, Number, skip_space
from tslg.node.adapters.transcripts.messages import Conversation
from tslg.node.adapters.transcripts.model import Trajectory, Transcript
from tslg.node.adapters.transcripts.problems import Problems
from tslg.protocol.errors import AdapterError
from tslg.protocol.limits import DEFAULT, Limits

_LISTS: Final = ("messages", "traj")
_ABOUT: Final = ("task_id", "trial", "reward")
_LINES: Final = (".jsonl", ".ndjson")
_EXPECTED: Final = "expected a list of messages, or objects that have one under `messages` or `traj`"
_MEND_JSON: Final = "mend the JSON there, or export the file anew"


def parse(data: bytes, name: str, *, lenient: bool = False, limits: Limits = DEFAULT) -> Transcript:
    """Read one file.

    Args:
        data: its bytes: UTF-8, at most `limits.transcript_bytes`.
        name: what the file is called in messages; ending in `.jsonl` or `.ndjson`, it must be JSON Lines.
        lenient: leave out messages of unknown roles and results without a call, with a warning each.
        limits: what is accepted.

    Raises:
        AdapterError: it cannot be imported; `detail` has a line `name:line:column: …` for each reason.
    """
    if len(data) > limits.transcript_bytes:
        detail = f"{name}: more than {limits.transcript_bytes} bytes"
        raise AdapterError(detail, code="TSLG-I-SIZE", mend="split it, by trajectories")
    text = _decoded(data, name, limits)
    problems = Problems(name, text, lenient, limits)
    values = _values(text, name, problems, limits)
    problems.raise_errors()
    trajectories = _Reader(text, problems, limits).trajectories(values)
    problems.raise_errors()
    return Transcript(
        name=name,
        digest=hashlib.sha256(data).digest(),
        size=len(data),
        trajectories=tuple(trajectories),
        warnings=tuple(problems.warnings),
        unnamed_warnings=problems.more_warnings,
    )


def _decoded(data: bytes, name: str, limits: Limits) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8-sig", "replace")
        problems = Problems(name, before, limits=limits)
        problems.error(len(before), "TSLG-I-TEXT", "not UTF-8", "convert the file to UTF-8")
        raise problems.failure() from error


def _values(text: str, name: str, problems: Problems, limits: Limits) -> list[Node]:
    """Return the one value of a JSON text in a list, or the values of JSON Lines."""
    start = skip_space(text, 0, len(text))
    if start == len(text):
        problems.error(start, "TSLG-I-SHAPE", "the file is empty", _EXPECTED)
        return []
    reader = JsonReader(text, limits.transcript_nesting, limits.transcript_values)
    if name.endswith(_LINES) or _first_line_is_whole(text, start, limits):
        return _lines(text, problems, reader)
    try:
        value = reader.read(start, len(text))
        rest = skip_space(text, value.end, len(text))
        if rest < len(text):
            raise JsonError(rest, "more text behind the end of the JSON value")
    except JsonError as error:
        problems.error(error.at, "TSLG-I-JSON", error.detail, _MEND_JSON)
        return []
    return [value]


def _first_line_is_whole(text: str, start: int, limits: Limits) -> bool:
    """Tell JSON Lines from a JSON text of many lines: more lines follow a first one that is a value by itself."""
    stop = text.find("\n", start)
    if stop < 0 or skip_space(text, stop, len(text)) == len(text):
        return False
    try:
        value = JsonReader(text, limits.transcript_nesting, limits.transcript_values).read(start, stop)
    except JsonError:
        return False
    return skip_space(text, value.end, stop) == stop


def _lines(text: str, problems: Problems, reader: JsonReader) -> list[Node]:
    values = []
    at = 0
    while at < len(text):
        stop = text.find("\n", at)
        stop = len(text) if stop < 0 else stop
        if skip_space(text, at, stop) < stop:
            try:
                value = reader.read(at, stop)
                rest = skip_space(text, value.end, stop)
                if rest < stop:
                    raise JsonError(rest, "more text behind the JSON value of this line")
                values.append(value)
            except JsonError as error:
                problems.error(error.at, "TSLG-I-JSON", error.detail, _MEND_JSON)
        at = stop + 1
    return values


class _Reader:
    """Finds the trajectories in the values of one file."""

    def __init__(self, text: str, problems: Problems, limits: Limits) -> None:
        self._problems = problems
        self._limits = limits
        self._contents = Contents(text, problems, limits)
        self._messages = 0
        self._tools: set[str] = set()

    def trajectories(self, values: Sequence[Node]) -> list[Trajectory]:
        """Return the trajectories of the file, noting problems."""
        elements = list(values)
        if len(elements) == 1 and isinstance(elements[0].value, list):
            place = elements[0].start
            elements = elements[0].value
            if not elements:
                self._problems.error(place, "TSLG-I-SHAPE", "an empty list", _EXPECTED)
                return []
        if _are_messages(elements):
            return [self._trajectory(elements[0].start, elements, None)]
        found = []
        for element in elements:
            if self._messages > self._limits.transcript_messages:
                break
            found.append(self._element(element))
        return found

    def _element(self, node: Node) -> Trajectory:
        if isinstance(node.value, list):
            return self._trajectory(node.start, node.value, None)
        names = [key for key in _LISTS if key in node.value] if isinstance(node.value, dict) else []
        if len(names) != 1:
            detail = "both `messages` and `traj`" if names else "no messages here"
            self._problems.error(node.start, "TSLG-I-SHAPE", detail, _EXPECTED)
            return Trajectory((), {})
        messages = node.value[names[0]]
        if not isinstance(messages.value, list):
            self._problems.error(messages.start, "TSLG-I-SHAPE", f"`{names[0]}` is not a list", _EXPECTED)
            return Trajectory((), {})
        return self._trajectory(messages.start, messages.value, node)

    def _trajectory(self, start: int, nodes: Sequence[Node], around: Node | None) -> Trajectory:
        conversation = Conversation(self._contents, self._problems, self._limits)
        fields = {} if around is None else around.value
        used = {*_LISTS}
        if "system" in fields:
            conversation.prompt(fields["system"])
            used.add("system")
        if not nodes:
            self._problems.error(start, "TSLG-I-SHAPE", "a trajectory without messages", "take it out")
        for node in nodes:
            self._messages += 1
            if self._messages > self._limits.transcript_messages:
                detail = f"more than {self._limits.transcript_messages} messages in one file"
                self._problems.error(node.start, "TSLG-I-SIZE", detail, "split it, by trajectories")
                break
            conversation.add(node)
        about = {}
        for key in _ABOUT:
            small = self._small(fields.get(key))
            if small is not None:
                about[key] = small
                used.add(key)
        extra = None if around is None else self._contents.rest(around, used)
        trajectory = Trajectory(conversation.finish(), about, extra)
        self._count_tools(start, trajectory)
        return trajectory

    def _count_tools(self, at: int, trajectory: Trajectory) -> None:
        before = len(self._tools)
        self._tools |= trajectory.tools
        limit = self._limits.transcript_tools
        if before <= limit < len(self._tools):
            self._problems.error(at, "TSLG-I-SIZE", f"more than {limit} different tools in one file", "split the file")

    def _small(self, node: Node | None) -> str | int | None:
        """Return a value that a record may hold as it is: short text, an integer, or a decimal number as text."""
        if node is None or not isinstance(node.value, str) or len(node.value) > self._limits.transcript_name:
            return None
        if isinstance(node.value, Number) and len(node.value) < 16:
            try:
                return int(node.value)
            except ValueError:
                return str(node.value)
        return str(node.value)


def _are_messages(nodes: Sequence[Node]) -> bool:
    """Tell whether these are the messages of one trajectory, and not trajectories."""
    return any(isinstance(node.value, dict) and "role" in node.value for node in nodes) and not any(
        isinstance(node.value, list) or (isinstance(node.value, dict) and not {*_LISTS}.isdisjoint(node.value))
        for node in nodes
    )
