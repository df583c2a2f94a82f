"""Which fields a record under the address scheme `merkle` only commits to, so that its author may withhold them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

WITHHELD: Final[Mapping[str, str]] = {
    "state": "data name",
    "action": "blob input name output",
    "decision": "blob data name outcome reason",
    "observation": "blob data source",
    "joint-authorization": "data name",
    "correction": "data reason",
    "amendment": "data reason",
    "retraction": "reason",
    "inference": "inputs intent model model_version output token",
    "rejection": "inputs intent model model_version output reason token",
    "decomposition": "inputs intent model model_version output reason token",
    "composite": "inputs intent model model_version output rule token",
    "artifact": "bytes config data family files licences name operator operator_version restrictions tokenizer"
    " type vulnerabilities",
    "evaluation": "report scores suite suite_digest",
    "advisory": "reason",
    "transition": "reason",
    "release": "reason",
}
"""By kind, the fields that no rule reads, and that an author may therefore withhold; every other field is plain."""
