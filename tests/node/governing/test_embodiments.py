"""Gates in federations of every embodiment, under delegations, and before models that are not of language."""

from __future__ import annotations

import pytest
from breaches_flat import FLAT
from gates import POLICY, candidate, gated
from homes import opened, verdict
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from pruning_scene import Clock, Setting, let_go
from world import HYBRID, MERKLE, NOW

from tslg.node.governing.content import digest
from tslg.node.governing.gate import Gate
from tslg.protocol.errors import UsageError
from tslg.protocol.governing.state import START, Semantic, state_digest
from tslg.protocol.record import parse_as

SMALL = b"""
capabilities = ["delete", "read"]
class = "internal"
limits = { n = 9 }
[intents.read]
uses = ["read"]
[intents.clean]
uses = ["delete"]
[intents.big]
decompose = true
"""


@pytest.mark.parametrize("toml", [FLAT, MERKLE, HYBRID], ids=["flat", "merkle", "hybrid"])
def test_a_gate_works_in_every_embodiment(tmp_path, toml):
    with opened(tmp_path / "node", toml) as home:
        gate = Gate(home.agent("bot"), SMALL)
        first = gate.submit(candidate("read", state={"n": 1}, output="one"))
        seen = gate.submit(candidate("read"))
        second = gate.submit(candidate("read", state={"n": 2}, upon=gate.state.digest, evidence=seen.record))
        rejected = gate.submit(candidate("drop"))
        parts = gate.submit(candidate("big", parts=(candidate("read", state={"n": 3}), candidate("drop"))))
        made = gate.compose([first, parts.parts[0]], rule="both", output="one three", intent="read")
        late = gate.finish(gate.submit(candidate("read")), "later")
        assert [one.verdict for one in (first, second, rejected, parts)] == [
            *("admitted", "admitted", "rejected", "decomposed"),
        ]
        assert gate.state.data == {"n": 3}
        for record in (second.record, rejected.record, parts.parts[0].record, made, late):
            assert verdict(home, record) == "valid"
    with opened(tmp_path / "node", seed="again") as home:
        assert Gate(home.agent("bot"), SMALL).state.data == {"n": 3}


def test_under_a_delegation_the_policy_reaches_as_far_as_the_grant(tmp_path):
    with opened(tmp_path / "node", FLAT.replace('edges = "flat"', "")) as home:
        chief, bot = home.agent("chief"), home.agent("bot")
        grant = chief.policy("grant", capabilities=["read"], limits={"n": 3}, classes=["internal"], tiers=["low"])
        handed = chief.delegate(bot.id, {"do": "read"}, grant, expires=NOW + 10**6)
        gate = Gate(bot, SMALL)
        fine = gate.submit(candidate("read", delegation=handed, spends={"n": 3}))
        assert fine.admitted and [edge.cid for edge in fine.record.preds["delegation"]] == [handed.id]
        under = home.ledger.context.record(fine.record.preds["policy"][0].cid)
        assert under.body["capabilities"] == ["read"] and under.body["limits"] == {"n": 3}
        assert under.body["not_after"] == NOW + 10**6
        assert gate.submit(candidate("read", delegation=handed, spends={"n": 4})).rule == "limits.n"
        assert gate.submit(candidate("clean", delegation=handed)).rule == "capabilities"
        assert gate.submit(candidate("clean")).admitted
        again = gate.submit(candidate("read", delegation=handed))
        assert again.record.preds["policy"] == fine.record.preds["policy"]
        assert verdict(home, again.record) == "valid"
        other = chief.delegate(home.agent("another").id, {"do": "read"}, grant, expires=NOW + 10**6)
        refused = gate.submit(candidate("read", delegation=other))
        assert (refused.stage, refused.rule) == ("admission", "TSLG-A-DELEGATE")
        with pytest.raises(UsageError, match="no delegation"):
            gate.submit(candidate("read", delegation=grant))


def test_a_policy_that_ended_rejects_and_says_so(tmp_path):
    ticks = iter(range(NOW, NOW + 10**6, 1_000))
    with opened(tmp_path / "node", clock=lambda: next(ticks)) as home:
        gate = gated(home, f"not_after = {NOW + 20_000}\n" + POLICY)
        outcomes = [gate.submit(candidate()) for _ in range(12)]
        assert outcomes[0].admitted and not outcomes[-1].admitted
        assert (outcomes[-1].stage, outcomes[-1].rule) == ("admission", "TSLG-A-WINDOW")


