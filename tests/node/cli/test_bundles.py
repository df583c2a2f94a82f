"""`tslg export car`, `tslg import car`, `tslg fsck` and `tslg completion`."""

from __future__ import annotations

import sqlite3

import pytest

from tslg.node.home import Home, wall_clock
from tslg.protocol.cid import to_text


def test_what_is_exported_is_imported_once_and_verifies(made, cli, tmp_path):
    car, data = tmp_path / "x.car", tmp_path / "new"
    told = cli.json("export", "car", made.target[:20], car, "--data", made.data)
    assert told["verdict"] == "valid" and cli.json("verify", car)["verdict"] == "valid"
    arguments = ["import", "car", car, "--data", data]
    first = cli.json(*arguments, "--federation", made.federation)
    assert first["verdict"] == "valid" and first["kept"] > 5
    assert cli.json(*arguments)["kept"] == 0
    for depth in range(14):
        assert cli.json("verify", made.target, "--data", data, "--depth", depth)["verdict"] == "valid"
    assert cli.json("show", made.target, "--data", data)["verified"] == "all"
    assert cli.json("log", "--data", data)["federation"] == made.federation


def test_the_imported_record_can_be_cited(made, cli, tmp_path):
    data = tmp_path / "new"
    cli.json("import", "car", made.car, "--federation", made.federation, "--data", data)
    error = cli.error("record", "act", "a", "--evidence", made.target, "--data", data)
    assert "agent new" in error


def test_a_bounded_export_is_imported_as_far_as_it_goes(made, cli, tmp_path):
    car, data = tmp_path / "x.car", tmp_path / "new"
    cli.json("export", "car", made.target, car, "--depth", 2, "--data", made.data)
    arguments = ["import", "car", car, "--federation", made.federation, "--data", data]
    assert cli.json(*arguments, code=2)["kept"] == 0
    assert not data.exists()
    assert cli.json(*arguments, "--depth", 2)["kept"] > 0
    assert cli.json("show", made.target, "--data", data)["verified"] == 2


def test_an_import_that_will_not_verify_again_from_the_store_says_so(cli, tmp_path):
    with Home.open(tmp_path / "made", clock=wall_clock) as home:
        agent = home.agent("a")
        early = agent.observe("early")
        for _ in range(4):
            agent.observe("between")
        later = agent.observe("later")
        agent.observe("between")
        target, federation = to_text(agent.state({}, evidence=[early, later]).id), to_text(home.federation)
    car = tmp_path / "x.car"
    cli.json("export", "car", target, car, "--data", tmp_path / "made")
    arguments = ["import", "car", car, "--federation", federation, "--data"]
    loose = {}
    for depth in range(4):
        told = cli.json(*arguments, tmp_path / str(depth), "--depth", depth)
        assert told["verdict"] == "valid" and told["kept"] > 0
        again = cli.json(
            "verify", target, "--data", tmp_path / str(depth), "--depth", depth, code=2 if told["loose"] else 0
        )
        assert (again["verdict"] == "valid") == (told["loose"] == [])
        loose[depth] = told["loose"]
    assert [target] in loose.values() and [] in loose.values()
    told = cli.run(*arguments, tmp_path / "new", "--depth", next(depth for depth in loose if loose[depth]))
    assert "import all" in told.stderr and target in told.stderr
    assert cli.json(*arguments, tmp_path / "all")["loose"] == []


def test_an_invalid_bundle_leaves_nothing_behind(made, cli, tmp_path):
    changed, data = tmp_path / "changed.car", tmp_path / "new"
    changed.write_bytes(made.car.read_bytes().replace(b"scanner", b"scammer"))
    error = cli.error("import", "car", changed, "--federation", made.federation, "--data", data, code=1)
    assert "TSLG-B-BLOCK" in error and made.observation in error
    changed.write_bytes(made.car.read_bytes()[:-1])
    cli.error("import", "car", changed, "--federation", made.federation, "--data", data, code=1)
    assert not data.exists()


def test_an_import_is_pinned(made, cli, tmp_path):
    data = tmp_path / "new"
    assert "--federation" in cli.error("import", "car", made.car, "--data", data)
    error = cli.error("import", "car", made.car, "--federation", made.target, "--data", data, code=1)
    assert "TSLG-V-FEDERATION" in error and not data.exists()
    cli.text("agent", "new", "alice", "--data", data)
    error = cli.error("import", "car", made.car, "--federation", made.federation, "--data", data)
    assert "belongs to federation" in error
    assert "TSLG-V-FEDERATION" in cli.error("import", "car", made.car, "--data", data, code=1)
    assert "TSLG-U-FILE" in cli.error("import", "car", tmp_path / "no.car", "--federation", made.federation)


def test_an_export_that_cannot_be_written_leaves_what_was_there(made, cli, tmp_path):
    assert "TSLG-U-FILE" in cli.error("export", "car", made.target, tmp_path / "no" / "x.car", "--data", made.data)
    (tmp_path / "x.car").write_text("old")
    from tslg.protocol.cid import compute, to_text

    told = cli.json("export", "car", to_text(compute(b"x")), tmp_path / "x.car", "--data", made.data, code=2)
    assert told["bundle"] is None and (tmp_path / "x.car").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["x.car"]


def test_a_sound_directory_has_no_problems(made, cli):
    told = cli.json("fsck", "--data", made.data)
    assert told["problems"] == [] and told["records"] > 8
    assert cli.text("fsck", "--data", made.data).startswith("nothing wrong")


def test_a_changed_record_is_found_by_fsck_and_by_verify(world, cli):
    with sqlite3.connect(world.data / "tslg.sqlite") as db:
        rows = db.execute("SELECT id, data FROM record WHERE data IS NOT NULL").fetchall()
        row, data = next((row, data) for row, data in rows if b"scanner" in data)
        db.execute("UPDATE record SET data = ? WHERE id = ?", (data.replace(b"scanner", b"scammer"), row))
    db.close()
    problems = cli.json("fsck", "--data", world.data, code=1)["problems"]
    assert [(one["code"], one["record"]) for one in problems] == [("TSLG-R-ID", world.observation)]
    report = cli.json("verify", world.target, "--data", world.data, code=1)
    assert report["findings"][0]["record"] == world.observation
    told = cli.json("export", "car", world.target, world.data / "x.car", "--data", world.data, code=1)
    assert told["bundle"] is None and not (world.data / "x.car").exists()


def test_a_directory_in_place_of_files(made, cli, tmp_path):
    assert cli.run("verify", tmp_path / "x.car").exit_code == 3
    for command in (["import", "car", tmp_path], ["verify", made.car, "--head", tmp_path]):
        assert "TSLG-U-USAGE" in cli.error(*command, "--federation", made.federation)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell, cli):
    assert "_TSLG_COMPLETE" in cli.text("completion", shell)


def test_completions_are_the_names_of_commands(monkeypatch, capsys):
    from tslg.node.cli.root import COMMANDS, tslg

    monkeypatch.setenv("_TSLG_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "tslg ")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit):
        tslg([])
    offered = [line.partition(",")[2] for line in capsys.readouterr().out.splitlines()]
    assert offered == list(COMMANDS)
