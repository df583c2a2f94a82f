"""What tslg and the reader that was written from the specification alone say of one bundle."""

from __future__ import annotations

import io

import independent_reader
from federations import DAY, START

from tslg.node.sources import BundleSource
from tslg.node.verifying import verify
from tslg.protocol import bundle
from tslg.protocol.errors import BundleError
from tslg.protocol.record import Record

NOW = START + DAY


def ours(data: bytes, federation: bytes, depth: int | None = None, now: int = NOW) -> tuple[str, set[str]]:
    """The verdict of tslg on a bundle of one target, and the codes of its findings."""
    try:
        held = bundle.read(io.BytesIO(data))
    except BundleError as error:
        return "invalid", {error.code}
    report = verify(BundleSource(held), held.targets[0], federation, now_ms=now, depth=depth)
    return report.verdict, {short(finding.code) for finding in report.findings}


def theirs(data: bytes, federation: bytes, depth: int | None = None, now: int = NOW) -> tuple[str, set[str]]:
    """The same, of the independent reader."""
    document = independent_reader.read_file(data, federation, now, depth)
    return document["verdict"], {short(code) for code in document["findings"].values()}


def short(code: str) -> str:
    """Bytes that are no record, and manifests that cannot be enforced: the independent reader tells less apart."""
    if code == "TSLG-R-MANIFEST":
        return "TSLG-A-ANCHORS"
    return code[:6] if code[5] in "CR" and code != "TSLG-R-ID" else code


def agreed(data: bytes, federation: bytes, **options) -> tuple[str, set[str]]:
    """What both programs say, which is the same but for which of a damaged file's faults they come across first."""
    answers = ours(data, federation, **options), theirs(data, federation, **options)
    damaged = all(code.startswith("TSLG-B-") or code == "TSLG-C" for _, codes in answers for code in codes)
    assert answers[0][0] == answers[1][0] and (damaged or answers[0][1] == answers[1][1])
    return answers[0]


def everything(world, target: Record) -> bytes:
    """A bundle of one target with all records of a `World`, whether its ancestry leads to them or not."""
    stream = io.BytesIO()
    bundle.write(
        stream,
        federation=world.federation,
        manifest=target.manifest or target.id,
        targets=[target.id],
        heads=[],
        inclusion=[],
        consistency=[],
        records=[(record.id, record.data, world.seals[record.id]) for record in world.held.values()],
    )
    return stream.getvalue()
