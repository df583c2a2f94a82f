"""The demonstration from beginning to end: founds, asks, audits, tampers, and holds every outcome to account."""

from __future__ import annotations

import signal
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import trio

from tslg.node.demo import federation as federations
from tslg.node.demo import release, scanner, tampering
from tslg.node.demo.children import child
from tslg.node.demo.errors import DemoError
from tslg.node.demo.federation import Federation
from tslg.node.demo.inspection import environment
from tslg.node.demo.judging import GRANTED, LIMITS, OUTCOMES
from tslg.node.demo.story import Story
from tslg.node.demo.vendors import Vendors, at_work
from tslg.node.home import Home, wall_clock
from tslg.node.tasks import first_of
from tslg.protocol import cid
from tslg.protocol.codec import Link
from tslg.protocol.errors import UsageError
from tslg.protocol.record import Record
from tslg.protocol.report import INVALID, UNDETERMINED, VALID, Report

BUNDLE: Final = "tslg-demo.car"
"""The bundle's name in the current directory."""
KEPT_BUNDLE: Final = "demo.car"
"""The bundle's name in a directory that is kept."""
AUDIT_SECONDS: Final = 120.0
_NAMED: Final = 6


@dataclass(frozen=True, slots=True)
class Tampered:
    """A tampered bundle, the report on it, and what it shows."""

    content: bytes
    report: Report
    shows: str


def run(story: Story, keep: Path | None) -> dict[str, Any]:
    """Run the demonstration and return its document.

    Args:
        story: is told everything.
        keep: a new or empty directory for all data; None for a temporary one.

    Raises:
        DemoError: something did not come out as it should. UsageError: the directory is not empty.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", mend="name a new directory")
    with TemporaryDirectory(prefix="tslg-demo-") as name:
        scratch = Path(name)
        folder = keep if keep is not None else scratch / "data"
        try:
            return trio.run(_until_terminated, story, folder, scratch, keep is not None)
        except BaseExceptionGroup as group:
            raise first_of(group) from group


async def _until_terminated(story: Story, folder: Path, scratch: Path, kept: bool) -> dict[str, Any]:
    """Perform; let SIGTERM end it as Ctrl-C does, so that children end and temporary data is removed."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_interrupt_on_sigterm)
        document = await _perform(story, folder, scratch, kept)
        nursery.cancel_scope.cancel()
    return document


async def _interrupt_on_sigterm() -> None:
    with trio.open_signal_receiver(signal.SIGTERM) as signals:
        async for _ in signals:
            raise KeyboardInterrupt


async def _perform(story: Story, folder: Path, scratch: Path, kept: bool) -> dict[str, Any]:
    bundle = folder / KEPT_BUNDLE if kept else Path(BUNDLE)
    story.title("May this Python environment ship? Two vendors, three anchors, and a stranger who checks.")
    async with AsyncExitStack() as stack:
        federation = await _found(story, folder)
        vendors = await stack.enter_async_context(at_work(story, folder, scratch, federation))
        answer = await _inspect(story, vendors)
        decision = await _decide(story, vendors, answer)
        audited = await _audit(story, vendors, decision, scratch)
    content = (scratch / KEPT_BUNDLE).read_bytes()
    bundle.write_bytes(content)
    tampered = await trio.to_thread.run_sync(_tamper, story, folder, vendors, answer, content)
    if kept:
        for name, case in tampered.items():
            (folder / f"{name}.car").write_bytes(case.content)
    _close(story, bundle, folder if kept else None, vendors, decision)
    anchors = federation.manifest.anchors
    return {
        "federation": cid.to_text(federation.id),
        "threshold": [anchors.threshold, len(anchors.members)],
        "agents": [_agent(vendors, agent) for agent in audited["audit"]["agents"]],
        "delegation": cid.to_text(answer.delegation.id),
        "outcome": cid.to_text(decision.id),
        "audit": audited["audit"],
        "bounded": audited["bounded"],
        "resumed_agrees": audited["resumed_agrees"],
        "tampered": {name: case.report.to_json() for name, case in tampered.items()},
        "bundle": str(bundle),
        "records": audited["audit"]["records"],
    }


def _agent(vendors: Vendors, agent: dict[str, Any]) -> dict[str, Any]:
    peer = vendors.peer(cid.from_text(agent["id"]))
    return {"id": agent["id"], "name": agent["name"], "peer": peer, "records": agent["records"]}


# --- the vendors ---------------------------------------------------------------------------------------------------


async def _found(story: Story, folder: Path) -> Federation:
    with story.step("Three anchors found a federation, without a dealer"):
        federation = await trio.to_thread.run_sync(federations.found, folder / "federation")
        anchors = federation.manifest.anchors
        names = ", ".join(member.name for member in anchors.members)
        story.tell(f"{names}: any {anchors.threshold} of {len(anchors.members)} sign, nobody ever holds the key")
        story.tell(f"federation {cid.to_text(federation.id)}")
    return federation


