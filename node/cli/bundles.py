"""`tslg export car` and `tslg import car`: verified ancestry as a file, and back into a node's store."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from tslg.node.cli.access import FILE, data_dir, data_option, find_record, read_home, whole_id
from tslg.node.cli.lazy import Lazy, LazyGroup
from tslg.node.cli.output import emit, json_option, note
from tslg.node.cli.verify import read_bundle, walk_depth

if TYPE_CHECKING:
    from tslg.manifests.signing import Sealed
    from tslg.node.home import Home
    from tslg.node.sources import Source
    from tslg.node.store.interface import Fork
    from tslg.node.verifying import Walked
    from tslg.protocol.bundle import Bundle
    from tslg.protocol.codec import Link

depth_option = click.option(
    "--depth", type=click.IntRange(0), help="Traverse at most so many edges.  [the manifest's verify_depth]"
)


_FORMATS: Final = {
    "car": Lazy("tslg.node.cli.bundles:export_car", "The ancestry of a record, as a bundle."),
    "tiles": Lazy("tslg.node.cli.tiles:export_tiles", "A log, as a tlog-tiles directory."),
    "prov": Lazy("tslg.node.cli.exporting:prov", "Records, as W3C PROV-JSON."),
    "in-toto": Lazy("tslg.node.cli.exporting:in_toto", "Statements about records, as DSSE envelopes."),
    "openlineage": Lazy("tslg.node.cli.exporting:openlineage", "Steps of agents, as OpenLineage run events."),
    "scitt": Lazy("tslg.node.cli.exporting:scitt", "Records, as SCITT signed statements with receipts."),
}


@click.group(cls=LazyGroup, lazy=_FORMATS)
def export() -> None:
    """Write lineage in a format that others read."""


@click.command(name="car")
@click.argument("id", metavar="ID")
@click.argument("file", type=FILE)
@depth_option
@click.option("--withhold", multiple=True, metavar="KIND/FIELD", help="Leave out such fields, * for any; repeat.")
@click.option("--for", "reader", metavar="READER", help="Only what this agent, or a `stranger`, may read.")
@data_option
@json_option
def export_car(
    id: str,
    file: Path,
    depth: int | None,
    withhold: tuple[str, ...],
    reader: str | None,
    data: Path | None,
    as_json: bool,
) -> int:
    """Write the verified ancestry of ID to FILE as a bundle (CARv1) that `tslg verify` checks without a network.

    Exit code: 0 if it is valid, 1 if it is invalid and nothing was written, 2 if something of it could not be had.
    """
    from tslg.node.bundling import write_walked
    from tslg.node.cli.files import replacing
    from tslg.node.cli.reporting import reasons
    from tslg.node.withholding import withholding
    from tslg.protocol.cid import to_text
    from tslg.protocol.report import INVALID

    shown = withholding(withhold) if withhold else None
    with read_home(data) as home:
        target = find_record(home.store, id)
        walked = _walk(as_read_by(home, reader), target, home.federation, depth)
    report = walked.report
    written = report.verdict != INVALID and target in report.records
    if written:
        with replacing(file) as stream:
            write_walked(stream, walked, shown)
    told = {
        "bundle": str(file) if written else None,
        "target": to_text(target),
        "verdict": report.verdict,
        "records": len(walked.walker.opened()),
    }
    for line in reasons(report):
        note(line.strip())
    emit(told, as_json, f"{report.verdict}  {f'bundle {file}' if written else 'nothing was written'}")
    return report.exit_code


def as_read_by(home: Home, reader: str | None) -> Source:
    """Return the directory's store as a source, as far as a reader may read it where one is named."""
    from tslg.node.access import gatekeeper
    from tslg.node.cli.reading import reader_of
    from tslg.node.gated import GatedSource
    from tslg.node.sources import StoreSource

    if reader is None:
        return StoreSource(home.store)
    return GatedSource(home.store, gatekeeper(home).gate_of(reader_of(home, reader)))


