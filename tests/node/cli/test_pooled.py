"""Bundles verified by several processes: the same reports, and no answer at all where a worker is lost."""

from __future__ import annotations

import io
import operator
import os
import sys
import types
from concurrent.futures import Future
from itertools import product
from pathlib import Path

import dying
import pytest
from world import World

from tslg.node.cli import pooled
from tslg.node.cli.pooled import MOST, SIGNATURES_FROM, TARGETS_FROM, Asked, choose, verify_targets
from tslg.node.parallel import Processes, cores, map_chunks, open_pool, outcome
from tslg.node.parallel_work import Signatures, check_signatures, holds_all
from tslg.node.sources import BundleSource
from tslg.node.verifying import verify
from tslg.protocol import bundle
from tslg.protocol.cid import to_text
from tslg.protocol.errors import UsageError, WorkError
from tslg.protocol.proofs import HeadClaim
from tslg.protocol.signatures import ed25519_public_key, ed25519_secret, ed25519_sign


@pytest.fixture(scope="module")
def world():
    made = World()
    a, b = made.agent("a"), made.agent("b")
    policy = made.add(a, "policy")
    made.targets = []
    for _ in range(4):
        seen = [made.add(author, "observation") for author in (a, b) for _ in range(20)]
        made.targets.append(made.add(a, "decision", None, {"policy": [policy], "evidence": [seen[0], seen[-1]]}))
    made.targets.append(made.add(a, "decision", None, {"policy": [policy], "evidence": made.targets[1:3]}))
    return made


def written(world, spoil=None):
    """Return a bundle's bytes; `spoil` changes one of its records' bytes or seals."""
    records = []
    for author in (world.anchors, *(one for one in world.authors.values() if one is not world.anchors)):
        records += [(record.id, record.data, world.seals[record.id]) for record in author.log]
    if spoil is not None:
        records = [spoil(*one) for one in records]
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=world.federation,
        manifest=world.federation,
        targets=[target.id for target in world.targets],
        heads=[
            HeadClaim(owner, author.last.id, len(author.log), author.tree.root())
            for owner, author in world.authors.items()
        ],
        inclusion=(),
        consistency=(),
        records=records,
    )
    return stream.getvalue()


def false_seal(world):
    """Spoil the signature of one target, on which the last one rests too."""
    spoilt = world.targets[1].id

    def spoil(id, data, seal):
        return (id, data, seal[:-1] + bytes([seal[-1] ^ 1])) if id == spoilt else (id, data, seal)

    return spoil


def asked(world, **how):
    settings = {"depth": None, "full": True, "signatures": "all", "log": "full", "post_quantum": False, "heads": ()}
    return Asked(world.federation, world.now_ms, **(settings | how))


def alone(world, data, **how):
    source = BundleSource(bundle.read(io.BytesIO(data)))
    settings = {"depth": None, "log": "full"} | how
    return [verify(source, target.id, world.federation, now_ms=world.now_ms, **settings) for target in world.targets]


def told(reports):
    documents = [report.to_json() for report in reports]
    for document in documents:
        document.pop("seconds")
    return documents


@pytest.fixture(scope="module")
def bundles(world):
    broken = bytearray(written(world))
    place = broken.index(world.targets[1].data)
    broken[place + 40] ^= 1
    return {"whole": written(world), "false seal": written(world, false_seal(world)), "broken block": bytes(broken)}


@pytest.mark.thorough
@pytest.mark.parametrize("which", ["whole", "false seal"])
def test_targets_in_processes_are_reported_on_as_by_one(world, bundles, which):
    data = bundles[which]
    targets = [target.id for target in world.targets]
    with open_pool("processes", 2, data) as pool:
        for how in ({}, {"signatures": "heads"}, {"depth": 5, "full": False}):
            reports = verify_targets(pool, targets, asked(world, **how))
            serial = alone(world, data, **{key: value for key, value in how.items() if key != "full"})
            assert told(reports) == told(serial)
            assert [report.digest for report in reports] == [report.digest for report in serial]
            assert [report.records for report in reports] == [report.records for report in serial]
    verdicts = {report.verdict for report in alone(world, data)}
    assert verdicts == {"valid"} if which == "whole" else "invalid" in verdicts


