"""`tslg verify`: the ancestry of a record held here, or of a bundle that somebody handed over, without a network."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tslg.node.cli.access import FILE, data_option, find_record, read_home, whole_id, write_home
from tslg.node.cli.composed import composing_options
from tslg.node.cli.log_proofs import check_log_proof, is_log_proof, policy_options, refuse_policy
from tslg.node.cli.output import emit, json_option

if TYPE_CHECKING:
    from tslg.node.parallel import Pool
    from tslg.node.sources import Source
    from tslg.node.verifying import Outside
    from tslg.protocol.bundle import Bundle
    from tslg.protocol.codec import Link
    from tslg.protocol.errors import BundleError
    from tslg.protocol.record import Record
    from tslg.protocol.report import Reliance, Report

C = TypeVar("C", bound=Callable[..., Any])

FOREIGN_FEDERATION: Final = "TSLG-V-FEDERATION"


def walk_options(command: C) -> C:
    """Add the options that say how far a walk goes and what it checks."""
    for option in (
        click.option(
            "--log",
            type=click.Choice(["visited", "full", "none"]),
            default="visited",
            show_default=True,
            help="Prove the order of what was visited, read whole logs, or leave order unchecked.",
        ),
        click.option(
            "--signatures",
            type=click.Choice(["all", "heads"]),
            default="all",
            show_default=True,
            help="Check every seal, or the newest of each key and hashes before it.",
        ),
        click.option(
            "--require-post-quantum", is_flag=True, help="Every agent's record must bear a post-quantum signature."
        ),
        click.option("--full", is_flag=True, help="Traverse all edges there are, whatever --depth says."),
        click.option(
            "--depth", type=click.IntRange(0), help="Traverse at most so many edges.  [the manifest's verify_depth]"
        ),
    ):
        command = option(command)
    return command


@click.command()
@click.argument("target", metavar="ID|FILE.car|FILE.tlog-proof")
@data_option
@walk_options
@click.option("--workers", type=click.IntRange(1, 64), help="How many check at once.  [one a core]")
@click.option(
    "--pool",
    type=click.Choice(["auto", "threads", "processes", "ray"]),
    default="auto",
    show_default=True,
    help="Where they check: auto takes processes for large bundles; ray needs the extra of that name.",
)
@click.option("--head", "heads", type=FILE, multiple=True, help="A checkpoint to hold a log against; repeat.")
@click.option("--save", type=FILE, help="Keep which records were verified, …")
@click.option("--resume", type=FILE, help="… and go on from there without checking their seals again.")
@click.option("--federation", help="The federation's id, the only thing that is trusted.")
@click.option("--tree/--no-tree", default=True, help="Draw the ancestry.  [yes]")
@policy_options
@composing_options
@json_option
def verify(target: str, **options: Any) -> int:
    """Verify the ancestry of a record held here, or of the targets of a bundle, or a proof that a log holds a record.

    Exit code: 0 valid, 1 invalid, 2 undetermined.
    """
    path = Path(target)
    if is_log_proof(path):
        return check_log_proof(path, options, options["as_json"])
    refuse_policy(options)
    if path.suffix == ".car" or os.sep in target or (len(target) < 256 and path.is_file()):
        _refuse_building_on_a_file(options)
        return _verify_bundle(path, options)
    return _verify_held(target, options)


def _refuse_building_on_a_file(options: Mapping[str, Any]) -> None:
    from tslg.protocol.errors import UsageError

    for name, option in (("relied", "rely"), ("deepen", "deepen"), ("recorder", "record")):
        if options[name]:
            raise UsageError(
                f"--{option} builds on records held here, not on a file",
                mend="take the file in with `tslg import car`, and verify the record by its id",
            )


def _verify_held(target: str, options: Mapping[str, Any]) -> int:
    from tslg.node.cli.composed import concluded, earlier, publish
    from tslg.node.composing import as_written
    from tslg.node.sources import StoreSource
    from tslg.protocol.cid import to_text

    name = options["recorder"]
    with read_home(options["data"]) if name is None else write_home(options["data"]) as home:
        pinned = home.federation if options["federation"] is None else whole_id(options["federation"])
        id, source = find_record(home.store, target), StoreSource(home.store)
        outside = outside_heads(options["heads"], home.store)
        alone = {**options, "depth": 0, "full": False, "log": "visited", "save": None, "resume": None}
        before = earlier(home.store, options, lambda one: walk_one(source, one, pinned, alone, ()))
        report = walk_one(source, id, pinned, options, outside, before.relying.reliances)
        told, extra, against = concluded(report, before, as_written(home.store))
        if name is not None:
            extra["verification"] = to_text(publish(home, name, report, before.deepened, against).id)
        return _tell([told], extra, options)


def _verify_bundle(path: Path, options: Mapping[str, Any]) -> int:
    from tslg.node.cli.pooled import verify_bundle
    from tslg.protocol.errors import BundleError

    try:
        bundle = read_bundle(path)
    except BundleError as error:
        if not options["as_json"]:
            raise
        emit(_broken(error, options, path), True, "")
        return 1
    given = options["federation"]
    pinned = bundle.federation if given is None else whole_id(given)
    if pinned != bundle.federation:
        reports = [_foreign(bundle, pinned, options)]
    else:
        reports = verify_bundle(path, bundle, pinned, options)
    return _tell(reports, {"bundle": str(path), "federation_pinned": given is not None}, options)


def read_bundle(path: Path) -> Bundle:
    """Read a bundle's file. Raises BundleError, OSError."""
    from tslg.protocol import bundle

    with path.open("rb") as file:
        return bundle.read(file)


