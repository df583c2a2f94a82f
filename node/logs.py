"""What a node logs, in lines for people or in JSON for programs: one line an event, ids and peers as fields."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

from tslg.protocol.cid import Link, to_text
from tslg.protocol.errors import UsageError

FORMATS: Final = ("text", "json")
LEVELS: Final = ("debug", "info", "warning", "error")
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
"""What every entry has; what is beyond was given as `extra`."""
_TEXT: Final = "%(asctime)s %(levelname)s %(name)s: %(message)s"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`, and what was given as `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of one entry."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry |= {name: _plain(value) for name, value in vars(record).items() if name not in _OWN}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def configure(form: str, level: str) -> None:
    """Send what is logged at `level` and above to stderr, in this form.

    Raises:
        UsageError: no such form or level.
    """
    if form not in FORMATS:
        raise UsageError(f"log_format: {form[:40]!r}", mend=f"one of {', '.join(FORMATS)}")
    if level not in LEVELS:
        raise UsageError(f"log_level: {level[:40]!r}", mend=f"one of {', '.join(LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter(_TEXT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # These talk about every request, and about what peers do wrong, which is told elsewhere.
    for chatty in ("httpx", "httpcore", "libp2p"):
        logging.getLogger(chatty).setLevel(logging.CRITICAL if chatty == "libp2p" else logging.WARNING)


def _plain(value: Any) -> Any:
    return to_text(value) if isinstance(value, Link) else value
