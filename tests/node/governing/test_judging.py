"""Policy files, Cedar texts and plug-ins: slips are told when a policy is read, and what goes wrong later refuses."""

from __future__ import annotations

import re

import pytest
from gates import POLICY, candidate, gated
from homes import opened

from tslg.node.governing.entries import said
from tslg.node.governing.errors import GatePolicyError
from tslg.node.governing.policy_file import compile_policy
from tslg.protocol.governing.policy import Finding

CLASSES = ("internal", "personal-data", "public")
ORDER = ("observer", "assistant", "autonomous")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    with opened(tmp_path_factory.mktemp("judged") / "node") as home:
        yield home


def check(home, policy, **more):
    return gated(home, policy, name=f"agent {hash(policy)}").check(candidate(**more))


CEDAR = """
class = "internal"
cedar = '''
@id("anybody-may-ask")
permit(principal, action == Action::"answer", resource);
@id("few-tokens")
forbid(principal, action, resource == Model::"model-x") when { context.tokens > 1000 };
@id("not-as-observer")
forbid(principal, action, resource) when { context.step.tier == "observer" };
'''
"""


@pytest.mark.spec("INF-10")
def test_cedar_names_the_policy_that_refused(home):
    tier = {"tier": "assistant"}
    assert check(home, CEDAR, facts={"tokens": 1000}, **tier) is None
    assert check(home, CEDAR, facts={"tokens": 1001}, **tier) == ("cedar", "few-tokens", "forbidden by few-tokens")
    assert check(home, CEDAR, facts={"tokens": 1}).rule == "not-as-observer"
    assert check(home, CEDAR, intent="look-up", facts={"tokens": 1}, **tier).rule == "none permits"


@pytest.mark.spec("INF-11")
@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"tokens": "many"},
        {"tokens": 0.5},
        {"tokens": 2**70},
        {"tokens": float("nan")},
        {"tokens": object()},
        {"tokens": {"__extn": {"fn": "ip", "arg": "::1"}}},
        {"tokens": 1, "user": {"__entity": {"type": "Agent", "id": "root"}}},
    ],
    ids=lambda facts: re.sub(r" at 0x[0-9a-f]+", "", str(facts)),
)
def test_what_goes_wrong_in_cedar_refuses_though_a_policy_permits(home, facts):
    found = check(home, CEDAR, facts=facts, tier="assistant")
    assert found.stage == "cedar" and found.reason


@pytest.mark.spec("INF-15")
@pytest.mark.parametrize(
    ("test", "fact", "told"),
    [
        ("ip(context.a).isLoopback()", "4111-1111", "extension function"),
        ('decimal(context.a).lessThan(decimal("1.0"))', "4111-1111", "extension function"),
        ("context.a + 1 > 2", 2**63 - 1, "integer overflow"),
        ("context.a > 1", "4111-1111", "expected long, got string"),
        ("context.b > 1", "4111-1111", "the attribute `b`"),
    ],
)
def test_an_error_in_cedar_quotes_no_fact(home, test, fact, told):
    policy = f"cedar = '''permit(principal, action, resource) when {{ {test} }};'''"
    found = check(home, policy, facts={"a": fact})
    assert found.rule == "error" and told in found.reason and str(fact) not in found.reason


def test_a_number_of_any_size_is_held_against_a_limit(home):
    policy = '[[rules]]\nname = "few"\nwhen = { n = { above = 1.5 } }\nreason = "too many"'
    assert check(home, policy, facts={"n": 10**400}).reason == "too many"


def test_no_fact_passes_for_what_the_step_states_in_cedar(home):
    found = check(home, CEDAR, facts={"tokens": 1, "step": {"tier": "assistant"}})
    assert found.rule == "not-as-observer"


def test_names_cannot_break_out_of_cedar(home):
    policy = 'cedar = "permit(principal, action == Action::\\"ok\\", resource);"'
    assert check(home, policy, intent='ok"', model='m", evil: "').stage == "cedar"
    assert check(home, policy, intent="ok", model='m"\n\\') is None


@pytest.mark.spec("INF-10", "INF-11", "INF-15")
def test_a_predicate_admits_by_true_alone(home):
    assert check(home, 'predicate = "plugins:calm"') is None
    assert check(home, 'predicate = "plugins:calm"', facts={"angry": 1}).stage == "predicate:plugins:calm"
    failed = check(home, 'predicate = ["plugins:calm", "plugins:broken"]').reason
    assert "LookupError, in broken" in failed
    # What an error says may be the very thing that no record is to hold.
    assert "no such customer" not in failed
    assert "neither yes nor no" in check(home, 'predicate = "plugins:silent"').reason


def decomposing(function: str) -> str:
    return POLICY.replace("decompose = true", f'decompose = "plugins:{function}"')


def test_an_intent_can_be_broken_down_by_a_plug_in(home):
    gate = gated(home, decomposing("in_two"), name="broken down")
    outcome = gate.submit(candidate("clean-up", inputs={"prompt": "tidy"}))
    assert outcome.verdict == "decomposed" and outcome.admitted
    assert [part.record.body["intent"] for part in outcome.parts] == ["answer", "look-up"]


@pytest.mark.parametrize("function", ["into_itself", "into_words", "into_nothing", "broken"])
def test_what_cannot_be_broken_down_is_rejected(home, function):
    found = check(home, decomposing(function), intent="clean-up")
    assert (found.stage, found.rule) == ("policy", "intents.clean-up.decompose")


