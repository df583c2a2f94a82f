"""Anchoring: which logs must be cosigned by which witnesses, as a manifest says it, and when a quorum has cosigned.

Normative text: docs/spec/anchoring.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from tslg.protocol.checkpoint import Signed, verify
from tslg.protocol.codec import Link
from tslg.protocol.cosignature import Policy, cosigned, policy_of
from tslg.protocol.errors import CheckpointError
from tslg.protocol.keys import Key
from tslg.protocol.limits import DEFAULT
from tslg.protocol.note import parse_key
from tslg.protocol.signatures import Alg

RECORD: Final = "record"
BATCH: Final = "batch"
EPOCH: Final = "epoch"
CADENCES: Final = (RECORD, BATCH, EPOCH)
SHORTEST_EPOCH_MS: Final = 1_000


class Anchoring(NamedTuple):
    """What a manifest asks of its agents' logs.

    Attributes:
        cadence: `record`, `batch` or `epoch`: after what the log must be cosigned.
        epoch_ms: for `epoch`, how long a record may lie uncosigned while others follow; 0 otherwise.
        policy: whose cosignatures count, and how many are needed.
    """

    cadence: str
    epoch_ms: int
    policy: Policy


def read_anchoring(value: Any) -> Anchoring | None:
    """Read the `anchoring` of an envelope; None where it is empty.

    Raises:
        ValueError: it is not what docs/spec/anchoring.md says.
    """
    if value == {}:
        return None
    if not isinstance(value, dict) or value.get("cadence") not in CADENCES:
        raise ValueError(f"`anchoring.cadence` is {', '.join(CADENCES)}")
    cadence = value["cadence"]
    keys = {"cadence", "witnesses", "quorum"} | ({"epoch_ms"} if cadence == EPOCH else set())
    if value.keys() != keys:
        raise ValueError(f"`anchoring` with this cadence has exactly {', '.join(sorted(keys))}")
    epoch, texts, quorum = value.get("epoch_ms", 0), value["witnesses"], value["quorum"]
    if cadence == EPOCH and not (type(epoch) is int and SHORTEST_EPOCH_MS <= epoch <= DEFAULT.integer):
        raise ValueError(f"`anchoring.epoch_ms` is at least {SHORTEST_EPOCH_MS}")
    if type(texts) is not list or not 1 <= len(texts) <= DEFAULT.note_signatures:
        raise ValueError(f"`anchoring.witnesses` is a list of 1 to {DEFAULT.note_signatures} keys")
    if not all(type(text) is str for text in texts) or texts != sorted(set(texts)):
        raise ValueError("`anchoring.witnesses` is a sorted set of texts")
    if type(quorum) is not int or not 1 <= quorum <= len(texts):
        raise ValueError("`anchoring.quorum` is from 1 to the number of witnesses")
    try:
        return Anchoring(cadence, epoch, policy_of(map(parse_key, texts), quorum))
    except CheckpointError as error:
        raise ValueError(f"`anchoring.witnesses`: {error.detail}") from error


def own(signed: Signed, keys: Iterable[Key], ends: Mapping[Link, int]) -> bool:
    """Tell whether a key of the log's own agent, that speaks for a log of that size, signed a checkpoint.

    Args:
        signed: the checkpoint of an agent's log.
        keys: verified keys of any agents.
        ends: from which position revoked keys are dead, by the record that registers each.

    Raises:
        CheckpointError: it is of no agent's log.
    """
    agent, size = signed.checkpoint.agent, signed.checkpoint.size
    return any(
        verify(signed, key.public)
        for key in keys
        if key.owner == agent and key.alg == Alg.ED25519 and key.seq < size <= ends.get(key.record, size)
    )


def vouched(signed: Signed, anchoring: Anchoring, now_ms: int) -> int | None:
    """Return when a quorum had cosigned a checkpoint, in ms since 1970; None if no quorum has.

    A checkpoint with a line that falsely claims to be by a witness counts for nothing.
    """
    latest = (now_ms + DEFAULT.clock_skew_ms) // 1000
    try:
        times: Mapping[Any, int] = cosigned(signed, anchoring.policy, latest)
    except CheckpointError:
        return None
    if len(times) < anchoring.policy.quorum:
        return None
    return sorted(times.values(), reverse=True)[anchoring.policy.quorum - 1] * 1000
