"""What differs between two artifacts, such as a champion and a failing canary: files, ancestry, issues, scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from tslg.node.artifacts import graph
from tslg.node.artifacts.keeping import listing_of
from tslg.node.artifacts.package import Difference, compare
from tslg.node.artifacts.properties import Believed, properties, told_issue
from tslg.node.store.interface import Store
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.inheritance import Issue
from tslg.protocol.record import Record

_FIELDS: Final = ("name", "type", "operator", "operator_version", "config", "family", "tokenizer", "training_data")


class Score(NamedTuple):
    """One score of both on one suite; None for one that was not measured."""

    suite: str
    name: str
    one: int | None
    other: int | None


class Comparison(NamedTuple):
    """What differs between one artifact and another.

    Attributes:
        fields: fields of their records, with the values of both.
        files: which files of the other's package differ; None where a listing is not kept here.
        only_one, only_other: what only one of them derives from.
        issues_one, issues_other: issues that only one of them inherits.
        scores: what both scored on suites on which either was evaluated.
        passed: by what was judged, what the newest evaluation of each says.
    """

    one: Link
    other: Link
    fields: Mapping[str, tuple[Any, Any]]
    files: Sequence[Difference] | None
    only_one: Sequence[Link]
    only_other: Sequence[Link]
    issues_one: Sequence[Issue]
    issues_other: Sequence[Issue]
    scores: Sequence[Score]
    passed: Mapping[str, tuple[bool | None, bool | None]]


def differences(store: Store, one: Link, other: Link, believed: Believed = None) -> Comparison:
    """Compare two artifacts. Raises UsageError as `graph.artifact`."""
    records = graph.artifact(store, one), graph.artifact(store, other)
    listings = [listing_of(store, record) for record in records]
    files = None if listings[0] is None or listings[1] is None else compare(listings[0], listings[1])
    above = [dict.fromkeys(graph.ancestors(store, id)) for id in (one, other)]
    first, second = (properties(store, id, believed) for id in (one, other))
    issues = [dict.fromkeys(found.issue for found in each.inherited) for each in (first, second)]
    judged = [_judged(each.evaluations) for each in (first, second)]
    return Comparison(
        one,
        other,
        _fields(*records),
        files,
        [id for id in above[0] if id not in above[1]],
        [id for id in above[1] if id not in above[0]],
        [issue for issue in issues[0] if issue not in issues[1]],
        [issue for issue in issues[1] if issue not in issues[0]],
        _scores(first.evaluations, second.evaluations),
        {name: (judged[0].get(name), judged[1].get(name)) for name in sorted({*judged[0], *judged[1]})},
    )


def _fields(one: Record, other: Record) -> dict[str, tuple[Any, Any]]:
    pairs = {name: (one.body.get(name), other.body.get(name)) for name in _FIELDS}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _scores(first: Sequence[Record], second: Sequence[Record]) -> list[Score]:
    """Hold the newest scores on the very same suite against each other."""
    found: dict[tuple[str, bytes, str], list[int | None]] = {}
    for place, evaluations in enumerate((first, second)):
        for one in evaluations:
            for name, value in one.body.get("scores", {}).items():
                key = (one.body.get("suite", ""), one.body.get("suite_digest", b""), name)
                found.setdefault(key, [None, None])[place] = value
    return [Score(suite, name, *values) for (suite, _, name), values in sorted(found.items())]


def _judged(evaluations: Sequence[Record]) -> dict[str, bool]:
    judged = {}
    for one in evaluations:
        judged.update(dict.fromkeys(one.body["passed"], True) | dict.fromkeys(one.body["failed"], False))
    return judged


def _plain(value: Any) -> Any:
    """Return the value of a field as JSON has it: digests in hexadecimal."""
    if isinstance(value, bytes):
        return value.hex()
    return {name: _plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def told(found: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON has it."""
    return {
        "one": to_text(found.one),
        "other": to_text(found.other),
        "fields": {name: [_plain(one), _plain(other)] for name, (one, other) in found.fields.items()},
        "files": None if found.files is None else [one._asdict() for one in found.files],
        "ancestors": {"one": list(map(to_text, found.only_one)), "other": list(map(to_text, found.only_other))},
        "issues": {
            "one": list(map(told_issue, found.issues_one)),
            "other": list(map(told_issue, found.issues_other)),
        },
        "scores": [one._asdict() for one in found.scores],
        "passed": {name: list(pair) for name, pair in found.passed.items()},
    }
