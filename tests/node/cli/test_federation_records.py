"""A federation's own records through the command line: from text to request, sealed, and into a node's data."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from tslg.manifests import record_text, versions
from tslg.manifests.signing import read_sealed
from tslg.node.cli.federation import federation
from tslg.node.home import Home
from tslg.protocol.cid import compute, to_text
from tslg.protocol.errors import ManifestError
from tslg.protocol.kinds import KINDS

SOMEBODY = to_text(compute(b"somebody"))
TEXTS = {
    "peer-set": f'name = "peers"\nmembers = ["{SOMEBODY}"]\n',
    "correction-policy": 'name = "c"\n[[rules]]\nacts = ["retracts", "corrects"]\nkinds = ["state"]\nby = "author"\n'
    f'[[rules]]\nacts = ["amends"]\nkinds = []\nby = ["{SOMEBODY}"]\n',
    "policy": 'name = "p"\ncapabilities = ["write", "read"]\nlimits = { usd = 5 }\nclasses = []\ntiers = []\n'
    "not_after = 2030-01-31T12:00:00Z\n",
}


class Desk:
    """A federation of one anchor, and a node in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key, self.root, self.data = folder / "anchor.key.json", folder / "root.sealed", folder / "data"
        text = folder / "north.toml"
        text.write_text(
            self.run("new", "--example", "single-organisation")["text"].replace("anchors = 1 ", "anchors = 0 ")
        )
        self.run("new", text, "--single", "--out", self.root, "--key", self.key)
        with Home.open(self.data, federation=self.root) as home:
            home.agent("scout")
        self.log = [self.root]

    def invoke(self, *arguments: object):
        return CliRunner().invoke(federation, list(map(str, arguments)))

    def run(self, *arguments: object):
        result = self.invoke(*arguments, "--json")
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    def fails(self, *arguments: object) -> str:
        result = self.invoke(*arguments)
        assert result.exit_code == 3 and result.stdout == "", result.output
        return result.stderr

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def seal(self, request: str) -> Path:
        partial = self.run("sign", request, "--key", self.key)["partial"]
        sealed = Path(self.run("combine", request, partial)["sealed"])
        self.log.append(sealed)
        return sealed

    def given(self) -> list[object]:
        return [item for path in self.log for item in ("--log", path)]

    def record(self, kind: str, text: str, name: str | None = None) -> Path:
        file = self.write(f"{name or kind}.toml", text)
        return self.seal(self.run("record", kind, file, *self.given())["request"])

    def amend(self, name: str, change) -> Path:
        before = self.run("show", self.log[0] if len(self.versions()) < 2 else self.versions()[-1], "--toml")["text"]
        file = self.write(f"{name}.toml", change(before))
        return self.seal(self.run("amend", file, *self.given())["request"])

    def versions(self) -> list[Path]:
        return [path for path in self.log if read_sealed(path)[0].kind.startswith("manifest")]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


@pytest.mark.spec("FED-1", "FED-2")
def test_every_kind_is_recorded_sealed_adopted_and_shown(desk: Desk) -> None:
    for kind, text in TEXTS.items():
        asked = desk.run("record", kind, desk.write(f"{kind}.toml", text), *desk.given())
        assert asked["kind"] == kind and asked["says"]["name"] == {"peer-set": "peers"}.get(kind, kind[0])
        desk.seal(asked["request"])
    again = desk.record("peer-set", TEXTS["peer-set"], "again")
    assert [edge.cid for edge in read_sealed(again)[0].preds["amends"]] == [read_sealed(desk.log[1])[0].id]
    said = desk.run("adopt", *desk.log, "--data", desk.data)
    assert [item["kind"] for item in said["adopted"]] == [*TEXTS, "peer-set"] and said["version"] == 1
    assert desk.run("adopt", *desk.log, "--data", desk.data)["adopted"] == []
    shown = desk.run("show", "--data", desk.data)
    assert [item["kind"] for item in shown["records"]] == [*TEXTS, "peer-set"]
    assert shown["records"][0]["members"] == [SOMEBODY] and shown["in_force"]["version"] == 1
    with Home.read(desk.data) as home:
        assert home.federation_log() == [read_sealed(path)[0] for path in desk.log]


