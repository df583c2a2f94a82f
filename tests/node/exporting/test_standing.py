"""What reading logs finds: nothing wrong with honest ones, and whatever a store's owner could change."""

from __future__ import annotations

import sqlite3

import pytest
from export_scene import build
from world import NOW

from tslg.manifests.agent_keys import SigningKey
from tslg.node.exporting.standing import read_logs
from tslg.node.home import Home
from tslg.protocol import record as records
from tslg.protocol.log import Peaks
from tslg.protocol.record import Edge, Head
from tslg.protocol.seal import Signature, encode, to_be_signed


@pytest.fixture
def copy(scene, tmp_path):
    """A copy of the store's file, and what reads it once it was changed."""
    path = tmp_path / "data"
    path.mkdir()
    with sqlite3.connect(scene.home.path / "tslg.sqlite") as db, sqlite3.connect(path / "tslg.sqlite") as other:
        db.backup(other)
    return path


def change(path, sql, *values):
    with sqlite3.connect(path / "tslg.sqlite") as db:
        assert db.execute(sql, values).rowcount == 1
    db.close()


def checked(path):
    with Home.read(path, clock=lambda: NOW) as home:
        owners = [log.owner for log in home.store.logs()]
        return read_logs(home.store, home.federation, owners, home.clock)


def codes(standing):
    return {fault.code for log in standing.logs.values() for fault in log.faults}


@pytest.mark.spec("EXP-4")
def test_honest_logs_are_valid_and_every_record_is_counted(scene, copy):
    standing = checked(copy)
    assert standing.verdict == "valid" and not codes(standing)
    assert standing.told["records"] == sum(log.held for log in scene.home.store.logs())
    assert standing.of(scene.records["release"]) == "log"


@pytest.mark.spec("EXP-4")
def test_altered_bytes_a_foreign_seal_and_two_that_changed_places_are_found(scene, copy):
    finding, scan = scene.records["finding"], scene.records["scan"]
    change(copy, "UPDATE record SET data = ? WHERE cid = ?", finding.data.replace(b"clean", b"cloan"), finding.id)
    standing = checked(copy)
    assert standing.verdict == "invalid" and "TSLG-R-ID" in codes(standing)
    assert standing.of(scan) == "none" and standing.of(scene.records["release"]) == "log"
    change(copy, "UPDATE record SET data = ? WHERE cid = ?", finding.data, finding.id)
    assert checked(copy).verdict == "valid"
    change(copy, "UPDATE record SET seal = ? WHERE cid = ?", scene.home.store.get(scan.id).seal, finding.id)
    assert codes(checked(copy)) == {"TSLG-A-SEAL"}
    change(copy, "UPDATE record SET seal = ? WHERE cid = ?", scene.home.store.get(finding.id).seal, finding.id)
    change(copy, "UPDATE record SET seq = 999 WHERE cid = ?", scan.id)
    change(copy, "UPDATE record SET seq = ? WHERE cid = ?", scan.seq, finding.id)
    change(copy, "UPDATE record SET seq = ? WHERE cid = ?", finding.seq, scan.id)
    assert "TSLG-A-SEQ" in codes(checked(copy))


@pytest.mark.spec("EXP-4")
def test_a_log_with_a_hole_is_undetermined_and_its_records_are_sealed_only(scene, copy):
    scan = scene.records["scan"]
    change(
        copy, "UPDATE record SET data = NULL, seal = NULL, kind = NULL, log = NULL, seq = NULL WHERE cid = ?", scan.id
    )
    standing = checked(copy)
    assert standing.verdict == "undetermined" and not codes(standing)
    assert standing.of(scene.records["finding"]) == "seal" and standing.of(scene.records["release"]) == "log"


