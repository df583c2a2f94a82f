"""`tslg witness`: keys, known logs, and where witnesses answer; how it runs is shown by the guide."""

from __future__ import annotations

import pytest

from tslg.protocol import note


@pytest.fixture
def witness(cli, tmp_path):
    made = cli.json("witness", "new", tmp_path / "w", "--name", "w.example/w", "--alg", "ML-DSA-44", "--alg", "Ed25519")
    assert [note.parse_key(text).type for text in made["keys"]] == [6, 4]
    return tmp_path / "w"


def test_a_witness_is_made_once(cli, witness):
    assert (witness / "witness.json").stat().st_mode & 0o077 == 0
    before = (witness / "witness.json").read_bytes()
    cli.error("witness", "new", witness, "--name", "w.example/other")
    assert (witness / "witness.json").read_bytes() == before
    for name in ("", "two words", "a+b", "x" * 256):
        assert "no name" in cli.error("witness", "new", witness / "more", "--name", name)


def test_logs_are_added_by_their_keys(cli, witness, made):
    key = cli.json("agent", "show", "alpha", "--data", made.data)["log_key"]
    assert cli.json("witness", "add", witness, key)["added"] == [f"tslg/{made.alpha}"]
    shown = cli.json("witness", "show", witness)
    assert shown["logs"] == [{"origin": f"tslg/{made.alpha}", "size": None, "time": None}]
    assert "TSLG-K-KEY" in cli.error("witness", "add", witness, "nonsense")
    assert "01" in cli.error("witness", "add", witness, shown["keys"][0])
    cli.error("witness", "add", witness.parent / "nowhere", key)


def test_where_witnesses_answer_is_kept(cli, world):
    told = cli.json("witness", "use", "w.example/w", "http://127.0.0.1:1", "--data", world.data)
    assert told == {"witnesses": {"w.example/w": "http://127.0.0.1:1"}}
    told = cli.json("witness", "use", "w.example/v", "https://v.example", "--data", world.data)
    assert sorted(told["witnesses"]) == ["w.example/v", "w.example/w"]
    assert "no URL" in cli.error("witness", "use", "w", "ftp://x", "--data", world.data)
    assert "no name" in cli.error("witness", "use", "w w", "https://x", "--data", world.data)
    assert "TSLG-D-MISSING" in cli.error("witness", "use", "w", "https://x", "--data", world.data / "none")


def test_a_witness_needs_keys_and_an_address(cli, witness, tmp_path):
    assert "no address" in cli.error("witness", "run", witness, "--listen", "8080")
    cli.error("witness", "run", tmp_path / "none", "--listen", "127.0.0.1:0")
    cli.error("witness", "show", tmp_path / "none")


def test_nothing_is_anchored_that_nobody_asked_for(cli, world):
    assert "asks for no witnesses" in cli.error("agent", "anchor", "alpha", "--data", world.data)
