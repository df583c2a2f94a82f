"""Write docs/spec/tslg.cddl from the tables that the code runs on.

Run from anywhere: `python docs/tools/cddl.py`. A test holds that the committed file is up to date, and that real
records and seals of every kind are what it says, by a validator of others.
"""

from __future__ import annotations

import re
from pathlib import Path

from tslg.protocol.kinds import KINDS, Kind

FILE = Path(__file__).resolve().parent.parent / "spec" / "tslg.cddl"

KEY = re.compile(r"(?<![\w-])([a-z_]+): ")

HEAD = """; The shapes of records and seals, as CDDL (RFC 8610), made by docs/tools/cddl.py from the table of kinds.
;
; The pages beside this file are normative. CDDL does not say that encodings are canonical, that sets and edges are
; sorted, that names have 1 to 256 characters, that maps hold only the values of codec.md, that `agent` and `verified`
; of an edge stand together, or what a record must be to the records that it cites.

"""

COMMON = """
head = {size: count, root: digest}
edge = {cid: link, ? agent: link, ? verified: count / null}
own-edge = {cid: link}
foreign-edge = {cid: link, agent: link, verified: count / null}
; Under a manifest whose `edges` is flat, agents' records have in place of the edges below {"any": [+ edge]} or {}.

; An id: the binary CID behind a zero byte.
link = #6.42(bstr .size (37..201))
digest = bstr .size 32
; 0 to 2^53 - 1, and the same with either sign.
count = 0..9007199254740991
whole = int
name = tstr .size (1..1024)
map = {* tstr => any}

"""

SEALS = """
; A seal, which stands beside its record: COSE (RFC 9052) with a detached payload.
seal = sign1 / sign
sign1 = #6.18([protected, unprotected, null, bstr])
sign = #6.98([bstr .size 0, nothing, null, signatures])
signatures = [1*64 signature]
signature = [protected, unprotected, bstr]
nothing = {}
; The encoding of {1: alg}.
protected = bstr .size (3..7)
; The id of the record that holds the key, and for multisig which anchors signed.
unprotected = {4: bstr, ? -70010: bstr}
"""

TYPES = {
    "text": "tstr",
    "text (1 to 256 characters)": "name",
    "uint": "count",
    "int": "whole",
    "bytes": "bstr",
    "bytes (16)": "bstr .size 16",
    "bytes (32)": "digest",
    "link": "link",
    "map": "map",
    "ms or null": "count / null",
    "uint or null": "count / null",
    "sorted set of text": "[* name]",
    "sorted set of links": "[* link]",
    "sorted set of bytes (32)": "[* digest]",
    "map of text to int": "{* tstr => whole}",
    "map of text to uint": "{* tstr => count}",
    "map of text to bytes (32)": "{* tstr => digest}",
    "list of {agent: link, record: link, size: uint, root: bytes (32)}": (
        "[* {agent: link, record: link, size: count, root: digest}]"
    ),
    "list of {agent: link, key: link}": "[1*64 {agent: link, key: link}]",
    "list of {acts, kinds, by}": (
        '[* {acts: [* "amends" / "corrects" / "retracts"], kinds: [* name], by: "author" / "anyone" / [* link]}]'
    ),
    "list of {policy: link, proof: bytes (32)}, sorted by policy": "[1*256 {policy: link, proof: digest}]",
    "list of {origin: link, what: text, name: text}, sorted": (
        '[1*256 {origin: link, what: "licence" / "restriction" / "vulnerability", name: name}]'
    ),
    "{alg: int, key: bytes}": "{alg: whole, key: bstr}",
    "{digest: bytes (32), size: uint, media_type: text}": "{digest: digest, size: count, media_type: name}",
    "{electorate: sorted set of links, threshold: uint}": "{electorate: [* link], threshold: count}",
    "{proposal: link, choice: text}": '{proposal: link, choice: "for" / "against" / "abstain"}',
    "{scheme: int, members: [{agent: link, key, possession, consent}], group_key: bytes or null}": (
        "{scheme: whole, members: [1*64 {agent: link, key: bstr, possession: bstr, consent: bstr}],"
        " group_key: bstr / null}"
    ),
    "{scheme: int, threshold: uint, members: [{name, key, possession}], group_key: bytes or null}": (
        "{scheme: whole, threshold: count, members: [1*64 {name: name, key: bstr, possession: bstr}],"
        " group_key: bstr / null}"
    ),
    "{agents: sorted set of links, groups: sorted set of text, peers: sorted set of links}": (
        '{agents: [* link], groups: [* "anyone" / "members" / "parties"], peers: [* link]}'
    ),
    "{vocabulary: sorted set of text, capabilities: bytes (32 a name), limits: map of text to bytes (32)}": (
        "{vocabulary: [1*256 name], capabilities: bstr, limits: {* tstr => digest}}"
    ),
}
"""The CDDL of each type of a field; a type that lists its texts in backquotes is a choice of these."""


