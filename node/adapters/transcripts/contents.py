"""What a message says, in any of the shapes that chat interfaces give it, as bytes for a blob."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Final

from tslg.node.adapters.transcripts.jsontext import JsonError, JsonReader, Node, skip_space
from tslg.node.adapters.transcripts.model import JSON, TEXT, Content
from tslg.node.adapters.transcripts.problems import Problems
from tslg.protocol.limits import Limits

_TEXTS: Final = frozenset(("text", "input_text", "output_text"))
_MEDIA: Final = frozenset(
    ("image", "image_url", "input_image", "audio", "input_audio", "video", "file", "input_file", "document")
)
_SHAPES: Final = "content is text, null, or a list of objects with a `type`"


class Contents:
    """Reads contents out of the nodes of one file, and notes those that are too large or malformed."""

    def __init__(self, text: str, problems: Problems, limits: Limits) -> None:
        self._text = text
        self._problems = problems
        self._limits = limits

    def message(self, node: Node | None) -> Content | None:
        """Return what a `content` field says; None for null, an absent one, or one that a problem was noted of."""
        if node is None or node.value is None:
            return None
        if isinstance(node.value, list):
            return self.parts(node, node.value)
        if type(node.value) is str:
            return self._sized(node, node.value.encode(), TEXT)
        self._problems.error(node.start, "TSLG-I-SHAPE", "content of a type that is not known", _SHAPES)
        return None

    def parts(self, place: Node, parts: Iterable[Node]) -> Content | None:
        """Return a list of content parts: one part of text as that text, anything else as JSON."""
        listed = list(parts)
        written = []
        for part in listed:
            if type(part.value) is str:
                written.append(self.raw(part))
                continue
            kind = text_field(part, "type")
            if kind is None:
                self._problems.error(part.start, "TSLG-I-SHAPE", "a content part without a `type`", _SHAPES)
                return None
            written.append(self._medium(part, kind) if kind in _MEDIA else self.raw(part))
        if not listed:
            return None
        only = listed[0]
        if len(listed) == 1 and text_field(only, "type") in _TEXTS and only.value.keys() == {"type", "text"}:
            text = text_field(only, "text")
            if text is not None:
                return self._sized(place, text.encode(), TEXT)
        return self._sized(place, f"[{','.join(written)}]".encode(), JSON)

    def arguments(self, node: Node | None) -> Content:
        """Return a call's arguments: JSON text as it is, an object as JSON, and what is no JSON as plain text."""
        if node is None or node.value is None:
            return Content(b"", TEXT)
        if type(node.value) is not str:
            return self._sized(node, self.raw(node).encode(), JSON) or Content(b"", JSON)
        media_type = JSON if self._is_json(node.value) else TEXT
        return self._sized(node, node.value.encode(), media_type) or Content(b"", media_type)

    def rest(self, node: Node, known: Iterable[str]) -> Content | None:
        """Return the members of an object that are not `known`, and not null, as JSON text exactly as in the file."""
        known = frozenset(known)
        members = [
            f"{json.dumps(key, ensure_ascii=False)}:{self.raw(member)}"
            for key, member in node.value.items()
            if key not in known and member.value is not None
        ]
        return self._sized(node, f"{{{','.join(members)}}}".encode(), JSON) if members else None

    def raw(self, node: Node) -> str:
        """Return a node as it is written in the file."""
        return self._text[node.start : node.end]

    def _medium(self, part: Node, kind: str) -> str:
        """Return what stands for an image or the like: its type, and the digest of the part as it is written."""
        data = self.raw(part).encode()
        return json.dumps({"type": kind, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)})

    def _is_json(self, text: str) -> bool:
        reader = JsonReader(text, self._limits.transcript_nesting, self._limits.transcript_values)
        try:
            node = reader.read(0, len(text))
        except JsonError:
            return False
        return skip_space(text, node.end, len(text)) == len(text)

    def _sized(self, place: Node, data: bytes, media_type: str) -> Content | None:
        limit = self._limits.transcript_content_bytes
        if len(data) <= limit:
            return Content(data, media_type)
        detail = f"{len(data)} bytes in one place, the limit is {limit}"
        self._problems.error(place.start, "TSLG-I-SIZE", detail, "shorten it, or put its digest in its place")
        return None


def text_field(node: Node, key: str) -> str | None:
    """Return a member of an object that is text; None if there is none, or the node is no object."""
    found = node.value.get(key) if isinstance(node.value, dict) else None
    return found.value if found is not None and type(found.value) is str else None
