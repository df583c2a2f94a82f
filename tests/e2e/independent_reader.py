"""A verifier of bundles written from docs/spec alone: what a stranger would write. It imports nothing from tslg.

python independent_reader.py FILE.car [--federation ID] [--now MS] [--depth N] prints one JSON document and exits with
0 for valid, 1 for invalid, 2 for undetermined. It is slow (BLS in Python) and short, and knows one mode: every seal.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from independent_anchoring import Note, quorum
from independent_confidential import withheld
from independent_disclosure import withheld as withheld_fields
from independent_flat import recover
from independent_formats import Bad, Tree, consistent, read_bundle
from independent_records import Record, read_record
from independent_rules import VERSIONS, check_key, check_record, check_seal, named


def text(link: bytes) -> str:
    """[CID-4]"""
    return "b" + base64.b32encode(link).decode().rstrip("=").lower()


def signers(record: Record) -> set[bytes]:
    """The records that hold the keys of those who sign together. [TOG-8]"""
    return {signer["key"] for signer in record.body["signers"]} if record.kind == "joint-authorization" else set()


class Reader:
    """Verifies one target of a bundle. After `verify`, `findings` and `undetermined` hold codes and reasons by id."""

    def __init__(self, bundle, federation: bytes, now: int) -> None:
        self.root, self.blocks, self.broken = bundle
        self.seal_of = {entry[0]: entry[1] for entry in self.root["records"]}
        self.attachment_of = {entry[0]: entry[2] for entry in self.root["records"] if len(entry) == 3}
        self.federation, self.now = federation, now
        self.held: dict[bytes, Record] = {}
        self.manifests: dict[bytes, Record] = {}
        self.findings: dict[bytes, str] = {}
        self.undetermined: dict[bytes, str] = {}
        self.sealed: set[bytes] = set()
        self.unjudged: set[bytes] = set()
        self.shown: dict[bytes, Record] = {}
        self.edges = 0
        self.ends: dict[bytes, tuple[int, bytes]] = {}

    def verify(self, target: bytes, depth: int | None = None) -> str:
        """The verdict on one target. [VER-1]"""
        for link, *others in self.root["records"]:  # [VER-18]
            if link in self.broken or not self.broken.isdisjoint(others):
                self.findings[link] = "TSLG-R-ID"
        if self.federation != self.root["federation"]:  # [BUN-11]
            self.findings[self.root["federation"]] = "TSLG-A-MANIFEST"
        visited = self.visited = self.walk(target, depth)
        self.judge_all()
        shown = self.only_shown(target, visited)
        relied_on = [record for record in self.held.values() if record.id not in shown]
        self.shown = {link: self.held.pop(link) for link in shown if link in self.held}
        self.check_logs(visited)
        self.check_newest()
        self.check_anchoring(visited)
        self.check_forks(visited, relied_on)
        for link in self.shown:  # [EQV-5]
            self.findings.pop(link, None)
        cited = {cid for record in relied_on if record.kind == "equivocation" for cid, _ in record.cited("evidence")}
        for link in shown - cited - self.shown.keys():
            self.undetermined.pop(link, None)
        if self.findings:
            return "invalid"
        return "undetermined" if self.undetermined else "valid"

    def undisclosed(self) -> dict[bytes, list[str]]:
        """The committed fields of visited records that nothing discloses. [MRK-10]"""
        found = {}
        for link in self.visited:
            if link in self.held and link in self.sealed and link not in self.findings:
                names = withheld_fields(self.held[link], self.blocks.get(self.attachment_of.get(link)))
                found |= {link: names} if names else {}
        return found

    # --- the walk: [VER-2] to [VER-8]

    def walk(self, target: bytes, depth: int | None) -> list[bytes]:
        self.read(self.federation)
        visited, level = {target: None}, [target]
        while level:
            for link in level:
                self.read(link)
            edges = sorted(
                (name, cid, link) for link in level if link in self.held for name, cid, _ in self.held[link].edges
            )
            left = len(edges) if depth is None else depth - self.edges
            self.edges += len(edges[:left])
            level = list(dict.fromkeys(cid for _, cid, _ in edges[:left] if cid not in visited))
            visited.update(dict.fromkeys(level))
            if len(edges) > left:
                for link in level:
                    self.read(link)
                break
        return list(visited)

    def read(self, link: bytes) -> None:
        """Read a record, and then all that its manifest, key and owner rest on. [VER-6]"""
        todo = [link]
        while todo:
            link = todo.pop()
            if link in self.held or link in self.findings or link in self.undetermined:
                continue
            if link not in self.blocks or self.seal_of.get(link) not in self.blocks:
                kept = link in self.root.get("withheld", ())  # [ACC-26]
                self.undetermined[link] = "withheld" if kept else "absent"
                continue
            try:
                record = self.held[link] = read_record(link, self.blocks[link])
            except Bad as bad:
                self.findings[link] = bad.code
                continue
            record.attachment = self.blocks.get(self.attachment_of.get(link))
            todo += [other for other in (record.manifest, record.key, record.agent) if other is not None]
            if record.kind in VERSIONS:
                todo += [cid for cid, _ in record.cited("amends")] + [cid for _, cid in named(record)]
            if record.kind == "revocation":
                todo.append(record.body["key"])
            todo += signers(record)

    # --- rules and seals: [VER-9], [VER-10]

    def judge_all(self) -> None:
        def rank(record: Record):
            own = record.owner == self.federation
            chain = record.kind in ("genesis", "registration")
            return (0 if own else 1 if chain else 2, record.seq, record.id)

        ordered = sorted(self.held.values(), key=rank)
        for record in ordered:
            if record.owner == self.federation:
                self.judge(record)
        self.recover_classes()
        for record in ordered:
            if record.owner != self.federation:
                self.judge(record)
        for link, record in self.held.items():
            if link not in self.findings and withheld(record, self.held):  # [ZKN-21]
                self.undetermined.setdefault(link, "withheld")

    def recover_classes(self) -> None:
        """[FLA-3]"""
        for record in self.held.values():
            recover(record, self.held, self.manifests, self.federation)

    def judge(self, record: Record) -> None:
        rests_on = {record.manifest, record.key, record.agent} - {None}
        if record.kind in VERSIONS:  # [FED-5]
            rests_on |= {cid for cid, _ in record.cited("amends")} | {cid for _, cid in named(record)}
        rests_on |= signers(record)
        if rests_on & (self.findings.keys() | self.undetermined.keys() | self.unjudged):  # [VER-10]
            self.unjudged.add(record.id)
            return
        try:
            check_record(record, self.held, self.manifests, self.federation, self.now)
            seal = self.blocks[self.seal_of[record.id]]
            check_seal(record, seal, self.held, self.manifests, self.federation)
            if record.kind == "equivocation" and not record.cited("any"):
                self.check_equivocation(record)
        except Bad as bad:
            self.findings[record.id] = bad.code
            return
        self.sealed.add(record.id)
        if record.kind in VERSIONS:
            self.manifests[record.id] = record

    def check_equivocation(self, record: Record) -> None:
        """[EQV-3]"""
        cited = [cid for cid, _ in record.cited("evidence")]
        if len(cited) != 2:
            raise Bad("TSLG-A-EQUIVOCATION")
        for one in (self.held[cid] for cid in cited if cid in self.held):
            chained = one.manifest in self.manifests and (one.key is None or one.key in self.held)
            if (one.owner, one.seq) != (record.body["agent"], record.body["seq"]) or (chained and not self.stands(one)):
                raise Bad("TSLG-A-EQUIVOCATION")

    # --- forks: equivocation.md

    def only_shown(self, target: bytes, visited: list[bytes]) -> set[bytes]:
        """[EQV-5]"""
        reached, todo = {target}, [target]
        while todo:
            record = self.held.get(todo.pop())
            for name, cid, _ in record.edges if record is not None else ():
                exhibit = record.kind == "equivocation" and name == "evidence"
                if not exhibit and cid in visited and cid not in reached:
                    reached.add(cid)
                    todo.append(cid)
        return set(visited) - reached

    def check_forks(self, visited: list[bytes], relied_on: list[Record]) -> None:
        """[EQV-1], [EQV-6] to [EQV-8]"""
        known = {**self.held, **self.shown}
        owners = {known[link].owner for link in visited if link in known}
        before = dict(self.held), dict(self.findings), dict(self.undetermined)
        for link in self.root.get("beside", []):
            if link not in known:
                self.read(link)
                if link in self.held:
                    known[link] = self.held[link]
        for record in sorted(self.held.values(), key=lambda record: (record.owner != self.federation, record.seq)):
            if record.id not in before[0]:
                self.judge(record)
        places: dict[tuple[bytes, int], set[bytes]] = {}
        said = []
        for record in known.values():
            if record.owner in owners and self.stands(record):
                places.setdefault((record.owner, record.seq), set()).add(record.id)
                if record.kind == "equivocation" and record.body["agent"] == record.owner:
                    said.append((record.owner, record.body["seq"], record.seq))
        self.held, self.findings, self.undetermined = before
        for (owner, seq), ids in places.items():
            after = [r for r in relied_on if r.owner == owner and r.seq >= seq and r.id in self.relevant(visited)]
            if len(ids) > 1 and after:
                first = min(after, key=lambda record: (record.seq, record.id)).id
                if any(one == owner and start <= seq < at for one, start, at in said):
                    self.undetermined.setdefault(first, "forked")
                else:
                    self.findings.setdefault(first, "TSLG-V-FORK")

    def relevant(self, visited: list[bytes]) -> set[bytes]:
        """What was visited, and the chains that vouch for it."""
        chains = {link for r in self.held.values() for link in (r.manifest, r.key, r.agent) if link is not None}
        return {*visited, *chains}

    def stands(self, record: Record) -> bool:
        """Whether its owner sealed it. [EQV-1]"""
        try:
            envelope = self.manifests.get(record.manifest, record).body["envelope"]
            check_key(record, self.held, envelope, self.federation)
            check_seal(record, self.blocks[self.seal_of[record.id]], self.held, self.manifests, self.federation)
        except (Bad, KeyError):
            return False
        return True

    # --- logs: [VER-11], [VER-12], log.md

    def check_logs(self, visited: list[bytes]) -> None:
        owners = {self.held[link].owner for link in visited if link in self.held}
        visited = set(self.held)
        self.add_head(self.federation)
        if any(record.owner == self.federation != record.id for record in self.held.values()):
            owners.add(self.federation)
        for owner in sorted(owners):
            self.add_head(owner)
            self.add_revocations(owner)
            records = sorted((r for r in self.held.values() if r.owner == owner), key=lambda r: (r.seq, r.id))
            for record, following in pairwise(records):
                if record.seq == following.seq:
                    self.findings.setdefault(following.id, "TSLG-V-FORK")
            for before, record in pairwise(records):
                self.check_advance(before, record)
            before = dict(self.undetermined)
            self.check_order(owner, records)
            if self.undetermined != before:  # [LOG-15]
                self.undetermined = before
                newest = max(record.seq for record in records)
                others = [r for r in self.unvisited() if r.owner == owner and r.seq < newest]
                self.check_order(owner, sorted([*records, *others], key=lambda r: (r.seq, r.id not in self.held, r.id)))
            if not any(self.undetermined.get(record.id) == "unproved" for record in records):
                self.end_keys(records, {records[-1].id} - visited)

    def add_revocations(self, owner: bytes) -> None:
        """Take in the revocations of a log that count. [KEY-10]"""
        newest = max(record.seq for record in self.held.values() if record.owner == owner)
        for record in self.unvisited():
            if record.kind != "revocation" or record.owner != owner or record.seq > newest:
                continue
            before = set(self.held), dict(self.findings), dict(self.undetermined)
            self.read(record.id)
            for link in sorted(self.held.keys() - before[0], key=lambda link: self.held[link].seq):
                self.judge(self.held[link])
            if record.id not in self.sealed:
                self.held = {link: held for link, held in self.held.items() if link in before[0]}
                self.findings, self.undetermined = dict(before[1]), dict(before[2])

    def end_keys(self, records: list[Record], heads: set[bytes]) -> None:
        """Apply the revocations of a log whose order is proved. [KEY-8], [KEY-11]"""
        ends: dict[bytes, int] = {}
        for record in records:
            code = None
            if record.key in ends and record.seq >= ends[record.key]:
                code = "TSLG-A-REVOKED"
            elif record.kind == "revocation":
                key, start = record.body["key"], record.body["from_seq"]
                if key in ends and start >= ends[key]:
                    code = "TSLG-A-REVOCATION"
                elif record.id in self.sealed:
                    ends[key] = start
            if code is not None and record.id in heads:
                del self.held[record.id]
            elif code is not None:
                self.findings.setdefault(record.id, code)

    def check_newest(self) -> None:
        """[FED-9], [FED-10]; a file says nothing of heads known from elsewhere."""
        newest = max(self.manifests.values(), key=lambda record: record.body["version"], default=None)
        if newest is not None and newest.body.get("expires", self.now) < self.now:
            self.undetermined.setdefault(newest.id, "expired")

    def check_anchoring(self, visited: list[bytes]) -> None:
        """[ANC-13], [ANC-14]"""
        notes = []
        for data in self.root.get("checkpoints", ()):
            with suppress(ValueError):
                notes.append(Note(data))
        asked = {m.id: m for m in self.manifests.values() if m.body["envelope"]["anchoring"] != {}}
        lacking: dict[bytes, Record] = {}
        for record in (self.held[link] for link in visited if link in self.held):
            wanted = asked.get(record.manifest)
            if wanted is None or record.owner == self.federation:
                continue
            later = [m for m in asked.values() if m.body["version"] >= wanted.body["version"]]
            if not any(
                note.size > record.seq
                and any(quorum(note, m.body["envelope"]["anchoring"], self.now) for m in later)
                and self.is_state_of(note, record.owner)
                for note in notes
            ):
                first = lacking.setdefault(record.owner, record)
                lacking[record.owner] = min(first, record, key=lambda r: r.seq)
        for record in lacking.values():
            self.undetermined.setdefault(record.id, "unanchored")

    def is_state_of(self, note: Note, owner: bytes) -> bool:
        """Whether the log's agent signed a checkpoint, and its tree is one of the log that was read."""
        ours = [r for r in self.held.values() if r.id in self.sealed and r.owner == owner and r.seq < note.size]
        ended = {
            r.body["key"]
            for r in self.held.values()
            if r.owner == owner and r.kind == "revocation" and r.body["from_seq"] < note.size
        }
        keys = [r for r in ours if r.kind in ("genesis", "registration") and "key" in r.body and r.id not in ended]
        if not note.of(owner) or not any(note.signed_by(r.body["key"]) for r in keys if r.body["alg"] == -19):
            return False
        after = min(
            (r for r in self.held.values() if r.owner == owner and r.seq >= note.size),
            key=lambda r: r.seq,
            default=None,
        )
        if after is None:
            return self.ends.get(owner) == (note.size, note.root)
        if after.seq == note.size:
            return after.root == note.root
        return any(
            (proof["agent"], proof["old_size"], proof["size"]) == (owner, note.size, after.seq)
            and consistent(note.size, after.seq, note.root, after.root, proof["proof"])
            for proof in self.root["consistency"]
        )

    def check_advance(self, before: Record, record: Record) -> None:
        """[LOG-12]: neither time nor the manifest version goes back."""
        if record.time < before.time:
            self.findings.setdefault(record.id, "TSLG-A-TIME")
        named = before.id if before.id in self.manifests else before.manifest
        old, new = self.manifests.get(named), self.manifests.get(record.manifest)
        if old is not None and new is not None and new.id != old.id and new.body["version"] <= old.body["version"]:
            self.findings.setdefault(record.id, "TSLG-A-ROLLBACK")

    def unvisited(self) -> list[Record]:
        """What the bundle holds beside the visited records."""
        found = []
        for link, seal, *_ in self.root["records"]:
            if link in self.blocks and seal in self.blocks and link not in self.held and link not in self.findings:
                with suppress(Bad):
                    found.append(read_record(link, self.blocks[link]))
        return found

    def add_head(self, owner: bytes) -> None:
        """Take in the newest record of the largest head that counts. [LOG-6]"""
        before = set(self.held), dict(self.findings), dict(self.undetermined)
        for head in sorted(self.root["heads"], key=lambda head: -head["size"]):
            if head["agent"] != owner or head["record"] in self.held:
                continue
            self.read(head["record"])
            self.recover_classes()
            for link in sorted(self.held.keys() - before[0], key=lambda link: self.held[link].seq):
                self.judge(self.held[link])
            if self.counts(head):
                return
            self.held = {link: record for link, record in self.held.items() if link in before[0]}
            self.findings, self.undetermined = dict(before[1]), dict(before[2])

    def counts(self, head: dict) -> bool:
        record = self.held.get(head["record"])
        if record is None or record.id not in self.sealed or record.owner != head["agent"]:
            return False
        return record.seq + 1 == head["size"]

    def tree_before(self, record: Record) -> Tree | None:
        """The tree that a record carries, from its inclusion proof. [LOG-10]"""
        if record.seq == 0:
            return Tree()
        for proof in self.root["inclusion"]:
            peaks = proof["proof"]
            if proof["record"] == record.id and len(peaks) == record.seq.bit_count():
                tree = Tree(record.seq, peaks[::-1])
                if tree.root() == record.root:
                    return tree
        return None

    def check_order(self, owner: bytes, records: list[Record]) -> None:
        """[LOG-8] to [LOG-14]"""
        tree, last = None, None
        for record in records:
            if last is not None and record.seq == last.seq:
                continue
            if last is not None and record.seq == last.seq + 1:
                if tree is not None and tree.root() != record.root:
                    self.findings.setdefault(record.id, "TSLG-A-HEAD")
                    tree = None
                if record.prev != last.id:
                    self.findings.setdefault(record.id, "TSLG-A-PREV")
                if record.time < last.time:
                    self.findings.setdefault(record.id, "TSLG-A-TIME")
            else:
                if last is not None and not self.bridged(owner, tree, record):
                    self.undetermined.setdefault(record.id, "unproved")
                tree = self.tree_before(record)
                if tree is None:
                    self.undetermined.setdefault(record.id, "unproved")
            if tree is not None:
                tree.append(record.id)
                self.ends[owner] = (record.seq + 1, tree.root())
            last = record

    def bridged(self, owner: bytes, tree: Tree | None, record: Record) -> bool:
        """[LOG-13]"""
        return tree is not None and any(
            proof["agent"] == owner
            and (proof["old_size"], proof["size"]) == (tree.size, record.seq)
            and consistent(tree.size, record.seq, tree.root(), record.root, proof["proof"])
            for proof in self.root["consistency"]
        )


