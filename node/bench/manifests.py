"""How long it takes to verify a manifest that two of three organisations signed by threshold BLS."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import Final

from tslg.manifests import examples, signing, text
from tslg.manifests.genesis import found_federation
from tslg.manifests.signing import Sealed
from tslg.node.bench.figures import CPU, MILLI, MeasurementError, Row, Series, Target, timed
from tslg.node.bench.lineage import SEED, START_MS
from tslg.node.bench.processes import python
from tslg.node.bench.setting import Setting
from tslg.node.sources import StoreSource
from tslg.node.store.memory import MemoryStore
from tslg.node.verifying import verify
from tslg.protocol.report import VALID

EXAMPLE: Final = "three-organisations"
ELSEWHERE: Final = "import sys; from tslg.node.bench import manifests; manifests.tell(*sys.argv[1:])"


def threshold_manifest(setting: Setting) -> list[Row]:
    """A root manifest by every rule for readers: structure, shares, the anchors' signature [MAN-15].

    Cold is a manifest whose keys this process never saw, as a reader meets a federation; warm is the same one again.
    Whoever founds a federation has seen its keys, so each round is measured in a process that founds none.
    """
    files = [setting.scratch() / "sealed" for _ in range(2)]
    random_bytes = random.Random(SEED).randbytes
    wanted = text.parse(examples.read(EXAMPLE))
    for file in files:
        founded = found_federation(wanted, random_bytes=random_bytes, time_ms=START_MS)
        file.write_bytes(signing.encode_sealed(founded.manifest_record.data, founded.seal))
    told = [json.loads(python("-c", ELSEWHERE, *map(str, files))) for _ in range(setting.repeat)]
    cold, warm = (Series(values).times(MILLI) for values in zip(*told, strict=True))
    title = f"threshold manifest ({wanted.threshold} of {len(wanted.members)}), verified"
    return [
        Row("manifest-cold", f"{title} for the first time", cold, "ms", target=Target(5, False)),
        Row("manifest-warm", f"{title} again", warm, "ms", target=Target(5, False)),
    ]


def tell(*files: str) -> None:
    """Write the seconds that verifying the second file's manifest takes, cold and warm, to stdout as JSON.

    The first file's loads the curve's code, which is no part of verifying.
    """
    other, sealed = (signing.read_sealed(Path(file)) for file in files)
    _verify(other)
    measure = timed(lambda: _verify(sealed), CPU)
    sys.stdout.write(json.dumps([measure(), measure()]))


def _verify(sealed: Sealed) -> None:
    record = sealed[0]
    store = MemoryStore()
    store.append([sealed])
    report = verify(StoreSource(store), record.id, record.id, now_ms=START_MS)
    if report.verdict != VALID or record.id not in report.records:
        raise MeasurementError(f"the manifest came out {report.verdict}")
