"""How long a proof is that a record lies in a large log, and how long it and cosignatures take to verify."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Final

from tslg.node.bench.figures import CPU, MICRO, MILLI, MeasurementError, Row, Series, Target, interleave, timed
from tslg.node.bench.setting import Setting
from tslg.node.witness.key import WitnessKey
from tslg.protocol import cosignature
from tslg.protocol.checkpoint import Checkpoint, Signed
from tslg.protocol.log import Tree, verify_inclusion
from tslg.protocol.note import COSIGNATURE, COSIGNATURE_ML_DSA_44

TIMES: Final = 100
"""The log is so many times as long as the lineage: a million records, if nothing is said."""
ROUND: Final = 1_000
"""Proofs verified a round: one takes microseconds."""
_TIME: Final = 1_700_000_000


def log_proofs(setting: Setting) -> list[Row]:
    """The longest inclusion proof of a log, and the time to verify one; cosignatures of both types."""
    size = TIMES * setting.records
    leaves = list(_leaves(size))
    tree = Tree(leaves)
    root = tree.root()
    places = [size * number // ROUND for number in range(ROUND)]
    proofs = [(leaves[place], place, tree.inclusion_proof(place)) for place in places]

    def verify() -> None:
        if not all(verify_inclusion(leaf, place, size, proof, root) for leaf, place, proof in proofs):
            raise MeasurementError("an honest proof did not hold")

    (taken,) = interleave(setting.repeat, timed(verify, CPU))
    longest = Series.of([float(max(len(proof) for _, _, proof in proofs))] * setting.repeat)
    title = f"proof that a record lies in a log of {size:,}"
    return [
        Row("inclusion-hashes", f"{title}, length", longest, "hashes", target=Target(20, False)),
        Row("inclusion-verify", f"{title}, verified", taken.times(MILLI / ROUND), "ms", target=Target(1, False)),
        *(_cosignature(setting, kind, root) for kind in (COSIGNATURE, COSIGNATURE_ML_DSA_44)),
    ]


def _cosignature(setting: Setting, kind: int, root: bytes) -> Row:
    key = WitnessKey("witness.example/bench", kind, bytes(32))
    head = Checkpoint("tslg/bench", setting.records, root)
    signed = Signed(head, (key.cosign(head, _TIME),))
    policy = cosignature.policy_of([key.public], 1)

    def verify() -> None:
        if len(cosignature.cosigned(signed, policy)) != 1:
            raise MeasurementError("an honest cosignature did not hold")

    (taken,) = interleave(setting.repeat, timed(verify, CPU))
    name = "ed25519" if kind == COSIGNATURE else "ml-dsa-44"
    return Row(f"cosignature-{name}", f"cosignature of a checkpoint ({name}), verified", taken.times(MICRO), "µs")


def _leaves(size: int) -> Iterator[bytes]:
    prefix = b"\x01\x71\x12\x20"
    for number in range(size):
        yield prefix + hashlib.sha256(number.to_bytes(8, "big")).digest()
