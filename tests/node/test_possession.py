"""A founder who names somebody's key without asking: who refuses its manifest, and what readers go by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tslg.manifests import bls, signing, text, versions
from tslg.manifests.request import encode_request
from tslg.manifests.signing import encode_sealed, propose
from tslg.node.cli.root import tslg
from tslg.node.home import Home
from tslg.node.sources import StoreSource
from tslg.node.store.memory import MemoryStore
from tslg.node.verifying import verify
from tslg.protocol import seal
from tslg.protocol.curve import G1Point, decode_g1
from tslg.protocol.errors import ManifestError, Refusal
from tslg.protocol.manifest import Manifest, Member
from tslg.protocol.record import Record
from tslg.protocol.report import VALID
from tslg.protocol.seal import Signature, to_be_signed
from tslg.protocol.signatures import Alg

NOW = 1_700_000_000_000
GROUP = bls.secret_from_seed(b"what the founder alone knows....")
ASKED = bls.secret_from_seed(b"the key of one who was not asked")
"""Its key, and its proof of possession, are public in another federation's manifest."""
TEXT = '[federation]\nname="Trap"\n[anchors]\nscheme="threshold"\nthreshold=2\nmembers=["bank","founder"]\n[envelope]\n'


def trap() -> tuple[Record, bytes]:
    """A root manifest of two of two, the bank and the founder, sealed by the founder alone.

    Through the founder's group key and the bank's own key goes one line; the point that it leaves for the second member
    has a secret that nobody knows.
    """
    group, bank = (decode_g1(bls.public_key(secret)) for secret in (GROUP, ASKED))
    assert isinstance(group, G1Point) and isinstance(bank, G1Point)
    rest = (bank + bank - group).to_compressed_bytes()
    members = (
        Member("bank", bank.to_compressed_bytes(), bls.prove_possession(ASKED)),
        Member("founder", rest, bls.prove_possession(GROUP)),
    )
    keys = text.AnchorKeys(members, group.to_compressed_bytes())
    body = text.parse(TEXT).body(keys, b"n" * 16, 1)
    with pytest.raises(ManifestError, match="proof of possession") as caught:
        versions.root_manifest(body, time_ms=NOW)
    assert caught.value.code == "TSLG-M-BODY"
    record = made_without_checks(body)
    message = to_be_signed(record.data, Alg.BLS_THRESHOLD)
    return record, seal.encode([Signature(Alg.BLS_THRESHOLD, record.id, bls.sign(GROUP, message))])


def made_without_checks(body: dict) -> Record:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Manifest, "proofs_hold", lambda manifest: True)
        return versions.root_manifest(body, time_ms=NOW)


@pytest.mark.spec("MAN-14")
def test_whoever_takes_part_or_takes_it_up_refuses_a_key_that_nobody_gave(tmp_path: Path) -> None:
    record, sealed = trap()
    with pytest.raises(Refusal, match="proof of possession") as caught:
        propose(record)
    assert caught.value.code == "TSLG-A-ANCHORS"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Manifest, "proofs_hold", lambda manifest: True)
        handed = encode_request(propose(record))
    with pytest.raises(Refusal, match="proof of possession"):
        signing.decode_request(handed)
    file = tmp_path / "trap.sealed"
    file.write_bytes(encode_sealed(record.data, sealed))
    shown = CliRunner().invoke(tslg, ["federation", "show", str(file), "--json"])
    assert json.loads(shown.stdout)["seal_verifies"] is False
    with pytest.raises(Refusal, match="proof of possession") as caught:
        Home.open(tmp_path / "home", federation=file)
    assert caught.value.code == "TSLG-A-ANCHORS"


@pytest.mark.spec("MAN-15")
def test_a_reader_who_was_given_its_id_goes_by_the_group_key() -> None:
    record, sealed = trap()
    manifest = Manifest.from_record(record)
    assert manifest.anchors_hold() and not manifest.proofs_hold()
    store = MemoryStore()
    store.append([(record, sealed)])
    assert verify(StoreSource(store), record.id, record.id, now_ms=NOW).verdict == VALID