def test_signatures_in_processes_are_judged_as_by_one(world, bundles):
    with open_pool("processes", 2) as pool:
        for which, log in product(bundles, ("full", "visited", "none")):
            source = BundleSource(bundle.read(io.BytesIO(bundles[which])))
            how = {"now_ms": world.now_ms, "log": log}
            ours = [verify(source, one.id, world.federation, pool=pool, **how) for one in world.targets]
            assert told(ours) == told(alone(world, bundles[which], log=log))


class Dying:
    """A pool whose workers crash at whatever they are given."""

    workers = 2

    def __init__(self):
        self.pool = Processes(2)

    def submit(self, function, chunk):
        return self.pool.submit(dying.die, chunk)


def test_a_worker_that_dies_is_an_error_and_no_verdict(world, bundles):
    source = BundleSource(bundle.read(io.BytesIO(bundles["whole"])))
    dying = Dying()
    with dying.pool:
        for _ in range(2):
            with pytest.raises(WorkError) as caught:
                verify(source, world.targets[0].id, world.federation, now_ms=world.now_ms, pool=dying)
            assert caught.value.code == "TSLG-U-WORKER"
        with pytest.raises(WorkError):
            verify_targets(dying, [target.id for target in world.targets], asked(world))


def test_what_a_function_raises_in_a_worker_is_raised_here():
    with Processes(1, 1) as pool:
        assert list(map_chunks(pool, operator.add, range(5))) == [1, 2, 3, 4, 5]
        with pytest.raises(ZeroDivisionError):
            outcome(pool.submit(operator.truediv, 0))
        assert outcome(pool.submit(operator.add, 1)) == 2
    with pytest.raises(RuntimeError):
        pool.submit(operator.add, 1)


class Lying:
    """A pool that says of every signature that it holds, and of one too many or with another value."""

    workers = 1

    def __init__(self, answer):
        self.answer = answer

    def submit(self, function, chunk):
        done = Future()
        done.set_result(self.answer(len(chunk.signed)))
        return done


@pytest.mark.parametrize("answer", [lambda n: b"\1" * (n + 1), lambda n: b"", lambda n: b"\2" * n])
def test_an_answer_that_does_not_fit_the_question_is_no_verdict(world, bundles, answer):
    source = BundleSource(bundle.read(io.BytesIO(bundles["whole"])))
    with pytest.raises(ValueError, match="verdicts on"):
        verify(source, world.targets[0].id, world.federation, now_ms=world.now_ms, pool=Lying(answer))
    with pytest.raises(ValueError, match="other targets"):
        verify_targets(Reporting(alone(world, bundles["whole"])), [world.targets[1].id], asked(world))


class Reporting:
    """A pool that answers with the first report, whatever was asked."""

    def __init__(self, reports):
        self.reports = reports

    def submit(self, function, chunk):
        done = Future()
        done.set_result(self.reports[0])
        return done


def test_each_signature_is_told_apart():
    secrets = [bytes([n]) * 32 for n in range(3)]
    publics = [ed25519_public_key(secret) for secret in secrets]
    message = b"what is signed"
    good = [ed25519_sign(ed25519_secret(secret), message) + message for secret in secrets]
    work = Signatures(
        [*publics, bytes(32)], [(0, good[0]), (1, good[0]), (2, good[2]), (2, good[2] + b"x"), (3, good[0])]
    )
    verdicts = check_signatures(None, work)
    assert holds_all(verdicts, 5) == [True, False, True, False, False]


def test_processes_are_taken_where_they_pay():
    assert choose("auto", 4, 1, TARGETS_FROM) == ("threads", 4)
    assert choose("auto", 4, 2, TARGETS_FROM - 1) == ("threads", 4)
    assert choose("auto", 4, 2, TARGETS_FROM) == ("processes", 4)
    assert choose("auto", 4, 1, SIGNATURES_FROM) == ("processes", 4)
    assert choose("auto", 2, 1, SIGNATURES_FROM) == ("threads", 2)
    assert choose("auto", 1, 2, SIGNATURES_FROM) == ("threads", 1)
    assert choose("processes", None, 1, 1) == ("processes", min(MOST, cores()))
    assert choose("ray", 3, 1, 1) == ("ray", 3)
    with pytest.raises(UsageError), open_pool("threads", 2):
        raise AssertionError


