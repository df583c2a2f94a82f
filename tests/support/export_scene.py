"""One small lineage of two agents in which every mapping has something to do, for all formats to export."""

from __future__ import annotations

import hashlib
import io
import json
from pathlib import Path
from typing import NamedTuple

from homes import opened
from world import NOW, source

from tslg.node.cli.access import HeldNames
from tslg.node.exporting import choosing, intoto, openlineage, prov, scitt
from tslg.node.exporting.signing import signer_of
from tslg.node.exporting.standing import NONE, Standing, read_logs
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.verifying import verify
from tslg.protocol.record import Record


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


STEP = {"model": "m-7", "model_version": "2026-01", "inputs": {"prompt": digest("prompt")}, "intent": "refund"}


class Scene(NamedTuple):
    """The records by what they are, and a directory that nobody may write to."""

    home: Home
    records: dict[str, Record]

    @property
    def owners(self):
        return [log.owner for log in self.home.store.logs()]

    def standing(self, method: str = "logs") -> Standing:
        if method == "logs":
            return read_logs(self.home.store, self.home.federation, self.owners, self.home.clock)
        if method == "none":
            return Standing(NONE, NOW, self.home.federation)
        target = self.records["release"].id
        report = verify(StoreSource(self.home.store), target, self.home.federation, now_ms=NOW)
        return Standing("walk", NOW, self.home.federation, report)

    def logs(self, standing: Standing, kinds=()):
        chosen = choosing.of_logs(self.home.store, self.owners, kinds)
        for owner, ids in chosen.logs:
            yield owner, choosing.read(self.home.store, self.home.federation, ids, standing)

    def signer(self, name: str):
        return signer_of(self.home.keyring, self.home.agent(name).id)

    def written(self, format: str, method: str = "logs", kinds=(), **how) -> bytes:
        """What a format writes of all logs."""
        stream, standing, names = io.BytesIO(), self.standing(method), HeldNames(self.home.store).get
        logs = self.logs(standing, kinds)
        if format == "prov":
            prov.write(stream, logs, standing, names, **how)
        elif format == "in-toto":
            intoto.write(stream, logs, standing, names, self.signer("alpha"), **how)
        elif format == "openlineage":
            openlineage.write(stream, logs, standing, names, **how)
        else:
            own = {agent.id for agent in self.home.agents}
            signers = lambda id: signer_of(self.home.keyring, id) if id in own else None  # noqa: E731
            scitt.write(stream, logs, self.home.store, signers, **how)
        return stream.getvalue()

    def lines(self, format: str, method: str = "logs", **how) -> list[dict]:
        return [json.loads(line) for line in self.written(format, method, **how).splitlines()]


def build(path: Path, toml: str | None = None) -> tuple[Home, dict[str, Record]]:
    """Open a directory, of a federation of its own or in that of a text, and have two agents fill it."""
    if toml is None:
        home = Home.open(path, name="North Sea", clock=lambda: NOW, random_bytes=source("exports"))
    else:
        home = opened(path, toml)
    alpha, beta = home.agent("alpha"), home.agent("beta")

    envelope = alpha._manifest().envelope
    scope = {"class": envelope.classes[0]} if envelope.classes else {}
    scope |= {"tier": envelope.tiers[0]} if envelope.tiers else {}

    def step(kind, cited=None, **more):
        said = {**STEP, **more} if kind == "rejection" else {**STEP, **scope, **more}
        policy = made["grant"] if scope and kind != "rejection" else None
        return alpha._append(
            kind, said, policy=policy, evidence=None, delegation=None, authorised=True, cited=cited or {}
        )

    made: dict[str, Record] = {}
    what = {"capabilities": ["inspect"], "limits": {"files": 9}, "classes": envelope.classes, "tiers": envelope.tiers}
    made["grant"] = alpha.policy("grant", **what)
    made["delegation"] = alpha.delegate(beta.id, {"do": "inspect"}, made["grant"], expires=NOW + 10**9)
    made["scan"] = beta.observe("scanner", {"secret": "s3cr3t"}, delegation=made["delegation"], content=b"scanned")
    made["finding"] = beta.decide(
        "scan", "clean", evidence=[made["scan"]], delegation=made["delegation"], uses=["inspect"], spends={"files": 3}
    )
    made["inference"] = step("inference", output=digest("answer"))
    made["rejection"] = step("rejection", stage="rule:limit", reason="more than 500")
    made["composite"] = step("composite", {"part": [made["inference"].id]}, output=digest("whole"), rule="concat")
    made["release"] = alpha.decide(
        "release", "ship", evidence=[made["finding"], made["composite"], made["rejection"]], reason="it is clean"
    )
    made["amendment"] = alpha.amend(made["release"].id, reason="later", data={"when": "tomorrow"})
    made["retraction"] = alpha.retract(made["rejection"].id, reason="mistaken")
    report = verify(StoreSource(home.store), made["finding"].id, home.federation, now_ms=NOW)
    made["verification"] = alpha.verification(report)
    return home, made
