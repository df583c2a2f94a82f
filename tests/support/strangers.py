"""A federation as its manifest's text says, nodes in it, and a stranger to whom they hand over a bundle.

The stranger judges a bundle twice, by the Python interface and by the command line in a data directory of its own, and
the two must agree.
"""

from __future__ import annotations

import inspect
import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from world import NOW, founded, source

from tslg.manifests import genesis as geneses
from tslg.manifests import signing, text, versions
from tslg.manifests.signing import Sealed
from tslg.node.bundling import write_walked
from tslg.node.cli.root import tslg
from tslg.node.home import Home, wall_clock
from tslg.node.sources import BundleSource, StoreSource
from tslg.node.verifying import verify, walk
from tslg.protocol import bundle
from tslg.protocol.cid import to_text
from tslg.protocol.codec import Link
from tslg.protocol.logproof import needs
from tslg.protocol.record import Record, parse_as
from tslg.protocol.report import Report

MANIFEST = """
[federation]
name = "Embodied"
[anchors]
scheme = "multisig"
threshold = 1
members = ["operations"]
[envelope]
{entries}
[envelope.genesis]
anchors = {attested}
"""


def manifest(entries: str = "", attested: int = 0) -> str:
    """The text of a manifest of one anchor, with these entries of `[envelope]`."""
    return MANIFEST.format(entries=entries, attested=attested)


class Players:
    """A federation, and the nodes in it, each with a data directory below `folder`."""

    def __init__(self, folder: Path, toml: str) -> None:
        self.folder = folder
        self.toml = toml
        self.founded = founded(toml, "strangers")
        self.root: Sealed = (self.founded.manifest_record, self.founded.seal)
        self.federation = self.founded.manifest_record.id
        self.log: list[Sealed] = [self.root]
        self.numbers = count()
        ticks = count(NOW)
        self.clock: Callable[[], int] = lambda: next(ticks)

    # --- what the anchors do

    def record(self, kind: str, body: Mapping[str, Any]) -> Record:
        """Record something in the federation's log."""
        history = [record for record, _ in self.log]
        return self._sealed(versions.federation_record(history, kind, body, time_ms=self.clock()))

    def amend(self, entries: str) -> Record:
        """Put the next manifest version into force: the first one's text with these entries of `[envelope]`."""
        history = [record for record, _ in self.log]
        before = versions.in_force(history)
        wanted = text.parse(manifest(entries))
        keys = text.AnchorKeys(before.anchors.members, before.anchors.group_key)
        body = wanted.body(keys, source(f"nonce {len(history)}")(16), before.version + 1)
        return self._sealed(versions.amendment(history, body, time_ms=self.clock()))

    def _sealed(self, record: Record) -> Record:
        history = [held for held, _ in self.log]
        needed = [self.log[0][0], *versions.support(history, record)]
        request = signing.propose(record, needed)
        self.log.append((record, geneses.sign_and_combine(request, self.founded.anchor_keys)))
        return record

    # --- what nodes do

    @contextmanager
    def node(self, name: str) -> Iterator[Home]:
        """Open a node of the federation that knows all of the federation's log."""
        path = self.folder / name
        with Home.open(path, federation=self.root, clock=self.clock, random_bytes=source(name)) as home:
            home.follow_federation(self.log[1:])
            yield home

    def hand_over(self, home: Home, target: Record, *, depth: int | None = None, shown: Any = None) -> Path:
        """Write the verified ancestry of a record as a bundle."""
        car = self.folder / f"{next(self.numbers)}.car"
        walked = walk(StoreSource(home.store), target.id, self.federation, now_ms=wall_clock(), depth=depth)
        with car.open("wb") as file:
            write_walked(file, walked, shown)
        return car

    def palm_off(self, home: Home, target: Record) -> Path:
        """Write a bundle of all that a node holds, with every proof there is, whatever is wrong with its target."""
        car = self.folder / f"{next(self.numbers)}.car"
        held, from_store = home.store, StoreSource(home.store)
        items, claims, inclusion, consistency = [], [], [], []
        for log in held.logs():
            mine = list(held.log_range(log.owner, 0, log.newest + 1))
            newest = from_store.newest(log.owner)
            assert newest is not None
            claims.append(newest.claim)
            proved = from_store.proofs(log.owner, needs([parse_as(id, entry.data) for id, entry in mine]))
            inclusion += proved[0]
            consistency += proved[1]
            items += mine
        with car.open("wb") as file:
            bundle.write(
                file,
                federation=self.federation,
                manifest=target.manifest,
                targets=[target.id],
                heads=claims,
                inclusion=inclusion,
                consistency=consistency,
                records=[(id, entry.data, entry.seal) for id, entry in items],
                attachments={id: entry.attachment for id, entry in items if entry.attachment is not None},
            )
        return car

    # --- what the stranger does

    def judge(self, car: Path, *, depth: int | None = None) -> Report:
        """Return a stranger's report on the first target of a bundle, by Python and by the command line."""
        with car.open("rb") as file:
            held = bundle.read(file)
        target = held.targets[0]
        if depth is None:
            depth = self.founded.manifest.envelope.verify_depth
        report = verify(BundleSource(held), target, self.federation, now_ms=wall_clock(), depth=depth)
        how = [] if depth is None else ["--depth", str(depth)]
        said = command("verify", car, "--federation", to_text(self.federation), *how, code=report.exit_code)
        assert (said["verdict"], said["report_digest"]) == (report.verdict, report.digest.hex())
        if report.verdict == "valid":
            self._keep(car, target, report)
        return report

    def _keep(self, car: Path, target: Link, report: Report) -> None:
        """Take a bundle into a data directory of the stranger's own, which then says the same of it."""
        data = self.folder / f"stranger-{next(self.numbers)}"
        command("import", "car", car, "--federation", to_text(self.federation), "--data", data)
        said = command("verify", to_text(target), "--data", data)
        assert said["verdict"] == "valid"


