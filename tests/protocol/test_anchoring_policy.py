"""The anchoring of an envelope: what is accepted, what is not, and that TOML says the same."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tslg.manifests import examples, text
from tslg.manifests.text_envelope import write_envelope
from tslg.node.witness.key import WitnessKey
from tslg.protocol import checkpoint
from tslg.protocol.anchoring import read_anchoring
from tslg.protocol.envelope import read_envelope
from tslg.protocol.errors import ManifestError
from tslg.protocol.note import COSIGNATURE, COSIGNATURE_ML_DSA_44, VerifierKey

KEYS = sorted(
    key.public.text
    for key in (
        WitnessKey("w.example/a", COSIGNATURE, b"a" * 32),
        WitnessKey("w.example/b", COSIGNATURE, b"b" * 32),
        WitnessKey("w.example/c", COSIGNATURE_ML_DSA_44, b"c" * 32),
    )
)
GOOD = {"cadence": "batch", "witnesses": KEYS, "quorum": 2}
EPOCH = {**GOOD, "cadence": "epoch", "epoch_ms": 60_000}
ONE = WitnessKey("w.example/a", COSIGNATURE, b"a" * 32).public
SAME_KEY = sorted((ONE.text, ONE._replace(name="w.example/other").text))
SAME_NAME = sorted((ONE.text, WitnessKey("w.example/a", COSIGNATURE_ML_DSA_44, b"d" * 32).public.text))
LOG_KEY = checkpoint.log_key("w.example/log", ONE.public).text


@pytest.mark.spec("ANC-9")
def test_what_is_asked_for_is_read():
    assert read_anchoring({}) is None
    read = read_anchoring(GOOD)
    assert (read.cadence, read.epoch_ms, read.policy.quorum) == ("batch", 0, 2)
    assert [key.text for key in read.policy.witnesses] == KEYS
    assert read_anchoring(EPOCH).epoch_ms == 60_000


@pytest.mark.spec("ANC-9", "CHK-11")
@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"cadence": "batch"},
        {**GOOD, "cadence": "never"},
        {**GOOD, "cadence": ["batch"]},
        {**GOOD, "epoch_ms": 1000},
        {**GOOD, "more": 1},
        {**EPOCH, "epoch_ms": 999},
        {**EPOCH, "epoch_ms": True},
        {**EPOCH, "epoch_ms": 2**53},
        {name: value for name, value in EPOCH.items() if name != "epoch_ms"},
        {**GOOD, "quorum": 0},
        {**GOOD, "quorum": 4},
        {**GOOD, "quorum": True},
        {**GOOD, "witnesses": []},
        {**GOOD, "witnesses": KEYS[::-1]},
        {**GOOD, "witnesses": [*KEYS, KEYS[-1]]},
        {**GOOD, "witnesses": [KEYS[0], 5]},
        {**GOOD, "witnesses": [KEYS[0], "nonsense"]},
        {**GOOD, "witnesses": SAME_KEY},
        {**GOOD, "witnesses": SAME_NAME},
        {**GOOD, "witnesses": sorted([*KEYS, LOG_KEY])},
        {
            **GOOD,
            "witnesses": sorted(VerifierKey(f"w{n:03}", COSIGNATURE_ML_DSA_44, bytes(1312)).text for n in range(65)),
        },
    ],
)
def test_what_cannot_be_enforced_is_refused(value):
    with pytest.raises(ValueError):
        read_anchoring(value)


@pytest.mark.spec("ANC-9")
def test_logs_that_no_key_could_sign_are_not_to_be_anchored():
    envelope = dict(text.parse(examples.read("single-organisation")).envelope)
    assert read_envelope(envelope | {"anchoring": GOOD}, 1).anchoring is not None
    assert read_envelope(envelope | {"signatures": [-47]}, 1).anchoring is None
    assert read_envelope(envelope | {"anchoring": GOOD, "signatures": [-19, -47]}, 1).anchoring is not None
    with pytest.raises(ValueError, match="needs Ed25519"):
        read_envelope(envelope | {"anchoring": GOOD, "signatures": [-47]}, 1)


@pytest.mark.parametrize("asked", [GOOD, EPOCH], ids=["batch", "epoch"])
def test_toml_says_it_and_says_it_back(asked):
    plain = examples.read("single-organisation")
    lines = [f"{name} = {value!r}" for name, value in asked.items()]
    written = plain + "\n[envelope.anchoring]\n" + "\n".join(lines) + "\n"
    read = text.parse(written)
    assert read.envelope["anchoring"] == asked
    assert write_envelope(read.envelope)["anchoring"] == asked
    assert "anchoring" not in write_envelope(replace(read, envelope={**read.envelope, "anchoring": {}}).envelope)


def test_witnesses_may_stand_in_any_order_in_toml():
    plain = examples.read("single-organisation")
    written = plain + f'\n[envelope.anchoring]\ncadence = "batch"\nquorum = 1\nwitnesses = {KEYS[::-1]!r}\n'
    assert text.parse(written).envelope["anchoring"]["witnesses"] == KEYS


@pytest.mark.parametrize("entry", ['cadence = "never"', "quorum = 9", "witnesses = 5", "other = 1"])
def test_toml_that_asks_for_nonsense_is_told_where(entry):
    plain = examples.read("single-organisation")
    written = plain + f'\n[envelope.anchoring]\nwitnesses = {KEYS!r}\nquorum = 1\ncadence = "batch"\n'
    name = entry.split(" ")[0]
    written = "\n".join(line for line in written.split("\n") if not line.startswith(f"{name} =")) + f"\n{entry}\n"
    with pytest.raises(ManifestError, match="anchoring"):
        text.parse(written)


@pytest.mark.spec("ANC-9")
def test_anchoring_without_a_key_that_signs_checkpoints_is_refused_where_it_is_written():
    plain = examples.read("single-organisation")
    asked = f'\n[envelope.anchoring]\ncadence = "batch"\nquorum = 1\nwitnesses = {KEYS!r}\n'
    both = plain.replace('["Ed25519"]', '["Ed25519", "ES256K"]') + asked
    assert text.parse(both).envelope["signatures"] == [-19, -47]
    with pytest.raises(ManifestError, match="signatures: must list Ed25519"):
        text.parse(plain.replace('["Ed25519"]', '["ES256K"]') + asked)
