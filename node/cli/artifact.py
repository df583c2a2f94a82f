"""`tslg artifact`: record packages and what becomes of them, and ask what they derive from and inherit."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from tslg.node.cli.access import data_option, read_home, write_home
from tslg.node.cli.artifact_asking import QUESTIONS
from tslg.node.cli.artifact_finding import find_artifact
from tslg.node.cli.describing import plain
from tslg.node.cli.given import given_amounts, given_map, given_span
from tslg.node.cli.output import emit, json_option
from tslg.node.cli.recording import author_of, cites, common, done

if TYPE_CHECKING:
    from tslg.node.artifacts.package import Difference
    from tslg.node.cli.recording import Author
    from tslg.protocol.codec import Link

C = TypeVar("C", bound=Callable[..., Any])
PATH: Final = click.Path(path_type=Path, exists=True)


@click.group()
def artifact() -> None:
    """Record packages of files and what becomes of them; ask what they derive from and inherit.

    ID is an artifact's id or its beginning, its name, or AGENT:ALIAS.
    """


for question in QUESTIONS:
    artifact.add_command(question)


def _found(author: Author, texts: Sequence[str]) -> list[Link]:
    return [find_artifact(author.home.store, text) for text in texts]


@artifact.command()
@click.argument("path", type=PATH)
@click.option("--name", help="What people call it.  [the path's last part]")
@click.option("--type", "type_", default="model", show_default=True, help="dataset, adapter, tokenizer, suite …")
@click.option("--parent", "parents", multiple=True, metavar="ID", help="What it derives from, data included; repeat.")
@click.option("--operator", default="source", show_default=True, help="What made it.")
@click.option("--operator-version", default="1", show_default=True, help="Its version.")
@click.option("--config", type=PATH, help="The operator's configuration, which is kept.")
@click.option("--licence", "licences", multiple=True, metavar="SPDX", help="An SPDX expression; repeat.")
@click.option("--restriction", "restrictions", multiple=True, help="A restriction of its data; repeat.")
@click.option("--vulnerability", "vulnerabilities", multiple=True, help="A known vulnerability; repeat.")
@click.option("--family", help="The family of base models.")
@click.option("--trained-on", metavar="ID", help="The parent that is its training data.")
@click.option("--cohort", metavar="ID", help="The record that started its batch.")
@click.option("--keep", is_flag=True, help="Keep the contents of its files, to rebuild it from.")
@cites("policy", "evidence", "delegation")
@common
def add(path: Path, **options: Any) -> None:
    """Hash the package at PATH, a folder or one file, and record it."""
    from tslg.node.artifacts import graph
    from tslg.node.artifacts.keeping import register
    from tslg.node.cli.access import find_record

    with author_of(options) as author:
        store = author.home.store
        parents = _found(author, options["parents"])
        data = options["trained_on"]
        trained = None if data is None else find_artifact(store, data)
        made = register(
            author.agent,
            path,
            options["name"] or path.resolve().name,
            type=options["type_"],
            keep=options["keep"],
            config=None if options["config"] is None else options["config"].read_bytes(),
            licences=options["licences"],
            tick=_reading(),
            operator=options["operator"],
            operator_version=options["operator_version"],
            parents=list(dict.fromkeys([*parents, *([] if trained is None else [trained])])),
            restrictions=options["restrictions"],
            vulnerabilities=options["vulnerabilities"],
            family=options["family"],
            training_data=None if trained is None else graph.artifact(store, trained).body["package"]["digest"],
            cohort=None if options["cohort"] is None else find_record(store, options["cohort"]),
            **{name: author.ids(options[name]) for name in ("policy", "evidence", "delegation")},
        )
        done(made, options)


def _reading() -> Callable[[int], None]:
    from tslg.node.cli.terminal import Counter

    counter, read = Counter("bytes read"), [0]

    def tick(count: int) -> None:
        read[0] += count
        counter(read[0])

    return tick


@artifact.command()
@click.argument("id", metavar="ID")
@click.argument("path", type=PATH)
@data_option
@json_option
def check(id: str, path: Path, data: Path | None, as_json: bool) -> int:
    """Tell whether the files at PATH are the package of ID. Exit code: 0 they are, 1 they are not."""
    from tslg.node.artifacts.keeping import check as hold

    with read_home(data) as home:
        found = hold(home.store, find_artifact(home.store, id), path, _reading())
    told = {"same": found.same, "listed": found.listed, "differences": _differences(found.differences)}
    lines = [plain(f"{one.how}: {one.path}", 400) for one in found.differences]
    if not found.same and not found.listed:
        lines = ["another package; which files differ is not known here, for want of its listing"]
    emit(told, as_json, lambda: "the very package" if found.same else "\n".join(lines))
    return 0 if found.same else 1


def _differences(found: Sequence[Difference]) -> list[dict[str, str]]:
    return [one._asdict() for one in found]


@artifact.command()
@click.argument("id", metavar="ID")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--run", metavar="COMMAND", help="Make it by this command instead of from the contents that are kept.")
@click.option("--package", "packages", multiple=True, nargs=2, metavar="ID PATH", help="Where a parent lies; repeat.")
@data_option
@json_option
def rebuild(id: str, folder: Path, run: str | None, packages: Sequence[tuple[str, str]], **options: Any) -> int:
    """Put the package of ID together again in FOLDER, which is new, and compare it. Exit code: 0 the very package.

    COMMAND gets TSLG_OUT, TSLG_CONFIG (a file) and TSLG_PARENTS (a folder with a folder for each parent, by its id).
    """
    from tslg.node.artifacts.rebuilding import rebuild as build
    from tslg.node.cli.artifact_running import running

    with read_home(options["data"]) as home:
        places = {find_artifact(home.store, one): Path(place) for one, place in packages}
        operator = None if run is None else running(run)
        found = build(home.store, find_artifact(home.store, id), folder, operator, places)
    told = {"same": found.same, "how": found.how, "content": found.digest.hex()}
    told["differences"] = _differences(found.differences)
    lines = ["another package", *(plain(f"{one.how}: {one.path}", 400) for one in found.differences)]
    emit(told, options["as_json"], "the very package, bit for bit" if found.same else "\n".join(lines))
    return 0 if found.same else 1


@artifact.command()
@click.argument("id", metavar="ID")
@click.option("--suite", required=True, help="The suite's name.")
@click.option("--suite-artifact", metavar="ID", help="The suite as an artifact, which freezes it.")
@click.option("--suite-digest", metavar="HEX", help="Its content hash, if it is no artifact.")
@click.option("--score", "scores", multiple=True, metavar="NAME=NUMBER", help="A whole number; repeat.")
@click.option("--passed", multiple=True, help="What it passed: task, safety, compatibility …; repeat.")
@click.option("--failed", multiple=True, help="What it failed; repeat.")
@click.option("--resolves", multiple=True, nargs=3, metavar="ID WHAT NAME", help="An issue of an ancestor; repeat.")
@click.option("--report", type=PATH, help="A file with the evidence, which is kept.")
@cites("policy", "evidence", "delegation")
@common
def evaluate(id: str, **options: Any) -> None:
    """Record what the exact package of ID scored, what it passed and failed, and what that resolves.

    WHAT is licence, restriction or vulnerability, and ID before it the ancestor from which it comes.
    """
    from tslg.node.artifacts import graph
    from tslg.protocol.errors import UsageError

    with author_of(options) as author:
        store = author.home.store
        suite, digest = options["suite_artifact"], options["suite_digest"]
        if (suite is None) == (digest is None):
            raise UsageError("a suite is frozen by one of --suite-artifact and --suite-digest", mend="give one")
        frozen = None if suite is None else graph.artifact(store, find_artifact(store, suite))
        report = options["report"]
        made = author.agent.evaluation(
            find_artifact(store, id),
            suite=options["suite"],
            suite_digest=_hex(digest) if frozen is None else frozen.body["package"]["digest"],
            scores=given_amounts(options["scores"]),
            passed=options["passed"],
            failed=options["failed"],
            resolves=[
                {"origin": find_artifact(store, origin), "what": what, "name": name}
                for origin, what, name in options["resolves"]
            ],
            report=None if report is None else author.agent.blob(report.read_bytes()),
            evidence=[*(author.ids(options["evidence"]) or ()), *([] if frozen is None else [frozen.id])],
            policy=author.ids(options["policy"]),
            delegation=author.ids(options["delegation"]),
        )
        done(made, options)


def _hex(text: str) -> bytes:
    from tslg.protocol.errors import UsageError

    try:
        digest = bytes.fromhex(text.removeprefix("sha256:"))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise UsageError(f"{text[:80]!r} is no SHA-256", mend="give 64 hexadecimal digits")
    return digest


@artifact.command()
@click.argument("id", metavar="ID")
@click.option("--vulnerability", "vulnerabilities", multiple=True, help="A vulnerability; repeat.")
@click.option("--restriction", "restrictions", multiple=True, help="A restriction; repeat.")
@click.option("--withdrawn", multiple=True, metavar="SPDX", help="A licence that holds no more; repeat.")
@click.option("--reason", required=True, help="What is known, and from where.")
@common
def advise(id: str, **options: Any) -> None:
    """Record what became known of ID, which reaches everything that derives from it."""
    with author_of(options) as author:
        found = {name: options[name] for name in ("vulnerabilities", "restrictions", "withdrawn")}
        done(author.agent.advisory(find_artifact(author.home.store, id), reason=options["reason"], **found), options)


@artifact.command()
@click.argument("id", metavar="ID")
@click.argument("state")
@click.option("--reason", help="Why.")
@cites("policy", "evidence", "delegation")
@common
def transition(id: str, state: str, **options: Any) -> None:
    """Move ID to the lifecycle STATE: shadow, canary, champion, standby, rolled-back, rejected, retired, revoked …"""
    with author_of(options) as author:
        made = author.agent.transition(
            find_artifact(author.home.store, id), state, reason=options["reason"], **_cited(author, options)
        )
        done(made, options)


@artifact.command()
@click.argument("alias")
@click.argument("id", metavar="ID")
@click.option("--rollback", metavar="ID", help="What to go back to, proven deployable.")
@click.option("--reason", help="Why.")
@cites("policy", "evidence", "delegation")
@common
def release(alias: str, id: str, rollback: str | None, **options: Any) -> None:
    """Point ALIAS at ID from here on."""
    with author_of(options) as author:
        store = author.home.store
        back = None if rollback is None else find_artifact(store, rollback)
        target = find_artifact(store, id)
        made = author.agent.release(alias, target, rollback=back, reason=options["reason"], **_cited(author, options))
        done(made, options)


def _cited(author: Author, options: dict[str, Any]) -> dict[str, Any]:
    return {name: author.ids(options[name]) for name in ("policy", "evidence", "delegation")}


@artifact.command()
@click.argument("alias")
@click.option("--reason", required=True, help="Why.")
@common
def rollback(alias: str, reason: str, **options: Any) -> None:
    """Take what ALIAS points at out of service, and go back to what its release named."""
    from tslg.node.artifacts.course import roll_back

    with author_of(options) as author:
        done(roll_back(author.agent, author.home.store, alias, reason).release, options)


@artifact.command()
@click.argument("name")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--of", multiple=True, metavar="ID", help="What its members derive from; repeat.")
@common
def batch(name: str, pairs: tuple[str, ...], of: tuple[str, ...], **options: Any) -> None:
    """Record that the batch NAME begins; the pairs say how it is made. Members name its id with --cohort."""
    with author_of(options) as author:
        done(author.agent.cohort(name, _found(author, of) or None, input=given_map(pairs)), options)


@artifact.command()
@click.option("--horizon", default="30d", show_default=True, help="What is younger stays.")
@click.option("--apply", "carry", is_flag=True, help="Drop the contents of what may go, and record it.")
@click.option("--reason", default="redundant", show_default=True, help="Why.")
@click.option("--agent", "author", help="Whose releases and states count.  [the only one here]")
@data_option
@json_option
def archive(horizon: str, carry: bool, reason: str, **options: Any) -> None:
    """Show which packages' contents may go, and why others stay; with --apply, let them go. Records always stay."""
    from tslg.node.artifacts import archiving
    from tslg.node.cli.recording import chosen_agent
    from tslg.protocol.cid import to_text

    opened = write_home(options["data"]) if carry else read_home(options["data"])
    with opened as home:
        agent = chosen_agent(home, options["author"]) if carry else None
        by = agent.id if agent is not None else _log(home.store, options["author"], home)
        kept = home.manifest.envelope.retention.get("artifact", 0)
        planned = archiving.plan(
            home.store,
            by,
            now_ms=home.clock(),
            horizon_ms=given_span(horizon),
            retention_ms=kept,
            beside=[key.genesis.id for key in home.agent_keys()],
        )
        dropped = 0 if agent is None else archiving.carry_out(agent, home.store, planned, reason)
    told = {
        "goes": {to_text(id): state for id, state in planned.goes.items()},
        "stays": {to_text(id): why for id, why in planned.stays.items()},
        "contents": len(planned.contents),
        "dropped": dropped,
    }
    lines = [f"goes   {to_text(id)}  {state}" for id, state in planned.goes.items()]
    lines += [f"stays  {to_text(id)}  {why}" for id, why in planned.stays.items()]
    lines += [f"{len(planned.contents)} contents may go" + (f", {dropped} are gone" if carry else "")]
    emit(told, options["as_json"], "\n".join(lines))


def _log(store: Any, name: str | None, home: Any) -> Link:
    from tslg.node.cli.access import find_log
    from tslg.protocol.errors import UsageError

    if name is not None:
        return find_log(store, name)
    owners: list[Link] = [log.owner for log in store.logs() if log.owner != home.federation]
    if len(owners) != 1:
        raise UsageError(f"{len(owners)} agents are known here", code="TSLG-U-AMBIGUOUS", mend="name one with --agent")
    return owners[0]