def read_file(data: bytes, federation: bytes | None, now: int, depth: int | None = None) -> dict:
    """One JSON document about a bundle: a verdict over all its targets, with reasons."""
    try:
        bundle = read_bundle(data)
    except Bad as bad:
        return {"verdict": "invalid", "findings": {"bundle": bad.code}, "undetermined": {}, "targets": []}
    document = {"verdict": "valid", "findings": {}, "undetermined": {}, "undisclosed": {}, "targets": []}
    for target in bundle[0]["targets"]:
        reader = Reader(bundle, bundle[0]["federation"] if federation is None else federation, now)
        verdict = reader.verify(target, depth)
        verified = len(reader.sealed - reader.findings.keys())
        document["targets"].append(
            {"target": text(target), "verdict": verdict, "edges": reader.edges, "records": verified}
        )
        document["findings"] |= {text(link): code for link, code in reader.findings.items()}
        document["undisclosed"] |= {text(link): names for link, names in reader.undisclosed().items()}
        document["undetermined"] |= {text(link): reason for link, reason in reader.undetermined.items()}
    verdicts = {entry["verdict"] for entry in document["targets"]}
    document["verdict"] = next(v for v in ("invalid", "undetermined", "valid") if v in verdicts)
    return document


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--federation", help="the federation's id as text; else that of the file")
    parser.add_argument("--now", type=int, default=int(time.time() * 1000), help="milliseconds since 1970 UTC")
    parser.add_argument("--depth", type=int)
    arguments = parser.parse_args()
    federation = arguments.federation
    if federation is not None:
        body = federation[1:].upper()
        federation = base64.b32decode(body + "=" * (-len(body) % 8))
    document = read_file(arguments.file.read_bytes(), federation, arguments.now, arguments.depth)
    json.dump(document, sys.stdout, indent=1)
    return {"valid": 0, "invalid": 1, "undetermined": 2}[document["verdict"]]


if __name__ == "__main__":
    sys.exit(main())