@pytest.mark.spec("INF-2", "INF-4")
def test_models_that_are_not_of_language_are_governed_alike(tmp_path):
    with opened(tmp_path / "node") as home:
        gate = gated(home)
        picture = bytes(range(256)) * 64
        scores = [{"cat": 0.75, "dog": 0.25}, {"cat": 0.5, "dog": 0.5}, {"cat": 1.0, "dog": 0.0}]
        voters = [
            gate.submit(candidate(model=f"classifier-{at}", inputs={"image": picture}, output=one, grain="call"))
            for at, one in enumerate(scores)
        ]
        ensemble = gate.compose(voters, rule="mean-of-scores", output={"cat": 0.75, "dog": 0.25}, intent="answer")
        assert ensemble.body["inputs"] == {f"{at}": digest(one) for at, one in enumerate(scores)}
        noise = b"\x00" * 1024
        for step in range(3):
            denoised = bytes([step]) * 1024
            outcome = gate.submit(
                candidate(
                    model="diffusion", inputs={"latent": noise, "step": step}, output=denoised, grain="segment",
                    state={"latent": digest(denoised)}, token=b"gpu-lease-7",
                )
            )  # fmt: skip
            noise = denoised
        assert outcome.record.body["grain"] == "segment" and outcome.record.body["token"] == b"gpu-lease-7"
        assert gate.state.data == {"latent": digest(noise)}
        assert verdict(home, ensemble) == "valid"


class Governed(RuleBasedStateMachine):
    """Whatever is submitted, and whenever the directory is closed: the state is what the admitted steps made of it."""

    def __init__(self) -> None:
        super().__init__()
        import tempfile
        from pathlib import Path

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "node"
        self.home = opened(self.path)
        self.gate = gated(self.home)
        self.model: dict = {}
        self.seen = [START]

    def teardown(self) -> None:
        self.home.close()
        self.folder.cleanup()

    @rule(n=st.integers(0, 5), known=st.booleans(), fresh=st.booleans())
    def submit(self, n, known, fresh):
        upon = (self.gate.state.digest if fresh else self.seen[0]) if known else None
        outcome = self.gate.submit(candidate(state={"n": n}, upon=upon))
        assert outcome.admitted == (upon in (None, state_digest(self.model)))
        if outcome.admitted:
            self.model = {"n": n}
            self.seen.append(outcome.record.body["after"])

    @rule()
    def reject(self):
        assert not self.gate.submit(candidate("drop-tables", state={"n": 99})).admitted

    @rule(ns=st.lists(st.integers(0, 5), min_size=1, max_size=3))
    def decompose(self, ns):
        parts = tuple(candidate(state={"n": n}) for n in ns)
        assert self.gate.submit(candidate("clean-up", parts=parts)).admitted
        self.model = {"n": ns[-1]}

    @rule()
    def record_something_else(self):
        self.gate.agent.state({"n": 77})

    @precondition(lambda self: len(self.seen) > 1)
    @rule()
    def reopen(self):
        self.home.close()
        self.home = opened(self.path, seed=f"again {len(self.seen)}")
        self.gate = gated(self.home)

    @invariant()
    def the_state_is_what_the_log_says(self):
        assert self.gate.state == (state_digest(self.model), self.model)
        state = self.home.store.log_state(self.gate.agent.id)
        at = Semantic()
        for id, entry in self.home.store.log_range(self.gate.agent.id, 0, state.size):
            at = at.after(parse_as(id, entry.data))
        assert at.digest == self.gate.state.digest


Governed.TestCase.settings = settings(max_examples=6, stateful_step_count=10, deadline=None)
TestGoverned = Governed.TestCase


def test_pruning_keeps_the_step_that_moved_the_agent_last(tmp_path):
    clock = Clock()
    setting = Setting(tmp_path / "node", clock, gc={"kinds": ["inference", "rejection"]})
    with setting.open() as home:
        gate = Gate(home.agent("a"), SMALL)
        old = [gate.submit(candidate("read", state={"n": n})).record for n in range(3)]
        later = [gate.submit(candidate("read")).record for _ in range(3)]
        clock.now += 10_000
        planned, _ = let_go(home, gate.agent)
        assert old[-1].id not in planned.pruned.ids and later[0].id in planned.pruned.ids
        assert old[0].id in planned.pruned.ids
    with setting.open() as home:
        gate = Gate(home.agent("a"), SMALL)
        assert gate.state.data == {"n": 2}
        assert gate.submit(candidate("read", state={"n": 3}, upon=gate.state.digest)).admitted
