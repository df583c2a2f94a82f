"""Packages that others hand in: taken into the registry just if they are what they claim, else refused on record.

A folder of submissions holds one folder each, with `claim.json` and the package in `files/`. The claim is `{"name",
"type", "operator", "licences": [...], "parents": [names], "files": {path: [bytes, sha256 in hex]}}`; parents are other
submissions, or artifacts that the lab bred from before, by name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.node.agent import BlockingAgent
from tslg.node.artifacts import graph, keeping
from tslg.node.artifacts.package import FileEntry, compare, hash_folder, package_of, read_bounded
from tslg.node.store.interface import Store
from tslg.protocol.errors import PackageError, Refusal
from tslg.protocol.limits import DEFAULT
from tslg.protocol.record import Record
from tslg.simulations.lab import planning, premises

ALLOWED: Final = ("source", *planning.ALLOWED)
"""Operators that a submission may say it was made with."""
CLAIM_BYTES: Final = 1 << 20
MOST: Final = 1_000
_TEXTS: Final = ("name", "type", "operator")


class Claim(NamedTuple):
    """What somebody says of a package."""

    name: str
    type: str
    operator: str
    licences: Sequence[str]
    parents: Sequence[str]
    files: Mapping[str, FileEntry]


class Taken(NamedTuple):
    """What became of one submission: the artifact, or why it was refused; and the record that says so."""

    name: str
    record: Record
    code: str | None
    reason: str


def take_in(folder: Path, agent: BlockingAgent, store: Store, submissions: Path) -> list[Taken]:
    """Take in what lies in a folder of submissions; each is judged for itself, and those after its parents.

    Args:
        folder: the lab's.
        agent, store: whose registry it is.
        submissions: the folder.

    Raises:
        PackageError: it is no folder, or holds too many.
    """
    if not submissions.is_dir() or len(places := sorted(one for one in submissions.iterdir())) > MOST:
        raise PackageError(f"{submissions} is no folder of at most {MOST} submissions", mend="name another")
    held = graph.load(store, store.by_kind("artifact", agent.id, limit=10_000)).values()
    known = {str(one.body["name"]): one for one in held}
    claims: dict[str, tuple[Path, Claim]] = {}
    taken = []
    for place in places:
        try:
            claim = _claim(place / "claim.json")
            if claim.name in claims or claim.name in known:
                raise PackageError(f"there is a {claim.name[:80]!r} already", mend="choose another name")
            claims[claim.name] = place, claim
        except PackageError as error:
            taken.append(_refused(agent, place.name, error))
    circling = _circling({name: claim.parents for name, (_, claim) in claims.items()})
    for name in _ordered({name: claim.parents for name, (_, claim) in claims.items() if name not in circling}, known):
        place, claim = claims[name]
        try:
            known[name] = _examined(folder, agent, place, claim, known)
            taken.append(Taken(name, known[name], None, ""))
        except (PackageError, Refusal) as error:
            taken.append(_refused(agent, name, error))
    for name in sorted(circling):
        taken.append(_refused(agent, name, circling[name]))
    return taken


def _claim(path: Path) -> Claim:
    """Read a claim. Raises PackageError: it is none."""
    content = read_bounded(path, CLAIM_BYTES)
    try:
        read: Any = json.loads(content)
        files = {name: FileEntry(int(size), bytes.fromhex(digest)) for name, (size, digest) in read["files"].items()}
        names = [read["licences"], read["parents"]]
    except (ArithmeticError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise PackageError(f"its claim.json is none: {type(error).__name__}", mend="see the guide") from error
    texts = [read.get(field) for field in _TEXTS] + [
        one for some in names for one in (some if isinstance(some, list) else [None])
    ]
    if any(not isinstance(one, str) or not 0 < len(one) <= 256 or not one.isprintable() for one in texts):
        raise PackageError("its claim.json does not name what it should", mend="see the guide")
    if len(read["parents"]) > DEFAULT.snapshot_parents:
        raise PackageError(f"it names more than {DEFAULT.snapshot_parents} parents", mend="name fewer")
    return Claim(read["name"], read["type"], read["operator"], read["licences"], read["parents"], files)


def _circling(parents: Mapping[str, Sequence[str]]) -> dict[str, PackageError]:
    """Return the names that derive from themselves, each with the error that says how."""
    found: dict[str, PackageError] = {}
    for name in parents:
        above, todo = set(), list(parents[name])
        while todo:
            one = todo.pop()
            if one not in above:
                above.add(one)
                todo.extend(parents.get(one, ()))
        if name in above:
            found[name] = PackageError(f"{name[:80]!r} derives from itself, by what is claimed", code="TSLG-F-CYCLE")
    return found


def _ordered(parents: Mapping[str, Sequence[str]], known: Collection[str]) -> list[str]:
    """Return names so that each comes after those of its parents that are among them."""
    return keeping.in_order({name: [one for one in above if one in parents] for name, above in parents.items()})


def _examined(folder: Path, agent: BlockingAgent, place: Path, claim: Claim, known: Mapping[str, Record]) -> Record:
    """Hold a package against its claim, and record it. Raises PackageError, Refusal."""
    if claim.operator not in ALLOWED:
        detail = f"operator {claim.operator[:40]!r} is none of {', '.join(sorted(ALLOWED))}"
        raise PackageError(detail, code="TSLG-L-OPERATOR", mend="use one that is allowed")
    lacking = [one for one in claim.parents if one not in known]
    if lacking:
        raise PackageError(f"its parent {lacking[0][:80]!r} is not here, or was refused", code="TSLG-F-PARENT")
    found = hash_folder(place / "files")
    different = compare(package_of(claim.files), found)
    if different:
        told = ", ".join(f"{one.path} is {one.how}" for one in different[:3])
        raise PackageError(f"it is not what it claims: {told}"[:300], code="TSLG-F-CHANGED", mend="hand it in again")
    return premises.take_in(
        folder,
        agent,
        place / "files",
        claim.name,
        type=claim.type,
        operator=claim.operator,
        licences=claim.licences,
        parents=[known[one] for one in claim.parents],
    )


def _refused(agent: BlockingAgent, name: str, error: PackageError | Refusal) -> Taken:
    shown = "".join(char if char.isprintable() else "?" for char in name)[:80]
    reason = " ".join(error.detail.split())[:300]
    with agent.batch():
        seen = agent.observe("submission", {"name": shown})
        record = agent.decide(
            "source", "refused", evidence=seen, reason=f"{error.code}: {reason}", data={"code": error.code}
        )
    return Taken(shown, record, error.code, reason)
