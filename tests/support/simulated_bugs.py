"""Defects that are put into the code on purpose, one at a time, and the small scenarios in which they must be found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace as changed

import pytest

from tslg.node import context, perjuries
from tslg.node.artifacts import properties
from tslg.node.rivalry import Rivalry
from tslg.node.store.memory import MemoryStore
from tslg.node.witness import state
from tslg.protocol import admission, anchoring, cosignature, heads, walker, witnessing
from tslg.protocol.gathering import Gathering
from tslg.protocol.report import INVALID, Finding
from tslg.protocol.rules import authority, seals
from tslg.protocol.rules.log import rule_revoked
from tslg.simulations.disk import Disk

SCENARIO = """
[scenario]
name = "small"
hours = {hours}
agents = {agents}
signatures = "modelled"
[federation]
anchors = 3
threshold = 2
gc_horizon_s = {horizon}
{federation}
[network]
peers = 4
latency = {{ kind = "uniform", ms = 20, spread_ms = 15 }}
[[groups]]
name = "honest"
share = 4
record_s = 4
audit_s = 4
follow = 1
prune_s = {prune}
depths = {depths}
{more}
"""
HOSTILE = """
[[groups]]
name = "hostile"
share = 1
behaviour = "{behaviour}"
every_s = 8
"""
ROTATE = "".join(f'[[events]]\nkind = "rotate"\nat_s = {at}\n' for at in range(18, 24))
CRASH = """
[[faults]]
kind = "crash"
at_s = 15
share = 0.4
"""


WITNESSES = """
[[groups]]
name = "witnesses"
behaviour = "witness"
count = 3
record_s = 20
audit_s = 8
[[groups]]
name = "liars"
behaviour = "perjurer"
count = 1
every_s = 6
"""


def witnessed() -> str:
    """Return the text of a scenario in which three of four witnesses must cosign, and one lies."""
    return small("anchor_s = 3\n" + WITNESSES, federation="quorum = 3")


def bred() -> str:
    """Return the text of a scenario in which vendors breed, and one lies about what."""
    return small('behaviour = "breeder"\n', hostile="counterfeiter")


def small(
    more: str = "",
    *,
    hostile: str | None = None,
    depths: str = '["unbounded"]',
    prune: int = 0,
    federation: str = "",
) -> str:
    """Return the text of a scenario of half a minute."""
    added = more + (HOSTILE.format(behaviour=hostile) if hostile else "")
    horizon = 5 if prune else 0
    return SCENARIO.format(
        hours=0.012, agents=7, horizon=horizon, more=added, depths=depths, prune=prune, federation=federation
    )


Patch = Callable[[pytest.MonkeyPatch], None]


def without_rules(*rules: object) -> Patch:
    """Return what drops rules of admission."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        left = tuple(rule for rule in admission.STRUCTURE_RULES if rule not in rules)
        assert len(left) == len(admission.STRUCTURE_RULES) - len(rules)
        monkeypatch.setattr(admission, "STRUCTURE_RULES", left)

    return patch


def skips_signatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every signature of a record holds."""
    for kind in (context.StoreContext, walker.Walker):
        monkeypatch.setattr(kind, "signature_holds", lambda *args: True)


def ignores_forks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two records for one place, and two heads of one size, are nothing to it."""
    monkeypatch.setattr(Rivalry, "_keep_rival", lambda *args: None)
    monkeypatch.setattr(heads.Heads, "_convict", lambda *args: None)


def forgets_to_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written is acknowledged before it is on the disk."""
    monkeypatch.setattr(Disk, "sync", lambda self: None)


def counts_no_anchors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seal by any of the anchors does for a manifest."""
    rule = seals.rule_seal

    def lax(record, seal, about):
        return None if record.kind == "manifest-amendment" else rule(record, seal, about)

    monkeypatch.setattr(admission, "SEAL_RULES", (lax,))
    monkeypatch.setattr(walker, "SEAL_RULES", (lax,))


def takes_missing_for_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be had is not asked for any more, and not told."""
    monkeypatch.setattr(Gathering, "cannot", lambda self, id, reason: self._pending.discard(id))


def forgets_what_it_pruned(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ids to which a prune record commits are dropped with the records."""
    monkeypatch.setattr(MemoryStore, "pruned_ids", lambda self, prune: [])


def takes_bounds_for_breaches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What lies beyond the depth is held against the record that cites it."""
    prepare = walker.Walker._prepare

    def strict(self):
        prepare(self)
        self.complete = True

    monkeypatch.setattr(walker.Walker, "_prepare", strict)


def convicts_whoever_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A head that extends another is taken for one of another history."""

    def place(self, log, heard, news):
        before = log.tied
        if before is not None and heard.size > before.size and news.path:
            return False, self._convict(log, before, heard, news.path)
        log.tied = heard
        return False, None

    monkeypatch.setattr(heads.Heads, "_place", place)


