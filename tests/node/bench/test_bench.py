"""Every benchmark at a size that takes no time: that the work is really done and the figures are what they say."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner
from nacl.exceptions import BadSignatureError

from tslg.node.bench import audits, cluster, stores, walks
from tslg.node.bench.figures import MeasurementError, Row, Series, Side, Target, interleave
from tslg.node.bench.lineage import Lineage, make
from tslg.node.bench.setting import Setting
from tslg.node.bench.table import BENCHES, document, missed, run
from tslg.node.cli import bench as command
from tslg.node.sources import StoreSource
from tslg.node.store.sqlite import SqliteStore
from tslg.node.verifying import verify
from tslg.protocol.record import parse_as

pytestmark = pytest.mark.thorough

RECORDS = 50


@pytest.fixture(scope="module")
def setting(tmp_path_factory) -> Setting:
    return Setting(tmp_path_factory.mktemp("bench"), records=RECORDS, repeat=1)


@pytest.fixture(scope="module")
def lineage(setting) -> Lineage:
    return setting.lineage()


# --- the lineage ---------------------------------------------------------------------------------------------------


def test_the_same_lineage_is_made_every_time(lineage, tmp_path):
    again = make(tmp_path, RECORDS)
    assert (again.federation, again.target, again.records) == (lineage.federation, lineage.target, lineage.records)


def test_the_whole_lineage_is_the_ancestry_of_its_target(lineage):
    with SqliteStore.open(lineage.whole, readonly=True) as store:
        report = verify(StoreSource(store), lineage.target, lineage.federation, now_ms=lineage.now_ms)
        held = sum(log.held for log in store.logs())
    assert report.verdict == "valid" and lineage.records >= RECORDS
    assert set(report.records) >= set(_agents_records(lineage)) and held == lineage.records + 1
    assert {agent.name for agent in report.agents} >= {"alpha", "beta"}


def _agents_records(lineage):
    with SqliteStore.open(lineage.whole, readonly=True) as store:
        for log in store.logs():
            if log.owner != lineage.federation:
                yield from (id for id, _ in store.log_range(log.owner, 0, log.held))


def test_neither_vendor_holds_it_all(lineage):
    everything = set(_agents_records(lineage))
    for path in lineage.vendors:
        with SqliteStore.open(path / "tslg.sqlite", readonly=True) as store:
            missing = store.missing(everything)
        assert 0.3 * len(everything) < len(missing) < 0.6 * len(everything)


def test_records_are_of_the_usual_size_and_cite_each_other(tmp_path):
    lineage = make(tmp_path, 400)
    with SqliteStore.open(lineage.whole, readonly=True) as store:
        found = [parse_as(id, entry.data) for id, entry in store.get_many(_agents_records(lineage)).items()]
    assert 450 < sum(len(record.data) for record in found) / len(found) < 650
    assert 2.2 < sum(len(list(record.edges())) for record in found) / len(found) < 2.4
    foreign = [edge for record in found for edge in record.edges() if edge.agent is not None]
    assert len(foreign) == 3, "every turn but the first cites the other vendor"


# --- the rows ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def rows(setting) -> dict[str, Row]:
    names = [name for name in BENCHES if name not in ("audit", "replicate", "simulation", "help")]
    return {row.name: row for row in run(setting, names)}


def test_every_benchmark_gives_its_rows(rows):
    assert list(rows) == [
        *("verify", "verify-2-workers", "verify-heads", "verify-stored", "verify-and-store"),
        *("append", "append-batches", "governed-step", "governed-step-p99", "governed-steps-8"),
        *("postgresql-ingest-100", "postgresql-ingest-1000"),
        *("head-p99", "head-p50", "head-work"),
        *(f"ancestors-{RECORDS}", f"ancestors-{RECORDS}-ms"),
        *(f"artifact-{what}-{RECORDS}" for what in ("ancestors", "descendants", "shared")),
        "artifact-properties",
        *("manifest-cold", "manifest-warm", "inclusion-hashes", "inclusion-verify"),
        *(
            "cosignature-ed25519",
            "cosignature-ml-dsa-44",
            "prune",
            "narrowing-64",
            "narrowing-64-size",
            "narrowing-256",
            "narrowing-256-size",
        ),
        *("narrowing-64-4", "narrowing-64-4-size", f"linearity-{RECORDS}"),
    ]


def test_every_figure_is_positive_and_taken_once_a_round(rows):
    for row in rows.values():
        for series in [row.figure, *(side.series for side in (row.ours, row.reference) if side is not None)]:
            assert len(series.values) == 1 and series.median > 0, row.name


def test_ratios_are_those_of_the_two_sides(rows):
    for row in rows.values():
        if row.unit == "×":
            ours, reference = row.ours.series.median, row.reference.series.median
            smaller_is_better = row.name.startswith(("ancestors", "artifact", "linearity"))
            assert row.figure.median == pytest.approx(ours / reference if smaller_is_better else reference / ours)


def test_without_a_postgresql_the_row_is_left_out_and_that_is_said(setting, monkeypatch, tmp_path):
    monkeypatch.setattr(cluster, "binaries", lambda: None)
    here = Setting(tmp_path, records=RECORDS, repeat=1)
    assert run(here, ["postgresql"]) == []
    assert "apt-get install postgresql" in here.left_out["postgresql"]
    assert document(here, [])["left_out"] == here.left_out
    result = CliRunner().invoke(command.bench, ["--only", "postgresql", "--records", str(RECORDS), "--repeat", "1"])
    assert result.exit_code == 0 and "not measured: postgresql: there is no PostgreSQL server" in result.output


def test_a_database_that_is_given_is_measured_on_and_left_as_it_was(tmp_path, place):
    import psycopg

    here = Setting(tmp_path, records=RECORDS, repeat=1, postgresql=place.dsn)
    rows = run(here, ["postgresql"])
    assert [row.name for row in rows] == ["postgresql-ingest-100", "postgresql-ingest-1000"] and here.left_out == {}
    with psycopg.connect(place.dsn) as db:
        assert db.execute("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tslg_bench%'").fetchone() == (0,)


def test_bare_signatures_are_those_of_all_records_that_an_agent_signed_alone(setting, lineage):
    with walks.workload(setting) as load:
        load.verify_bare()
        assert len(load.signatures) == lineage.records - 2, "all but the two geneses, which the anchor signs too"
        load.signatures[0] = (load.signatures[0][0][:-1] + b"\0", load.signatures[0][1])
        with pytest.raises(BadSignatureError, match="forged"):
            load.verify_bare()


def test_a_verification_that_is_not_valid_is_no_measurement(setting, lineage):
    with walks.workload(setting) as load:
        data, seal, _ = load.source._held[lineage.target]
        load.source._held[lineage.target] = (data, seal[:-1] + bytes([seal[-1] ^ 1]))
        with pytest.raises(MeasurementError, match="invalid"):
            load.walk()


def test_what_was_verified_and_stored_is_held(setting, lineage):
    with walks.workload(setting) as load:
        walks.storing(load, setting)()
    newest = max((path for path in setting._folder.iterdir()), key=lambda path: int(path.name))
    with SqliteStore.open(newest / "tslg.sqlite", readonly=True) as store:
        assert store.missing(_agents_records(lineage)) == []


@pytest.mark.parametrize(("records", "batch", "made"), [(8, 1, 8), (250, 100, 248)])
def test_appends_are_all_made_and_all_inserted(tmp_path, records, batch, made):
    setting = Setting(tmp_path, records=records, repeat=1)
    appending = stores.Appending(setting, records, batch)
    appending.own()
    assert len(appending.made) == len({record.id for record in appending.made}) == made
    appending.bare()
    with closing(sqlite3.connect(tmp_path / "1" / "bare.sqlite")) as db:
        rows = db.execute("SELECT cid, data, length(seal) FROM record ORDER BY id").fetchall()
    assert rows == [(record.id, record.data, 113) for record in appending.made]


def test_an_audit_asks_both_nodes_and_counts_its_round_trips(setting, lineage):
    ratio, trips = run(setting, ["audit"])
    assert (ratio.name, trips.name) == ("audit", "audit-round-trips")
    assert ratio.figure.median > 0 and 2 <= trips.figure.median <= 10
    assert len(ratio.ours.series.values) == len(trips.figure.values) == 1


def test_a_replication_holds_both_logs_whole(setting):
    (ratio,) = run(setting, ["replicate"])
    assert ratio.name == "replicate" and ratio.figure.median > 0
    assert ratio.ours is not None and ratio.ours.unit == "µs/record"


def test_a_node_that_does_not_start_is_no_measurement(tmp_path):
    (tmp_path / "tslg.sqlite").write_bytes(b"no database at all, though long enough to look at" * 99)
    with pytest.raises(MeasurementError, match="did not start: error: TSLG-D-"), audits.serving(tmp_path):
        pass


def test_large_adds_ten_times_as_many_records(tmp_path):
    setting = Setting(tmp_path, records=16, repeat=1, large=True)
    names = {row.name for row in run(setting, ["ancestors", "linearity"])}
    assert names == {f"{name}-{size}" for name in ("ancestors", "linearity") for size in (16, 160)} | {
        "ancestors-16-ms",
        "ancestors-160-ms",
    }


# --- figures -------------------------------------------------------------------------------------------------------


def test_sides_take_turns():
    order = []
    sides = [lambda name=name: float(order.append(name) or len(order)) for name in "ab"]
    assert interleave(3, *sides) == [Series((1.0, 3.0, 5.0)), Series((2.0, 4.0, 6.0))]
    assert "".join(order) == "ababab"


def test_a_ratio_is_taken_round_by_round():
    ours, reference = Series((1.0, 10.0, 2.0)), Series((2.0, 20.0, 4.0))
    assert reference.over(ours).to_json() == {"median": 2.0, "min": 2.0, "max": 2.0}
    assert reference.minus(ours).values == (1.0, 10.0, 2.0)


@pytest.mark.parametrize(
    ("target", "value", "met", "counts"),
    [
        (Target(2, True), 2.0, True, False),
        (Target(2, True), 1.9, False, True),
        (Target(2, False), 2.0, True, False),
        (Target(2, False), 2.1, False, True),
        (Target(2, False, gates=False), 2.1, False, False),
    ],
)
def test_targets(target, value, met, counts):
    row = Row("r", "a row", Series((value,)), "×", target=target)
    assert row.met is met and (missed([row]) == [row]) is counts


# --- the command ---------------------------------------------------------------------------------------------------


@pytest.fixture
def cli():
    from click.testing import CliRunner

    from tslg.node.cli.root import tslg

    return lambda *arguments: CliRunner().invoke(tslg, ["bench", *arguments])


def test_the_document_names_the_machine_and_every_figure(cli, tmp_path):
    result = cli("--only", "help", "--records", "16", "--repeat", "1", "--folder", str(tmp_path), "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert found["settings"] == {"records": 16, "repeat": 1, "large": False, "seed": 20260101}
    assert found["machine"]["cores"] >= 1 and found["machine"]["python"].keys() >= {"version", "pgo", "lto"}
    assert found["machine"]["libraries"]["pynacl"]
    (row,) = found["rows"]
    assert row["name"] == "help" and row["unit"] == "ms more"
    assert row["target"].keys() == {"bound", "at_least", "gates", "met"}
    for part in (row["ours"], row["reference"]):
        assert 0 < part["min"] <= part["median"] <= part["max"]
    # A difference of two starts: on a busy machine the longer one may be either.
    assert row["figure"]["min"] <= row["figure"]["median"] <= row["figure"]["max"]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


def row(met: bool) -> Row:
    ours, reference = (
        Side("tslg", Series((40.0, 50.0, 60.0)), "ms"),
        Side("nothing", Series((100.0, 100.0, 100.0)), "ms"),
    )
    return Row("r", "a row", reference.series.over(ours.series), "×", ours, reference, Target(1.5 if met else 3, True))


@pytest.mark.parametrize(("met", "check", "code"), [(True, True, 0), (False, True, 1), (False, False, 0)])
def test_only_check_makes_a_missed_target_an_exit_code(cli, monkeypatch, met, check, code):
    monkeypatch.setattr(command, "run", lambda *_: [row(met)])
    result = cli(*["--check"] * check)
    assert result.exit_code == code
    header, line, about = result.stdout.splitlines()
    assert header.split() == ["ROW", "OURS", "REFERENCE", "FIGURE", "TARGET", "MET"]
    wanted = f"a row  50 ms  100 ms, nothing  2 × (1.67–2.5)  ≥ {'1.5' if met else '3'} ×  {'yes' if met else 'no'}"
    assert " ".join(line.split()) == " ".join(wanted.split())
    assert "cores" in about and "CPython" in about


def test_a_measurement_that_fails_is_one_line_and_exit_code_3(cli, monkeypatch):
    def fail(*_):
        raise MeasurementError("it came out invalid")

    monkeypatch.setattr(command, "run", fail)
    result = cli()
    assert result.exit_code == 3 and result.stdout == ""
    assert result.stderr == "error: TSLG-E-MEASUREMENT: it came out invalid\n"


def test_an_unknown_benchmark_is_wrong_usage(cli):
    result = cli("--only", "nothing")
    assert result.exit_code == 3 and result.stderr.startswith("error: TSLG-U-USAGE: ")


def test_the_document_says_whether_all_targets_are_met(setting):
    assert document(setting, [row(True)], {})["met"] is True
    assert document(setting, [row(True), row(False)], {})["met"] is False
