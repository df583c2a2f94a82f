"""Flat edges of docs/spec/flat.md, read by a second program. Nothing from tslg."""

from __future__ import annotations

from independent_records import KINDS, Record

ACTS = {"correction": "corrects", "amendment": "amends", "retraction": "retracts"}
STEPS = ("inference", "rejection", "decomposition", "composite")


def recover(record: Record, held: dict[bytes, Record], manifests: dict[bytes, Record], federation: bytes) -> None:
    """[FLA-2], [FLA-3]: give the edges their classes, as far as what they lead to was read."""
    manifest = manifests.get(record.manifest)
    if not record.flat or manifest is None or record.owner == federation:
        return
    if manifest.body["envelope"].get("edges") == "flat":
        record.edges = [
            (name if name != "any" or cid not in held else recovered(record, cid, agent, held[cid]), cid, agent)
            for name, cid, agent in record.edges
        ]


def recovered(record: Record, cid: bytes, agent: bytes | None, cited: Record) -> str:
    kind = KINDS[record.kind]
    for name, holds in rows(record, cid, agent is None, cited):
        if holds and name in kind.allowed:
            return name
    return "prior" if agent is None and "prior" in kind.allowed else "evidence"


def rows(record: Record, cid: bytes, own: bool, cited: Record) -> list[tuple[str, bool]]:
    """The table of flat.md, row by row."""
    one, other = record.kind, cited.kind
    act = ACTS.get(one, "")
    leads = KINDS[one].leads.get(act, ("", (), None))[1]
    return [
        ("evidence", one == "equivocation" or cid in (record.body.get("target"), record.body.get("proposal"))),
        (act, act != "" and (leads is None or other in leads)),
        ("answers", (one, other) == ("answer", "delegation")),
        ("amends", one == other == "policy" and own and record.body["name"] == cited.body["name"]),
        ("policy", other == "policy" or (one, other) == ("prune", "gc-policy")),
        ("delegation", other == "delegation" and not own and cited.body["delegate"] == record.agent),
        ("consensus", other == "consensus"),
        ("joint", other == "joint-authorization"),
        ("parent", one == other == "artifact"),
        ("part", other == "decomposition" or (one == "composite" and other in STEPS) or (one == "summary" and own)),
        ("absence", other == "observation" and "sought" in cited.body),
        ("prior", own and other in ("state", "genesis", "manifest", "manifest-amendment")),
        ("prior", own and one in STEPS and other in STEPS and "after" in cited.body),
        ("evidence", True),
    ]
