"""The rules of docs/spec/access.md on manifests and access rules, judged by a second program. Nothing from tslg."""

from __future__ import annotations

from independent_formats import Bad, is_record_id
from independent_records import KINDS, TYPES, Record

READERS = TYPES["{agents: sorted set of links, groups: sorted set of text, peers: sorted set of links}"]
ANYBODY = {"manifest", "manifest-amendment", "peer-set", "correction-policy", "gc-policy", "genesis", "registration"}
ANYBODY |= {"revocation", "equivocation", "prune"}


def need(condition, code: str, detail: str = "") -> None:
    if not condition:
        raise Bad(code, detail)


def named_readers(access) -> list[dict]:
    """Every set of readers in an entry `access`, as far as it is one at all."""
    if type(access) is not dict:
        return []
    rules = access.get("rules")
    found = [access.get(name) for name in ("default", "grantable", "guaranteed")]
    found += [rule.get("readers") for rule in rules if type(rule) is dict] if type(rules) is list else []
    return [readers for readers in found if READERS(readers)]


def peer_sets(access) -> list[bytes]:
    """[ACC-5]"""
    return sorted({cid for readers in named_readers(access) for cid in readers["peers"]})


def names_well(kinds, fields) -> bool:
    """[ACC-3]"""
    if kinds is not None and not (set(kinds) <= set(KINDS) and not set(kinds) & ANYBODY):
        return False
    known = {name for kind in kinds or KINDS for name in KINDS[kind].committed}
    return set(fields or ()) <= known


def check_access(access, attested: bool) -> None:
    """[ACC-1] to [ACC-4]"""
    bad = "TSLG-A-ANCHORS"
    if access == {}:
        return
    readers = ("default", "grantable", "guaranteed")
    need(type(access) is dict and access.keys() == {*readers, "rules"} and type(access["rules"]) is list, bad, "access")
    need(all(READERS(access[name]) for name in readers), bad, "access")
    for rule in access["rules"]:
        need(type(rule) is dict and rule.keys() == {"agents", "fields", "kinds", "readers"}, bad, "rule")
        need(READERS(rule["readers"]), bad, "readers")
        for name in ("agents", "fields", "kinds"):
            entries, fits = rule[name], is_record_id if name == "agents" else lambda entry: type(entry) is str
            need(entries is None or (type(entries) is list and entries and all(map(fits, entries))), bad, name)
            need(entries is None or entries == sorted(set(entries)), bad, name)
        need(names_well(rule["kinds"], rule["fields"]), bad, "rule")
    need(attested or not any("members" in one["groups"] for one in named_readers(access)), bad, "members")


def check_access_rule(record: Record, held: dict[bytes, Record], envelope: dict, federation: bytes) -> None:
    """[ACC-6] to [ACC-8]"""
    bad, body, access = "TSLG-A-ACCESS", record.body, envelope["access"]
    need(access != {}, bad, "anybody reads everything")
    named = [body[name] for name in ("records", "kinds", "fields") if name in body]
    need(all(named) and names_well(body.get("kinds"), body.get("fields")), bad, "about")
    need("first" not in body or "last" not in body or body["first"] <= body["last"], bad, "positions")
    for cid in body.get("records", ()):
        need(cid not in held or held[cid].owner == record.owner, bad, "another log")
    readers = body["readers"]
    need("members" not in readers["groups"] or envelope["genesis"]["anchors"] > 0, bad, "members")
    for cid in readers["peers"]:
        other = held.get(cid)
        need(other is None or (other.kind == "peer-set" and other.owner == federation), bad, "peers")
    if body["effect"] == "grant":
        need(any(readers.values()) and sure(readers, access["grantable"], held), bad, "grant")


def sure(readers: dict, wide: dict, held: dict[bytes, Record]) -> bool:
    """[ACC-8]"""
    if "anyone" in wide["groups"] or "anyone" in readers["groups"]:
        return "anyone" in wide["groups"]
    if "members" in wide["groups"]:
        return True
    listed = set(wide["agents"])
    for cid in wide["peers"]:
        listed |= set(held[cid].body["members"]) if cid in held else set()
    sets = [cid for cid in readers["peers"] if cid not in wide["peers"] and cid in held]
    agents = set(readers["agents"]).union(*(held[cid].body["members"] for cid in sets))
    return set(readers["groups"]) <= set(wide["groups"]) and agents <= listed
