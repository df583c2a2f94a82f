"""Artifacts from a shell: recorded, checked, judged, released, asked about, rebuilt and archived; and OpenRange."""

from __future__ import annotations

import json

import pytest

SUITE = ("--suite", "frozen", "--suite-digest", "ab" * 32)


@pytest.fixture(scope="module")
def farm(cli, tmp_path_factory):
    """Two agents, a data set, a base, and what was trained of them and quantized."""
    folder = tmp_path_factory.mktemp("farm")
    data = folder / "data"
    for name in ("breeder", "evaluator"):
        cli.text("agent", "new", name, "--data", data)
    for name, content in {"people": "p", "base": "b", "child": "c", "small": "s"}.items():
        (folder / name).mkdir()
        (folder / name / "f").write_text(content)
    by = ("--agent", "breeder", "--data", data)
    cli.text("artifact", "add", folder / "people", "--type", "dataset", "--licence", "cc-by-4.0", "--keep", *by)
    cli.text("artifact", "add", folder / "base", "--licence", "MIT", "--vulnerability", "V-1", "--keep", *by)
    made = ("--operator", "train", "--operator-version", "2.1", "--parent", "base", "--trained-on", "people")
    cli.text("artifact", "add", folder / "child", *made, "--keep", *by)
    cli.text("artifact", "add", folder / "small", "--operator", "quantize", "--parent", "child", *by)
    return cli, folder, data


def test_artifacts_are_listed_shown_and_walked(farm):
    cli, _, data = farm
    listed = cli.json("artifact", "list", "--data", data)["found"]
    assert [one["name"] for one in listed] == ["small", "child", "base", "people"]
    shown = cli.json("artifact", "show", "child", "--data", data)
    assert shown["operator_version"] == "2.1" and len(shown["parent_ids"]) == 2
    assert shown["training_data_manifest"].startswith("sha256:") and shown["artifact_id"].startswith("sha256:")
    names = [one["name"] for one in cli.json("artifact", "ancestors", "small", "--data", data)["found"]]
    assert names[0] == "child" and set(names[1:]) == {"base", "people"}
    assert "small" in cli.text("artifact", "descendants", "people", "--data", data)
    assert [one["name"] for one in cli.json("artifact", "children", "people", "--data", data)["found"]] == ["child"]
    assert "dataset: people" in cli.text("artifact", "sources", "small", "--data", data)
    shared = cli.json("artifact", "shared", "small", "child", "--data", data)["found"]
    assert len(shared) == 3 and cli.json("artifact", "cohort", "small", "--data", data)["found"] == []
    assert "lifecycle_state" in cli.text("artifact", "show", "small", "--data", data)
    assert cli.json("artifact", "uses", "base", "--named", "--data", data)["found"] == []


def test_what_is_inherited_is_told_with_its_path(farm):
    cli, _, data = farm
    told = cli.json("artifact", "inherits", "small", "--data", data, code=1)
    assert {(one["what"], one["name"]) for one in told["inherited"]} >= {("licence", "MIT"), ("vulnerability", "V-1")}
    text = cli.text("artifact", "inherits", "small", "--data", data, code=1)
    assert "vulnerability  V-1  from base → child → small" in text
    assert "licences together  CC-BY-4.0 AND MIT" in text and "safety  to be tested" in text


def test_files_are_checked(farm):
    cli, folder, data = farm
    assert "the very package" in cli.text("artifact", "check", "base", folder / "base", "--data", data)
    other = cli.json("artifact", "check", "base", folder / "child", "--data", data, code=1)
    assert other["differences"] == [{"how": "changed", "path": "f"}]
    (folder / "odd").mkdir()
    (folder / "odd" / "f\x9b2J").write_text("")
    shown = cli.text("artifact", "check", "base", folder / "odd", "--data", data, code=1)
    assert "\x9b" not in shown and "added: f\ufffd2J" in shown


def test_a_name_may_have_a_colon_in_it(farm):
    cli, folder, data = farm
    cli.text("artifact", "add", folder / "base", "--name", "base:7b", "--agent", "breeder", "--data", data)
    assert cli.json("artifact", "show", "base:7b", "--data", data)["name"] == "base:7b"
    assert "no agent here is named 'Bose'" in cli.error("artifact", "show", "Bose:7b", "--data", data)
    assert "has no alias 'nothing'" in cli.error("artifact", "show", "breeder:nothing", "--data", data)


def test_bad_packages_are_refused_in_one_line(farm):
    cli, folder, data = farm
    bad = folder / "bad"
    bad.mkdir()
    assert "TSLG-F-PACKAGE" in cli.error("artifact", "add", bad, "--agent", "breeder", "--data", data)
    (bad / "link").symlink_to("/etc/passwd")
    assert "TSLG-F-LINK" in cli.error("artifact", "add", bad, "--agent", "breeder", "--data", data)
    (bad / "link").unlink()
    (bad / "f").write_text("f")
    add = ("artifact", "add", bad, "--agent", "breeder", "--data", data)
    assert "TSLG-F-LICENCE" in cli.error(*add, "--licence", "Nobody-1.0")
    assert "TSLG-U-UNKNOWN" in cli.error(*add, "--parent", "nobody")
    assert "TSLG-U-UNKNOWN" in cli.error("artifact", "show", "breeder:none", "--data", data)
    assert (
        "2" not in cli.error("artifact", "evaluate", "base", "--suite", "s", "--agent", "breeder", "--data", data)[:7]
    )
    digest = ("--suite-digest", "xyz")
    assert "no SHA-256" in cli.error("artifact", "evaluate", "base", "--suite", "s", *digest, *add[3:])


