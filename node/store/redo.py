"""The redo note of an append that touches several stores: written first, so that a crash in between loses no half."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tslg.node.store.interface import NO_VALUES, LogState
from tslg.protocol import cid, codec
from tslg.protocol.cid import Link
from tslg.protocol.errors import StoreError, TslgError
from tslg.protocol.log import Peaks
from tslg.protocol.record import Record, parse_as


class Redo(NamedTuple):
    """One append as it was asked for: records with their seals, states of logs, attachments, values by name."""

    items: Sequence[tuple[Record, bytes]]
    states: Sequence[LogState]
    attachments: Mapping[Link, bytes]
    values: Mapping[str, bytes] = NO_VALUES

    def to_bytes(self) -> bytes:
        """Return the note's bytes."""
        return codec.encode(
            {
                "items": [[bytes(record.id), record.data, seal] for record, seal in self.items],
                "states": [encode_state(state) for state in self.states],
                "attachments": [[bytes(id), data] for id, data in self.attachments.items()],
                "values": dict(self.values),
            }
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Redo:
        """Read a note. Raises StoreError `TSLG-D-CORRUPT`: notes are written whole or not at all."""
        try:
            value = codec.decode(data)
            items = [(parse_as(Link(id), record), seal) for id, record, seal in value["items"]]
            states = [decode_state(state) for state in value["states"]]
            attachments = {Link(id): attached for id, attached in value["attachments"]}
            return cls(items, states, attachments, value.get("values", NO_VALUES))
        except (TslgError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                "the note of an unfinished append is damaged", code="TSLG-D-CORRUPT", mend="restore a backup"
            ) from error


def encode_state(state: LogState) -> list[object]:
    """Return a log's state as a value of the codec."""
    return [bytes(state.owner), state.size, bytes(state.last), state.last_time, state.peaks.to_bytes()]


def decode_state(value: Any) -> LogState:
    """Read a log's state. Raises ValueError or TypeError if it is none."""
    owner, size, last, last_time, peaks = value
    if not cid.is_record_id(Link(owner)) or not cid.is_record_id(Link(last)):
        raise ValueError("a state names an owner and its newest record")
    return LogState(Link(owner), size, Link(last), last_time, Peaks.from_bytes(peaks, size))
