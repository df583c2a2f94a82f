"""`tslg access`, `tslg export car --for` and `tslg challenge --for`."""

from __future__ import annotations

import pytest
from reading import bind, home, member, toml

from tslg.protocol.cid import to_text

TEXT = toml('default = ["members"]\ngrantable = ["anyone"]')


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    """A data directory with an agent that decided on an observation."""
    path = tmp_path_factory.mktemp("clinic")
    with home(path, TEXT, "triage") as at:
        author = member(at, TEXT, "triage")
        seen = author.observe("interview", {"said": "pain"})
        decision = author.decide("triage", "urgent", evidence=seen)
        peers = at.ledger.context.federation
    return path / "triage", to_text(decision.id), to_text(seen.id), to_text(author.id), to_text(peers)


def test_what_a_reader_gets_and_why(clinic, cli):
    data, decision, _, author, _ = clinic
    told = cli.json("access", "explain", decision, "stranger", "--data", data, code=2)
    assert told == {"record": decision, "gets": "withheld", "hidden": [], "why": "the manifest's default"}
    assert cli.json("access", "explain", decision, author, "--data", data)["why"] == "the reader is its author"
    assert cli.text("access", "explain", author, "stranger", "--data", data).startswith("readable: anybody")
    assert "TSLG-U-UNKNOWN" in cli.error("access", "explain", decision, "nobody", "--data", data)


def test_a_grant_is_listed_and_taken_back(clinic, cli):
    data, decision, seen, author, _ = clinic
    made = cli.json(
        "access", "grant", decision, "--to", "anyone", "--until", "1h", "--field", "outcome", "--data", data
    )
    assert made["kind"] == "access-rule" and made["agent"] == author
    (listed,) = cli.json("access", "list", "triage", "--data", data)["rules"]
    assert (listed["rule"], listed["state"], listed["readers"]) == (made["record"], "in force", ["anyone"])
    assert (listed["records"], listed["fields"], listed["effect"]) == ([decision], ["outcome"], "grant")
    # Of a flat record no field can be shown alone.
    assert cli.json("access", "explain", decision, "stranger", "--data", data, code=2)["gets"] == "withheld"
    cli.text("access", "revoke", made["record"], "--reason", "given", "--data", data)
    assert cli.json("access", "list", "--data", data)["rules"][0]["state"] == "retracted"
    assert "retracted" in cli.text("access", "list", "--data", data)
    whole = cli.json("access", "restrict", seen, "--kind", "observation", "--from", 1, "--through", 9, "--data", data)
    assert cli.json("access", "explain", seen, federation_agent(clinic), "--data", data, code=2)["gets"] == "withheld"
    assert "restrict kinds observation, 1 record, from 1, through 9 to nobody" in cli.text(
        "access", "list", "--data", data
    )
    cli.text("access", "revoke", whole["record"], "--reason", "again", "--data", data)
    assert "no access rule" in cli.error("access", "revoke", decision, "--reason", "x", "--data", data)
    assert "a grant to nobody" in cli.error("access", "grant", decision, "--data", data)
    assert "anybody may read a genesis" in cli.error(
        "access", "grant", "--to", "anyone", "--kind", "genesis", "--data", data
    )


def federation_agent(clinic):
    """An agent that is not its author; any id will do, since nothing of it need be held."""
    return clinic[1]


def test_a_peer_is_bound_and_unbound(clinic, cli):
    data = clinic[0]
    made = cli.json("access", "bind", "--data", data)
    other = cli.json("access", "bind", "--peer", "laptop", "--address", "/ip4/127.0.0.1/tcp/1", "--data", data)
    peers = cli.json("access", "list", "--data", data)["peers"]
    assert [one["state"] for one in peers] == ["in force", "in force"]
    assert peers[0]["peer_id"].startswith("0024080112") and bytes.fromhex(peers[1]["peer_id"]) == b"laptop"
    cli.text("access", "unbind", other["record"], "--reason", "sold", "--data", data)
    assert [one["state"] for one in cli.json("access", "list", "--data", data)["peers"]] == ["in force", "ended"]
    assert "binds no peer" in cli.error("access", "unbind", clinic[1], "--reason", "x", "--data", data)
    assert made["kind"] == "registration"


def test_files_for_a_reader_hold_what_it_may_read(clinic, cli, tmp_path):
    data, decision, seen, author, federation = clinic
    nothing = cli.json("export", "car", decision, tmp_path / "none.car", "--for", "stranger", "--data", data, code=2)
    assert nothing["bundle"] is None and not (tmp_path / "none.car").exists()
    granted = cli.json("access", "grant", decision, "--to", "anyone", "--data", data)["record"]
    car = tmp_path / "some.car"
    assert cli.json("export", "car", decision, car, "--for", "stranger", "--data", data, code=2)["bundle"] == str(car)
    report = cli.json("verify", car, "--federation", federation, code=2)
    assert {"record": seen, "reason": "withheld"} in report["undetermined"]
    assert "see `tslg access grant`" in cli.text("verify", car, "--federation", federation, code=2)
    assert cli.json("export", "car", decision, car, "--for", author, "--data", data)["verdict"] == "valid"
    assert "TSLG-U-WITHHELD" in cli.error("challenge", seen, "--for", "stranger", "--data", data)
    assert cli.json("challenge", seen, "--for", author, "--data", data)["verdict"] == "here"
    cli.text("access", "revoke", granted, "--reason", "given", "--data", data)


def test_where_anybody_reads_everything_the_list_says_so(tmp_path, cli):
    cli.text("agent", "new", "alone", "--data", tmp_path / "alone")
    assert "anybody read everything" in cli.text("access", "list", "--data", tmp_path / "alone")
    assert "anybody read everything" in cli.error("access", "grant", "--to", "anyone", "--data", tmp_path / "alone")


def test_to_ask_as_a_directory_that_bound_no_peer_is_refused_before_anything_is_asked(tmp_path, cli):
    with home(tmp_path, TEXT, "unbound") as at:
        author = member(at, TEXT, "unbound")
        federation = to_text(at.federation)
        target = to_text(author.state({}).id)
    peer = "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWNVbFo2ZFUYe9T8j47vDns8VorqAw9FCLA2LWWdSgrHbn"
    how = ("audit", target, "--peer", peer, "--federation", federation, "--as", tmp_path / "unbound")
    assert "tslg access bind" in cli.error(*how)
    with home(tmp_path, TEXT, "unbound") as at:
        bind(at.agents[0], "another")
    assert "tslg access bind" in cli.error(*how)
    with home(tmp_path, toml().replace("Guarded", "Other"), "other"):
        pass
    assert "another federation" in cli.error(*how[:-1], tmp_path / "other")


@pytest.mark.spec("EXP-6")
def test_exports_for_a_reader_hold_what_it_may_read(clinic, cli, tmp_path):
    data, decision, seen, author, _ = clinic

    def told(reader, *more, code=0):
        written = cli.json("export", "prov", *more, "-o", tmp_path / "x", "--for", reader, "--data", data, code=code)
        text = (tmp_path / "x").read_text() if written["file"] else ""
        return [f'"record:{id}": {{"prov:type"' in text for id in (decision, seen)]

    assert told("stranger") == [False, False] and told(author) == [True, True]
    assert told("stranger", decision, code=2) == [False, False] and not list(tmp_path.glob("y*"))
    cli.json("access", "grant", decision, "--to", "anyone", "--data", data)
    assert told("stranger") == [True, False] and told("stranger", decision, code=2) == [True, False]
    assert told(author, decision) == [True, True]
