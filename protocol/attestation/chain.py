"""A chain of X.509 certificates (RFC 5280) from a pinned root down to what signed, all on P-384 with SHA-384.

The time is given by the caller. Revocation lists are not asked: these chains live for hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

_HALF: Final = 48
_UNDERSTOOD: Final = frozenset((ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE))
"""Critical extensions that are enforced here; a certificate with any other is refused, as RFC 5280 asks."""
_MALFORMED: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UserWarning,
)
"""What reading a certificate raises, some of it only when a part is looked at, or where warnings are errors."""


def leaf_key(ders: Sequence[bytes], time_ms: int) -> EllipticCurvePublicKey:
    """Return the key of the last certificate of a chain.

    Args:
        ders: the certificates, from a root that the caller trusts down to the one that signed.
        time_ms: the moment at which all must be valid.

    Raises:
        ValueError: the chain does not hold; the text says why.
    """
    try:
        return _leaf_key([x509.load_der_x509_certificate(der) for der in ders], time_ms)
    except _Broken:
        raise
    except _MALFORMED as error:
        raise ValueError("one is malformed") from error


def signed(key: EllipticCurvePublicKey, message: bytes, signature: bytes) -> bool:
    """Tell whether 96 bytes, r and s, are a signature over a message with ECDSA and SHA-384."""
    r, s = int.from_bytes(signature[:_HALF], "big"), int.from_bytes(signature[_HALF:], "big")
    try:
        key.verify(encode_dss_signature(r, s), message, ECDSA(SHA384()))
    except InvalidSignature:
        return False
    return True


class _Broken(ValueError):
    """A chain that was read and does not hold."""


def _leaf_key(chain: Sequence[x509.Certificate], time_ms: int) -> EllipticCurvePublicKey:
    last = len(chain) - 1
    for index, certificate in enumerate(chain):
        _check(certificate, time_ms)
        if index < last:
            _check_authority(certificate, last - 1 - index)
    for issuer, certificate in pairwise(chain):
        _check_issued(certificate, issuer)
    _check_leaf(chain[last])
    return _key(chain[last])


def _check(certificate: x509.Certificate, time_ms: int) -> None:
    _need(certificate.version is x509.Version.v3, "one is not of version 3")
    _need(certificate.serial_number > 0, "one has no positive serial number")
    first, final = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
    _need(first <= time_ms // 1000 <= final, "one is not valid at the record's time")
    critical = {extension.oid for extension in certificate.extensions if extension.critical}
    _need(critical <= _UNDERSTOOD, "one has a critical extension that is not understood")
    _key(certificate)


def _check_authority(certificate: x509.Certificate, below: int) -> None:
    """Hold that a certificate may issue others, with so many authorities below it."""
    basic = _basic(certificate)
    _need(basic is not None and basic.critical and basic.value.ca, "one above the last is no authority")
    length = None if basic is None else basic.value.path_length
    _need(length is None or below <= length, "there are more than an authority allows below it")
    usage = _usage(certificate)
    _need(usage is not None and usage.key_cert_sign, "an authority may not sign certificates")


def _check_leaf(certificate: x509.Certificate) -> None:
    basic, usage = _basic(certificate), _usage(certificate)
    _need(basic is None or not (basic.value.ca or basic.value.path_length is not None), "the last is an authority")
    _need(usage is not None and usage.digital_signature, "the last may not sign")


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    _need(certificate.issuer == issuer.subject, "one does not name the one above it as its issuer")
    _need(certificate.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA384, "one is not signed by ES384")
    try:
        certificate.verify_directly_issued_by(issuer)
    except InvalidSignature:
        raise _Broken("one is not signed by the one above it") from None


def _basic(certificate: x509.Certificate) -> x509.Extension[x509.BasicConstraints] | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return None


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _key(certificate: x509.Certificate) -> EllipticCurvePublicKey:
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise _Broken("one holds a key that is not on P-384")
    return key


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise _Broken(message)
