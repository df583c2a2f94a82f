"""SCITT statements and receipts, checked by pycose and by a verifier written from RFC 9052, 9162, 9942 and 9943."""

from __future__ import annotations

import hashlib
import io

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pycose.keys import OKPKey
from pycose.messages import Sign1Message

from tslg.protocol.cid import from_text, to_text


def sequence(data):
    stream = io.BytesIO(data)
    while stream.tell() < len(data):
        start = stream.tell()
        cbor2.CBORDecoder(stream, read_size=1).decode()
        yield data[start : stream.tell()]


@pytest.fixture(scope="module")
def statements(scene):
    return list(sequence(scene.written("scitt")))


def signature_holds(message, key, payload):
    """RFC 9052, section 4.4, with nothing supplied externally."""
    protected, _, _, signature = message
    signed = cbor2.dumps(["Signature1", protected, b"", payload])
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except Exception:
        return False
    return True


def root_of(leaf, index, size, path):
    """RFC 9162, section 2.1.3.2: the root to which a path leads, None if it does not fit."""
    found, last, path = hashlib.sha256(b"\0" + leaf).digest(), size - 1, list(path)
    if index >= size:
        return None
    while last:
        if not path:
            return None
        if index % 2 or index == last:
            found = hashlib.sha256(b"\1" + path.pop(0) + found).digest()
            while index % 2 == 0 and index:
                index, last = index >> 1, last >> 1
        else:
            found = hashlib.sha256(b"\1" + found + path.pop(0)).digest()
        index, last = index >> 1, last >> 1
    return None if path else found


def transparent(data, key):
    """Judge a transparent statement: its own signature, and that of a receipt over the root its proof leads to."""
    tagged = cbor2.loads(data)
    protected, unprotected, payload, _ = tagged.value
    header = cbor2.loads(protected)
    if tagged.tag != 18 or header[1] != -8 or not signature_holds(tagged.value, key, payload):
        return False
    id = b"\x01\x71\x12\x20" + hashlib.sha256(payload).digest()
    if header[15][2] != f"ipfs://{to_text(id)}":
        return False
    (receipt,) = (cbor2.loads(one) for one in unprotected[394])
    about = cbor2.loads(receipt.value[0])
    if receipt.tag != 18 or about[395] != 1 or receipt.value[2] is not None or about[15][2] != header[15][2]:
        return False
    (proof,) = receipt.value[1][396][-1]
    size, index, path = cbor2.loads(proof)
    root = root_of(id, index, size, path)
    return root is not None and about[15]["tslg.size"] == size and signature_holds(receipt.value, key, root)


def read_by_pycose(data):
    """The message; pycose's own `decode` wants the lists of an older cbor2, which are immutable inside tags now."""
    protected, unprotected, payload, signature = cbor2.loads(data).value
    return Sign1Message.from_cose_obj([protected, dict(unprotected), payload, signature], True)


def keys(scene):
    return {signer.key_id: signer.public for signer in (scene.signer("alpha"), scene.signer("beta"))}


def key_named(data, scene):
    return keys(scene)[to_text(cbor2.loads(cbor2.loads(data).value[0])[4])]


@pytest.mark.spec("EXP-17", "EXP-18")
def test_every_statement_is_transparent_to_a_verifier_of_its_own(scene, statements):
    held = sum(log.held for log in scene.home.store.logs() if log.owner != scene.home.federation)
    assert len(statements) == held
    assert all(transparent(data, key_named(data, scene)) for data in statements)


@pytest.mark.spec("EXP-17", "EXP-18")
def test_pycose_verifies_statement_and_receipt(scene, statements):
    for data in statements:
        key = OKPKey.from_dict({"KTY": "OKP", "CURVE": "ED25519", "X": key_named(data, scene)})
        tagged = cbor2.loads(data)
        message = read_by_pycose(data)
        message.key = key
        assert message.verify_signature()
        (receipt,) = tagged.value[1][394]
        (proof,) = cbor2.loads(receipt).value[1][396][-1]
        size, index, path = cbor2.loads(proof)
        told = read_by_pycose(receipt)
        told.key = key
        id = bytes(from_text(cbor2.loads(tagged.value[0])[15][2].removeprefix("ipfs://")))
        assert told.verify_signature(detached_payload=root_of(id, index, size, path))
        assert not told.verify_signature(detached_payload=bytes(32))


@pytest.mark.spec("EXP-17")
def test_the_protected_header_names_issuer_subject_key_and_what_was_verified(scene, statements):
    record = scene.records["release"]
    (data,) = [one for one in statements if cbor2.loads(one).value[2] == record.data]
    header = cbor2.loads(cbor2.loads(data).value[0])
    claims = header.pop(15)
    assert header == {1: -8, 3: "application/vnd.ipld.dag-cbor", 4: bytes(record.key)}
    assert claims == {1: f"ipfs://{to_text(record.owner)}", 2: f"ipfs://{to_text(record.id)}", "tslg.verified": "log"}


