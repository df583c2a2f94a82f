"""Attestation documents and chains of certificates that do not hold, each with what is said of it."""

from __future__ import annotations

from datetime import timedelta

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.hashes import SHA256
from enclave import LEFT_OUT, authority, certificate, chain, document, fields, leaf, private_key, signed_parts, usage

from tslg.protocol.attestation.nitro import PROTECTED

DIGEST = bytes(range(32))
GOOD = fields(DIGEST)

MALFORMED = {
    "nothing": (b"", "a list should come"),
    "a number": (cbor2.dumps(1), "a list should come"),
    "another tag": (cbor2.dumps(cbor2.CBORTag(98, [])), "not a COSE_Sign1"),
    "a tag in a tag": (b"\xd2\xd2" + document(GOOD), "a list should come"),
    "three parts": (cbor2.dumps([PROTECTED, {}, b""]), "not of 4"),
    "a list without end": (b"\x9f" + document(GOOD)[1:], "definite"),
    "more behind it": (document(GOOD) + b"\x00", "1 bytes too many"),
    "another algorithm": (signed_parts(b"x", bytes(96), cbor2.dumps({1: -7})), "ECDSA and SHA-384"),
    "a longer header": (signed_parts(b"x", bytes(96), cbor2.dumps({1: -35, 4: b""})), "not of 0 to 4"),
    "a header in plain": (signed_parts(b"x", bytes(96), {1: -35}), "bytes should come"),
    "something unprotected": (signed_parts(b"x", bytes(96), beside={4: b"k"}), "not of 0 to 0"),
    "no payload": (signed_parts(None, bytes(96)), "bytes should come"),
    "an empty payload": (signed_parts(b"", bytes(96)), "not of 1"),
    "a payload that is too long": (signed_parts(bytes(16_385), bytes(96)), "not of 1 to 16384"),
    "a short signature": (signed_parts(b"x", bytes(95)), "not of 96"),
    "a DER signature": (signed_parts(b"x", bytes(104)), "not of 96"),
    "too much of everything": (bytes(17 * 1024 + 1), "the limit is"),
    "a length that nothing backs": (b"\x84\x44" + PROTECTED + b"\xa0\x59\x3f\xff" + b"x", "end too early"),
    "a length not in its shortest form": (b"\x98\x04" + document(GOOD)[1:], "shortest form"),
    "a reserved length": (b"\x9c" + document(GOOD)[1:], "definite"),
}
"""What is no signed document."""


def twice(said, name):
    """Return a payload in which a field stands twice."""
    head = cbor2.dumps(dict(said))
    return bytes((head[0] + 1,)) + head[1:] + cbor2.dumps(name) + cbor2.dumps(said[name])


UNREADABLE = {
    "no map": (cbor2.dumps([]), "a map should come"),
    "an empty map": (cbor2.dumps({}), "not of 1"),
    "not CBOR": (b"\xff", "a map should come"),
    "a field that documents do not have": (fields(DIGEST, nonce=LEFT_OUT, colour="red"), "do not have"),
    "a name that is a number": (fields(DIGEST, nonce=LEFT_OUT) | {1: b""}, "a text should come"),
    "a name that is no text": (b"\xa1\x61\xff\x00", "codec"),
    "a field twice": (twice(fields(DIGEST, nonce=LEFT_OUT), "digest"), "twice"),
    "ten fields": (GOOD | {"colour": 1}, "not of 1 to 9"),
    "more behind the map": (cbor2.dumps(GOOD) + b"\x00", "too many"),
    **{
        f"no {name}": (fields(DIGEST, **{name: LEFT_OUT}), f"no `{name}`")
        for name in ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
    },
    **{
        f"{name} null": (fields(DIGEST, **{name: None}), "should come")
        for name in ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
    },
    "an empty module": (fields(DIGEST, module_id=""), "not of 1"),
    "a module in bytes": (fields(DIGEST, module_id=b"i"), "a text should come"),
    "another digest": (fields(DIGEST, digest="SHA256"), "not SHA384"),
    "no time": (fields(DIGEST, timestamp=0), "`timestamp` is 0"),
    "a time before the first": (fields(DIGEST, timestamp=-1), "a number should come"),
    "a time that is a float": (fields(DIGEST, timestamp=1.5), "a number should come"),
    "a time that is no number of 64 bits": (fields(DIGEST, timestamp=2**64), "a number should come"),
    "no registers": (fields(DIGEST, pcrs={}), "not of 1 to 32"),
    "33 registers": (fields(DIGEST, pcrs=dict.fromkeys(range(33), bytes(48))), "not of 1 to 32"),
    "a register 32": (fields(DIGEST, pcrs={32: bytes(48)}), "that there is not"),
    "a register by name": (fields(DIGEST, pcrs={"0": bytes(48)}), "a number should come"),
    "a short register": (fields(DIGEST, pcrs={0: bytes(31)}), "not of 32 to 64"),
    "a register of an odd size": (fields(DIGEST, pcrs={0: bytes(49)}), "has 49 bytes"),
    "a register that is text": (fields(DIGEST, pcrs={0: "0" * 48}), "bytes should come"),
    "an empty certificate": (fields(DIGEST, certificate=b""), "not of 1 to 1024"),
    "a certificate that is too long": (fields(DIGEST, certificate=bytes(1_025)), "not of 1 to 1024"),
    "an empty bundle": (fields(DIGEST, cabundle=[]), "not of 1 to 8"),
    "nine authorities": (fields(DIGEST, cabundle=[b"x"] * 9), "not of 1 to 8"),
    "an empty authority": (fields(DIGEST, cabundle=[b""]), "not of 1 to 1024"),
    "a bundle that is no list": (fields(DIGEST, cabundle=b"x"), "a list should come"),
    "an empty public key": (fields(DIGEST, public_key=b""), "not of 1 to 1024"),
    "a public key that is too long": (fields(DIGEST, public_key=bytes(1_025)), "not of 1 to 1024"),
    "user data that is too long": (fields(bytes(513)), "not of 0 to 512"),
    "user data that is text": (fields("x"), "bytes should come"),
    "a nonce that is too long": (fields(DIGEST, nonce=bytes(513)), "not of 0 to 512"),
}
"""What is signed and no payload."""


