"""The source registry: what vendor A breeds from and under which rules, each signed, each with its licence."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from tslg.node.agent import BlockingAgent
from tslg.protocol.record import Record
from tslg.simulations.lab import cell, data, planning, premises, viability

OURS: Final = "Apache-2.0"
"""The licence of what the lab itself makes."""
CODE_TYPE: Final = "operators"
EVALUATE: Final = "evaluate"
CAPABILITIES: Final = ("breed", EVALUATE, "release")
SPLIT: Final = "split"


class Sources(NamedTuple):
    """What vendor A starts with: its policy, what it grants to B, the operators' code, and the data by part."""

    policy: Record
    grant: Record
    code: Record
    raw: Record
    parts: Mapping[str, Record]


def rules(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules that the lab goes by, as its policy fixes them."""
    return {"lab": dict(settings), "allowed": list(planning.ALLOWED), "viability": dict(viability.POLICY)}


def canonical(value: Any) -> bytes:
    """Return JSON whose bytes depend on the value alone."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def register(folder: Path, breeder: BlockingAgent, settings: Mapping[str, Any], now_ms: int) -> Sources:
    """Record vendor A's policy and sources, and write the packages of the data."""
    document = breeder.blob(canonical(rules(settings)), "application/json")
    own = breeder.policy("breeding", capabilities=CAPABILITIES, document=document)
    breeder.adopt(own)
    grant = breeder.policy("assessment", capabilities=[EVALUATE], under=own, not_after=now_ms + 24 * 3_600_000)
    name, seed = settings["data"], settings["seed"]
    chosen = data.SETS[name]
    x, y = data.loaded(name)
    with tempfile.TemporaryDirectory(prefix="tslg-lab-") as scratch:
        top = Path(scratch)
        (top / "code").mkdir()
        shutil.copyfile(cell.CODE, top / "code" / "operators.py")
        code = premises.take_in(folder, breeder, top / "code", "operators", type=CODE_TYPE, licences=[OURS], policy=own)
        made = data.write(top / "raw", x, y, {"source": chosen.source, "licence": data.LICENCE})
        raw = premises.take_in(folder, breeder, made, name, type="dataset", licences=[data.LICENCE], policy=own)
        parts = {}
        for part, (rows, labels) in data.parts(x, y, seed).items():
            if part in data.BREEDERS:
                about = {"part": part, "seed": seed}
                made = data.write(top / part, rows, labels, about)
                parts[part] = premises.take_in(
                    folder,
                    breeder,
                    made,
                    f"{name}/{part}",
                    type="dataset",
                    operator=SPLIT,
                    config=canonical(about),
                    parents=[raw],
                    licences=[data.LICENCE],
                    policy=own,
                )
    return Sources(own, grant, code, raw, parts)
