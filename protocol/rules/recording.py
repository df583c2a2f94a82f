"""The rules of what records of models' steps say of what was kept, and by whose keys they are sealed."""

from __future__ import annotations

from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.recording import BINDINGS, NONE, OPTIONAL, STEPS
from tslg.protocol.rules.context import Context, manifest_in_force, refuse


def rule_recording(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The optional digests that the manifest asks for are there, and no others."""
    if record.kind not in STEPS:
        return None
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return None
    levels = manifest.envelope.recording.levels
    for name in OPTIONAL:
        wanted = levels[name] != NONE
        if wanted and name not in record.body:
            mend = "record the digest; that of no bytes where there is nothing"
            return refuse("TSLG-A-RECORDING", record, f"its manifest asks for the digest of `{name}`", mend)
        if not wanted and name in record.body:
            return refuse("TSLG-A-RECORDING", record, f"its manifest has nothing of `{name}` recorded", "leave it out")
    return None


def rule_binding(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """The key that seals a step's record is bound to no less than the manifest demands."""
    if record.kind not in STEPS:
        return None
    manifest = manifest_in_force(record, context)
    key = None if record.key is None else context.key(record.key)
    if manifest is None or key is None:
        return None
    least = manifest.envelope.recording.binding
    if BINDINGS.index(key.binding) >= BINDINGS.index(least):
        return None
    detail = f"the key that it names is held by its {key.binding}, and its manifest demands {least}"
    return refuse("TSLG-A-BINDING", record, detail, f"register a key with `tslg agent rotate --binding {least}`")
