"""What commands are given: the data directory, records and agents by shortened ids or names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from tslg.node.home import Home
    from tslg.node.store.interface import Store
    from tslg.protocol.codec import Link
    from tslg.protocol.record import Record


class Named(click.Path):
    """A path that was not left empty, as by a variable that is not set: that would be the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path. Raises BadParameter."""
        if value == "":
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


FILE = Named(path_type=Path, dir_okay=False)
FOLDER = Named(path_type=Path, file_okay=False)
SHORT: Final = 16
"""Characters of an id in output for people: 45 bits differ, and commands take them."""
_CANDIDATES: Final = 8
"""How many ids an error about an ambiguous one lists."""
_NAMED: Final = 6
"""How many data directories an error names."""

data_option = click.option(
    "--data",
    type=Named(path_type=Path),
    envvar="TSLG_DATA",
    help="The node's data directory.  [env TSLG_DATA, else the user's own]",
)


def data_dir(data: Path | None) -> Path:
    """Return the data directory that a command shall use."""
    from tslg.node.home import default_data_dir

    return data if data is not None else default_data_dir("node")


def read_home(data: Path | None) -> Home:
    """Open the data directory for reading. Raises StoreError."""
    from tslg.node.home import Home

    path = data_dir(data)
    if data is None:
        _point_out_others(path)
    return Home.read(path)


def write_home(data: Path | None) -> Home:
    """Open a data directory that is there already for writing.

    Raises:
        StoreError: there is none, or another process writes it.
    """
    from tslg.node.home import Home

    return Home.open(existing_dir(data))


def existing_dir(data: Path | None) -> Path:
    """Return a data directory that is there already, where opening it would make one. Raises StoreError."""
    from tslg.node.store.opening import has_store
    from tslg.protocol.errors import StoreError

    path = data_dir(data)
    if data is None:
        _point_out_others(path)
    if not has_store(path):
        raise StoreError(
            f"{path}: no agents here",
            code="TSLG-D-MISSING",
            mend="make one with `tslg agent new NAME`, or name the data directory with --data",
        )
    return path


def _point_out_others(path: Path) -> None:
    """Where nothing is in the user's own data directory, say which agents have one beside it. Raises StoreError."""
    from tslg.node.store.opening import has_store
    from tslg.protocol.errors import StoreError

    if has_store(path) or not path.parent.is_dir():
        return
    others = sorted(one for one in path.parent.iterdir() if one.is_dir() and has_store(one))
    if others:
        names = ", ".join(one.name for one in others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
        raise StoreError(
            f"{path}: no store here; there is one each for {names}",
            code="TSLG-D-MISSING",
            mend=f"name it: --data {path.parent / 'NAME'}",
        )


def find_record(store: Store, text: str) -> Link:
    """Return the id that `text` is, or the one held record whose id begins with it. A whole id need not be held.

    Raises:
        CidError: it is not the beginning of an id.
        UsageError: `TSLG-U-UNKNOWN` or `TSLG-U-AMBIGUOUS`.
    """
    from tslg.protocol import cid
    from tslg.protocol.errors import CidError, UsageError

    try:
        return cid.from_text(text)
    except CidError as error:
        found = store.by_prefix(text, _CANDIDATES + 1)
        if len(found) == 1:
            return found[0]
        if not found and not _begins_an_id(text):
            raise CidError(f"{text[:80]!r}: {error.detail}", mend=error.mend) from error
    if not found:
        raise UsageError(
            f"no record here has an id that begins with {text}",
            code="TSLG-U-UNKNOWN",
            mend="`tslg log` lists what is here",
        )
    listed = ", ".join(cid.to_text(id) for id in found[:_CANDIDATES])
    more = " and more" if len(found) > _CANDIDATES else ""
    raise UsageError(f"{text} begins several ids: {listed}{more}", code="TSLG-U-AMBIGUOUS", mend="give more of it")


def held_record(store: Store, text: str) -> Record:
    """Return the held record that `text` is or begins. Raises as `find_record`, and for a record that is not held."""
    from tslg.protocol.errors import UsageError
    from tslg.protocol.opening import disclosed

    id = find_record(store, text)
    entry = store.get(id)
    if entry is None:
        raise UsageError(
            f"record {text} is not held here",
            code="TSLG-U-UNKNOWN",
            mend="`tslg audit` fetches and verifies records of others",
            record=id,
        )
    return disclosed(id, entry)


def find_log(store: Store, text: str) -> Link:
    """Return the owner of the log that is named: by an agent's or federation's name, or by its id or its beginning.

    Raises:
        UsageError: no such log is here, or several agents have that name. CidError.
    """
    from tslg.protocol import cid
    from tslg.protocol.errors import CidError, UsageError

    owners = [log.owner for log in store.logs()]
    named = [owner for owner in owners if owner_name(store, owner) == text]
    if len(named) > 1:
        # One organisation often gives its federation the name of its agent; it is the agent that is meant.
        federation = store.get_meta("federation")
        named = [owner for owner in named if owner != federation]
    if len(named) > 1:
        listed = ", ".join(map(cid.to_text, named[:_CANDIDATES]))
        raise UsageError(f"several are named {text!r}: {listed}", code="TSLG-U-AMBIGUOUS", mend="give the id")
    if named:
        return named[0]
    try:
        id = find_record(store, text)
    except CidError as error:
        raise UsageError(
            f"no agent here is named {text[:80]!r}, or has an id that begins so",
            code="TSLG-U-UNKNOWN",
            mend="`tslg log` lists them",
        ) from error
    if id not in owners:
        raise UsageError(f"{text} is no agent's id here", code="TSLG-U-UNKNOWN", mend="`tslg log` lists them")
    return id


def owner_name(store: Store, owner: Link) -> str | None:
    """Return the name in a log's first record, None if that is not held."""
    from tslg.protocol.record import parse_as

    entry = store.get(owner)
    if entry is None:
        return None
    name: str = parse_as(owner, entry.data).body["name"]
    return name


class HeldNames:
    """The names of logs' owners as a store holds them, each looked up once. A `describing.Names`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._names: dict[Link, str | None] = {}

    def get(self, owner: Link, /) -> str | None:
        """Return an owner's name, None if it is not held."""
        if owner not in self._names:
            self._names[owner] = owner_name(self._store, owner)
        return self._names[owner]


def brief(id: bytes) -> str:
    """Return the beginning of an id's text, long enough to be told apart and to be given to commands."""
    from tslg.protocol.cid import to_text

    return to_text(id)[:SHORT]


def whole_id(text: str) -> Link:
    """Return the id that `text` is, whole. Raises CidError that shows the text."""
    from tslg.protocol import cid
    from tslg.protocol.errors import CidError

    try:
        return cid.from_text(text)
    except CidError as error:
        raise CidError(f"{text[:80]!r}: {error.detail}", mend=error.mend) from error


def _begins_an_id(text: str) -> bool:
    from tslg.protocol.limits import DEFAULT

    return (
        2 <= len(text) <= 2 * DEFAULT.cid_bytes
        and text.startswith("b")
        and all(c in "abcdefghijklmnopqrstuvwxyz234567" for c in text)
    )