def replaced(index, der):
    return [*chain()[:index], der, *chain()[index + 1 :]]


CA = x509.BasicConstraints(True, None)
CRITICAL = x509.ExtendedKeyUsage([x509.ObjectIdentifier("1.2.3.4")])
DAY = timedelta(days=1)
CHAINS = {
    "malformed": (lambda: replaced(2, b"\x30\x03\x02\x01\x00"), "malformed"),
    "with more behind it": (lambda: replaced(4, chain()[4] + b"\x00"), "malformed"),
    "not yet valid": (lambda: replaced(4, leaf(before=-DAY, after=2 * DAY)), "not valid at"),
    "run out": (lambda: replaced(2, authority("zone", "region", 1, before=2 * DAY, after=-DAY)), "not valid at"),
    "a root that has run out": (
        lambda: replaced(0, authority("root", "root", before=2 * DAY, after=-DAY)),
        "not valid at",
    ),
    "a critical extension": (lambda: replaced(4, leaf(more=[(CRITICAL, True)])), "not understood"),
    "on another curve": (lambda: replaced(4, leaf(key=ec.derive_private_key(7, ec.SECP256R1()))), "not on P-384"),
    "of another kind of key": (
        lambda: replaced(4, leaf(key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))),
        "not on P-384",
    ),
    "an authority that is none": (
        lambda: replaced(3, certificate("instance", "zone", key_usage=usage(issues=True))),
        "no authority",
    ),
    "an authority that denies it": (
        lambda: replaced(3, authority("instance", "zone", basic=x509.BasicConstraints(False, None))),
        "no authority",
    ),
    "an authority that says so in passing": (
        lambda: replaced(3, authority("instance", "zone", basic=CA, basic_critical=False)),
        "no authority",
    ),
    "an authority that may not issue": (
        lambda: replaced(3, authority("instance", "zone", key_usage=usage(signs=True))),
        "may not sign certificates",
    ),
    "an authority without a usage": (
        lambda: replaced(3, authority("instance", "zone", key_usage=None)),
        "may not sign certificates",
    ),
    "too long for one of them": (lambda: replaced(1, authority("region", "root", 1)), "more than an authority allows"),
    "too long for the root": (lambda: replaced(0, authority("root", "root", 2)), "more than an authority allows"),
    "a leaf that is an authority": (lambda: replaced(4, leaf(basic=CA)), "the last is an authority"),
    "a leaf that may not sign": (lambda: replaced(4, leaf(key_usage=usage(issues=True))), "the last may not sign"),
    "a leaf without a usage": (lambda: replaced(4, leaf(key_usage=None)), "the last may not sign"),
    "by another name": (lambda: replaced(4, leaf("zone", signer=private_key("instance"))), "as its issuer"),
    "by another key": (lambda: replaced(4, leaf(signer=private_key("zone"))), "not signed by the one above"),
    "with another hash": (lambda: replaced(4, leaf(digest=SHA256())), "not signed by ES384"),
    "one left out": (lambda: [*chain()[:2], *chain()[3:]], "as its issuer"),
    "the other way round": (lambda: [*chain()[:-1][::-1], chain()[-1]], "more than an authority allows"),
    "one of its own making": (
        lambda: [chain()[0], authority("thief", "thief"), leaf("thief", signer=private_key("thief"))],
        "as its issuer",
    ),
}
"""Certificates that do not hold together."""
