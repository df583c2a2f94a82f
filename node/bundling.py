"""Bundles of verified ancestry, written from a finished walk: just what a stranger needs to repeat it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from tslg.node.verifying import Walked
from tslg.node.withholding import Shown, cut_down
from tslg.protocol import bundle
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.opening import Opened


def write_walked(stream: BinaryIO, walked: Walked, shown: Shown | None = None) -> Link:
    """Write the records, seals, heads and log proofs of a walk as a bundle; return its root's id.

    Args:
        stream: where to write.
        walked: the finished walk.
        shown: which committed fields go with it; all that are at hand by default.

    Raises:
        UsageError: the walk did not even find its target.
    """
    walker = walked.walker
    opened = walker.opened()
    held = {one.record.id: one.record for one in opened}
    target = held.get(walker.target)
    if target is None:
        raise UsageError("there is nothing to bundle: the record itself was not found", record=walker.target)
    beside = [one for one in walker.beside() if one.record.id not in held]
    heads, inclusion, consistency = walker.proofs()
    return bundle.write(
        stream,
        federation=walker.federation,
        manifest=target.manifest or target.id,
        targets=[target.id],
        heads=heads,
        inclusion=inclusion,
        consistency=consistency,
        checkpoints=walker.checkpoints(),
        records=[(one.record.id, one.record.data, one.seal) for one in [*opened, *beside]],
        attachments=_attached(opened, shown),
        beside=[one.record.id for one in walker.beside()],
        pruned=walker.pruned_proofs(),
        withheld=[item.record for item in walked.report.undetermined if item.reason == "withheld"],
    )


def _attached(opened: Iterable[Opened], shown: Shown | None) -> dict[Link, bytes]:
    """Return what goes with the records, cut down to what may be shown of it."""
    found = {}
    for one in opened:
        attachment = one.attachment if shown is None else cut_down(one.record, one.attachment, shown)
        if attachment is not None:
            found[one.record.id] = attachment
    return found
