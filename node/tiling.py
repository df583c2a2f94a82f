"""Writing a log as a C2SP `tlog-tiles` directory: only what is new since the checkpoint that lies there, that one last.

A run that is broken off leaves the old checkpoint, whose files are all there; the next run goes on from it.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final, NamedTuple

from tslg.node.cli.files import write_replacing
from tslg.protocol import checkpoint as checkpoints
from tslg.protocol.checkpoint import Signed
from tslg.protocol.errors import CheckpointError, UsageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.log import Tree
from tslg.protocol.tiles import WIDTH, Tile, entries, hashes, tiles

CHECKPOINT: Final = "checkpoint"


class Exported(NamedTuple):
    """What an export did: entries before and now, and how many files it wrote beside the checkpoint."""

    old_size: int
    size: int
    files: int


def export(folder: Path, signed: Signed, leaves: list[bytes]) -> Exported:
    """Bring a directory up to a checkpoint over `leaves` (the data of all of them).

    Raises:
        CheckpointError: `TSLG-K-TILES` if the directory holds another log, or one that this log does not extend.
        UsageError: it cannot be written.
    """
    tree = Tree(leaves)
    old_size = _old_size(folder, signed, tree)
    written = 0
    for tile in tiles(tree.size, old_size):
        first = tile.number * WIDTH
        data = entries(leaves[first : first + tile.width]) if tile.level is None else hashes(tile, tree.node)
        _write(folder / tile.path, data)
        written += 1
    _write(folder / CHECKPOINT, signed.to_bytes())
    for tile in tiles(tree.size, old_size):
        _drop_partials(folder, tile)
    return Exported(old_size, tree.size, written)


def _old_size(folder: Path, signed: Signed, tree: Tree) -> int:
    """Return the size of the log that lies in the directory; what is new must extend it."""
    path = folder / CHECKPOINT
    if not path.exists():
        return 0
    with path.open("rb") as file:
        old = checkpoints.parse(file.read(DEFAULT.checkpoint_bytes + 1)).checkpoint
    new = signed.checkpoint
    if old.origin != new.origin or old.size > new.size or tree.root(old.size) != old.root:
        raise CheckpointError(
            f"{folder} holds {old.size} entries of {old.origin}, which this log does not extend",
            code="TSLG-K-TILES",
            mend="name another directory, or find out who is right",
        )
    return old.size


def _drop_partials(folder: Path, tile: Tile) -> None:
    """Remove the partial tiles that a full one takes the place of."""
    if tile.width == WIDTH:
        path = folder / tile.path
        shutil.rmtree(path.with_name(path.name + ".p"), ignore_errors=True)


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"{path.parent} cannot be made: {error.strerror}", code="TSLG-U-FILE", mend="name another directory"
        ) from error
    write_replacing(path, data)
