"""Pure functions of bytes, remembered for the length of a run: thousands of nodes read the same bytes in one process.

What is remembered is what the function returned for those very bytes, so no run can tell; it shares their memory, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

from tslg.manifests import agent_keys
from tslg.node import kept_checkpoints, kept_proofs, ledger, verifying
from tslg.node.heads import making
from tslg.protocol import announcing, checkpoint, cid, heads, record, signatures, telling
from tslg.protocol.checkpoint import Signed
from tslg.protocol.codec import Link
from tslg.protocol.limits import DEFAULT
from tslg.protocol.manifest import Manifest
from tslg.protocol.telling import Manifests, Sealed, Speakers

_MOST: Final = 1 << 17


def _remembered(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function with its last answers at hand; what it raises is raised anew."""
    known: dict[Any, Any] = {}

    def asked(*args: Any) -> Any:
        # The usual limits are the same everywhere, and dear to hash.
        key = args if args[-1] is not DEFAULT else args[0] if len(args) == 2 else args[:-1]
        found = known.get(key)
        if found is None:
            found = function(*args)
            if len(known) >= _MOST:
                known.clear()
            known[key] = found
        return found

    return asked


def _speaking(read: Callable[..., Speakers]) -> Callable[..., Speakers]:
    """Return `telling.read` with what it found at hand, for whoever knows the manifests that the keys rest on.

    The reader's clock bears on attested keys alone, which no run has.
    """
    known: dict[tuple[Link, tuple[Sealed, ...], Link], tuple[Speakers, list[Link]]] = {}

    def asked(agent: Link, told: tuple[Sealed, ...], federation: Link, manifest: Manifests, now_ms: int) -> Speakers:
        key = agent, told, federation
        found = known.get(key)
        if found is not None:
            for id in found[1]:
                if manifest(id) is None:
                    break
            else:
                return found[0]
        speakers = read(agent, told, federation, manifest, now_ms)
        records = [telling.parse(data, agent, manifest) for data, _ in told]
        if len(known) >= _MOST:
            known.clear()
        known[key] = speakers, [one.manifest for one in records if one.manifest is not None]
        return speakers

    return asked


def _spoken(speaks: Callable[[Signed, Speakers], bool]) -> Callable[[Signed, Speakers], bool]:
    """Return `announcing.speaks` with its answers at hand, by the very values that were asked about."""
    known: dict[tuple[int, int], tuple[Signed, Speakers, bool]] = {}

    def asked(signed: Signed, speakers: Speakers) -> bool:
        key = id(signed), id(speakers)
        found = known.get(key)
        if found is None:
            if len(known) >= _MOST:
                known.clear()
            # What is kept keeps its address, so no other value can come by it.
            found = known[key] = signed, speakers, speaks(signed, speakers)
        return found[2]

    return asked


@contextmanager
def remembering() -> Iterator[None]:
    """Remember what records, announcements and checkpoints say for the length of a block."""
    parse_as, parse = _remembered(record.parse_as), _remembered(record.parse)
    read, parse_log = _remembered(announcing.read), _remembered(checkpoint.parse_log)
    secret, to_text = _remembered(signatures.ed25519_secret), _remembered(cid.to_text)
    places: list[tuple[Any, str, Any]] = [
        (record, "parse_as", parse_as),
        (record, "parse", parse),
        (verifying, "parse_as", parse_as),
        (making, "parse_as", parse_as),
        (announcing, "read", read),
        (announcing, "open_news", _remembered(announcing.open_news)),
        (announcing, "parse_log", parse_log),
        (heads, "speaks", _spoken(announcing.speaks)),
        (telling, "read", _speaking(telling.read)),
        (Manifest, "from_record", staticmethod(_remembered(Manifest.from_record))),
        (making, "ed25519_secret", secret),
        (ledger, "ed25519_secret", secret),
        (agent_keys, "ed25519_secret", secret),
        (cid, "to_text", to_text),
        (kept_checkpoints, "to_text", to_text),
        (kept_proofs, "to_text", to_text),
        (cid, "from_text", _remembered(cid.from_text)),
    ]
    before = [vars(place)[name] for place, name, _ in places]
    for place, name, value in places:
        setattr(place, name, value)
    try:
        yield
    finally:
        for (place, name, _), value in zip(places, before, strict=True):
            setattr(place, name, value)