def goes_by_dead_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Revocations end no key."""
    monkeypatch.setattr(walker.Walker, "_apply_revocations", lambda self, checks: False)
    monkeypatch.setattr(admission, "LOG_RULES", tuple(one for one in admission.LOG_RULES if one is not rule_revoked))


def judges_by_its_mood(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdict hangs on the reader's clock."""
    finish = walker.Walker.finish

    def moody(self, outside=()):
        report = finish(self, outside)
        if self.now_ms % 3 == 0:
            finding = Finding("TSLG-A-SEAL", report.target, (), "a bad day")
            report = changed(report, findings=(finding,), records={})
            assert report.verdict == INVALID
        return report

    monkeypatch.setattr(walker.Walker, "finish", moody)


def counts_no_witnesses(monkeypatch: pytest.MonkeyPatch) -> None:
    """One witness of a policy does for all."""
    vouched = anchoring.vouched

    def lax(signed, asked, now_ms):
        return vouched(signed, asked._replace(policy=asked.policy._replace(quorum=1)), now_ms)

    monkeypatch.setattr(anchoring, "vouched", lax)


def takes_lines_for_cosignatures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line in a witness's name is its word, whoever signed it."""

    def named(key, checkpoint, line):
        return int.from_bytes(line.value[:8], "big") if key.made(line) else None

    monkeypatch.setattr(cosignature, "verify", named)


def witnesses_forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """A witness cosigns whatever a log shows it, whether that extends what it cosigned before or not."""
    monkeypatch.setattr(state, "judge_tree", lambda request, seen: witnessing.Answer(witnessing.COSIGN))


def keeps_no_perjuries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two checkpoints that exclude each other are nothing to it."""
    monkeypatch.setattr(perjuries, "perjured", lambda *args: ())


def counts_any_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict on another package than its target's counts."""

    def lax(self, evaluation):
        return evaluation.owner != self._owners[evaluation.body["target"]]

    monkeypatch.setattr(properties.Ancestry, "counts", lax)


def forgets_a_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """An artifact inherits from the first of its parents alone."""
    facts = properties.Ancestry._facts

    def lax(self, record):
        found = facts(self, record)
        return found._replace(parents=found.parents[:1])

    monkeypatch.setattr(properties.Ancestry, "_facts", lax)


BUGS: dict[str, tuple[Patch, str, set[str]]] = {
    "skips signatures": (skips_signatures, small(hostile="forger"), {"acceptance", "soundness"}),
    "accepts a widened policy": (
        without_rules(authority.rule_narrowing),
        small(hostile="widener"),
        {"acceptance"},
    ),
    "accepts what is beyond a policy": (
        without_rules(authority.rule_scope, authority.rule_granted),
        small(hostile="widener"),
        {"acceptance"},
    ),
    "accepts others' delegations": (
        without_rules(authority.rule_delegation, authority.rule_granted, authority.rule_principal),
        small("delegate_s = 6\n", hostile="inventor"),
        {"acceptance", "completeness"},
    ),
    "ignores a fork": (
        ignores_forks,
        small("[invariants]\nfork_bound_s = 10\n", hostile="equivocator"),
        {"forks"},
    ),
    "forgets an fsync": (forgets_to_sync, small(CRASH), {"durability"}),
    "counts no anchors": (counts_no_anchors, small(hostile="colluder"), {"threshold"}),
    "takes what is missing for there": (takes_missing_for_there, small(hostile="withholder"), {"completeness"}),
    "forgets what it pruned": (forgets_what_it_pruned, small(prune=10), {"pruning"}),
    "takes bounds for breaches": (takes_bounds_for_breaches, small(depths="[0, 1, 2]"), {"monotony", "soundness"}),
    "convicts whoever grows": (convicts_whoever_grows, small(), {"acceptance"}),
    "goes by dead keys": (goes_by_dead_keys, small(ROTATE, hostile="rewriter"), {"acceptance"}),
    "counts no witnesses": (counts_no_witnesses, witnessed(), {"witnesses"}),
    "takes lines for cosignatures": (takes_lines_for_cosignatures, witnessed(), {"witnesses"}),
    "witnesses forget": (witnesses_forget, witnessed(), {"witnesses"}),
    "keeps no perjuries": (
        keeps_no_perjuries,
        small("anchor_s = 3\n" + WITNESSES + "[invariants]\nfork_bound_s = 12\n", federation="quorum = 1"),
        {"witnesses"},
    ),
    "counts any verdict": (counts_any_verdict, bred(), {"inheritance"}),
    "forgets a parent": (forgets_a_parent, bred(), {"inheritance"}),
    "skips signatures in bad weather": (
        skips_signatures,
        small().replace("peers = 4\n", "peers = 4\ncorrupt = 0.1\n"),
        {"acceptance"},
    ),
    "judges by its mood": (judges_by_its_mood, small(), {"agreement", "soundness", "monotony"}),
}
"""By name: how it is put in, the scenario, and the invariants by which it may be found."""
