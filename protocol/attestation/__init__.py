"""Evidence that a key lives in attested hardware: who judges which format, and what it is evidence of.

A manifest names a format, the roots that it trusts and what must run there. A verifier is pure: it reads no clock,
opens no file and raises nothing; it says what is wrong. Normative text: docs/spec/attestation.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from types import MappingProxyType
from typing import Any, Final, Protocol

from tslg.protocol import codec
from tslg.protocol.attestation import nitro
from tslg.protocol.attestation.demand import NITRO, Hardware

CONTEXT: Final = b"tslg.attested-key.v1"


class Verifier(Protocol):
    """What judges the evidence of one format."""

    def __call__(self, evidence: bytes, hardware: Hardware, digest: bytes, time_ms: int) -> str | None:
        """Return what is wrong, on one line, or None if the evidence holds.

        Args:
            evidence: what a record calls its attestation, from anybody.
            hardware: what the manifest says.
            digest: what the evidence must bind, 32 bytes.
            time_ms: when the record claims to have been made.
        """


VERIFIERS: Final[Mapping[str, Verifier]] = MappingProxyType({NITRO: nitro.fault})
"""Verifiers by the format that a manifest names."""


def key_digest(body: Mapping[str, Any]) -> bytes:
    """Return the 32 bytes that evidence for a registered key binds: both of its halves, and their schemes."""
    halves = {name: body[name] for name in ("alg", "key", "post_quantum") if name in body}
    return sha256(CONTEXT + codec.encode(halves)).digest()


def fault(body: Mapping[str, Any], hardware: Hardware | None, time_ms: int) -> str | None:
    """Return what is wrong with the binding that a genesis or registration of a signing key claims, or None.

    Args:
        body: the record's body.
        hardware: what its manifest says of hardware, None if nothing.
        time_ms: the record's time.
    """
    evidence = body.get("attestation")
    if body["binding"] != "hardware":
        if evidence is not None:
            return "an attestation of a key that claims no hardware"
        if hardware is not None and hardware.required:
            return "the manifest asks for keys bound to hardware"
        return None
    if hardware is None:
        return "the manifest names no hardware, so nobody could tell whether the key is bound to any"
    if evidence is None:
        return "a key bound to hardware comes with an attestation"
    return VERIFIERS[hardware.format](evidence, hardware, key_digest(body), time_ms)