async def _inspect(story: Story, vendors: Vendors) -> release.Answer:
    node, agent, address = vendors.node, vendors.agent, vendors.scanner_address
    with story.step("Vendor A delegates the inspection; vendor B inspects and answers"):
        found = await trio.to_thread.run_sync(environment)
        given = await trio.to_thread.run_sync(release.charge, agent, found, node.home.clock())
        minutes = release.VALID_MS // 60_000
        limits = ", ".join(f"{name} {limit}" for name, limit in LIMITS.items())
        story.tell(f"granted for {minutes} min: {len(GRANTED)} capabilities, {limits}; not to be passed on")

        def tell(done: int, total: int | None) -> None:
            story.progress(f"Vendor B inspects: {done} of {total} distributions")

        delegation, result = await release.ask(node, agent, given, vendors.scanner_id, address, tell)
        answer = await release.check(node, given, delegation, result, address)
        data = answer.summary.body["data"]
        story.tell(
            f"{data['distributions']} distributions, {data['files']:,} files, {data['bytes'] / 1e6:,.0f} MB "
            "held against their RECORD"
        )
        story.tell(", ".join(f"{data[outcome]} {outcome}" for outcome in OUTCOMES))
        for record in answer.not_ok[:_NAMED]:
            named = f"{record.body['name']} {record.body['data']['version']}"
            story.verdict("  ", record.body["outcome"], f"{named}: {record.body['reason']}")
        if len(answer.not_ok) > _NAMED:
            story.tell(f"  … {len(answer.not_ok) - _NAMED} more")
    return answer


async def _decide(story: Story, vendors: Vendors, answer: release.Answer) -> Record:
    with story.step("Vendor A verifies all of it and decides"):
        decision = await release.decide(vendors.agent, answer)
        story.tell(f"{len(answer.report.records)} records behind vendor B's answer fetched and verified first")
        story.verdict("", decision.body["outcome"], decision.body["reason"])
        story.tell(f"record {cid.to_text(decision.id)}")
    return decision


# --- the stranger --------------------------------------------------------------------------------------------------


async def _audit(story: Story, vendors: Vendors, decision: Record, scratch: Path) -> dict[str, Any]:
    """Let a third process audit the decision, and check what it found."""
    arguments = ["--federation", cid.to_text(vendors.federation.id), "--record", cid.to_text(decision.id)]
    arguments += ["--peer", vendors.node.addresses[0], "--bundle", str(scratch / KEPT_BUNDLE)]
    with story.step("A stranger audits it, knowing a federation, a record, an address"):
        async with child("auditor", "tslg.node.demo.auditor", arguments, scratch) as process:
            found: dict[str, Any] = await process.receive(AUDIT_SECONDS)
        full, bounded = found["audit"], found["bounded"]
        _expect(full["verdict"] == VALID, f"the audit is {full['verdict']}, not valid")
        _expect(bounded["verdict"] == VALID, f"the bounded audit is {bounded['verdict']}, not valid")
        _expect(bool(bounded["frontier"]), "the bounded audit names no frontier")
        _expect(found["resumed_agrees"], "the bounded audit, resumed to the end, differs from the full one")
        _expect(len(full["agents"]) == len((vendors.agent.id, vendors.scanner_id)), "the audit met other agents")
        story.verdict("in full     ", full["verdict"], _facts(full))
        story.verdict("within D    ", bounded["verdict"], _facts(bounded))
        stopped = ", ".join(f"{_name(full, entry['agent'])} at {entry['size']}" for entry in bounded["frontier"])
        story.tell(f"  D = {bounded['depth']} edges, as the manifest asks; stopped at {stopped} records,")
        story.tell("  whose log roots commit to the rest; resumed from there to the end it agrees with the full one")
        story.tell("who, what, under which policy, on what evidence, by whose authority (a few of many):")
        story.quote(found["tree"])
    return found


def _facts(report: dict[str, Any]) -> str:
    return (
        f"{report['edges']} edges, {report['records']} records of {len(report['agents'])} agents, "
        f"{report['round_trips']} round trips, {report['seconds']:.2f} s"
    )


def _name(report: dict[str, Any], agent: str) -> str:
    return next((str(item.get("name")) for item in report["agents"] if item["id"] == agent), agent)


# --- tampering -----------------------------------------------------------------------------------------------------


