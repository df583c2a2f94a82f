"""What the manifest's `recording` has kept of governed steps: digests in their records, plaintexts in the vault.

The vault takes the plaintexts, durably, before a step is recorded; whose they are it learns when the record is durable.
Normative text: docs/spec/recording.md.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from tslg.node.governing.content import Content, Digest, digest, plain
from tslg.node.vault.parts import INPUT, field_of, parts
from tslg.protocol.errors import StoreError, VaultError
from tslg.protocol.manifest import Manifest
from tslg.protocol.record import Record
from tslg.protocol.recording import NOTHING_MORE, Recording

if TYPE_CHECKING:
    from tslg.node.agent import BlockingAgent
    from tslg.node.governing.candidate import Candidate
    from tslg.node.vault.vault import Kept

_WAITING: Final = 10_000
"""Plaintexts whose records may yet come; the vault finds out about the others when it is next unlocked."""


def contents_of(candidate: Candidate) -> dict[str, Content]:
    """Return everything of a candidate that could be kept, by part; what it has not is left out."""
    found: dict[str, Content] = {INPUT + name: content for name, content in candidate.inputs.items()}
    rest = {name: getattr(candidate, name) for name in ("output", "scratch", "activations", "tools")}
    found |= {name: content for name, content in rest.items() if content is not None}
    return found | ({"facts": dict(candidate.facts)} if candidate.facts else {})


class StepKeeper:
    """Keeps what must be kept of one agent's steps. Safe to use from several threads.

    Args:
        agent: whose steps; the vault is that of its node.
    """

    def __init__(self, agent: BlockingAgent) -> None:
        self._agent = agent
        self._lock = threading.Lock()
        self._known: tuple[bytes, Recording] = (b"", NOTHING_MORE)
        self._waiting: OrderedDict[tuple[str, bytes], deque[Kept]] = OrderedDict()
        self._count = 0

    @property
    def recording(self) -> Recording:
        """What the manifest version in force says."""
        ledger = self._agent._ledger
        if ledger.manifest != self._known[0]:
            manifest = ledger.context.manifest(ledger.manifest)
            assert isinstance(manifest, Manifest)
            self._known = (ledger.manifest, manifest.envelope.recording)
        return self._known[1]

    def digests(self, contents: Mapping[str, Content]) -> dict[str, bytes]:
        """Return the optional fields that a step's record has to have. Raises UsageError for what has no digest."""
        wanted = self.recording.digests
        return {name: digest(contents.get(name, b"")) for name in wanted}

    def keep(self, contents: Mapping[str, Content]) -> None:
        """Have the plaintexts kept that the manifest wants; they are durable when this returns.

        Raises:
            VaultError, StoreError: they cannot be kept, so that the step must not be admitted.
        """
        wanted = self.recording.plaintexts
        if not wanted:
            return
        chosen = {name: content for name, content in contents.items() if field_of(name) in wanted}
        for name, content in chosen.items():
            if isinstance(content, Digest):
                what = f"the manifest has the plaintext of `{name}` kept, and only its digest was handed over"
                raise VaultError(what, code="TSLG-P-DIGEST", mend="hand over the content")
        plaintexts = self._agent._ledger.plaintexts
        if plaintexts is None:
            mend = "govern it where its data directory is open for writing"
            raise VaultError("there is no vault where this agent writes", code="TSLG-P-NONE", mend=mend)
        # Of nothing there is nothing to keep: its digest says so.
        raw = {name: data for name, content in chosen.items() if (data := plain(content))}
        kept = plaintexts.keep(self._agent.id, raw)
        with self._lock:
            for one in kept:
                self._waiting.setdefault((one.entry.name, one.entry.digest), deque()).append(one)
                self._count += 1
            while self._count > _WAITING:
                # Steps that fail are tried again with the same content, which waits each time.
                self._pop(next(iter(self._waiting)))

    def bind(self, records: Iterable[Record]) -> None:
        """Tell the vault which durable records plaintexts were kept for; what this misses, it finds out itself."""
        if not self._waiting:
            return
        plaintexts = self._agent._ledger.plaintexts
        for record in records:
            found = self._take(parts(record))
            if found and plaintexts is not None:
                with suppress(StoreError, VaultError):
                    plaintexts.bind(found, record.id)

    def _take(self, digests: Mapping[str, Any]) -> list[Kept]:
        found = []
        with self._lock:
            for key in digests.items():
                if key in self._waiting:
                    found.append(self._pop(key))
        return found

    def _pop(self, key: tuple[str, bytes]) -> Kept:
        queue = self._waiting[key]
        self._count -= 1
        one = queue.popleft()
        if not queue:
            del self._waiting[key]
        return one
