"""`tslg export prov|in-toto|openlineage|scitt`: records in formats that auditors' own tools read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

import click

from tslg.node.cli.access import FILE, data_option, find_log, find_record, read_home
from tslg.node.cli.output import emit, json_option, note

if TYPE_CHECKING:
    from tslg.node.access import Gate
    from tslg.node.exporting.choosing import Chosen, Item
    from tslg.node.exporting.signing import Signer
    from tslg.node.exporting.standing import Standing
    from tslg.node.home import Home
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])

_PREDICATES = ("record", "summary", "link")
"""`exporting.intoto.PREDICATES`, which `--help` need not import."""


def _choosing(command: C) -> C:
    """Add the options that every format has."""
    for option in (
        json_option,
        data_option,
        click.option("--out", "-o", type=FILE, help="Where to write it, whole or not at all.  [stdout]"),
        click.option("--for", "reader", metavar="READER", help="Only what this agent, or a `stranger`, may read."),
        click.option("--verify/--no-verify", default=True, help="Verify first; without, the export says so.  [yes]"),
        click.option("--depth", type=click.IntRange(0), help="With ID: traverse at most so many edges.  [all]"),
        click.option("--kind", "kinds", multiple=True, metavar="KIND", help="Only records of this kind; repeat."),
        click.option("--agent", "agents", multiple=True, metavar="NAME|ID", help="Only of this agent; repeat."),
    ):
        command = option(command)
    return click.argument("id", metavar="[ID]", required=False)(command)


_bodies = click.option("--bodies", is_flag=True, help="Tell the whole body of every record, contents too.")


@click.command()
@_choosing
@_bodies
def prov(**options: Any) -> int:
    """Write records, or the ancestry of ID, as W3C PROV-JSON: one bundle for each log.

    Exit code: 0 if written, 1 if it is invalid and nothing was written, 2 if something of it could not be had.
    """
    from tslg.node.exporting import prov as format

    with _export(options) as one:
        one.told["records"] = format.write(one.stream, one.logs(), one.standing, one.name, bodies=options["bodies"])
    return one.tell()


@click.command(name="in-toto")
@_choosing
@_bodies
@click.option("--as", "attester", metavar="NAME", help="The agent here that attests it.  [the only one here]")
@click.option(
    "--predicate",
    "predicates",
    type=click.Choice(_PREDICATES),
    multiple=True,
    help="What to state of each; repeat.  [record, and a summary of each verification]",
)
def in_toto(**options: Any) -> int:
    """Write in-toto statements about records, or about the ancestry of ID, as DSSE envelopes, one a line.

    Exit code: 0 if written, 1 if it is invalid and nothing was written, 2 if something of it could not be had.
    """
    from tslg.node.exporting import intoto as format

    with _export(options) as one:
        signer = one.attester(options["attester"])
        one.told["key"] = {"keyid": signer.key_id, "keytype": "ed25519", "public": signer.public.hex()}
        one.told["records"] = format.write(
            one.stream,
            one.logs(),
            one.standing,
            one.name,
            signer,
            predicates=options["predicates"] or format.DEFAULT,
            bodies=options["bodies"],
        )
    return one.tell()


@click.command()
@_choosing
@_bodies
@click.option("--facet-schema", is_flag=True, help="Print the JSON schema of our facet, and write nothing.")
def openlineage(facet_schema: bool, **options: Any) -> int:
    """Write steps of agents, or those in the ancestry of ID, as OpenLineage run events, one a line.

    Exit code: 0 if written, 1 if it is invalid and nothing was written, 2 if something of it could not be had.
    """
    from tslg.node.exporting import openlineage as format

    if facet_schema:
        click.echo(json.dumps(format.FACET_SCHEMA, indent=None if options["as_json"] else 2))
        return 0
    with _export(options) as one:
        done = format.write(one.stream, one.logs(), one.standing, one.name, bodies=options["bodies"])
        one.told |= {"records": done.records, "left_out": done.left_out}
        one.why_left_out = "of kinds that are no runs"
    return one.tell()


@click.command()
@_choosing
@click.option("--digests", is_flag=True, help="State the digest of each record in place of its bytes.")
def scitt(digests: bool, **options: Any) -> int:
    """Write records of own agents, or those in the ancestry of ID, as SCITT signed statements with receipts.

    Exit code: 0 if written, 1 if it is invalid and nothing was written, 2 if something of it could not be had.
    """
    from tslg.node.exporting import scitt as format

    with _export(options, binary=True) as one:
        total, left_out = format.write(one.stream, one.logs(), one.home.store, one.signer, digests=digests)
        one.told |= {"records": total, "left_out": left_out}
        one.why_left_out = "whose author's Ed25519 key is not here"
    return one.tell()


class _Export:
    """One export under way: what was chosen and verified, and where it goes."""

    def __init__(self, home: Home, chosen: Chosen, standing: Standing, gate: Gate | None, options: Mapping[str, Any]):
        from tslg.node.cli.access import HeldNames

        self.home = home
        self.standing = standing
        self.stream: BinaryIO = sys.stdout.buffer
        self.told: dict[str, Any] = {"verification": standing.told, "records": 0}
        self.why_left_out = ""
        self.name = HeldNames(home.store).get
        self._chosen = chosen
        self._gate = gate
        self._options = options
        self._progress: Callable[[int], None] | None = None

    def logs(self) -> Iterator[tuple[Link, Iterator[Item]]]:
        """Yield the chosen records, log by log."""
        done = 0
        for owner, ids in self._chosen.logs:
            yield owner, self._counted(ids, done)
            done += len(ids)

    def _counted(self, ids: Sequence[Link], done: int) -> Iterator[Item]:
        from tslg.node.exporting.choosing import read

        for item in read(self.home.store, self.home.federation, ids, self.standing, self._gate):
            done += 1
            if self._progress is not None and done % 64 == 0:
                self._progress(done)
            yield item

    def attester(self, name: str | None) -> Signer:
        """Return what signs for an agent of this directory, by name, or for the only one. Raises UsageError."""
        from tslg.node.cli.recording import only_agent
        from tslg.node.exporting.signing import signer_of

        genesis = [_Own(key.genesis.id, key.genesis.body["name"]) for key in self.home.agent_keys()]
        return signer_of(self.home.keyring, only_agent(genesis, name, self.home.path).id)

    def signer(self, agent: Link) -> Signer | None:
        """Return what signs for an agent, None where no Ed25519 key of it is here."""
        from tslg.node.exporting.signing import signer_of
        from tslg.protocol.errors import UsageError

        try:
            return signer_of(self.home.keyring, agent)
        except UsageError:
            return None

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Have the export go to its file, whole or not at all, or to stdout, with a count on a terminal."""
        from tslg.node.cli.files import replacing
        from tslg.node.cli.terminal import counting

        out = self._options["out"]
        with counting("exported") as self._progress:
            if out is None:
                yield
                self.stream.flush()
                return
            with replacing(out) as self.stream:
                yield

    def tell(self) -> int:
        """Say what was written and what was verified of it; return the exit code."""
        out, verdict = self._options["out"], self.standing.verdict
        self.told["file"] = None if out is None else str(out)
        if self.told.get("left_out"):
            note(f"note: {self.told['left_out']} records are left out, {self.why_left_out}")
        if verdict == "unverified":
            note("note: nothing was verified, and the export says so")
        if out is not None:
            text = f"{verdict}  {self.told['records']} records in {out}"
            emit(self.told, self._options["as_json"], text)
        return 2 if verdict == "undetermined" else 0