def run(*arguments: object) -> Result:
    """Run `tslg`; it never ends with a traceback."""
    result = CliRunner().invoke(tslg, [str(argument) for argument in arguments], env={"TSLG_DATA": ""})
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def command(*arguments: object, code: int = 0) -> Any:
    """Run a command of `tslg` that must end with `code`, and return its JSON document."""
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@contextmanager
def lawless(home: Home, **envelope: Any) -> Iterator[None]:
    """Let a node record and seal whatever it is told, as one whose program was changed would.

    It builds records as if entries of the manifest's envelope were `envelope`.
    """
    book, ledger = home.ledger._book, home.ledger
    pretended = replace(home.manifest, envelope=replace(home.manifest.envelope, **envelope))
    book.admit = lambda record, seal, *, sealed=False: None
    book.refusal = lambda record, seal: None
    ledger._in_force = lambda: pretended
    try:
        yield
    finally:
        del book.admit, book.refusal, ledger._in_force


def codes(report: Report) -> set[str]:
    """The codes of what a report finds."""
    return {finding.code for finding in report.findings}


def rewritten(car: Path, **changes: Callable[[Any], Any]) -> Path:
    """Write a bundle anew with some arguments of `bundle.write` replaced by functions of what it held."""
    with car.open("rb") as file:
        held = bundle.read(file)
    names = list(inspect.signature(bundle.write).parameters)[1:]
    arguments: dict[str, Any] = {name: getattr(held, name) for name in names}
    arguments["records"] = [(id, *pair) for id, pair in held.records.items()]
    stream = io.BytesIO()
    bundle.write(stream, **(arguments | {name: change(arguments[name]) for name, change in changes.items()}))
    path = car.with_name(f"again-{car.name}")
    path.write_bytes(stream.getvalue())
    return path


def altered(car: Path, old: bytes, new: bytes) -> Path:
    """Write a bundle's file with some bytes replaced, wherever they stand."""
    data = car.read_bytes()
    assert old in data and len(old) == len(new)
    path = car.with_name(f"altered-{car.name}")
    path.write_bytes(data.replace(old, new))
    return path