@pytest.mark.spec("EXP-4")
def test_a_registration_beside_the_log_lends_no_key_to_it(scene, tmp_path):
    home, _ = build(tmp_path / "data")
    store, beta = home.store, home.agent("beta")
    state = store.log_state(beta.id)
    genesis = records.parse_as(beta.id, store.get(beta.id).data)
    stolen = SigningKey(-19, bytes(range(32)))

    def made(kind, seq, prev, peaks, preds, body, key):
        return records.build(
            kind=kind,
            agent=beta.id,
            seq=seq,
            prev=prev,
            time=NOW,
            manifest=genesis.manifest,
            key=key,
            log=Head(seq, peaks.root()),
            preds=preds,
            body=body,
        )

    first = Peaks()
    first.append(beta.id)
    preds = {"prior": [Edge(beta.id)]}
    forged = made(
        "registration",
        1,
        beta.id,
        first,
        preds,
        {"purpose": "signing", "binding": "tenant", **stolen.fields()},
        beta.id,
    )
    store.keep_rivals([(forged, b"no seal at all")])
    lie = made("state", state.size, state.last, state.peaks, preds, {"data": {"all": "mine"}}, forged.id)
    signature = stolen.sign(-19, to_be_signed(lie.data, -19))
    store.append([(lie, encode([Signature(-19, forged.id, signature)]))])
    standing = read_logs(store, home.federation, [beta.id], home.clock)
    assert codes(standing) == {"TSLG-A-KEY"} and standing.verdict == "invalid"
    home.close()


@pytest.mark.spec("EXP-4")
def test_bytes_that_are_gone_leave_a_log_whole_only_if_a_prune_record_took_them(scene, copy):
    scan, release = scene.records["scan"], scene.records["release"]
    change(copy, "UPDATE record SET data = NULL, seal = NULL, kind = NULL, time = NULL WHERE cid = ?", scan.id)
    standing = checked(copy)
    assert standing.verdict == "undetermined" and standing.of(scene.records["finding"]) == "seal"
    assert standing.told["incomplete"] == 1
    pair = "(SELECT id FROM record WHERE cid = ?), (SELECT id FROM record WHERE cid = ?)"
    change(copy, f"INSERT INTO pruned (prune, record, pending) VALUES ({pair}, 0)", release.id, scan.id)
    standing = checked(copy)
    assert standing.verdict == "valid" and standing.of(scene.records["finding"]) == "log"


@pytest.mark.spec("EXP-4")
def test_a_revoked_key_seals_up_to_its_end_and_not_beyond(tmp_path):
    home, made = build(tmp_path / "data")
    alpha = home.agent("alpha")
    first = alpha.id
    rotated = home.keyring.rotate(alpha.id)
    revoked = home.keyring.revoke(alpha.id, first, "stolen")
    alpha.observe("afterwards")
    owners = [alpha.id]
    standing = read_logs(home.store, home.federation, owners, home.clock)
    assert standing.verdict == "valid" and standing.of(made["release"]) == "log" == standing.of(rotated)
    # The thief goes on with the key that was revoked.
    state, seed = home.store.log_state(alpha.id), home.agent_key(alpha.id).key
    lie = records.build(
        kind="state",
        agent=alpha.id,
        seq=state.size,
        prev=state.last,
        time=NOW,
        manifest=revoked.manifest,
        key=first,
        log=Head(state.size, state.peaks.root()),
        preds={"prior": [Edge(alpha.id)]},
        body={"data": {"mine": "again"}},
    )
    signature = Signature(-19, first, seed.sign(-19, to_be_signed(lie.data, -19)))
    home.store.append([(lie, encode([signature]))])
    assert codes(read_logs(home.store, home.federation, owners, home.clock)) == {"TSLG-A-REVOKED"}
    home.close()


@pytest.mark.spec("EXP-3", "EXP-4")
def test_nothing_is_verified_of_a_record_whose_key_is_not_held(tmp_path):
    home, made = build(tmp_path / "rotating")
    alpha = home.agent("alpha")
    rotated = home.keyring.rotate(alpha.id)
    after = alpha.observe("under the new key")
    home.close()
    gone = "UPDATE record SET data = NULL, seal = NULL, kind = NULL, time = NULL WHERE cid = ?"
    change(tmp_path / "rotating", gone, rotated.id)
    standing = checked(tmp_path / "rotating")
    assert standing.verdict == "undetermined"
    assert standing.of(made["release"]) == "seal" and standing.of(after) == "none"
