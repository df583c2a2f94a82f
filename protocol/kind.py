"""What one row of the table of record kinds holds. The table itself is `tslg.protocol.kinds`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tslg.protocol.classes import Leads
from tslg.protocol.fields import Field


@dataclass(frozen=True, slots=True)
class Kind:
    """What a record of one kind must look like.

    Attributes:
        name: the `kind` of the record.
        issuer: `agent` or `federation`: whose log it lies in.
        first: it starts its log (its id is its owner's id) and so has no predecessors.
        mandatory: classes that must be there, and whose predecessors must resolve at admission.
        allowed: all classes that may be there, the mandatory ones included. Every other class is forbidden.
        fields: the body.
        leads: where its edges of each class may lead; None for anywhere.
        meaning: one line for the published tables.
        required: the fields that must be there.
        valid: the check of each field.
        committed: the fields that a record under the address scheme `merkle` only commits to, sorted; none of those
            that a rule reads, and none of a kind that carries authority.
    """

    name: str
    issuer: str
    first: bool
    mandatory: frozenset[str]
    allowed: frozenset[str]
    fields: Mapping[str, Field]
    meaning: str
    required: frozenset[str]
    valid: Mapping[str, Callable[[Any], bool]]
    leads: Mapping[str, Leads | None]
    committed: tuple[str, ...]