class _Own:
    """An agent whose key is here."""

    def __init__(self, id: Link, name: str) -> None:
        self.id = id
        self.name = name


@contextmanager
def _export(options: Mapping[str, Any], *, binary: bool = False) -> Iterator[_Export]:
    """Choose and verify what is asked for, and open where it goes; an invalid lineage ends here, with exit code 1."""
    from tslg.protocol.errors import UsageError

    if options["out"] is None and options["as_json"]:
        raise UsageError("--json tells what was written to a file", mend="name one with --out")
    if options["out"] is None and binary and sys.stdout.isatty():
        raise UsageError("this format is not text", mend="name a file with --out")
    with read_home(options["data"]) as home:
        chosen, standing = _chosen(home, options)
        if standing.verdict == "invalid" or (standing.report is not None and not chosen.total):
            _refuse(standing, options)
        gate = _gate(home, options["reader"])
        one = _Export(home, chosen, standing, gate, options)
        with one.writing():
            yield one


def _refuse(standing: Standing, options: Mapping[str, Any]) -> None:
    """Say what is wrong with the lineage, or could not be had, and end."""
    from tslg.protocol.report import EXIT_CODES

    faults = [fault for log in standing.logs.values() for fault in log.faults]
    if standing.report is not None:
        from tslg.node.cli.reporting import reasons

        for line in reasons(standing.report):
            note(line.strip())
    else:
        from tslg.protocol.cid import to_text

        for fault in faults[:20]:
            note(f"{fault.code}  {to_text(fault.record)}  {fault.detail}")
    told = {"verification": standing.told, "records": 0, "file": None}
    if options["as_json"] or options["out"] is not None:
        emit(told, options["as_json"], f"{standing.verdict}  nothing was written")
    raise click.exceptions.Exit(EXIT_CODES[standing.verdict])


