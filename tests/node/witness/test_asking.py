"""What a log makes of a witness's answers, without a network."""

from __future__ import annotations

import pytest

from tslg.node.witness.asking import asked
from tslg.node.witness.key import WitnessKey
from tslg.protocol import witnessing
from tslg.protocol.errors import NetworkError
from tslg.protocol.note import COSIGNATURE

KEY = WitnessKey("w.example/w", COSIGNATURE, b"w" * 32)
LATEST = 1_000


def said(log, time: int):
    """Have a witness answer with a cosignature as of a time."""
    signed = log.signed(5)
    asking = asked(KEY.public, signed, log.proof, None, latest=LATEST)
    next(asking)
    try:
        asking.send((witnessing.COSIGN, KEY.cosign(signed.checkpoint, time).line.encode()))
    except StopIteration as done:
        return done.value
    raise AssertionError("it asks on")


@pytest.mark.spec("ANC-19")
def test_a_cosignature_that_no_reader_counts_yet_is_none(log):
    assert len(said(log, LATEST).signatures) == 1
    with pytest.raises(NetworkError, match="a time that is yet to come") as caught:
        said(log, LATEST + 1)
    assert caught.value.code == "TSLG-N-WITNESS"
