"""Attested hardware that there is not: a root, certificates below it, and documents as a Nitro hypervisor signs them.

Every part can be had wrong. Keys follow from names and signatures from what they sign: nothing is random.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256
from itertools import pairwise
from typing import Any

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384, HashAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from world import NOW, ONE

from tslg.protocol.attestation import key_digest
from tslg.protocol.attestation.nitro import PROTECTED

PCRS: Mapping[int, bytes] = {number: bytes([number + 1]) * 48 for number in range(3)} | {3: bytes(48), 4: b"\x09" * 48}
LEVELS = ("root", "region", "zone", "instance")
"""The authorities above an enclave's certificate, the root first."""
HOUR = 3_600_000
LEFT_OUT = object()
"""In place of a value: nothing there."""


@cache
def private_key(name: str) -> ec.EllipticCurvePrivateKey:
    """Return the P-384 key of this name."""
    return ec.derive_private_key(int.from_bytes(sha256(name.encode()).digest(), "big"), ec.SECP384R1())


def usage(*, signs: bool = False, issues: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        key_cert_sign=issues,
        crl_sign=issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def certificate(
    name: str,
    issuer: str,
    *,
    at: int = NOW,
    basic: x509.BasicConstraints | None = None,
    basic_critical: bool = True,
    key_usage: x509.KeyUsage | None = None,
    key: Any = None,
    signer: Any = None,
    digest: HashAlgorithm | None = None,
    before: timedelta = timedelta(hours=1),
    after: timedelta = timedelta(hours=3),
    more: Sequence[tuple[x509.ExtensionType, bool]] = (),
) -> bytes:
    """Return a certificate (DER) that `issuer` signs for `name`; `at` is when it is in use, ms."""
    moment = datetime.fromtimestamp(at // 1000, UTC)
    holder = (key or private_key(name)).public_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(issuer))
        .public_key(holder)
        .serial_number(int.from_bytes(sha256(name.encode()).digest()[:8], "big") + 1)
        .not_valid_before(moment - before)
        .not_valid_after(moment + after)
    )
    if basic is not None:
        builder = builder.add_extension(basic, critical=basic_critical)
    if key_usage is not None:
        builder = builder.add_extension(key_usage, critical=True)
    for extension, critical in more:
        builder = builder.add_extension(extension, critical=critical)
    signed = builder.sign(signer or private_key(issuer), digest or SHA384(), ecdsa_deterministic=True)
    return signed.public_bytes(Encoding.DER)


def authority(name: str, issuer: str, length: int | None = None, **how: Any) -> bytes:
    return certificate(
        name, issuer, **{"basic": x509.BasicConstraints(True, length), "key_usage": usage(issues=True)} | how
    )


def leaf(issuer: str = LEVELS[-1], **how: Any) -> bytes:
    made = {"basic": x509.BasicConstraints(False, None), "key_usage": usage(signs=True)} | how
    return certificate("enclave", issuer, **made)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@cache
def chain(at: int = NOW) -> tuple[bytes, ...]:
    """Return the certificates from the root to the enclave's, all valid at `at` (ms); the root for thirty years."""
    years = timedelta(days=365 * 15)
    root = authority("root", "root", at=NOW, before=years, after=years)
    below = [
        authority(name, issuer, len(LEVELS) - 2 - index, at=at) for index, (issuer, name) in enumerate(pairwise(LEVELS))
    ]
    return (root, *below, leaf(at=at))


@cache
def root_digest() -> bytes:
    """Return what a manifest names to trust the root."""
    return sha256(chain()[0]).digest()


def fields(user_data: bytes | None, *, at: int = NOW, **changes: Any) -> dict[str, Any]:
    """Return what a good document says; `changes` replaces fields, or leaves them out."""
    certificates = (chain()[0], *chain(at)[1:])
    found = {
        "module_id": "i-0-enc0",
        "digest": "SHA384",
        "timestamp": at,
        "pcrs": dict(PCRS),
        "certificate": certificates[-1],
        "cabundle": list(certificates[:-1]),
        "public_key": None,
        "user_data": user_data,
        "nonce": None,
    }
    return {name: value for name, value in (found | changes).items() if value is not LEFT_OUT}


def document(said: Mapping[str, Any] | bytes, *, key: Any = None, tagged: bool = False) -> bytes:
    """Return the signed document that says this; bytes are taken as the payload as it is."""
    payload = said if isinstance(said, bytes) else cbor2.dumps(said)
    return signed_parts(payload, signature(payload, key), tagged=tagged)


def signature(payload: bytes, key: Any = None) -> bytes:
    """Return the 96 bytes by which the enclave's certificate signs a payload."""
    message = cbor2.dumps(["Signature1", PROTECTED, b"", payload])
    r, s = decode_dss_signature(
        (key or private_key("enclave")).sign(message, ec.ECDSA(SHA384(), deterministic_signing=True))
    )
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def signed_parts(payload: Any, value: Any, protected: Any = PROTECTED, beside: Any = None, *, tagged: bool = False):
    parts = [protected, {} if beside is None else beside, payload, value]
    return cbor2.dumps(cbor2.CBORTag(18, parts) if tagged else parts)


def evidence(body: Mapping[str, Any], *, at: int = NOW, **changes: Any) -> bytes:
    """Return a good attestation of the key in a body, but for `changes` of the document's fields."""
    return document(fields(key_digest(body), at=at, **changes))


def toml(*, required: bool = False, base: str = ONE.format(attested=0), anchors: str = "") -> str:
    """Return the text of a manifest whose agents' keys may be bound to this hardware."""
    registers = "\n".join(f'{number} = "{PCRS[number].hex()}"' for number in range(3))
    return f"""{base}
[envelope.rotation]
{anchors}
[envelope.rotation.hardware]
format = "aws-nitro"
roots = ["{root_digest().hex()}"]
required = {str(required).lower()}
[envelope.rotation.hardware.pcrs]
{registers}
"""


def entry(*, required: bool = False, **hardware: Any) -> dict[str, Any]:
    """Return the `rotation` of a manifest's body that says the same."""
    named = {"format": "aws-nitro", "roots": [root_digest()], "required": required}
    pcrs = {str(number): PCRS[number] for number in range(3)}
    return {"anchors": False, "recovery": False, "hardware": named | {"pcrs": pcrs} | hardware}
