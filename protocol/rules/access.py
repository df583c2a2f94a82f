"""The rule of access rules: whose records they are about, and that the manifest lets their author say so."""

from __future__ import annotations

from tslg.protocol import cid
from tslg.protocol.access import covers
from tslg.protocol.access_rules import MEMBERS, Access, Grant, fault, grant_of
from tslg.protocol.codec import Link
from tslg.protocol.errors import Refusal
from tslg.protocol.record import Record
from tslg.protocol.rules.context import Context, manifest_in_force, refuse


def rule_access(record: Record, seal: bytes, context: Context) -> Refusal | None:
    """It is about records of its own log, names what can be enforced, and grants to whom the manifest lets."""
    if record.kind != "access-rule":
        return None
    manifest = manifest_in_force(record, context)
    if manifest is None:
        return None
    envelope = manifest.envelope
    if envelope.access is None:
        return refuse("TSLG-A-ACCESS", record, "its manifest lets anybody read everything", "amend `access` first")
    said = grant_of(record)
    wrong = _shape(said) or (envelope.genesis_anchors == 0 and _unattested(said)) or None
    if wrong:
        return refuse("TSLG-A-ACCESS", record, wrong)
    for id in sorted(said.records or ()):
        named = context.record(id)
        if named is None and context.complete:
            return refuse("TSLG-A-ACCESS", record, f"{cid.short(id)} is not held here", "name records of its own log")
        if named is not None and named.owner != record.owner:
            return refuse("TSLG-A-ACCESS", record, f"{cid.short(id)} lies in another log", "ask its author")
    return _who(record, said, envelope.access, context)


def _shape(said: Grant) -> str | None:
    wrong = fault(said.kinds, said.fields)
    if wrong is None and said.first is not None and said.last is not None and said.first > said.last:
        wrong = f"positions {said.first} to {said.last} are none"
    named = (said.records, said.kinds, said.fields)
    if wrong is None and any(names is not None and not names for names in named):
        wrong = "it names an empty set, which is about nothing"
    if wrong is None and said.grants and not any(said.readers):
        wrong = "it grants to nobody"
    return wrong


def _unattested(said: Grant) -> str | None:
    return "it names `members`, of whom nobody attests who they are" if MEMBERS in said.readers.groups else None


def _who(record: Record, said: Grant, access: Access, context: Context) -> Refusal | None:
    """Judge the peer sets that it names, and whom it grants to, as far as they are at hand."""
    for peers in sorted(said.readers.peers):
        held = context.record(peers)
        if held is None and context.complete:
            return refuse(
                "TSLG-A-ACCESS", record, f"{cid.short(peers)} is not held here", "follow the federation first"
            )
        if held is not None and (held.kind != "peer-set" or held.owner != context.federation):
            return refuse("TSLG-A-ACCESS", record, f"{cid.short(peers)} is no peer set of this federation")
    unknown = not context.complete and any(context.record(peers) is None for peers in access.grantable.peers)
    if not said.grants or unknown or covers(access.grantable, said.readers, lambda id: _members(id, context)):
        return None
    detail = "it grants to readers to whom its manifest lets nobody grant"
    return refuse("TSLG-A-ACCESS", record, detail, "grant to some of `access.grantable`, or have that amended")


def _members(peers: Link, context: Context) -> list[Link]:
    held = context.record(peers)
    return [] if held is None or held.kind != "peer-set" else list(held.body["members"])
