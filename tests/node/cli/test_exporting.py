"""`tslg export prov|in-toto|openlineage|scitt`."""

from __future__ import annotations

import base64
import json
import sqlite3

import cbor2
import pytest
from prov.model import ProvDocument

FORMATS = ("prov", "in-toto", "openlineage", "scitt")


def given(format):
    return ("--as", "alpha") if format == "in-toto" else ()


@pytest.mark.spec("EXP-1", "EXP-3")
@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_written_verified_or_not_and_says_which(made, cli, tmp_path, format):
    file = tmp_path / "x"
    arguments = ["export", format, "--data", made.data, "-o", file, *given(format)]
    for more, method, verdict in (
        ([], "logs", "valid"),
        ([made.target], "walk", "valid"),
        (["--no-verify"], "none", "unverified"),
    ):
        told = cli.json(*arguments, *more)
        assert (told["verification"]["method"], told["verification"]["verdict"]) == (method, verdict)
        assert told["records"] > 3 and told["file"] == str(file) and file.stat().st_size > 1000
        assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("format", FORMATS)
def test_without_a_file_it_goes_to_stdout(made, cli, tmp_path, format):
    result = cli.run("export", format, "--data", made.data, "--no-verify", *given(format))
    assert result.exit_code == 0 and "nothing was verified" in result.stderr
    if format == "prov":
        assert ProvDocument.deserialize(content=result.stdout, format="json").bundles
    elif format == "scitt":
        assert cbor2.loads(result.stdout_bytes).tag == 18
    else:
        assert all(json.loads(line) for line in result.stdout.splitlines())
    assert "--out" in cli.error("export", format, "--data", made.data, "--json", *given(format))


@pytest.mark.spec("EXP-6")
def test_what_is_exported_can_be_chosen(made, cli, tmp_path):
    def ids(*more):
        cli.json("export", "prov", "--data", made.data, "-o", tmp_path / "x", *more)
        told = json.loads((tmp_path / "x").read_text())
        return {name for one in told["bundle"].values() for name in one.get("entity", {}) if name.startswith("record:")}

    assert f"record:{made.observation}" in ids("--agent", "beta") and f"record:{made.target}" not in ids(
        "--agent", "beta"
    )
    assert ids("--kind", "observation") == {f"record:{made.observation}"}
    assert ids("--kind", "observation", "--agent", "alpha") == set()
    assert ids(made.target, "--kind", "observation", "--no-verify") == {f"record:{made.observation}"}
    assert len(ids(made.target, "--depth", 1)) < len(ids(made.target))
    assert "no kind" in cli.error("export", "prov", "--data", made.data, "--kind", "letter")
    assert "--depth" in cli.error("export", "prov", "--data", made.data, "--depth", 1)


@pytest.mark.spec("EXP-1")
@pytest.mark.parametrize("target", [False, True])
def test_an_invalid_lineage_is_not_exported(world, cli, tmp_path, target):
    with sqlite3.connect(world.data / "tslg.sqlite") as db:
        db.execute("UPDATE record SET seal = (SELECT seal FROM record WHERE seq = 2) WHERE seq = 3")
    file = tmp_path / "x"
    file.write_text("old")
    arguments = ["export", "in-toto", *([world.target] if target else []), "--as", "alpha", "--data", world.data]
    told = cli.json(*arguments, "-o", file, code=1)
    assert told["verification"]["verdict"] == "invalid" and told["file"] is None and file.read_text() == "old"
    result = cli.run(*arguments)
    assert result.exit_code == 1 and result.stdout == "" and "TSLG-A-SEAL" in result.stderr
    cli.json(*arguments, "-o", file, "--no-verify")
    statement = json.loads(base64.b64decode(json.loads(file.read_text().splitlines()[0])["payload"]))
    assert statement["predicate"]["verified"] == "none"


def test_who_attests_must_be_here_and_named_where_several_are(made, cli, tmp_path):
    arguments = ["export", "in-toto", "--data", made.data, "-o", tmp_path / "x"]
    assert "several agents" in cli.error(*arguments)
    assert "nobody" in cli.error(*arguments, "--as", "nobody")
    told = cli.json(*arguments, "--as", "beta")
    assert told["key"]["keyid"] == made.beta and len(bytes.fromhex(told["key"]["public"])) == 32


def test_statements_need_their_authors_key(made, cli, tmp_path):
    data = tmp_path / "auditor"
    cli.json("import", "car", made.car, "--federation", made.federation, "--data", data)
    told = cli.json("export", "scitt", "--data", data, "-o", tmp_path / "x", "--no-verify")
    assert told["records"] == 0 and told["left_out"] > 5
    told = cli.json("export", "openlineage", made.target, "--data", data, "-o", tmp_path / "y")
    assert told["verification"]["verdict"] == "valid" and told["records"] == 4


@pytest.mark.spec("EXP-16")
def test_the_schema_of_our_facet_is_printed(cli):
    assert cli.json("export", "openlineage", "--facet-schema")["$id"].startswith("urn:tslg:schema:")
