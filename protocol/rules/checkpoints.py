"""The rule of observed checkpoints: observations that carry the checkpoint of another agent's log."""

from __future__ import annotations

from typing import Final

from tslg.protocol.checkpoint import parse_log, verify
from tslg.protocol.codec import Link
from tslg.protocol.errors import CheckpointError, Refusal
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, refuse
from tslg.protocol.signatures import Alg

_MEND: Final = "observe a checkpoint that its agent signed, and cite the last record that it covers as evidence"


def rule_checkpoint(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """An observed checkpoint is of another agent's log, whose last record it cites, and signed by that one's key."""
    note = record.body.get("checkpoint")
    if note is None:
        return None
    try:
        signed = parse_log(note)
        head, agent = signed.checkpoint, signed.checkpoint.agent
    except CheckpointError as error:
        return refuse("TSLG-A-CHECKPOINT", record, error.detail, _MEND)
    if agent == record.owner or head.size == 0:
        return refuse("TSLG-A-CHECKPOINT", record, "its checkpoint is not of another agent's records", _MEND)
    cited = [edge.cid for edge in record.edges("evidence") if edge.agent == agent]
    held = [found for id in cited if (found := context.record(id)) is not None]
    last = next((one for one in held if one.owner == agent and one.seq == head.size - 1), None)
    if last is None:
        # In a walk, the one that it covers last may lie beyond the bound.
        if cited and len(held) < len(cited) and not context.complete:
            return None
        return refuse("TSLG-A-CHECKPOINT", record, f"it does not cite record {head.size - 1} of that log", _MEND)
    keys = [context.key(id) for id in _keys_of(last)]
    if any(key is not None and key.alg == Alg.ED25519 and verify(signed, key.public) for key in keys):
        return None
    if not context.complete and None in keys:
        return None
    return refuse(
        "TSLG-A-CHECKPOINT", record, "the key of the record that its checkpoint covers last did not sign it", _MEND
    )


def _keys_of(record: Record) -> set[Link]:
    """Return the records that may register the key in force after a record: the one it names, or itself."""
    return {record.id if record.key is None else record.key, *((record.id,) * (record.kind == "registration"))}
