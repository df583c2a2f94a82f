"""Pure functions of bytes, remembered for the length of a run: thousands of nodes read the same bytes in one process.

What is remembered is what the function returned for those very bytes, so no run can tell; it shares their memory, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tslg.node import verifying
from tslg.node.heads import making
from tslg.protocol import announcing, checkpoint, heads, record

_MOST: Final = 1 << 17


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its last answers at hand; what it raises is raised anew."""
    known: dict[Any, Any] = {}

    def asked(*args: Any) -> Any:
        found = known.get(args)
        if found is None:
            found = function(*args)
            if len(known) >= _MOST:
                known.clear()
            known[args] = found
        return found

    return asked


@contextmanager
def remembering() -> Iterator[None]:
    """Remember what records, announcements and checkpoints say for the length of a block."""
    parse_as, parse = _remembered(record.parse_as), _remembered(record.parse)
    read, parse_log = _remembered(announcing.read), _remembered(checkpoint.parse_log)
    places: list[tuple[Any, str, Any]] = [
        (record, "parse_as", parse_as),
        (record, "parse", parse),
        (verifying, "parse_as", parse_as),
        (making, "parse_as", parse_as),
        (announcing, "read", read),
        (announcing, "parse_log", parse_log),
        (heads, "parse_log", parse_log),
    ]
    before = [getattr(module, name) for module, name, _ in places]
    for module, name, value in places:
        setattr(module, name, value)
    try:
        yield
    finally:
        for (module, name, _), value in zip(places, before, strict=True):
            setattr(module, name, value)