def document() -> str:
    """Return the file's text."""
    kinds = "record = " + " /\n         ".join(KINDS) + "\n"
    text = kinds + COMMON + "\n".join(map(_kind, KINDS.values())) + SEALS
    # Keys in quotes: some readers take a bare `time` or `name` for the type of that name.
    lines = [line if line.startswith(";") else KEY.sub(r'"\1": ', line) for line in text.splitlines()]
    return HEAD + "\n".join([*lines, ""])


def _kind(kind: Kind) -> str:
    """Return the rules of one kind: the record, its edges and its body."""
    if kind.first:
        place = "agent: null, seq: 0, prev: null, log: null"
    else:
        place = "agent: link, seq: 1..9007199254740991, prev: link, log: head"
    root = kind.name == "manifest"
    key = "null" if kind.first else "link / null"
    record = (
        f"{kind.name} = {{\n"
        f'  v: 1, kind: "{kind.name}", {place}, time: count,\n'
        f"  manifest: {'null' if root else 'link'}, key: {key}, preds: {kind.name}-preds, body: {_bodies(kind)}\n"
        "}"
    )
    parts = [f"; {kind.meaning}", record, f"{kind.name}-preds = {_preds(kind)}"]
    parts.append(f"{kind.name}-body = {_fields(kind, list(kind.fields))}")
    if kind.committed:
        plain = [name for name in kind.fields if name not in kind.committed]
        extra = ["merkle: digest", f"fields: {len(kind.committed)}"]
        parts.append(f"{kind.name}-committed = {_fields(kind, plain, extra)}")
    return "\n".join([*parts, ""])


def _bodies(kind: Kind) -> str:
    return f"{kind.name}-body" + (f" / {kind.name}-committed" if kind.committed else "")


def _preds(kind: Kind) -> str:
    edges = {"own": "own-edge", "other": "foreign-edge"}
    entries = []
    for name in sorted(kind.allowed):
        where = kind.leads[name]
        log = None if where is None else where.log
        edge = edges.get(log, "edge") if log is not None else "edge"
        entries.append(f"{'' if name in kind.mandatory else '? '}{name}: [+ {edge}]")
    return _map(entries)


def _fields(kind: Kind, names: list[str], extra: list[str] | None = None) -> str:
    entries = [f"{'' if kind.fields[name].required else '? '}{name}: {_type(kind.fields[name].type)}" for name in names]
    return _map([*(extra or []), *entries])


def _type(name: str) -> str:
    if name.startswith("`"):
        return " / ".join(f'"{choice}"' for choice in name.split("`")[1::2])
    return TYPES[name]


def _map(entries: list[str]) -> str:
    return "{\n" + "".join(f"  {entry},\n" for entry in entries) + "}" if entries else "{}"


if __name__ == "__main__":
    FILE.write_text(document(), encoding="utf-8")
