"""Checkpoint files as heads known from elsewhere: each is believed only if a key that the walk verified signed it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tslg.node.cli.access import brief
from tslg.node.cli.output import note
from tslg.protocol import checkpoint
from tslg.protocol.errors import CheckpointError, UsageError
from tslg.protocol.limits import DEFAULT
from tslg.protocol.signatures import Alg
from tslg.protocol.walker import OutsideHead, Walker


def read_checkpoint(path: Path) -> checkpoint.Signed:
    """Read a checkpoint file. Raises CheckpointError, UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(DEFAULT.checkpoint_bytes + 1)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror}", code="TSLG-U-FILE", mend="check the path and its rights"
        ) from error
    try:
        return checkpoint.parse_log(data)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.detail}", code=error.code, mend=error.mend) from error


def heads_in_files(files: Sequence[Path], walker: Walker) -> Iterator[OutsideHead]:
    """Yield the heads in checkpoint files, each as old as its file.

    A checkpoint of a log that the walk did not meet says nothing about it and is left out, with a note on stderr.

    Raises:
        CheckpointError: `TSLG-K-SIGNATURE` if no key of its agent that the walk holds signed it. To go on without it
            would be to claim a freshness that nobody vouches for.
    """
    met = set(walker.met())
    for path in files:
        signed = read_checkpoint(path)
        head = signed.checkpoint
        if head.agent not in met:
            note(f"note: {path} is a checkpoint of {brief(head.agent)}, whose log this walk did not meet")
            continue
        keys = [key.public for key in walker.keys.values() if key.owner == head.agent and key.alg == Alg.ED25519]
        if not any(checkpoint.verify(signed, public) for public in keys):
            raise CheckpointError(
                f"{path}: no verified key of {brief(head.agent)} signed it",
                code="TSLG-K-SIGNATURE",
                mend="get the checkpoint from its agent's node again, or verify without it",
                record=head.agent,
            )
        # If witnesses of the manifest cosigned it, it counts as theirs as well.
        walker.supply_checkpoints([signed.to_bytes()])
        age = max(0, int((time.time() - path.stat().st_mtime) * 1000))
        # Which keys were in force is known at the end of the walk, once it knows the revocations.
        yield OutsideHead(head.agent, head.size, head.root, "log", age, signed)
