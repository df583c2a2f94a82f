"""The life of an artifact: its states, which follow which, and what takes whose place in the course of a subject.

A transition follows the one before it of the same artifact in its log, a release the one before it of the same alias.
Normative text: docs/spec/artifacts.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tslg.protocol.codec import Link
from tslg.protocol.record import Record

PACKAGE: Final = "application/vnd.tslg.package"
"""Media type of a package's listing."""
FIRST: Final = ("candidate", "source")
"""States in which artifacts are recorded: what was made here, and what was taken in."""
TRANSITIONS: Final[Mapping[str, frozenset[str]]] = {
    state: frozenset(following.split())
    for state, following in {
        "source": "shadow retired revoked",
        "candidate": "shadow rejected retired revoked",
        "shadow": "canary rejected retired revoked",
        "canary": "champion rejected rolled-back retired revoked",
        "champion": "standby rolled-back retired revoked",
        "standby": "champion retired revoked",
        "rolled-back": "rejected retired revoked",
        "rejected": "archived revoked",
        "retired": "archived revoked",
        "revoked": "archived",
        "archived": "",
    }.items()
}
"""By state, those that may follow it."""
SERVING: Final = frozenset(("canary", "champion"))
"""States in which an artifact answers real requests."""
NEEDED: Final = ("compatibility", "safety")
"""What an evaluation of the very package must have passed before it serves."""
DEPLOYABLE: Final = "compatibility"
"""What an evaluation of the very package must have passed before one may roll back to it."""
COURSES: Final = frozenset(("release", "transition"))
"""Kinds whose records follow one another about a subject."""

ABOUT: Final = COURSES | {"evaluation"}
"""Kinds of which people ask for the latest about a subject."""

Place = tuple[str, Link | None, str | Link]


def subject(record: Record) -> str | Link:
    """Return what a transition, release, evaluation or advisory is about: an alias, or an artifact."""
    about: str | Link = record.body["alias"] if record.kind == "release" else record.body["target"]
    return about


def place(record: Record) -> Place:
    """Return the place of a transition or release in its log: its kind, what it follows, and what it is about."""
    return record.kind, record.body.get("after"), subject(record)