@pytest.mark.spec("EXP-3")
def test_a_statement_about_what_was_not_verified_says_so(scene):
    told = [cbor2.loads(cbor2.loads(one).value[0])[15] for one in sequence(scene.written("scitt", "none"))]
    assert {claims["tslg.verified"] for claims in told} == {"none"}


@pytest.mark.spec("EXP-17")
def test_a_digest_can_stand_for_the_record(scene):
    by_bytes, by_digest = (
        [cbor2.loads(one).value for one in sequence(scene.written("scitt", digests=digests))]
        for digests in (False, True)
    )
    for whole, short in zip(by_bytes, by_digest, strict=True):
        header = cbor2.loads(short[0])
        assert short[2] == hashlib.sha256(whole[2]).digest() and len(short[2]) == 32
        assert header[258] == -16 and header[259] == "application/vnd.ipld.dag-cbor" and 3 not in header
        assert signature_holds(short, keys(scene)[to_text(header[4])], short[2])


@pytest.mark.spec("EXP-18")
@pytest.mark.parametrize("attack", ["payload", "index", "path", "size", "root", "subject", "key", "swapped"])
def test_no_change_goes_unnoticed(scene, statements, attack):
    data, other = statements[3], statements[5]
    key = key_named(data, scene)
    assert transparent(data, key)
    protected, unprotected, payload, signature = cbor2.loads(data).value
    receipt = list(cbor2.loads(unprotected[394][0]).value)
    size, index, path = cbor2.loads(receipt[1][396][-1][0])
    if attack == "payload":
        payload = cbor2.loads(other).value[2]
    elif attack == "subject":
        header = cbor2.loads(protected)
        header[15][2] = cbor2.loads(cbor2.loads(other).value[0])[15][2]
        protected = cbor2.dumps(header, canonical=True)
    elif attack == "key":
        key = next(one for one in keys(scene).values() if one != key)
    elif attack == "root":
        receipt[2] = bytes(32)
    elif attack == "swapped":
        receipt = list(cbor2.loads(cbor2.loads(other).value[1][394][0]).value)
    else:
        index, size = index + (attack == "index"), size + (attack == "size")
        path = [path[0][::-1], *path[1:]] if attack == "path" else path
        receipt[1] = {396: {-1: [cbor2.dumps([size, index, path])]}}
    changed = {394: [cbor2.dumps(cbor2.CBORTag(18, receipt))]}
    assert not transparent(cbor2.dumps(cbor2.CBORTag(18, [protected, changed, payload, signature])), key)


@pytest.mark.spec("EXP-2")
def test_a_statement_is_no_seal_and_a_seal_no_statement(scene, statements):
    from tslg.node.context import StoreContext
    from tslg.protocol.rules.seals import rule_seal

    record = scene.records["release"]
    context = StoreContext(scene.home.store, scene.home.federation, scene.home.clock)
    sealed = scene.home.store.get(record.id).seal
    assert rule_seal(record, sealed, context) is None
    (data,) = [one for one in statements if cbor2.loads(one).value[2] == record.data]
    protected, _, _, signature = cbor2.loads(data).value
    _, unprotected, _, theirs = cbor2.loads(sealed).value
    for first in (protected, cbor2.loads(sealed).value[0]):
        forged = cbor2.dumps(cbor2.CBORTag(18, [first, dict(unprotected), None, signature]))
        assert rule_seal(record, forged, context).code == "TSLG-A-SEAL"
    key = key_named(data, scene)
    assert not signature_holds((protected, {}, record.data, theirs), key, record.data)
    assert not signature_holds((cbor2.loads(sealed).value[0], {}, None, theirs), key, record.data)


@pytest.mark.spec("EXP-18")
def test_a_log_of_one_record_gives_no_receipt(scene):
    from tslg.node.exporting.scitt import Receipts
    from tslg.protocol.log import Tree

    receipts = Receipts(scene.home.store, scene.signer("alpha"))
    alpha = scene.home.agent("alpha").id
    genesis = next(items for owner, items in scene.logs(scene.standing("none")) if owner == alpha)
    first = next(genesis).record
    assert receipts.of(first) is not None
    receipts._tree = Tree([first.id])
    assert receipts.of(first) is None


@pytest.mark.spec("EXP-18")
def test_a_record_that_shares_a_place_of_its_log_with_another_gets_no_receipt_for_that_place(scene):
    from tslg.node.exporting.scitt import Receipts
    from tslg.protocol.cid import compute

    receipts = Receipts(scene.home.store, scene.signer("alpha"))
    record = scene.records["release"]
    assert receipts.of(record) is not None
    assert receipts.of(record._replace(id=compute(b"a rival"))) is None