def test_a_policy_without_a_file_admits_what_claims_nothing(home):
    gate = gated(home, None, name="open")
    assert gate.submit(candidate("anything")).class_ == "internal"
    assert gate.submit(candidate("anything", uses=["shell"])).rule == "capabilities"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("name = ", "no TOML"),
        ('colour = "red"', "unknown entry 'colour'"),
        ('tiers = ["emperor"]', "none of the federation's capability tiers"),
        ('class = "secret"', "none of the federation's governance classes"),
        ("[intents.a]", "intents.a: it has no class"),
        ('class = "internal"\n[intents.a]\nuses = ["x"]', "intents.a.uses"),
        ('class = "internal"\n[intents.a]\nlimits = { n = 1 }', "go beyond the policy's limits"),
        ('class = "internal"\nclasses = ["public"]\n[intents.a]', "intents.a.class"),
        ("limits = { n = -1 }", "limits.n"),
        ("[[rules]]", "rule 1: name"),
        ('[[rules]]\nname = "r"\nwhen = { n = { above = 0, over = 1 } }', "rules.r.when.n: unknown test 'over'"),
        ('[[rules]]\nname = "r"\nwhen = { n = { above = "x" } }', "rules.r.when.n: 'above' compares"),
        ('[[rules]]\nname = "r"\n[[rules]]\nname = "r"', "another rule has this name"),
        ('class = "internal"\n[intents.a]\n[[rules]]\nname = "r"\nintents = ["b"]', "no intents of this policy"),
        ('predicate = "plugins:nobody"', "cannot be had"),
        ('predicate = "plugins"', "names no function"),
        ("not_after = 2030-01-31T12:00:00", "with an offset"),
        ("cedar = 1", "cedar: a text"),
        ('tier = "observer"\ntiers = ["assistant"]', "not among the policy's tiers"),
    ],
)
def test_a_slip_in_a_policy_is_told_with_its_place(text, place):
    with pytest.raises(GatePolicyError) as raised:
        compile_policy(text.encode(), CLASSES, ORDER)
    assert place in raised.value.detail and raised.value.mend


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x = " + "9" * 5_000, "no TOML"),
        ("x = " + "[" * 100_000, "no TOML"),
        ("x = " + "{a=" * 100_000, "no TOML"),
        ('[[rules]]\nname = "r"\nwhen' + ".a" * 5_000 + " = 1", "64 levels"),
        ('predicate = "falling_over:it"', "ZeroDivisionError"),
    ],
    ids=["digits", "arrays", "tables", "path", "import"],
)
def test_no_policy_of_anybody_breaks_down_its_reader(text, why, tmp_path, monkeypatch):
    (tmp_path / "falling_over.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(GatePolicyError, match=why):
        compile_policy(text.encode(), CLASSES, ORDER)


def test_a_path_with_dots_needs_no_quotes():
    text = b'[[rules]]\nname = "r"\nwhen.user.verified = false\nunless = { "user.role" = { in = ["chief"] } }'
    rule = compile_policy(text, CLASSES, ORDER).policy.rules[0]
    assert [one.path for one in (*rule.when, *rule.unless)] == ["user.verified", "user.role"]


def test_cedar_that_is_none_is_told_when_the_gate_is_made(home):
    with pytest.raises(GatePolicyError, match="Cedar"):
        gated(home, 'cedar = "permit everything"')


def test_a_federation_without_classes_and_tiers_has_none_to_claim():
    compiled = compile_policy(b"[intents.a]", (), ())
    assert compiled.tier is None and compiled.policy.intents["a"].class_ is None


@pytest.mark.spec("INF-10")
def test_parts_that_are_allowed_do_not_let_the_whole_through(home):
    gate = gated(home, POLICY, name="whole")
    parts = (candidate("answer"), candidate("look-up"))
    outcome = gate.submit(candidate("drop-tables", parts=parts))
    assert (outcome.verdict, outcome.rule, outcome.parts) == ("rejected", "intents", ())
    assert gate.submit(candidate("answer", spends={"cents": 60_000}, parts=parts)).rule == "limits.cents"
    assert gate.submit(candidate("answer", parts=parts)).admitted
    assert gate.submit(candidate("clean-up", spends={"cents": 60_000}, parts=parts)).admitted


def test_breaking_down_ends(home):
    """Two intents that a plug-in breaks down into each other, and one that it breaks down without end."""
    endless = 'class = "internal"\n[intents."*"]\ndecompose = "plugins:{}"'
    for function in ("into_another", "into_many", "for_ever"):
        outcome = gated(home, endless.format(function), name=f"endless {function}").submit(candidate("a"))
        found = [outcome]
        while found[-1].parts:
            found.append(found[-1].parts[0])
        assert found[-1].verdict == "rejected" and found[-1].stage == "policy"
        assert len([*outcome.records()]) < 100


def test_a_reason_that_no_record_can_hold_is_mended(home):
    outcome = gated(home, 'predicate = "plugins:garbled"', name="garbled").submit(candidate())
    assert outcome.stage == "predicate:plugins:garbled" and "customer" not in outcome.reason
    told = said(Finding("s", "r", "no such \ud800\n customer" + "x" * 5_000))["reason"]
    assert told.startswith("no such ? customerx") and len(told) < 5_000