def test_an_amendment_names_them_and_shows_what_it_changes(desk: Desk) -> None:
    peers = to_text(read_sealed(desk.record("peer-set", TEXTS["peer-set"]))[0].id)

    def change(text: str) -> str:
        text = text.replace('cross_agent = "open"', f'cross_agent = {{ kinds = ["decision"], peers = "{peers}" }}')
        return text.replace("[federation]\n", "[federation]\nexpires = 2099-01-01T00:00:00Z\n")

    file = desk.write("second.toml", change(desk.run("show", desk.root, "--toml")["text"]))
    asked = desk.run("amend", file, *desk.given())
    assert asked["changes"] == {
        "envelope.cross_agent": {"from": "open", "to": {"kinds": ["decision"], "peers": peers}},
        "expires": {"from": None, "to": 4070908800000},
    }
    desk.seal(asked["request"])
    assert desk.run("adopt", *desk.log, "--data", desk.data)["version"] == 2
    shown = desk.run("show", "--data", desk.data)
    assert shown["in_force"]["expires"] == 4070908800000
    assert shown["envelope"]["cross_agent"]["peers"] == peers
    assert [version["version"] for version in shown["versions"]] == [1, 2]
    text = desk.run("show", "--data", desk.data, "--toml")["text"]
    assert "expires = 2099-01-01T00:00:00Z" in text and peers in text
    from_data = desk.run("amend", desk.write("third.toml", text), "--data", desk.data)
    assert from_data["version"] == 3 and from_data["changes"] == {}


def test_what_does_not_continue_the_log_is_refused(desk: Desk) -> None:
    first = desk.record("peer-set", TEXTS["peer-set"])
    second = desk.amend("second", lambda text: text)
    assert "TSLG-A-" in desk.fails("adopt", second, "--data", desk.data)
    assert "TSLG-M-HISTORY" in desk.fails("amend", desk.folder / "second.toml", "--log", desk.root, "--log", second)
    other = Desk(make(desk.folder / "other"))
    foreign = other.record("peer-set", TEXTS["peer-set"])
    assert "TSLG-U-" in desk.fails("adopt", foreign, "--data", desk.data)
    damaged = desk.write("damaged.sealed", "")
    damaged.write_bytes(first.read_bytes()[:-1] + b"\0")
    assert "TSLG-A-SEAL" in desk.fails("adopt", damaged, "--data", desk.data)
    assert desk.run("adopt", *desk.log, "--data", desk.data)["version"] == 2


def test_an_envelope_that_names_the_wrong_thing_is_not_even_proposed(desk: Desk) -> None:
    policy = to_text(read_sealed(desk.record("policy", TEXTS["policy"]))[0].id)
    text = desk.run("show", desk.root, "--toml")["text"]
    wrong = desk.write(
        "wrong.toml", text.replace('cross_agent = "open"', f'cross_agent = {{ kinds = [], peers = "{policy}" }}')
    )
    assert "TSLG-A-ENVELOPE" in desk.fails("amend", wrong, *desk.given())
    absent = desk.write(
        "absent.toml", text.replace('cross_agent = "open"', f'cross_agent = {{ kinds = [], peers = "{SOMEBODY}" }}')
    )
    assert "peer-set that its `cross_agent` names is not with it" in desk.fails("amend", absent, *desk.given())
    founding = desk.write("founding.toml", absent.read_text())
    assert "TSLG-" in desk.fails("new", founding, "--out", desk.folder / "founding.request")


@pytest.mark.parametrize(
    ("kind", "text", "said"),
    [
        ("peer-set", 'name = "x"\n', "members: is missing"),
        ("peer-set", 'name = "x"\nmembers = ["me"]\n', ":2:11: members: must be a sorted set of links"),
        ("peer-set", 'name = "x"\nmembers = 5\n', "members: must be a sorted set of links"),
        ("peer-set", 'name = "x"\nmembers = []\nmore = 1\n', "more: unknown entry"),
        ("correction-policy", 'name = "x"\nrules = [{ acts = [] }]\n', "rules: must be a list of {acts, kinds, by}"),
        ("policy", TEXTS["policy"].replace("12:00:00Z", "12:00:00"), "not_after: must be a ms or null"),
    ],
)
def test_every_problem_of_a_text_is_named(kind: str, text: str, said: str) -> None:
    with pytest.raises(ManifestError, match="TSLG-M-TEXT") as caught:
        record_text.body_of(kind, text, "r.toml")
    assert said in caught.value.detail


def test_bodies_of_texts_are_bodies_of_records() -> None:
    for kind, text in TEXTS.items():
        body = record_text.body_of(kind, text, "r.toml")
        assert KINDS[kind].required <= body.keys() <= KINDS[kind].fields.keys()
        assert all(KINDS[kind].fields[name].valid(value) for name, value in body.items())
    assert record_text.body_of("policy", TEXTS["policy"], "r.toml")["not_before"] is None


def test_a_federation_records_nothing_else(desk: Desk) -> None:
    root = read_sealed(desk.root)[0]
    with pytest.raises(ManifestError, match="TSLG-M-KIND"):
        versions.federation_record([root], "state", {"data": {}}, time_ms=root.time)
    with pytest.raises(ManifestError, match="TSLG-M-TIME"):
        versions.federation_record([root], "peer-set", {"name": "x", "members": []}, time_ms=root.time - 1)


def make(folder: Path) -> Path:
    folder.mkdir(stat.S_IRWXU)
    return folder
