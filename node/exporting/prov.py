"""W3C PROV-JSON: records as entities, their making as activities, in one bundle for each log.

Every section of a bundle goes through a temporary file of its own, since PROV-JSON wants statements sorted by what they
are while records come one by one; so memory holds one record, and the names of agents. Normative text:
docs/spec/exports.md.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from itertools import count
from typing import IO, Any, BinaryIO, Final

from tslg.node.exporting import naming
from tslg.node.exporting.choosing import Item
from tslg.node.exporting.naming import CONTENTS, RECORDS, VOCABULARY, Content
from tslg.node.exporting.standing import Standing
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.kinds import KINDS
from tslg.protocol.record import Edge, Record

ACTIVITIES: Final = "urn:tslg:making:"
LOGS: Final = "urn:tslg:log:"
PREFIXES: Final = {
    "tslg": VOCABULARY,
    "record": RECORDS,
    "making": ACTIVITIES,
    "log": LOGS,
    "content": CONTENTS,
    "xsd": "http://www.w3.org/2001/XMLSchema#",
}
"""The namespaces of an export, by prefix."""

_DERIVED: Final = ("prior", "evidence", "part", "parent")
"""Classes under which a record cites what it derives from."""
_REVISED: Final = ("amends", "corrects")
"""Classes under which it cites what it is another version of."""
_SPOOLED: Final = 1 << 18
"""Bytes of one section held in memory before its file is on disk."""

Attributes = Mapping[str, Any]


class Sections:
    """The statements of one PROV-JSON container, by section, each in a file until it is complete."""

    def __init__(self, files: ExitStack) -> None:
        self._files = files
        self._sections: dict[str, IO[bytes]] = {}
        self._blank = count(1)

    def add(self, section: str, name: str, attributes: Attributes) -> None:
        """Add a statement that has a name."""
        file = self._sections.get(section)
        if file is None:
            file = self._files.enter_context(tempfile.SpooledTemporaryFile(_SPOOLED))  # noqa: SIM115 (the stack closes it)
            self._sections[section] = file
        else:
            file.write(b",\n")
        file.write(f"{json.dumps(name)}: {json.dumps(attributes)}".encode())

    def relate(self, section: str, attributes: Attributes) -> None:
        """Add a statement about others, which has no name."""
        self.add(section, f"_:{section}{next(self._blank)}", {k: v for k, v in attributes.items() if v is not None})

    def write(self, stream: BinaryIO) -> None:
        """Write the sections, without the braces around them."""
        for number, (section, file) in enumerate(self._sections.items()):
            stream.write(b",\n" if number else b"")
            stream.write(f"{json.dumps(section)}: {{\n".encode())
            file.seek(0)
            shutil.copyfileobj(file, stream)
            stream.write(b"\n}")


def write(
    stream: BinaryIO,
    logs: Iterable[tuple[Link, Iterator[Item]]],
    standing: Standing,
    names: Callable[[Link], str | None],
    *,
    bodies: bool = False,
) -> int:
    """Write records as one PROV-JSON document; return how many.

    Args:
        stream: where to.
        logs: the records, log by log, by owner.
        standing: what was verified of them.
        names: names agents and federations, None where that is not known.
        bodies: tell the whole body of each record too.
    """
    total = 0
    stream.write(b'{"prefix": ' + json.dumps(PREFIXES).encode() + b',\n"bundle": {')
    with ExitStack() as top_files:
        top = Sections(top_files)
        for number, (owner, items) in enumerate(logs):
            stream.write(b",\n" if number else b"\n")
            stream.write(json.dumps(f"log:{to_text(owner)}").encode() + b": {\n")
            with ExitStack() as files:
                bundle = _Bundle(Sections(files), owner, names, bodies, standing.federation)
                for item in items:
                    bundle.add(item)
                bundle.finish()
                bundle.sections.write(stream)
            stream.write(b"\n}")
            _describe(top, owner, bundle.count, standing, names)
            total += bundle.count
        stream.write(b"\n}")
        if total:
            stream.write(b",\n")
            top.write(stream)
        stream.write(b"\n}\n")
    return total


def _describe(
    top: Sections, owner: Link, records: int, standing: Standing, names: Callable[[Link], str | None]
) -> None:
    """State, beside the bundle, whose it is and what was verified of it."""
    told = {f"tslg:verification_{name}": value for name, value in standing.told.items() if value is not None}
    log = f"log:{to_text(owner)}"
    top.add("agent", *_agent(owner, names(owner), standing.federation))
    top.add("entity", log, {"prov:type": _qualified("prov:Bundle"), "tslg:records": records, **told})
    top.relate("wasAttributedTo", {"prov:entity": log, "prov:agent": f"record:{to_text(owner)}"})


def _agent(id: Link, name: str | None, federation: Link | None) -> tuple[str, dict[str, Any]]:
    kind = "prov:Organization" if id == federation else "prov:SoftwareAgent"
    told: dict[str, Any] = {"prov:type": _qualified(kind)}
    return f"record:{to_text(id)}", told if name is None else told | {"prov:label": name}


def _qualified(name: str) -> dict[str, str]:
    return {"$": name, "type": "prov:QUALIFIED_NAME"}


class _Bundle:
    """Turns the records of one log into statements."""

    def __init__(
        self, sections: Sections, owner: Link, names: Callable[[Link], str | None], bodies: bool, federation: Link
    ) -> None:
        self.sections = sections
        self.count = 0
        self._owner = owner
        self._names = names
        self._bodies = bodies
        self._met: dict[Link, None] = {owner: None}
        self._federations = {federation}
        self._contents: set[bytes] = set()

    def add(self, item: Item) -> None:
        """State one record: that it is, who made it from what, under which plan, and for whom."""
        record = item.record
        self.count += 1
        self._entity(item)
        if KINDS[record.kind].first and record.kind == "manifest":
            self._federations.add(record.id)
        making, moment = f"making:{to_text(record.id)}", naming.iso(record.time)
        told = {"prov:type": _qualified(f"tslg:{record.kind}"), "prov:startTime": moment, "prov:endTime": moment}
        self.sections.add("activity", making, {k: v for k, v in told.items() if v is not None})
        me, agent = f"record:{to_text(record.id)}", f"record:{to_text(self._owner)}"
        relate = self.sections.relate
        relate("wasGeneratedBy", {"prov:entity": me, "prov:activity": making, "prov:time": moment})
        relate("wasAttributedTo", {"prov:entity": me, "prov:agent": agent})
        plans = [f"record:{to_text(edge.cid)}" for edge in record.preds.get("policy", ())]
        for plan in plans or (None,):
            relate("wasAssociatedWith", {"prov:activity": making, "prov:agent": agent, "prov:plan": plan})
        for name in sorted(record.preds):
            for edge in record.preds[name]:
                self._edge(record, name, edge, making, moment)
        if record.kind == "delegation":
            self._acts_for(record.body["delegate"], self._owner, None, me)
        for content in naming.inputs(record):
            relate("used", {"prov:activity": making, "prov:entity": self._content(content), "prov:role": content.name})
        for content in naming.outputs(record):
            made = {"prov:entity": self._content(content), "prov:activity": making, "prov:time": moment}
            relate("wasGeneratedBy", made | {"prov:role": content.name})

    def finish(self) -> None:
        """State the agents that were met."""
        for id in self._met:
            self.sections.add("agent", *_agent(id, self._names(id), id if id in self._federations else None))

    def _entity(self, item: Item) -> None:
        record = item.record
        types = [_qualified(f"tslg:{record.kind}")]
        if record.kind == "policy":
            types.append(_qualified("prov:Plan"))
        told: dict[str, Any] = {
            "prov:type": types if len(types) > 1 else types[0],
            "tslg:seq": record.seq,
            "tslg:sha256": naming.sha256(record),
            "tslg:verified": item.verified,
        }
        for name, value in naming.told(record).items():
            if isinstance(value, Mapping):
                value = [f"{key}={value[key]}" for key in sorted(value)]
            if value != []:
                told[f"tslg:{name}"] = value
        if self._bodies:
            told["tslg:body"] = json.dumps(naming.plain_json(record.body), sort_keys=True)
        self.sections.add("entity", f"record:{to_text(record.id)}", told)

    def _edge(self, record: Record, name: str, edge: Edge, making: str, moment: str | None) -> None:
        me, cited = f"record:{to_text(record.id)}", f"record:{to_text(edge.cid)}"
        relate, role = self.sections.relate, _qualified(f"tslg:{name}")
        if name == "policy":
            return
        if name == "retracts":
            relate("wasInvalidatedBy", {"prov:entity": cited, "prov:activity": making, "prov:time": moment})
            return
        relate("used", {"prov:activity": making, "prov:entity": cited, "prov:role": role})
        if name in _DERIVED or name in _REVISED:
            kind = _qualified("prov:Revision") if name in _REVISED else role
            derived = {"prov:generatedEntity": me, "prov:usedEntity": cited, "prov:activity": making}
            relate("wasDerivedFrom", derived | {"prov:type": kind})
        if name == "delegation" and edge.agent is not None:
            self._acts_for(self._owner, edge.agent, making, cited)

    def _acts_for(self, delegate: Link, responsible: Link, making: str | None, delegation: str) -> None:
        self._met |= {delegate: None, responsible: None}
        told = {
            "prov:delegate": f"record:{to_text(delegate)}",
            "prov:responsible": f"record:{to_text(responsible)}",
            "prov:activity": making,
            "tslg:delegation": _qualified(delegation),
        }
        self.sections.relate("actedOnBehalfOf", told)

    def _content(self, content: Content) -> str:
        name = f"content:{content.digest.hex()}"
        if content.digest not in self._contents:
            self._contents.add(content.digest)
            told = {"prov:type": _qualified("tslg:content")}
            media = {} if content.media_type is None else {"tslg:media_type": content.media_type}
            self.sections.add("entity", name, told | media)
        return name
