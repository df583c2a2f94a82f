"""Attested keys as docs/spec/attestation.md has them, judged by a second program. Nothing from tslg.

It decodes with a general CBOR library and compares the encoding afterwards, where tslg reads item by item.
"""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256

import cbor2
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384
from independent_formats import Bad, encode

MANDATORY = ("module_id", "digest", "timestamp", "pcrs", "certificate", "cabundle")
OPTIONAL = {"public_key": (1, 1024), "user_data": (0, 512), "nonce": (0, 512)}


def need(condition, detail: str, code: str = "TSLG-A-ATTESTATION") -> None:
    if not condition:
        raise Bad(code, detail)


def check_hardware(value, bad: str) -> None:
    """[ATS-1], [ATS-2]"""
    need(type(value) is dict and value.keys() == {"format", "roots", "pcrs", "required"}, "hardware", bad)
    roots, pcrs = value["roots"], value["pcrs"]
    need(value["format"] == "aws-nitro" and type(value["required"]) is bool, "hardware", bad)
    need(type(roots) is list and 1 <= len(roots) <= 8 and all(sized(root, 32, 32) for root in roots), "roots", bad)
    need(sorted(set(roots)) == roots, "roots", bad)
    need(type(pcrs) is dict and pcrs and all(name in map(str, range(32)) for name in pcrs), "pcrs", bad)
    need(all(sized(held, 48, 48) and held != bytes(48) for held in pcrs.values()), "pcrs", bad)


def check_attestation(body: dict, rotation: dict, time: int) -> None:
    """[ATS-3], [ATS-4]"""
    hardware, evidence = rotation.get("hardware"), body.get("attestation")
    if body["binding"] != "hardware":
        need(evidence is None and not (hardware or {}).get("required"), "not in hardware")
        return
    need(hardware is not None and evidence is not None, "no evidence")
    try:
        check_document(evidence, hardware, body, time)
    except (cbor2.CBORDecodeError, ValueError, TypeError, KeyError, ArithmeticError, x509.InvalidVersion) as error:
        raise Bad("TSLG-A-ATTESTATION", str(error)) from error


def sized(value, low: int, high: int) -> bool:
    return type(value) is bytes and low <= len(value) <= high


def decoded(data: bytes):
    """[ATS-6], of the encoding"""
    value = cbor2.loads(data)
    need(cbor2.dumps(value) == data, "not definite, shortest, or once")
    return value


def check_document(evidence: bytes, hardware: dict, body: dict, time: int) -> None:
    """[ATS-6] to [ATS-11]"""
    need(len(evidence) <= 17_408, "size")
    parts = decoded(evidence)
    if type(parts) is cbor2.CBORTag:
        need(parts.tag == 18, "tag")
        parts = parts.value
    need(isinstance(parts, list | tuple) and len(parts) == 4, "four parts")
    protected, unprotected, payload, signature = parts
    need(protected == bytes.fromhex("a1013822") and len(unprotected) == 0, "headers")
    need(sized(payload, 1, 16_384) and sized(signature, 96, 96), "payload or signature")
    said = decoded(payload)
    check_fields(said)
    need(time - 3_600_000 <= said["timestamp"] <= time + 300_000, "time")
    halves = {name: body[name] for name in ("alg", "key", "post_quantum") if name in body}
    need(said.get("user_data") == sha256(b"tslg.attested-key.v1" + encode(halves)).digest(), "user_data")
    for number in (0, 1, 2):
        held = said["pcrs"].get(number)
        need(sized(held, 48, 48) and held != bytes(48), "debug mode")
    need(all(said["pcrs"].get(int(name)) == held for name, held in hardware["pcrs"].items()), "registers")
    need(sha256(said["cabundle"][0]).digest() in hardware["roots"], "root")
    key = chain_key([x509.load_der_x509_certificate(der) for der in (*said["cabundle"], said["certificate"])], time)
    message = cbor2.dumps(["Signature1", protected, b"", payload])
    need(verifies(key, encode_dss_signature(*halved(signature)), message), "signature")


def halved(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")


def check_fields(said) -> None:
    """[ATS-7]"""
    need(type(said) is dict and set(MANDATORY) <= said.keys() <= {*MANDATORY, *OPTIONAL}, "fields")
    need(type(said["module_id"]) is str and said["module_id"] != "" and said["digest"] == "SHA384", "module or digest")
    need(type(said["timestamp"]) is int and 0 < said["timestamp"] < 2**64, "timestamp")
    pcrs, bundle = said["pcrs"], said["cabundle"]
    need(type(pcrs) is dict and 1 <= len(pcrs) <= 32, "pcrs")
    need(all(type(number) is int and 0 <= number < 32 for number in pcrs), "pcrs")
    need(all(type(held) is bytes and len(held) in (32, 48, 64) for held in pcrs.values()), "pcrs")
    need(type(bundle) is list and 1 <= len(bundle) <= 8, "cabundle")
    need(all(sized(der, 1, 1024) for der in (*bundle, said["certificate"])), "certificate")
    for name, (low, high) in OPTIONAL.items():
        need(said.get(name) is None or sized(said[name], low, high), name)


def chain_key(chain: list, time: int):
    """[ATS-8]"""
    moment = datetime.fromtimestamp(time // 1000, UTC)
    known = {x509.BasicConstraints.oid, x509.KeyUsage.oid}
    for place, one in enumerate(chain):
        need(one.version == x509.Version.v3 and one.serial_number > 0, "version or serial number")
        need(one.not_valid_before_utc <= moment <= one.not_valid_after_utc, "validity")
        need({extension.oid for extension in one.extensions if extension.critical} <= known, "critical")
        held = {extension.oid: extension for extension in one.extensions}
        basic, usage = held.get(x509.BasicConstraints.oid), held.get(x509.KeyUsage.oid)
        need(type(getattr(one.public_key(), "curve", None)) is SECP384R1, "curve")
        need(usage is not None, "usage")
        if one is chain[-1]:
            need(basic is None or (not basic.value.ca and basic.value.path_length is None), "leaf")
            need(usage.value.digital_signature, "usage")
        else:
            need(basic is not None and basic.critical and basic.value.ca and usage.value.key_cert_sign, "authority")
            length = basic.value.path_length
            need(length is None or length >= len(chain) - 2 - place, "path length")
        if place:
            issuer = chain[place - 1]
            need(one.issuer == issuer.subject and isinstance(one.signature_hash_algorithm, SHA384), "issuer")
            need(verifies(issuer.public_key(), one.signature, one.tbs_certificate_bytes), "issuer's signature")
    return chain[-1].public_key()


def verifies(key, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message, ECDSA(SHA384()))
    except InvalidSignature:
        return False
    return True