def test_from_evaluation_to_rollback(farm):
    cli, folder, data = farm
    by, judge = ("--agent", "breeder", "--data", data), ("--agent", "evaluator", "--data", data)
    assert "TSLG-A-TRANSITION" in cli.error("artifact", "transition", "child", "champion", *by)
    for name in ("base", "child"):
        passed = ("--passed", "safety", "--passed", "compatibility", "--score", "accuracy=90")
        cli.text("artifact", "evaluate", name, *SUITE, *passed, *judge)
        for state in ("shadow", "canary", "champion"):
            cli.text("artifact", "transition", name, state, *by)
        if name == "base":
            cli.text("artifact", "release", "champion", name, *by)
            cli.text("artifact", "transition", name, "standby", *by)
    cli.text("artifact", "release", "champion", "child", "--rollback", "base", "--reason", "better", *by)
    assert cli.json("artifact", "show", "breeder:champion", "--data", data)["name"] == "child"
    cli.text("artifact", "rollback", "champion", "--reason", "worse", *by)
    (alias,) = cli.json("artifact", "aliases", "--data", data)["aliases"]
    assert (alias["agent"], alias["alias"]) == ("breeder", "champion")
    assert cli.json("artifact", "show", "breeder:champion", "--data", data)["name"] == "base"
    assert "breeder:champion → " in cli.text("artifact", "aliases", "--data", data)
    diff = cli.text("artifact", "diff", "base", "child", "--data", data)
    assert "file changed: f" in diff and "derives also from people" in diff

    cli.text("artifact", "advise", "people", "--withdrawn", "CC-BY-4.0", "--reason", "revoked", *judge)
    found = cli.json("artifact", "affected", "people", "--licence", "CC-BY-4.0", "--data", data)["issues"]
    assert len(found[0]["affected"]) == 2 and found[0]["spared"] == []
    resolves = ("--resolves", "people", "licence", "CC-BY-4.0")
    cli.text("artifact", "evaluate", "small", *SUITE, "--passed", "unlearning", *resolves, *judge)
    text = cli.text("artifact", "affected", "people", "--data", data)
    assert "affected  people → child" in text and "spared    small" in text

    assert "the very package" in cli.text("artifact", "rebuild", "child", folder / "again", "--data", data)
    assert "by its operator: yes" in cli.text("artifact", "rebuildable", "child", "--data", data)
    run = ("--run", f"cp {folder / 'base' / 'f'} {folder / 'made' / 'f'}")
    assert "changed: f" in cli.text("artifact", "rebuild", "child", folder / "made", *run, "--data", data, code=1)
    assert "ended with" in cli.error("artifact", "rebuild", "child", folder / "x", "--run", "false", "--data", data)
    assert "TSLG-F-MISSING" in cli.error("artifact", "rebuild", "small", folder / "y", "--data", data)

    cli.text("artifact", "transition", "small", "rejected", *by)
    assert "it served" in cli.text("artifact", "archive", "--horizon", "0s", *by)
    told = cli.json("artifact", "archive", "--horizon", "0s", "--apply", *by)
    assert list(told["goes"].values()) == ["rejected"]
    cli.text("artifact", "summaries", folder / "summaries.jsonl", "--agent", "breeder", "--data", data)
    lines = [json.loads(line) for line in (folder / "summaries.jsonl").read_text().splitlines()]
    assert {one["name"]: one["state"] for one in lines}["small"] == "archived"
    batch = cli.text("artifact", "batch", "variants", "seed:=7", "--of", "child", *by).strip()
    made = ("--name", "v", "--parent", "child", "--operator", "q", "--cohort", batch)
    cli.text("artifact", "add", folder / "small", *made, *by)
    assert [one["name"] for one in cli.json("artifact", "cohort", "v", "--data", data)["found"]] == ["v"]


def test_snapshots_are_imported(cli, tmp_path):
    folder = tmp_path / "snapshots"
    folder.mkdir()
    nodes = [{"id": "a", "parent_id": None}, {"id": "b", "parent_id": "a"}]
    (folder / "b.json").write_text(json.dumps({"lineage": nodes}))
    data = ("--data", tmp_path / "data")
    assert cli.json("import", "openrange", folder, "--licence", "MIT", *data)["new"] == ["a", "b"]
    assert "2 snapshots, 0 of them new" in cli.text("import", "openrange", folder, *data)
    assert [one["name"] for one in cli.json("artifact", "ancestors", "b", *data)["found"]] == ["a"]
    (folder / "c.json").write_text("{")
    result = cli.run("import", "openrange", folder, *data)
    assert result.exit_code == 3 and "TSLG-I-SNAPSHOT" in result.stderr and "nothing was imported" in result.stderr