def _tamper(
    story: Story, folder: Path, vendors: Vendors, answer: release.Answer, content: bytes
) -> dict[str, Tampered]:
    with story.step("And if somebody tampers with it?"):
        now = wall_clock()
        verdict = tampering.judged(content, now).verdict
        _expect(verdict == VALID, f"the bundle that the auditor wrote is {verdict}")
        story.verdict("untouched   ", verdict, "the bundle, verified without any network")
        # Both victims lie within D_verify, so that a reader who goes no deeper finds out as well.
        near = tampering.judged(content, now, vendors.federation.manifest.envelope.verify_depth).records
        decision = next((one for one in (*answer.not_ok, *answer.decisions) if one.id in near), answer.summary)
        evidence = next(near[edge.cid] for edge in answer.summary.edges("evidence") if edge.cid in near)
        cases = {
            "altered": _altered(content, decision, now),
            "dropped": _dropped(content, evidence, now),
            "forged": _forged(folder, vendors, answer, content, now),
        }
        for name, case in cases.items():
            report = case.report
            story.verdict(f"{name:<12}", report.verdict, case.shows)
            for finding in report.findings:
                story.tell(f"  {finding.code} {cid.short(finding.record)} {finding.detail}")
            for item in report.undetermined:
                story.tell(f"  {item.reason} {cid.short(item.record)}")
    return cases


def _altered(content: bytes, victim: Record, now: int) -> Tampered:
    changed = tampering.altered(content, victim)
    report = tampering.judged(changed, now)
    found = {(finding.code, finding.record) for finding in report.findings}
    _expect(report.verdict == INVALID and ("TSLG-R-ID", victim.id) in found, "an altered record was not noticed")
    return Tampered(changed, report, f"one bit of the decision on {victim.body['name']} turned over")


def _dropped(content: bytes, victim: Record, now: int) -> Tampered:
    changed = tampering.dropped(content, victim)
    report = tampering.judged(changed, now)
    found = {(item.record, item.reason) for item in report.undetermined}
    wanted = report.verdict == UNDETERMINED and (victim.id, "absent") in found
    _expect(wanted, "a record that was left out was not noticed")
    return Tampered(changed, report, f"one record that vendor B's answer rests on left out: its {victim.kind}")


def _forged(folder: Path, vendors: Vendors, answer: release.Answer, content: bytes, now: int) -> Tampered:
    """Let vendor B, with its real key, claim an authority that vendor A never granted."""
    with Home.read(vendors.scanner_data) as home:
        seed = home.agent_key(vendors.scanner_id).seed
        delegate = _pen(home, vendors.scanner_id, seed, now)
    with Home.read(folder / release.NAME) as home:
        delegator = _pen(home, vendors.agent.id, seed, now)
    forgery = tampering.forged(tampering.read(content), answer.summary, answer.delegation, delegator, delegate)
    report = tampering.judged(forgery.content, now)
    found = {(finding.code, finding.record) for finding in report.findings}
    wanted = {
        ("TSLG-A-SEAL", forgery.policy),
        ("TSLG-A-SEAL", forgery.delegation),
        ("TSLG-A-WIDENED", forgery.overreach),
    }
    _expect(report.verdict == INVALID and wanted <= found, "a claim of authority never granted was not noticed")
    return Tampered(forgery.content, report, f"vendor B claims {tampering.UNGRANTED}, which vendor A never granted")


def _pen(home: Home, owner: Link, seed: bytes, now: int) -> tampering.Pen:
    """Set a pen to the end of a log that this home holds whole, to sign with a seed that need not be its agent's."""
    state = home.store.log_state(owner)
    if state is None:
        raise DemoError("a vendor's own log is not complete", record=owner)
    ids = [Link(leaf) for leaf in home.store.leaves(owner, state.size)]
    return tampering.Pen(owner, owner, seed, ids, now, home.manifest.id)


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DemoError(otherwise)


def _close(story: Story, bundle: Path, kept: Path | None, vendors: Vendors, decision: Record) -> None:
    """Say that all is well, and what to try next."""
    total = sum(seconds for _, seconds in story.times)
    story.say()
    story.say(f"Everything came out as it should, in {total:.1f} s.")
    story.say()
    federation = cid.to_text(vendors.federation.id)
    story.say(f"The bundle is {bundle}; whoever has it can check it without us and without a network:")
    story.say(f"    tslg verify {bundle} --federation {federation}")
    if kept is None:
        story.say("    tslg demo --keep DIR    keeps both nodes, the anchors' files and the tampered bundles too")
        return
    story.say(f"    tslg verify {kept / 'forged.car'} --federation {federation}")
    story.say("Both nodes can be run again, each in a shell of its own, and audited over the network:")
    for name in (release.NAME, scanner.NAME):
        story.say(f"    tslg node run --data {kept / name}")
    story.say(f"    tslg audit {cid.to_text(decision.id)} --federation {federation} --peer ADDRESS --peer ADDRESS")
