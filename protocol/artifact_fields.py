"""The bodies of the kinds that are about artifacts; the table of kinds says what they may cite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tslg.protocol.fields import (
    BLOB,
    DIGEST,
    LIMITS,
    LINK,
    MAP,
    NAME,
    NAMES,
    RESOLVES,
    TEXT,
    UINT,
    Field,
    optional,
)

ARTIFACT: Final[Mapping[str, Field]] = {
    "name": NAME,
    "type": NAME,
    "package": BLOB,
    "files": UINT,
    "bytes": UINT,
    "operator": NAME,
    "operator_version": NAME,
    "config": optional(BLOB),
    "family": optional(NAME),
    "tokenizer": optional(DIGEST),
    "training_data": optional(DIGEST),
    "licences": NAMES,
    "restrictions": NAMES,
    "vulnerabilities": NAMES,
    "lifecycle": NAME,
    "cohort": optional(LINK),
    "data": optional(MAP),
}
"""What a package holds, what it was made with, and what holds of it from the beginning."""

EVALUATION: Final[Mapping[str, Field]] = {
    "target": LINK,
    "package": DIGEST,
    "suite": NAME,
    "suite_digest": DIGEST,
    "scores": LIMITS,
    "passed": NAMES,
    "failed": NAMES,
    "resolves": optional(RESOLVES),
    "report": optional(BLOB),
}
"""What the exact package of an artifact scored on a frozen suite."""

ADVISORY: Final[Mapping[str, Field]] = {
    "target": LINK,
    "restrictions": NAMES,
    "vulnerabilities": NAMES,
    "withdrawn": NAMES,
    "reason": TEXT,
}
"""What became known of an artifact later."""

TRANSITION: Final[Mapping[str, Field]] = {
    "target": LINK,
    "from": NAME,
    "to": NAME,
    "after": optional(LINK),
    "reason": optional(TEXT),
}
"""From which state to which an artifact goes, and the transition before."""

RELEASE: Final[Mapping[str, Field]] = {
    "alias": NAME,
    "target": LINK,
    "after": optional(LINK),
    "rollback": optional(LINK),
    "reason": optional(TEXT),
}
"""Where an alias points from here on, where it would go back to, and the release before."""