def _gate(home: Home, reader: str | None) -> Gate | None:
    if reader is None:
        return None
    from tslg.node.access import gatekeeper
    from tslg.node.cli.reading import reader_of

    return gatekeeper(home).gate_of(reader_of(home, reader))


def _chosen(home: Home, options: Mapping[str, Any]) -> tuple[Chosen, Standing]:
    """Return what is to be exported, and what was verified of it."""
    from tslg.node.exporting import choosing
    from tslg.protocol.errors import UsageError
    from tslg.protocol.kinds import KINDS

    kinds = frozenset(options["kinds"])
    if unknown := sorted(kinds - KINDS.keys()):
        raise UsageError(f"no kind {unknown[0][:80]!r}", mend=f"the kinds are {', '.join(sorted(KINDS))}")
    owners = frozenset(find_log(home.store, name) for name in options["agents"])
    if options["id"] is None:
        if options["depth"] is not None:
            raise UsageError("--depth bounds the ancestry of a record", mend="give the record's id, or leave it out")
        owners = owners or frozenset(log.owner for log in home.store.logs())
        return choosing.of_logs(home.store, owners, kinds), _read(home, sorted(owners), options)
    target = find_record(home.store, options["id"])
    standing = _walk(home, target, options)
    if standing.report is not None:
        ids = list(standing.report.records)
    else:
        depth = options["depth"]
        ids = [target, *home.store.ancestors(target, limit=None if depth is None else depth + 1)]
    return choosing.of_ids(home.store, ids, owners, kinds), standing


def _walk(home: Home, target: Link, options: Mapping[str, Any]) -> Standing:
    """Walk the ancestry of a record, if it is to be verified."""
    from tslg.node.cli.bundles import as_read_by
    from tslg.node.cli.terminal import counting
    from tslg.node.exporting.standing import NONE, WALK, Standing
    from tslg.node.verifying import verify

    now = home.clock()
    if not options["verify"]:
        return Standing(NONE, now, home.federation)
    with counting("verified") as tick:
        report = verify(
            as_read_by(home, options["reader"]), target, home.federation, now_ms=now, depth=options["depth"], tick=tick
        )
    return Standing(WALK, now, home.federation, report)


def _read(home: Home, owners: Sequence[Link], options: Mapping[str, Any]) -> Standing:
    """Read whole logs, if they are to be verified."""
    from tslg.node.cli.terminal import counting
    from tslg.node.exporting.standing import NONE, Standing, read_logs

    if not options["verify"]:
        return Standing(NONE, home.clock(), home.federation)
    with counting("verified") as tick:
        return read_logs(home.store, home.federation, owners, home.clock, tick)
