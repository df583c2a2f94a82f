"""Outlines: the bytes that all records of one form share, and where between them stands what differs.

Records of one kind that cite as many records under the same classes differ in values of fixed length alone, but for
the body. Of such a record the shared bytes are compared and the values cut out, which takes less than to decode it.
That is no second reading of the format: CBOR is prefix-free, so bytes that consist of the shared ones with values of
the right length between them, and of one body, decode to just these values. Whatever is unusual has no outline and
is decoded; see `tslg.protocol.record`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from struct import Struct
from typing import Any, Final, NamedTuple

from tslg.protocol import codec
from tslg.protocol.codec import Link
from tslg.protocol.kinds import KINDS, Kind

BYTES: Final = range(256, 1_025)
"""Lengths of the records that may have an outline: up to there the codec decodes without looking into nesting first."""
KIND: Final = b"dkind"
"""The key behind the body, from which on a record's bytes are its form and values of fixed length."""
KEY_BYTES: Final = 14
_KEPT: Final = 1_024
"""Outlines that are remembered, about 2 KB each: mere memory, which strangers could fill."""
_ID: Final = 36
_LINK: Final = b"\xd8\x2a\x58\x25\x00"
"""What stands before an id of 36 bytes: tag 42, a byte string of 37 bytes, the multibase prefix of binary."""

Place = tuple[int, int]
"""Of an edge: which of the values cut out its id is, and which its agent is; 0 for none."""


class Start(NamedTuple):
    """How a record begins whose `seq` takes so many bytes, up to its body.

    Attributes:
        cut: takes the bytes apart into constants and, between them, `key`, the tree's root, its size, and `seq`.
        constants: what the constants must be.
        least: the smallest number that has no shorter form.
        length: where the body begins.
    """

    cut: Callable[[bytes], tuple[Any, ...]]
    constants: tuple[bytes, ...]
    least: int
    length: int


class Outline(NamedTuple):
    """What follows the body in records of one form.

    Attributes:
        kind: of the records.
        cut: takes the bytes from an offset apart into constants and values in turn.
        length: of these bytes.
        constants: what the constants must be.
        edges: by class, where among the values its edges stand: a slice where all are own. `prev`, `time` and `agent`
            are before them, and `manifest` is behind.
    """

    kind: Kind
    cut: Callable[[bytes, int], tuple[Any, ...]]
    length: int
    constants: tuple[bytes, ...]
    edges: tuple[tuple[str, slice | tuple[Place, ...]], ...]


def _start(head: int, width: str, least: int) -> Start:
    number = bytes((head,))
    constants = (b"\xabav\x01ckey" + _LINK, b"clog\xa2drootX\x20", b"dsize" + number, b"cseq" + number, b"dbody")
    struct = Struct(f">13s{_ID}s12s32s6s{width}5s{width}5s")
    return Start(struct.unpack_from, constants, least, struct.size)


STARTS: Final[Mapping[int, Start]] = {
    head: _start(head, width, least) for head, width, least in ((0x18, "B", 24), (0x19, "H", 2**8), (0x1A, "I", 2**16))
}
"""By the head of the number that follows `size`. Smaller and larger positions are decoded."""
HEAD_AT: Final = 98
TIME: Final = range(2**32, 2**53)
"""Times that take eight bytes, as all do from February 1970 on."""

_known: dict[tuple[bytes, int], Outline | None] = {}


def find(data: bytes, at: int) -> Outline | None:
    """Return the outline of what follows the body, which ends at `at`; None if none is known."""
    return _known.get((data[at : at + KEY_BYTES], len(data) - at))


def learn(data: bytes, kind: str, preds: Mapping[str, Iterable[tuple[Link, Link | None, int | None]]]) -> None:
    """Remember the outline of a record that was decoded, if it has one."""
    at = data.find(KIND, HEAD_AT)
    form = data[at : at + KEY_BYTES], len(data) - at
    if at < 0 or form in _known or len(data) not in BYTES:
        return
    if len(_known) >= _KEPT:
        _known.clear()
    outline = _outline(kind, {name: [edge[1:] for edge in edges] for name, edges in preds.items()})
    fits = outline is not None and outline.length == form[1] and outline.cut(data, at)[::2] == outline.constants
    _known[form] = outline if fits else None


def _outline(kind: str, preds: Mapping[str, Sequence[tuple[Link | None, int | None]]]) -> Outline | None:
    """Write down what records of this form share, as the codec would write it."""
    text = codec.encode_unchecked
    constants = [KIND + text(kind) + b"dprev" + _LINK, b"dtime\x1b", b"eagent" + _LINK]
    sizes = [_ID, 8, _ID]
    places: list[tuple[str, slice | tuple[Place, ...]]] = []
    shared = b"epreds" + bytes((0xA0 | len(preds),))
    for name, edges in preds.items():
        # So few bytes hold fewer than 24 edges.
        shared += text(name) + bytes((0x80 | len(edges),))
        found: list[Place] = []
        for agent, verified in edges:
            if verified is not None:
                return None
            constants.append(shared + (b"\xa1" if agent is None else b"\xa3") + b"ccid" + _LINK)
            sizes.append(_ID)
            shared = b""
            at = len(sizes) - 1
            if agent is not None:
                constants.append(b"eagent" + _LINK)
                sizes.append(_ID)
                shared = b"hverified\xf6"
            found.append((at, 0 if agent is None else at + 1))
        own = not any(agent_at for _, agent_at in found)
        places.append((name, slice(found[0][0], found[-1][0] + 1) if own else tuple(found)))
    constants.append(shared + b"hmanifest" + _LINK)
    sizes.append(_ID)
    parts = zip(constants, sizes, strict=True)
    struct = Struct(">" + "".join(f"{len(part)}s" + ("Q" if size == 8 else f"{size}s") for part, size in parts))
    return Outline(KINDS[kind], struct.unpack_from, struct.size, tuple(constants), tuple(places))
