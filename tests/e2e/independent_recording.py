"""The rules of docs/spec/recording.md that concern every reader, judged by a second program. Nothing from tslg."""

from __future__ import annotations

from independent_access import READERS
from independent_formats import Bad, is_uint
from independent_records import Record

STEPS = {"composite", "decomposition", "inference", "rejection"}
KEPT_OF = STEPS | {"observation"}
LEVELS = {"none", "digest", "plaintext"}
MORE = ("activations", "facts", "scratch", "tools")
HOLDERS = ["tenant", "platform", "hardware"]


def need(condition, code: str, detail: str = "") -> None:
    if not condition:
        raise Bad(code, detail)


def reading_peers(entry) -> list[bytes]:
    """[RCD-5]"""
    readers = entry.get("readers") if type(entry) is dict else None
    return sorted(readers["peers"]) if READERS(readers) else []


def check_recording(envelope: dict) -> None:
    """[RCD-1] to [RCD-5]"""
    bad, entry = "TSLG-A-ANCHORS", envelope["recording"]
    if entry == {}:
        return
    rest = {"inputs", "output", "binding", "expiry", "keep_ms", "readers", "readings"}
    need(type(entry) is dict and entry.keys() == {*MORE, *rest}, bad, "recording")
    texts = [entry[name] for name in (*MORE, "inputs", "output", "binding", "expiry")]
    need(all(type(text) is str for text in texts), bad, "recording")
    need({entry[name] for name in MORE} <= LEVELS, bad, "recording")
    need({entry["inputs"], entry["output"]} <= LEVELS - {"none"}, bad, "recording")
    need(entry["binding"] in HOLDERS and entry["expiry"] in ("silent", "recorded"), bad, "recording")
    need(READERS(entry["readers"]) and type(entry["readings"]) is bool, bad, "recording")
    keep, redaction = entry["keep_ms"], envelope["redaction"]
    need(keep is None or (is_uint(keep) and keep > 0), bad, "recording")
    need(keep is None or all(envelope["retention"].get(kind, 0) <= keep for kind in KEPT_OF), bad, "recording")
    if entry["expiry"] == "recorded":
        own = redaction == {} or (redaction["by"] == "author" and set(redaction["kinds"]) >= KEPT_OF)
        need(keep is not None and own, bad, "recording")
    need(entry["binding"] != "hardware" or "hardware" in envelope["rotation"], bad, "recording")
    need("members" not in entry["readers"]["groups"] or envelope["genesis"]["anchors"] > 0, bad, "recording")


def check_kept(record: Record, envelope: dict) -> None:
    """[RCD-6]"""
    if record.kind not in STEPS:
        return
    for name in MORE:
        wanted = envelope["recording"].get(name, "none") != "none"
        need(wanted == (name in record.body), "TSLG-A-RECORDING", name)


def check_holder(record: Record, holder: Record, envelope: dict) -> None:
    """[RCD-7]"""
    if record.kind in STEPS:
        least = envelope["recording"].get("binding", "tenant")
        need(HOLDERS.index(holder.body["binding"]) >= HOLDERS.index(least), "TSLG-A-BINDING")