def test_the_command_says_the_same_over_processes(cli, world, bundles, tmp_path, monkeypatch):
    file = tmp_path / "many.car"
    file.write_bytes(bundles["false seal"])
    monkeypatch.setattr("tslg.node.home.wall_clock", lambda: world.now_ms)
    how = ("verify", file, "--federation", to_text(world.federation), "--full", "--workers", 2)
    said = [cli.json(*how, "--pool", pool, code=1) for pool in ("threads", "processes")]
    for one in said:
        for report in one["reports"]:
            report.pop("seconds")
    assert said[0] == said[1]
    monkeypatch.setattr(pooled, "TARGETS_FROM", 1)
    opened = []
    monkeypatch.setattr(pooled, "open_pool", lambda *how: opened.append(how) or open_pool(*how))
    assert len(cli.json(*how, code=1)["reports"]) == 5 and [one[0] for one in opened] == ["processes"]


def fake_ray(monkeypatch, outcomes):
    """Put a module in Ray's place that runs tasks at once, or fails them as `outcomes` says."""

    class RayError(Exception):
        pass

    class RayTaskError(RayError):
        def __init__(self, cause):
            self.cause = cause

    class Reference:
        def __init__(self, future):
            self._future = future

        def future(self):
            return self._future

    class Task:
        def __init__(self, function):
            self._function = function

        def remote(self, *arguments):
            done = Future()
            try:
                if outcomes.get("lost"):
                    raise RayError("the worker died")
                done.set_result(self._function(*arguments))
            except RayError as error:
                done.set_exception(error)
            except Exception as error:
                done.set_exception(RayTaskError(error))
            return Reference(done)

    ray = types.ModuleType("ray")
    ray.is_initialized = lambda: outcomes.get("running", False)
    ray.init = lambda **how: outcomes.setdefault("started", how)
    ray.shutdown = lambda: outcomes.setdefault("stopped", True)
    ray.put = lambda value: value
    ray.remote = lambda **how: Task
    errors = types.ModuleType("ray.exceptions")
    errors.RayError, errors.RayTaskError = RayError, RayTaskError
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", errors)
    # What is imported with it must not be there for the next test.
    monkeypatch.setitem(sys.modules, "tslg.node.parallel_ray", None)
    monkeypatch.delitem(sys.modules, "tslg.node.parallel_ray")


def test_over_ray_work_is_handed_over_and_failures_are_told_apart(monkeypatch, world, bundles):
    outcomes: dict[str, object] = {}
    fake_ray(monkeypatch, outcomes)
    targets = [target.id for target in world.targets]
    with open_pool("ray", 3, bundles["whole"]) as pool:
        assert outcomes["started"]["num_cpus"] == 3
        assert told(verify_targets(pool, targets, asked(world))) == told(alone(world, bundles["whole"]))
    assert outcomes["stopped"]
    with open_pool("ray", 1, 1) as pool:
        with pytest.raises(ZeroDivisionError):
            outcome(pool.submit(operator.truediv, 0))
        outcomes["lost"] = True
        with pytest.raises(WorkError):
            outcome(pool.submit(operator.add, 1))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    outcomes.clear()
    with open_pool("ray", 3):
        assert outcomes["started"]["num_cpus"] is None
    outcomes |= {"running": True}
    outcomes.pop("stopped")
    with open_pool("ray", 3):
        pass
    assert "stopped" not in outcomes


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "tslg.node.parallel_ray", raising=False)
    with pytest.raises(UsageError, match=r"tslg\[ray\]"), open_pool("ray", 2):
        raise AssertionError


@pytest.mark.slow
def test_over_a_real_ray(world, bundles, monkeypatch):
    # What ends a worker must be found there, which is started with this environment.
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(Path(dying.__file__).parent), os.environ.get("PYTHONPATH", "")])
    )
    targets = [target.id for target in world.targets]
    for which in ("whole", "false seal"):
        with open_pool("ray", 2, bundles[which]) as pool:
            reports = verify_targets(pool, targets, asked(world))
        assert told(reports) == told(alone(world, bundles[which]))
    with open_pool("ray", 2, 0) as pool, pytest.raises(WorkError):
        outcome(pool.submit(dying.die, 16))