def walk_depth(source: Source, target: Link, depth: int | None, full: bool) -> int | None:
    """Return the depth to walk: the one that was asked for, else that of the manifest that the target names.

    The target and its manifest are not verified yet. The walk does that: it is bounded by this manifest only if it
    finds the target sealed under it.
    """
    from tslg.protocol.errors import TslgError
    from tslg.protocol.manifest import Manifest
    from tslg.protocol.record import parse_as

    if full or depth is not None:
        return None if full else depth
    try:
        record = parse_as(target, source.pairs([target])[target][0])
        id = record.manifest if record.manifest is not None else record.id
        return Manifest.from_record(parse_as(id, source.pairs([id])[id][0])).envelope.verify_depth
    except (KeyError, TslgError):
        # What is absent or broken here, the walk will find and report.
        return None


def walk_one(
    source: Source,
    id: Link,
    pinned: Link,
    options: Mapping[str, Any],
    outside: Outside,
    relied: Mapping[Link, Reliance] | None = None,
    *,
    pool: Pool | None = None,
) -> Report:
    """Verify one target as the options say, with threads or, if a pool is given, with its processes beside it."""
    from tslg.node.cli import saved
    from tslg.node.cli.terminal import counting
    from tslg.node.home import wall_clock
    from tslg.node.verifying import verify

    known: Mapping[Link, Record] = {}
    if options["resume"] is not None:
        known = saved.read(options["resume"], source, id, pinned, options["signatures"])
    with counting("verified") as tick:
        report = verify(
            source,
            id,
            pinned,
            now_ms=wall_clock(),
            depth=walk_depth(source, id, options["depth"], options["full"]),
            signatures=options["signatures"],
            log=options["log"],
            post_quantum=options["require_post_quantum"],
            workers=options["workers"] or min(4, os.cpu_count() or 1),
            pool=pool,
            outside=outside,
            known=known,
            relied=relied,
            tick=tick,
        )
    if options["save"] is not None:
        saved.write(options["save"], report)
    return report


def outside_heads(files: tuple[Path, ...], store: Any = None) -> Outside:
    """Return what finds the heads known from elsewhere: in checkpoint files, and remembered in a store."""
    from tslg.node.cli.heads import heads_in_files
    from tslg.node.home import wall_clock
    from tslg.node.sources import heads_seen
    from tslg.protocol.walker import OutsideHead, Walker

    def find(walker: Walker) -> Iterator[OutsideHead]:
        if store is not None:
            yield from heads_seen(store, walker.met(), wall_clock())
        yield from heads_in_files(files, walker)

    return find


def _tell(reports: list[Report], extra: Mapping[str, Any], options: Mapping[str, Any]) -> int:
    """Print the reports as one document, and return the exit code of the worst."""
    from tslg.node.cli.reporting import report_text
    from tslg.protocol.cid import to_text
    from tslg.protocol.report import EXIT_CODES, INVALID, UNDETERMINED, VALID

    verdict = next(one for one in (INVALID, UNDETERMINED, VALID) if any(report.verdict == one for report in reports))
    notes: list[str] = []
    if "verification" in extra:
        notes.append(f"  published as verification {extra['verification']}")
    if extra.get("federation_pinned") is False:
        notes += [
            f"  the federation {to_text(reports[0].federation)} was taken from the bundle itself:",
            "  this says that the bundle is consistent, not whose it is; give --federation ID to pin it",
        ]
    data: dict[str, Any] = reports[0].to_json() if len(reports) == 1 else {"verdict": verdict}
    if len(reports) > 1:
        data["reports"] = [report.to_json() for report in reports]
    texts = (report_text(report, tree=options["tree"], notes=notes) for report in reports)
    emit(data | dict(extra), options["as_json"], lambda: "\n\n".join(texts))
    return EXIT_CODES[verdict]


def _foreign(bundle: Bundle, pinned: Link, options: Mapping[str, Any]) -> Report:
    """Return the report on a bundle of another federation than the one that is trusted: nothing of it is walked."""
    from tslg.protocol.cid import to_text
    from tslg.protocol.report import Finding, Report

    detail = f"the bundle is of federation {to_text(bundle.federation)}, the one trusted is {to_text(pinned)}"
    return Report(
        target=bundle.targets[0],
        federation=pinned,
        depth=options["depth"],
        signatures=options["signatures"],
        log=options["log"],
        edges=0,
        agents=(),
        findings=(Finding(FOREIGN_FEDERATION, bundle.targets[0], (), detail),),
        undetermined=(),
        frontier=(),
        freshness=(),
        records={},
    )


def _broken(error: BundleError, options: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """Return the document for a file that is no bundle: as a report, with nothing in it but the finding."""
    return {
        "verdict": "invalid",
        "target": None,
        "federation": options["federation"],
        "depth": options["depth"],
        "signatures": options["signatures"],
        "log": options["log"],
        "edges": 0,
        "records": 0,
        "agents": [],
        "findings": [{"code": error.code, "record": None, "path": [], "detail": error.detail}],
        "undetermined": [],
        "frontier": [],
        "freshness": [],
        "manifest": None,
        "report_digest": None,
        "seconds": 0.0,
        "bundle": str(path),
        "federation_pinned": options["federation"] is not None,
    }