@click.command(name="car")
@click.argument("file", type=FILE)
@click.option("--federation", help="The federation's id; a new data directory is pinned to it.")
@depth_option
@data_option
@json_option
def import_car(file: Path, federation: str | None, depth: int | None, data: Path | None, as_json: bool) -> int:
    """Verify the targets of the bundle FILE and keep what was verified, so that it can be cited and served.

    Exit code: 0 if it was kept; 1 for an invalid and 2 for an incomplete bundle, of which nothing is kept.
    """
    from tslg.node.cli.reporting import reasons
    from tslg.node.sources import BundleSource
    from tslg.protocol.cid import to_text
    from tslg.protocol.report import VALID

    path = data_dir(data)
    pinned = _pinned(path, federation)
    bundle = read_bundle(file)
    _check_federation(bundle, pinned)
    source = BundleSource(bundle)
    walks = [_walk_all_there_is(source, target, pinned, depth) for target in bundle.targets]
    worst = max(walks, key=lambda walked: (0, 2, 1)[walked.report.exit_code]).report
    kept, forks, loose = _keep(path, bundle, walks) if worst.verdict == VALID else (0, [], [])
    told: Mapping[str, Any] = {
        "verdict": worst.verdict,
        "targets": [to_text(target) for target in bundle.targets],
        "federation": to_text(pinned),
        "kept": kept,
        "loose": [to_text(target) for target in loose],
        "forks": [{"agent": to_text(fork.owner), "seq": fork.seq} for fork in forks],
        "data": str(path),
    }
    for walked in walks:
        for line in reasons(walked.report):
            note(line.strip())
    for fork in told["forks"]:
        note(f"note: log {fork['agent']} is forked at position {fork['seq']}: see `tslg query forks`")
    for target in told["loose"]:
        note(f"note: {target} does not verify from {path}: the bundle proves the order of a deeper walk, so import all")
    emit(told, as_json, f"{worst.verdict}  {kept} new records kept in {path}")
    return worst.exit_code


def _walk_all_there_is(source: Source, target: Link, federation: Link, depth: int | None) -> Walked:
    """Walk all of a bundle, which proves the order of all that it holds, or as far as was asked or the manifest asks.

    A walk that stops earlier may go by neighbours in place of proofs, and these would not be kept.
    """
    if depth is None:
        walked = _walk(source, target, federation, None, full=True)
        if not walked.report.undetermined:
            return walked
    return _walk(source, target, federation, depth)


def _walk(source: Source, target: Link, federation: Link, depth: int | None, *, full: bool = False) -> Walked:
    from tslg.node.cli.terminal import counting
    from tslg.node.home import wall_clock
    from tslg.node.verifying import walk

    with counting("verified") as tick:
        return walk(
            source,
            target,
            federation,
            now_ms=wall_clock(),
            depth=walk_depth(source, target, depth, full),
            workers=min(4, os.cpu_count() or 1),
            tick=tick,
        )


def _pinned(path: Path, federation: str | None) -> Link:
    """Return the federation to trust: the directory's own, or the one given for a new directory.

    Raises:
        UsageError: a new directory and none given, or another one than the directory's own.
    """
    from tslg.node.home import Home
    from tslg.node.store.opening import has_store
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import UsageError

    given = None if federation is None else whole_id(federation)
    if not has_store(path):
        if given is None:
            raise UsageError(f"{path} belongs to no federation yet", mend="give --federation ID to pin one")
        return given
    with Home.read(path) as home:
        if given is not None and given != home.federation:
            raise UsageError(
                f"{path} belongs to federation {to_text(home.federation)}", mend="use another data directory"
            )
        return home.federation


def _check_federation(bundle: Bundle, pinned: Link) -> None:
    from tslg.protocol.cid import to_text
    from tslg.protocol.errors import BundleError

    if bundle.federation != pinned:
        raise BundleError(
            f"the bundle is of federation {to_text(bundle.federation)}, the one trusted is {to_text(pinned)}",
            code="TSLG-V-FEDERATION",
            mend="import it into a data directory of its own federation",
        )
    for id, detail in bundle.broken:
        raise BundleError(f"{detail}: {to_text(id)}", code="TSLG-B-BLOCK", mend="have it exported anew", record=id)


def _keep(path: Path, bundle: Bundle, walks: list[Walked]) -> tuple[int, list[Fork], list[Link]]:
    """Store what the walks verified; return how many records were new, which of the logs are forked, and which targets
    the store cannot verify as far again.
    """
    from tslg.node.adopting import keep
    from tslg.node.home import Home
    from tslg.node.sources import StoreSource
    from tslg.node.verifying import verify
    from tslg.protocol.report import VALID

    with Home.open(path, federation=_root_manifest(bundle)) as home:
        kept = sum(keep(home.ledger, walked, source="nobody", now_ms=home.clock()) for walked in walks)
        met = {agent.id for walked in walks for agent in walked.report.agents}
        # A walk that stopped may have gone by neighbours in place of proofs, which are not kept.
        source, stopped = StoreSource(home.store), [walked.report for walked in walks if walked.report.frontier]
        again = [verify(source, one.target, one.federation, now_ms=home.clock(), depth=one.depth) for one in stopped]
        loose = [report.target for report in again if report.verdict != VALID]
        return kept, [fork for fork in home.store.forks() if fork.owner in met], loose


def _root_manifest(bundle: Bundle) -> Sealed:
    """Return the federation's sealed root manifest, which a valid walk has found in the bundle."""
    from tslg.protocol.record import parse_as

    data, seal = bundle.records[bundle.federation]
    return parse_as(bundle.federation, data), seal
